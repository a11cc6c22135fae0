"""What gradients do not find, looked for in all photos at once: gains far off, and the direction of paths in time."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..exposure import Exposure
from ..exposure.gains import fit_gains, with_gains
from .losses import photometric

UNLIKE, WORTH = 0.1, 0.9  # gains are matched if their logs are off by that much, and no more of the error is left after

Predict = Callable[..., Tensor]
"""A photo as the training stands, from its index and (keyword `num_subframes`) how many sub-frames to make it of."""


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
    optimizer: torch.optim.Optimizer,
    focal_px: float,
) -> list[int]:
    """Turns those paths back to front that explain their photo better so; which they were.

    Blur alone leaves the direction open, and a path that set out the wrong way does not turn by small steps: it
    would have to stand still first.
    """
    counts, turned = exposure.subframe_counts(focal_px), []
    for frame, (photo, keep) in enumerate(zip(pictures, keeps, strict=True)):
        points = exposure.motion.control_points[frame]
        errors = []
        for _ in range(2):
            errors.append(photometric(predict(frame, num_subframes=max(counts[frame], 2)), photo, 0.0, keep))
            points.copy_(points.flip(0))
        if errors[1] < errors[0]:
            points.copy_(points.flip(0))
            for memory in optimizer.state[points].values():
                if isinstance(memory, Tensor) and memory.shape == points.shape:
                    memory.copy_(memory.flip(0))
            turned.append(frame)
    return turned
