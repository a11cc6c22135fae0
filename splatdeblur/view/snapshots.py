"""Notices when a training has written a new checkpoint, and reads it."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from ..errors import SplatDeblurError

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Snapshots(Generic[T]):
    """Reads a result again whenever one of the files that it is made from has changed."""

    def __init__(self, load: Callable[[], T], files: tuple[Path, ...]) -> None:
        """`load` reads the run; it may raise any SplatDeblurError, and is tried again once a file changes."""
        self._load = load
        self._files = files
        self._seen: tuple[tuple[int, int, int] | None, ...] | None = None

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_identity(path) for path in self._files)

    def first(self) -> T:
        """The result as it is now.

        Raises:
            SplatDeblurError: it cannot be read; whatever `load` says.
        """
        self._seen = self._state()
        return self._load()

    def poll(self) -> T | None:
        """A newer result, or None if there is none; one that cannot be read is logged, once."""
        state = self._state()
        if state == self._seen:
            return None
        self._seen = state
        try:
            return self._load()
        except SplatDeblurError as error:
            logger.warning("still showing the scene from before: %s", error)
            return None


def _identity(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is replaced; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
