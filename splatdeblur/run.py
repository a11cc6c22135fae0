"""The run folder: the chain of artifacts that the stages hand to each other."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import FormatError

# In a run folder, what its stages write and read again.
STAGES_OWN = (
    "capture.json", "photos.json", "contact_sheet.jpg", "config.yaml", "versions.json", "events.jsonl", "blur.json",
    "scores.json", "images", "masks", "poses", "checkpoints", "evaluation", "paths",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """Names of everything inside one run folder; touches no disk by itself."""

    folder: Path

    @property
    def capture(self) -> Path:
        return self.folder / "capture.json"

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def masks(self) -> Path:
        return self.folder / "masks"

    @property
    def choices(self) -> Path:
        return self.folder / "photos.json"

    @property
    def contact_sheet(self) -> Path:
        return self.folder / "contact_sheet.jpg"

    @property
    def poses(self) -> Path:
        return self.folder / "poses"

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "latest.pt"

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def blur(self) -> Path:
        return self.folder / "blur.json"

    @property
    def scores(self) -> Path:
        return self.folder / "scores.json"

    @property
    def evaluation(self) -> Path:
        return self.folder / "evaluation"

    def require(self, path: Path, stage: str) -> Path:
        """`path` if it exists.

        Raises:
            FormatError: it does not, and the message names the stage that makes it; or this is no run at all.
        """
        if path.exists():
            return path
        if self.capture.exists():
            raise FormatError(
                f"{self.folder} has no {path.relative_to(self.folder)}; run `splatdeblur {stage}` on it first"
            )
        is_there, is_folder = self.folder.exists(), self.folder.is_dir()
        what = "has no capture.json" if is_folder else "is a file" if is_there else "does not exist"
        raise FormatError(
            f"{self.folder} {what}; need a run folder, as `splatdeblur reconstruct` writes it (`view` and `render` "
            "take scenes in .ply, .spz, .splat and .sog files, too)"
        )

    def require_apart(self, out: Path) -> None:
        """Passes if nothing that is written to `out` can replace, or be taken for, what the stages keep here.

        Raises:
            FormatError: it could.
        """
        out, folder = out.resolve(), self.folder.resolve()
        if out == folder or (folder in out.parents and out.relative_to(folder).parts[0] in STAGES_OWN):
            raise FormatError(f"{out} is where the run keeps its own files; choose another --out")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a path beside `path`, renamed onto it at the end; on any failure the old file stays as it was.

    Raises:
        FormatError: `path` is a folder.
    """
    if path.is_dir():
        raise FormatError(f"{path} is a folder; need the name of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_urlsafe(6)}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
