"""Names of files: those that people gave, fit to be shown, and those that the run gives."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path


def shown(name: str) -> str:
    """A file name as it may be printed: line breaks, control characters and broken Unicode are escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in name
    )


def unique_stems(photos: Iterable[Path], root: Path) -> list[str]:
    """A file name without suffix for each photo: its own if no other has the same, else its path with `_`."""
    paths = [p.relative_to(root) if p.is_relative_to(root) else p for p in photos]
    counts = Counter(p.stem.lower() for p in paths)
    stems, taken = [], set()
    for path in paths:
        stem = path.stem if counts[path.stem.lower()] == 1 else "_".join((*path.parts[:-1], path.stem))
        # COLMAP's lists end a name at a space; file systems end one at 255 bytes.
        stem = re.sub(r"[^\w.()+-]+", "_", stem).lstrip(".")[:60] or "photo"
        candidate, number = stem, 2
        while candidate.lower() in taken:  # such as a.jpg beside a.png
            candidate, number = f"{stem}_{number}", number + 1
        taken.add(candidate.lower())
        stems.append(candidate)
    return stems
