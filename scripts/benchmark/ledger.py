"""What benchmark runs came to, kept in a file that can be committed: long tables grow over days, here and there.

Each outcome names the commit that made it, so that a table says how old its parts are, and the settings of its run, so
that no name comes to stand for two different runs.
"""

import json
import math
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def commit() -> str:
    """The commit that is checked out, with a + if the package or its presets differ from it; "unknown" outside git."""
    try:
        head, changes = (
            subprocess.run(["git", *command], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
            for command in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "splatdeblur", "configs"])
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}+" if changes else head


class Ledger:
    """Outcomes of runs by name; written, whole or not at all, as each comes in. Without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.outcomes: dict[str, dict] = json.loads(path.read_text()) if path and path.exists() else {}

    def get(self, run: str, settings: Sequence[str] = ()) -> dict | None:
        """What a run came to; None if it was not run yet.

        Raises:
            SystemExit: it was run with other settings.
        """
        known = self.outcomes.get(run)
        if known is None:
            return None
        if known["settings"] != list(settings):
            raise SystemExit(
                f"{self.path} knows {run} with the settings {known['settings']}, not {list(settings)}; "
                "give that variation another name"
            )
        return {k: math.nan if v is None else v for k, v in known.items() if k not in ("commit", "settings")}

    def put(self, run: str, outcome: dict, by: str, settings: Sequence[str] = ()) -> None:
        """Keeps what a run came to, that was made by a commit with some settings."""
        kept = {k: None if v != v else v for k, v in outcome.items()}  # JSON knows no NaN
        self.outcomes[run] = {"commit": by, "settings": list(settings), **kept}
        if self.path is not None:
            temporary = self.path.with_suffix(".part")
            temporary.write_text(json.dumps(dict(sorted(self.outcomes.items())), indent=1) + "\n")
            temporary.replace(self.path)

    def commits(self, runs: list[str]) -> str:
        """Of these runs, each once."""
        return " ".join(sorted({self.outcomes[run]["commit"] for run in runs if run in self.outcomes}))
