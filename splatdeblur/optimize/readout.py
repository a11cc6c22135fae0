"""How long a rolling shutter's read-out takes: tried on whole photos, as small steps get stuck.

Where a read-out is thought too short, poses turn and paths bend until they explain a part of what it does to a photo;
then it looks right as it is. So what they could explain does not count here.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil

import torch
from torch import Tensor

from ..exposure import Exposure
from .losses import as_taken

READOUT_AT = (0.5, 0.65)  # progress of the training at which it is looked for, after `look_back.LOOK_BACK_AT`
SHARE_STEP = 0.25  # of the read-out over the exposure, between those that are tried
FURTHER = 1.4  # times as far as it goes, a path is followed on
MOST_ASKED, MOVED_PX = 16, 1.0  # photos, and the shortest path of one that can tell
FINE = 4  # sub-frames in each row's exposure, at least: with few, the row weights alone blur
BEYOND = 1.5  # times as far as the errors say, the share moves
STEP_PX = 0.25  # small changes of poses and paths

Predict = Callable[..., Tensor]
"""A photo as the training stands, from its index and (keyword `num_subframes`) how many sub-frames to make it of."""


@torch.no_grad()
def move_readout(
    exposure: Exposure,
    pictures: Sequence[Tensor],
    keeps: Sequence[Tensor | None],
    predict: Predict,
    focal_px: float,
) -> None:
    """Sets a learned read-out's share to the `best_readout`, or beyond: the scene has settled with the share there
    was, too. Paths stay as they are in time."""
    shutter, was = exposure.shutter, exposure.shutter.readout.item()
    found = best_readout(exposure, pictures, keeps, predict, focal_px)
    shutter.set_readout(was + BEYOND * (found - was))
    exposure.motion.cover(exposure.span.item())


@torch.no_grad()
def best_readout(
    exposure: Exposure,
    pictures: Sequence[Tensor],
    keeps: Sequence[Tensor | None],
    predict: Predict,
    focal_px: float,
) -> float:
    """The one of a few shares of a learned read-out, or between, that explains the photos best; as it is where no
    photo moved.

    Paths stay as they are in time: they are followed on, or left early. The photos with the longest are asked.
    """
    shutter, was = exposure.shutter, exposure.shutter.readout.item()
    largest = min(shutter.shutter.max_readout, FURTHER * (1 + was) - 1)
    shares = [k * SHARE_STEP for k in range(int(largest / SHARE_STEP + 1e-3) + 1)]
    counts, lengths = exposure.subframe_counts(focal_px), exposure.path_px(focal_px)
    asked = [frame for frame in lengths.argsort(descending=True)[:MOST_ASKED].tolist() if lengths[frame] > MOVED_PX]
    if not asked:
        return was

    def missing(frame: int, share: float = was) -> Tensor:
        shutter.set_readout(share)
        predicted = predict(frame, num_subframes=max(counts[frame], ceil(FINE * (1 + share))))
        return (as_taken(predicted, pictures[frame], keeps[frame]) - pictures[frame]).flatten()

    errors = torch.zeros(len(shares))
    for frame in asked:
        turns = exposure.motion.control_points[frame][:, 3:5]  # which move the picture along and across
        movable = [exposure.motion.pose_deltas[frame], *turns]
        known = _effects(partial(missing, frame), movable, STEP_PX / focal_px)
        for k, share in enumerate(shares):
            left = missing(frame, share)
            errors[k] += (left - known @ (known.mT @ left)).square().mean().item()
    shutter.set_readout(was)
    return vertex(shares, errors.tolist())


def _effects(result: Callable[[], Tensor], movable: Sequence[Tensor], step: float) -> Tensor:
    """Orthonormal columns that span what small changes of each number in some vectors do to a result."""
    before, changes = result(), []
    for numbers in movable:
        for k, number in enumerate(numbers.tolist()):
            numbers[k] = number + step
            changes.append(result() - before)
            numbers[k] = number
    return torch.linalg.qr(torch.stack(changes, dim=1)).Q


def vertex(places: Sequence[float], values: Sequence[float]) -> float:
    """Where the parabola through the least of the values and its neighbours is least; at the ends that end."""
    least = min(range(len(values)), key=values.__getitem__)
    if least in (0, len(values) - 1):
        return places[least]
    (a, b, c), (u, v, w) = places[least - 1 : least + 2], values[least - 1 : least + 2]
    fall, rise = (v - u) / (b - a), (w - v) / (c - b)
    curvature = (rise - fall) / (c - a)
    return b if curvature <= 0 else (a + b) / 2 - fall / (2 * curvature)
