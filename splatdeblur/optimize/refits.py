"""Paths that explain their photos badly, fitted anew while the scene rests.

A photo is seen a few dozen times, and the scene has moved between two visits. So long bent paths stay about where the
first gradients took them, a sharp turn folded back over the stroke, say. With the scene at rest, and half-size photos
for speed, as many steps as a whole training has for the photo take moments.
"""

from statistics import median
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..exposure.motion import Motion
from .losses import photometric, unexplained

if TYPE_CHECKING:
    from .trainer import Trainer

REFIT_AT = (0.5, 0.7)  # progress of the training at which that is done
LONG = 0.02  # of a photo's width; shorter paths are soon right
BADLY = 1.3  # times what is left of the usual photo that moved as much may be left
STEPS, STEP_PX = 40, 0.5  # of each fit, and how far the first step moves a path, in px of the small photos
SHARE = 0.05  # of the training's steps may be spent so at each moment, where ...
STEPS_WORTH = 25  # ... each fit costs as much as so many of them
WORTH = 0.98  # of the error at full size, at most, must be left for a fit to be believed


@torch.no_grad()
def refit_paths(trainer: "Trainer") -> str:
    """Fits the paths and the poses of the photos that are explained worst, others that moved considered, and keeps what
    explains a photo better at full size: smaller pictures of a scene are sharper than reduced photos, and mislead. A
    sentence on that.
    """
    trainer.refits += 1
    photos, exposure = trainer.photos, trainer.exposure
    camera = photos.cameras[-1]
    lengths = exposure.path_px(camera.Ks[0, 0, 0].item()).tolist()
    left = {
        frame: unexplained(
            trainer.residual(frame), photos.pictures[-1][frame], photos.keeps[-1][frame], trainer.config.loss.dssim
        )
        for frame, length in enumerate(lengths) if length >= LONG * camera.width
    }  # fmt: skip
    usual = median(left.values()) if left else 0.0
    worst = sorted((frame for frame in left if left[frame] > BADLY * usual), key=left.__getitem__, reverse=True)
    worst = worst[: int(SHARE * trainer.config.steps / STEPS_WORTH)]
    better = [photos.names[frame] for frame in worst if _refit(trainer, frame)]
    return f"paths fitted anew: {', '.join(better) or 'none'}, of {len(worst)} that explain their photo badly"


def can_refit(trainer: "Trainer") -> bool:
    """Whether photos have paths of their own."""
    return isinstance(trainer.exposure.motion, Motion) and trainer.exposure.has_motion


def _refit(trainer: "Trainer", frame: int) -> bool:
    """Fits the path and the pose of one photo; whether it is explained better. If not, all is as it was."""
    level = max(len(trainer.photos.pictures) - 2, 0)
    motion = trainer.exposure.motion
    parts = {"motion": motion.control_points[frame], "pose": motion.pose_deltas[frame]}
    learned = [part.clone() for part in parts.values()]
    before = _error(trainer, -1, frame)
    rate = STEP_PX / trainer.photos.cameras[level].Ks[frame, 0, 0].item()
    optimizer = torch.optim.Adam(parts.values(), betas=(0.7, 0.9))
    best, found = float("inf"), learned
    for step in range(STEPS):
        with torch.enable_grad():
            error = _error(trainer, level, frame)
            gradients = torch.autograd.grad(error, list(parts.values()))
        if error.item() < best:
            best, found = error.item(), [part.clone() for part in parts.values()]
        for part, gradient in zip(parts.values(), gradients, strict=True):
            part.grad = gradient
        optimizer.param_groups[0]["lr"] = rate * (1 - step / STEPS)
        optimizer.step()
    optimizer.zero_grad()
    _put(parts, found)
    is_better = bool(_error(trainer, -1, frame) < WORTH * before)
    if not is_better:
        _put(parts, learned)
    else:
        for kind, part in parts.items():  # the optimizer forgets how they moved
            trainer.optimizers[kind].state.pop(part, None)
    return is_better


def _put(parts: dict[str, torch.nn.Parameter], values: list[Tensor]) -> None:
    for part, value in zip(parts.values(), values, strict=True):
        part.copy_(value)


def _error(trainer: "Trainer", level: int, frame: int) -> Tensor:
    """What a photo is charged at a level's size as the training stands."""
    photos, charges = trainer.photos, trainer.charges[level]
    focal_px = photos.cameras[level].Ks[frame, 0, 0].item()
    predicted = trainer.predict(level, frame, max(trainer.exposure.subframe_counts(focal_px)[frame], 2))
    photo, keep = photos.pictures[level][frame], photos.keeps[level][frame]
    return photometric(predicted, photo, charges.dssim, keep, charges.slopes, charges.k2)
