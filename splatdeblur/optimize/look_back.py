"""What gradients do not find, looked for in all photos at once: gains far off, and the direction of paths in time."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..exposure import Exposure
from ..exposure.gains import fit_gains, with_gains
from .losses import photometric
from .readout import move_readout

if TYPE_CHECKING:
    from .trainer import Trainer

LOOK_BACK_AT = (0.1, 0.2, 0.35)  # progress of the training at which that is done
UNLIKE, WORTH = 0.1, 0.9  # gains are matched if their logs are off by that much, and no more of the error is left after

Predict = Callable[..., Tensor]
"""A photo as the training stands, from its index and (keyword `num_subframes`) how many sub-frames to make it of."""


def look_back(trainer: "Trainer") -> str:
    """Finds what gradients do not, at the size that is trained at: gains far off, the direction in time of each path,
    which blur leaves open and a rolling shutter does not, and its read-out. A sentence on that; none, if nothing is."""
    exposure, photos, told = trainer.exposure, trainer.photos, []
    level = trainer.config.resolution.level(trainer.progress)
    pictures, keeps, predict = photos.pictures[level], photos.keeps[level], partial(trainer.predict, level)
    if len(exposure.tone.log_gains) and match_brightness(exposure, pictures, keeps, predict):
        told.append("gains far off were matched")
    if exposure.shutter.shutter.is_rolling and exposure.has_motion and exposure.motion.is_reversible:
        focal_px = photos.cameras[level].Ks[0, 0, 0].item()
        if turned := orient_paths(exposure, pictures, keeps, predict, trainer.optimizers, focal_px):
            told.append(f"{len(turned)} paths were turned back to front")
        if exposure.shutter.shutter.learns_readout:
            move_readout(exposure, pictures, keeps, predict, focal_px)
            told.append(f"the read-out takes {exposure.shutter.readout.item():.2f} exposures")
    return "; ".join(told)


@torch.no_grad()
def match_brightness(
    exposure: Exposure, pictures: Sequence[Tensor], keeps: Sequence[Tensor | None], predict: Predict
) -> bool:
    """Gives each photo the gain that it needs before the scene as it is, if gains are far from that; whether they were.

    A photo is seen too rarely for small steps to get there.
    """
    missing, errors = [], []
    for frame, (photo, keep) in enumerate(zip(pictures, keeps, strict=True)):
        predicted = predict(frame)
        gains = fit_gains(predicted, photo, keep)
        missing.append(gains.log())
        errors.append([photometric(p, photo, 0.0, keep).item() for p in (predicted, with_gains(predicted, gains))])
    off, (before, after) = torch.stack(missing), torch.tensor(errors).sum(0)
    if off.mean(1).std() <= UNLIKE or after >= WORTH * before:
        return False
    for log_gain, further in zip(exposure.tone.log_gains, off - off.mean(0), strict=True):
        log_gain += further if len(log_gain) == 3 else further.mean()
    return True


@torch.no_grad()
def orient_paths(
    exposure: Exposure,
    pictures: Sequence[Tensor],
    keeps: Sequence[Tensor | None],
    predict: Predict,
    optimizers: Mapping[str, torch.optim.Optimizer],
    focal_px: float,
) -> list[int]:
    """Turns those paths back to front that explain their photo better so, and with them how fast they are gone along;
    which they were.

    Blur alone leaves the direction open, and a path that set out the wrong way does not turn by small steps: it
    would have to stand still first.
    """
    counts, turned = exposure.subframe_counts(focal_px), []
    for frame, (photo, keep) in enumerate(zip(pictures, keeps, strict=True)):
        in_time = {"motion": exposure.motion.control_points[frame]}  # what runs from the first instant to the last
        if len(exposure.shutter.log_durations):
            in_time["times"] = exposure.shutter.log_durations[frame]
        errors = []
        for _ in range(2):
            errors.append(photometric(predict(frame, num_subframes=max(counts[frame], 2)), photo, 0.0, keep))
            _turn(*in_time.values())
        if errors[1] < errors[0]:
            _turn(*in_time.values())
            for name, parameter in in_time.items():
                memories = optimizers[name].state[parameter].values()
                _turn(*(m for m in memories if isinstance(m, Tensor) and m.shape == parameter.shape))
            turned.append(frame)
    return turned


def _turn(*tensors: Tensor) -> None:
    for tensor in tensors:
        tensor.copy_(tensor.flip(0))
