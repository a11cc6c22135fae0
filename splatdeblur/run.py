"""The run folder: the chain of artifacts that the stages hand to each other."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import FormatError


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
            FormatError: it does not; the message names the stage that makes it.
        """
        if not path.exists():
            raise FormatError(
                f"{self.folder} has no {path.relative_to(self.folder)}; run `splatdeblur {stage}` on it first"
            )
        return path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a path beside `path`, renamed onto it at the end; on any failure the old file stays as it was."""
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
