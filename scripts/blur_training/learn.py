"""Fits the network to pairs."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F

from splatdeblur.blur.features import mirrored
from splatdeblur.blur.network import KINDS, OUTPUTS, Network

from .blurs import MOTION
from .pairs import Pairs

HIDDEN = (40, 24)
BATCH = 512


@dataclass(frozen=True, eq=False)
class _Targets:
    kind: torch.Tensor
    log_strength: torch.Tensor
    turn: torch.Tensor  # direction relative to the reference, doubled, radians
    direction_weight: torch.Tensor


def fit(pairs: Pairs, *, epochs: int, seed: int) -> Network:
    """A network trained on all of `pairs` and their mirror images."""
    torch.manual_seed(seed)
    values = torch.from_numpy(pairs.values)
    mean, deviation = values.mean(dim=0), values.std(dim=0).clamp(min=1e-3)
    sizes = (values.shape[1], *HIDDEN, OUTPUTS)
    layers = [torch.nn.Linear(a, b) for a, b in pairwise(sizes)]
    parameters = [p for layer in layers for p in layer.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=0.02)
    steps = epochs * (len(pairs) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    targets = _targets(pairs)
    network = Network(mean, deviation, tuple(y.weight for y in layers), tuple(y.bias for y in layers))
    for step in range(steps):
        if step % (len(pairs) // BATCH) == 0:
            order = torch.randperm(len(pairs))
        at = step % (len(pairs) // BATCH) * BATCH
        index = order[at : at + BATCH]
        is_mirrored = bool(step % 2)
        batch = mirrored(values[index]) if is_mirrored else values[index]
        loss = _loss(network.outputs(batch), targets, index, -1 if is_mirrored else 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    done = [p.detach() for p in parameters]
    return Network(mean, deviation, tuple(done[::2]), tuple(done[1::2]))


def _targets(pairs: Pairs) -> _Targets:
    is_streak = (pairs.kind == MOTION) & (pairs.strength_px > 3)
    turn = np.deg2rad(2 * (np.nan_to_num(pairs.direction_deg) - pairs.reference_deg))
    return _Targets(
        torch.from_numpy(pairs.kind).long(),
        torch.from_numpy(np.log2(1 + pairs.strength_px)).float(),
        torch.from_numpy(turn).float(),
        # A path that goes round has no direction.
        torch.from_numpy(np.where(is_streak, pairs.elongation, 0)).float(),
    )


def _loss(outputs: torch.Tensor, targets: _Targets, index: torch.Tensor, side: int) -> torch.Tensor:
    """Cross-entropy of the kinds, a Laplace law of the strength's error, and the distance of directions."""
    kind = F.cross_entropy(outputs[:, :KINDS], targets.kind[index], label_smoothing=0.02)
    log_error = outputs[:, 4].clamp(-4, 3)
    strength = (((outputs[:, 3] - targets.log_strength[index]).abs() + 0.02) / log_error.exp() + log_error).mean()
    turn = side * targets.turn[index]
    apart = (outputs[:, 5] - turn.cos()).square() + (outputs[:, 6] - turn.sin()).square()
    return kind + strength + (targets.direction_weight[index] * apart).mean()
