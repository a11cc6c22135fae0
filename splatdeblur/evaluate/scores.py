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
        masked: the photos of which only what their mask leaves is scored.
    """

    unaligned: PictureScores
    aligned: PictureScores | None
    photos: PictureScores | None
    masked: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class HeldOutPhotos:
    """Photos kept for testing, against sharp renders from where they were taken.

    Attributes:
        scores: each pose refined on its photo, brightness and white balance fitted.
        blur_px: photo -> how blurred it looks, in px at training size: above a pixel or two, no sharp render can
            score high.
        masked: the photos of which only what their mask leaves is scored.
    """

    scores: PictureScores
    blur_px: dict[str, float]
    masked: list[str]


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

    Without a reference there is `held_out` alone.

    Attributes:
        settings: how it was measured.
        seconds: how long it took.
    """

    settings: dict[str, float | int | str | list[int]]
    novel_view: NovelView | None = None
    deblurred_inputs: DeblurredInputs | None = None
    centers: CenterErrors | None = None
    paths: PathErrors | None = None
    alignment: AlignmentScores | None = None
    held_out: HeldOutPhotos | None = None
    missing: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    pictures: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The layout of scores.json."""
        inputs = None
        if self.deblurred_inputs:
            inputs = {**asdict(self.deblurred_inputs.unaligned), **asdict(self.deblurred_inputs)}
            del inputs["unaligned"]
        trajectory = None
        if self.centers:
            trajectory = {
                "ate": self.centers.ate,
                "path_error_px": self.paths.median_px if self.paths else None,
                "centers": asdict(self.centers),
                "paths": asdict(self.paths) if self.paths else None,
            }
        return {
            "novel_view": asdict(self.novel_view) if self.novel_view else None,
            "deblurred_inputs": inputs,
            "held_out": asdict(self.held_out) if self.held_out else None,
            "trajectory": trajectory,
            "alignment": asdict(self.alignment) if self.alignment else None,
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
