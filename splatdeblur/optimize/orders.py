"""Curves of motion get their next order where that explains pixels better that were left out of the fit.

No preset asks for it: on the scenes of `scripts/benchmark/orders` it leaves straight paths straight, but is blind to
most bent ones, and a fixed order of 3 gives the better scene.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..exposure import Exposure
from .losses import as_taken

if TYPE_CHECKING:
    from .trainer import Trainer

GROW_AT = (0.2, 0.35, 0.5)  # progress at which orders may grow
BLOCK_PX = 12  # of the blocks that are fitted and left out in turn
SMALLEST_PATH_PX = 2.5  # a shorter path shows no bend
STEPS, STEP_PX = 8, 0.5  # of each fit; the first step moves control points by no more than so many px
GAIN = 0.01  # share of the error by which the higher order must be better
SURE = 2.0  # standard errors over the blocks by which it must be

Predict = Callable[..., Tensor]
"""A photo as the training stands, from its index and (keyword `num_subframes`) how many sub-frames to make it of."""


def left_out(height: int, width: int, device: torch.device | str = "cpu") -> Bool[Tensor, "height width"]:
    """Every other block of a picture, as on a chessboard."""
    rows, columns = (torch.arange(n, device=device) // BLOCK_PX for n in (height, width))
    return (rows[:, None] + columns) % 2 == 1


def grow_curves(trainer: "Trainer") -> str:
    """Gives their next order to the curves of a training that need it; a sentence on that. At the last size but one,
    which is as good a witness as the last and far quicker."""
    photos, level = trainer.photos, max(len(trainer.photos.pictures) - 2, 0)
    focal_px = photos.cameras[level].Ks[0, 0, 0].item()
    predict = partial(trainer.predict, level)
    grown = grow_orders(trainer.exposure, photos.pictures[level], photos.keeps[level], predict, focal_px)
    return f"{len(grown)} of {len(photos)} curves of motion got their next order"


def grow_orders(
    exposure: Exposure,
    pictures: Sequence[Tensor],
    keeps: Sequence[Tensor | None],
    predict: Predict,
    focal_px: float,
) -> list[int]:
    """Gives the next order to those curves that explain their photo better with it; which they were.

    For each photo two curves are fitted to half of its blocks with the scene as it is, one of the order that it has,
    one of the next; the other half says which is better. The curve itself stays what it was: training goes on from it.

    Args:
        pictures, keeps: photos and the pixels that count, at the size that `predict` gives.
        focal_px: at that size.
    """
    rate = STEP_PX / focal_px
    motion, counts, grown = exposure.motion, exposure.subframe_counts(focal_px), []
    lengths = motion.path_px(focal_px).tolist()
    for frame, (photo, keep) in enumerate(zip(pictures, keeps, strict=True)):
        order = motion.orders[frame].item()
        if order >= motion.model.order or lengths[frame] < SMALLEST_PATH_PX:
            continue
        test = left_out(*photo.shape[:2], photo.device)
        start = motion.points(frame).detach().clone()
        errors = []
        for tried in (order, order + 1):
            motion.orders[frame] = tried
            with torch.no_grad():
                motion.control_points[frame].copy_(start)
            errors.append(_fitted_errors(exposure, frame, photo, keep, test, max(counts[frame], 2), predict, rate))
        with torch.no_grad():
            motion.control_points[frame].copy_(start)
        counted = test if keep is None else test & keep
        before, after = (_blocks(error, counted) for error in errors)
        gain = before - after
        is_better = len(gain) > 3 and gain.mean() > max(SURE * gain.std() / len(gain) ** 0.5, GAIN * before.mean())
        motion.orders[frame] = order + bool(is_better)
        if is_better:
            grown.append(frame)
    return grown


def _fitted_errors(
    exposure: Exposure,
    frame: int,
    photo: Float[Tensor, "height width 3"],
    keep: Bool[Tensor, "height width"] | None,
    test: Bool[Tensor, "height width"],
    num_subframes: int,
    predict: Predict,
    rate: float,
) -> Float[Tensor, "height width"]:
    """Each pixel's error after a photo's control points were fitted to the blocks that are not in `test`."""
    points = exposure.motion.control_points[frame]
    optimizer = torch.optim.Adam([points], lr=rate, betas=(0.8, 0.9))

    def error() -> Tensor:
        predicted = predict(frame, num_subframes=num_subframes)
        return (as_taken(predicted, photo, keep) - photo).abs().mean(-1)

    for step in range(STEPS):
        (points.grad,) = torch.autograd.grad(error()[~test].mean(), points)
        optimizer.param_groups[0]["lr"] = rate * (1 - step / STEPS)
        optimizer.step()
    points.grad = None
    with torch.no_grad():
        return error()


def _blocks(values: Float[Tensor, "height width"], chosen: Bool[Tensor, "height width"]) -> Float[Tensor, "block"]:
    """Means over the blocks of which at least half of the pixels are chosen."""
    height, width = values.shape
    columns = -(-width // BLOCK_PX)
    rows_of, columns_of = (torch.arange(n, device=values.device) // BLOCK_PX for n in (height, width))
    index = (rows_of[:, None] * columns + columns_of)[chosen]
    size = columns * -(-height // BLOCK_PX)
    sums = values.new_zeros(size).index_add(0, index, values[chosen])
    counts = values.new_zeros(size).index_add(0, index, torch.ones_like(values[chosen]))
    return (sums / counts)[counts >= BLOCK_PX**2 / 2]
