"""Which photos of a run its owner wants trained on: a small file beside them, written by hand or by the viewer."""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ..errors import CaptureError
from ..run import atomic_write

VERSION = 1


class Use(StrEnum):
    """What a photo is for."""

    TRAIN = "train on it"
    LEFT_OUT = "leave it out"
    TEST = "keep it for testing"


@dataclass(frozen=True)
class Choices:
    """Photos that are not trained on; all others are.

    Attributes:
        left_out: names of photos that spoil the scene.
        test: names of photos that the scene is to be compared with, and so must never have seen.
    """

    left_out: frozenset[str] = field(default_factory=frozenset)
    test: frozenset[str] = field(default_factory=frozenset)

    def use(self, name: str) -> Use:
        """What a photo is for."""
        return Use.TEST if name in self.test else Use.LEFT_OUT if name in self.left_out else Use.TRAIN

    def with_use(self, name: str, use: Use) -> "Choices":
        """The same choices but for one photo."""
        left_out, test = self.left_out - {name}, self.test - {name}
        if use == Use.LEFT_OUT:
            left_out |= {name}
        elif use == Use.TEST:
            test |= {name}
        return Choices(left_out, test)

    def plan(self, seen: Collection[str], unseen: Collection[str]) -> str:
        """What the next training will do about these choices, or evaluation with them, in a sentence; empty if nothing.

        Args:
            seen, unseen: names of the photos that the scene so far was trained on, and of the others.
        """
        tests, left_out = sorted(self.test.intersection(seen)), sorted(self.left_out.intersection(seen))
        back = sorted(name for name in unseen if self.use(name) == Use.TRAIN)
        if tests:
            return f"The next `train` starts anew: this scene, which is kept, has seen {', '.join(tests)}."
        if back:
            return f"The next `train` starts anew with {', '.join(back)}; this scene is kept."
        if left_out:
            return f"The next `train` goes on without {', '.join(left_out)}."
        kept = sorted(self.test.intersection(unseen))
        return f"`splatdeblur evaluate` compares this scene with {', '.join(kept)}." if kept else ""

    def save(self, path: Path) -> None:
        """Writes `photos.json`, whole or not at all."""
        content = {"version": VERSION, "left_out": sorted(self.left_out), "test": sorted(self.test)}
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1))

    @classmethod
    def load(cls, path: Path) -> "Choices":
        """Reads `photos.json`; where there is none, every photo is trained on.

        Raises:
            CaptureError: it is no such file.
        """
        if not path.exists():
            return cls()
        try:
            content = json.loads(path.read_text())
            if content["version"] != VERSION:
                raise CaptureError(
                    f"{path} has version {content['version']}, this program reads version {VERSION}: update the program"
                )
            parts = content["left_out"], content["test"]
            if not all(isinstance(part, list) and all(isinstance(name, str) for name in part) for part in parts):
                raise ValueError("names must be in lists")
            return cls(*map(frozenset, parts))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CaptureError(
                f"{path} is not a list of photos to leave out ({error}); repair it, or delete it to train on all"
            ) from error
