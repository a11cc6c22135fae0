"""All photos judged: what blurred each, and what was learned of it put right."""

from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..exposure import Exposure
from ..exposure.motion import Motion
from .causes import Cause, judge

if TYPE_CHECKING:
    from .trainer import Trainer

SEEN_BLUR = 1 / 200  # of a photo's width: a photo less blurred than that everywhere is not asked
STILL_PATH = 1 / 400  # of a photo's width: what is left of a path that stood in for disks


def can_judge(exposure: Exposure) -> bool:
    """Whether there are both causes to choose from, and nothing else that could explain blur."""
    lens, motion = exposure.lens, exposure.motion
    has_path = isinstance(motion, Motion) and motion.model.controls > 0
    return has_path and lens.focus is not None and lens.kernels is None


@torch.no_grad()
def judge_photos(trainer: "Trainer") -> str:
    """Tells anew what blurred each photo that is blurred, and puts right what was learned of it; a sentence on that.

    At the last size but one, which is as good a witness as the last and far quicker.
    """
    trainer.judgements += 1
    level = max(len(trainer.photos.pictures) - 2, 0)
    cameras, exposure = trainer.photos.cameras[level], trainer.exposure
    lens, motion = exposure.lens.focus, exposure.motion
    charges = trainer.config.loss
    if trainer.noise[level] is not None:
        charges = replace(charges, slopes=0.0)
    counts = exposure.subframe_counts(cameras.Ks[0, 0, 0].item())

    def forget(kind: str, parameter: Tensor) -> None:
        """Makes the optimizer forget how a parameter moved."""
        trainer.optimizers[kind].state.pop(parameter, None)

    for frame, looks in enumerate(trainer.photos.looks):
        full, camera = trainer.photos.cameras[-1].at(frame), cameras.at(frame)
        if not isfinite(looks.most_px) or looks.most_px < SEEN_BLUR * full.width:
            continue
        focal_px = camera.Ks[0, 0, 0].item()
        found = judge(
            exposure, frame, trainer._render_fn(camera), camera, trainer.photos.pictures[level][frame],
            trainer.photos.keeps[level][frame], num_subframes=max(counts[frame], 2), charges=charges,
            looks=looks.scaled(focal_px / full.Ks[0, 0, 0].item()),
        )  # fmt: skip
        trainer.causes[frame] = found.cause
        if found.lens is not None or lens.focus[frame].any():
            lens.focus[frame].copy_(torch.zeros(2) if found.lens is None else found.lens.values)
            forget("focus", lens.focus[frame])
        if found.path is not None:
            motion.trace(frame, *(found.path.values / focal_px))
        elif found.cause == Cause.FOCUS:
            exposure.shorten(frame, STILL_PATH * camera.width, focal_px)
        if found.path is not None or found.cause == Cause.FOCUS:
            forget("motion", motion.control_points[frame])
    told = ", ".join(f"{cause.name.lower()} {n}" for cause in Cause if (n := trainer.causes.count(cause)))
    return f"what blurred the photos: {told}"
