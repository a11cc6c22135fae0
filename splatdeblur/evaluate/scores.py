"""The scores of a run, as they stand in scores.json."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..run import atomic_write
from .metrics import PictureScores
from .trajectory import CenterErrors, PathErrors


@dataclass(frozen=True)
class NovelView:
    """Held-out views. `unaligned`: from the similarity alone; `aligned`: each pose then refined on its picture.

    `exposed`: aligned, and each view given the brightness and white balance of its own picture; `gains` are those
    factors on linear light. `moved_deg` and `moved` (reference units) say how far refinement turned and shifted each
    camera.
    """

    aligned: PictureScores
    unaligned: PictureScores
    exposed: PictureScores
    gains: dict[str, list[float]]
    moved_deg: dict[str, float]
    moved: dict[str, float]


@dataclass(frozen=True)
class DeblurredInputs:
    """Renders from the photos' own mid-exposure poses, against the same photos taken sharp.

    Attributes:
        unaligned: from the poses as trained.
        aligned: the poses refined on the sharp photos; None if not asked for.
        photos: the blurred photos themselves: what doing nothing would score; None where they cannot be read.
    """

    unaligned: PictureScores
    aligned: PictureScores | None
    photos: PictureScores | None


@dataclass(frozen=True)
class AlignmentScores:
    """The similarity run_from_reference, and what it was fitted to.

    Attributes:
        residual: RMS distance of the camera centres that were not given up, in reference units.
        cameras: how many both know.
        without_pose: photos of the reference that the run has no camera for; they are in no score.
        outliers: cameras that the fit gave up.
    """

    scale: float
    rotation: list[list[float]]
    translation: list[float]
    residual: float
    cameras: int
    without_pose: list[str]
    outliers: list[str]


@dataclass(frozen=True)
class Scores:
    """Everything measured in one evaluation; None where a part could not be, and `missing` says why.

    Attributes:
        settings: how it was measured.
        seconds: how long it took.
    """

    novel_view: NovelView | None
    deblurred_inputs: DeblurredInputs | None
    centers: CenterErrors
    paths: PathErrors | None
    alignment: AlignmentScores
    missing: dict[str, str]
    settings: dict[str, float | int | str | list[int]]
    seconds: float
    pictures: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The layout of scores.json."""
        inputs = None
        if self.deblurred_inputs:
            inputs = {**asdict(self.deblurred_inputs.unaligned), **asdict(self.deblurred_inputs)}
            del inputs["unaligned"]
        paths = asdict(self.paths) if self.paths else None
        return {
            "novel_view": asdict(self.novel_view) if self.novel_view else None,
            "deblurred_inputs": inputs,
            "trajectory": {
                "ate": self.centers.ate,
                "path_error_px": self.paths.median_px if self.paths else None,
                "centers": asdict(self.centers),
                "paths": paths,
            },
            "alignment": asdict(self.alignment),
            "missing": self.missing,
            "settings": self.settings,
            "pictures": self.pictures,
            "seconds": self.seconds,
        }

    def save(self, path: Path) -> None:
        """Writes scores.json, whole or not at all."""
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(_finite(self.as_json()), indent=1, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    """JSON knows no NaN: such a number becomes null."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
