"""Light of each pixel spread over a disk: out-of-focus blur of a picture whose depths are known.

Gathers what would be scattered: the pixel p takes from q the light that q's disk lays on p. A pixel behind p
reaches it with no larger a disk than p's own, for p hides what lies further out: sharp things stay free of what is
blurred behind them, and blurred things lie over what is behind them.
"""

from functools import cache
from math import ceil, hypot

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from . import spread_kernels

TABLE_RADIUS_PX = 16.0  # beyond, the edge of a disk grows as its radius does
TABLE_STEP_PX = 0.02


def _taps(edge: float) -> list[tuple[int, int]]:
    """Offsets (down, across) that a disk with this edge can reach, the centre first."""
    reach = range(-ceil(edge), ceil(edge) + 1)
    taps = [(dy, dx) for dy in reach for dx in reach if hypot(dy, dx) < edge + 0.5]
    return sorted(taps, key=lambda tap: hypot(*tap))


@cache
def _edges() -> Float[Tensor, "table"]:
    """The `edge` of disks of radius 0, TABLE_STEP_PX, ...: what gives pixels the variance of a true disk, r^2 / 4.

    A disk is drawn as clamp(edge + 1/2 - distance, 0, 1) at the middles of the pixels.
    """
    candidates = np.linspace(0.5, TABLE_RADIUS_PX + 1, 4000)
    at = np.arange(ceil(TABLE_RADIUS_PX) + 3, dtype=np.float64)
    at = np.concatenate([-at[:0:-1], at])
    distance = np.hypot(at[:, None], at[None, :])
    squares = np.broadcast_to(at[:, None] ** 2, distance.shape)
    variances = []
    for edge in candidates:
        weights = np.clip(edge + 0.5 - distance, 0, 1)
        variances.append((weights * squares).sum() / weights.sum())
    radii = np.arange(0, TABLE_RADIUS_PX + TABLE_STEP_PX, TABLE_STEP_PX)
    return torch.from_numpy(np.interp(radii**2 / 4, np.maximum.accumulate(variances), candidates))


def edge_of(radius: Float[Tensor, "height width"]) -> Float[Tensor, "height width"]:
    """Where to draw the rim of disks of these radii, in px; differentiable."""
    table = _edges().to(radius)
    position = (radius / TABLE_STEP_PX).clamp(0, len(table) - 1.001)
    below = position.detach().long()
    inside = table[below] + (position - below) * (table[below + 1] - table[below])
    return inside + (radius - TABLE_RADIUS_PX).clamp(min=0)


def _shifted(size: int, offset: int) -> tuple[slice, slice]:
    """Where a pixel, and the one `offset` further, are both in the picture."""
    shorter = max(0, size - abs(offset))
    return slice(max(0, -offset), max(0, -offset) + shorter), slice(max(0, offset), max(0, offset) + shorter)


class _Spread(torch.autograd.Function):
    """On any device: one pass over the taps each way; nothing of the size pixels x taps is kept."""

    @staticmethod
    def forward(ctx, light, edge, nearness):
        taps = _taps(edge.max().item())
        area, growth = torch.zeros_like(edge), torch.zeros_like(edge)
        for dy, dx in taps:
            cover = edge + (0.5 - hypot(dy, dx))
            area += cover.clamp(0, 1)
            growth += (cover > 0) & (cover < 1)
        total, weights = torch.zeros_like(light), torch.zeros_like(edge)
        for dy, dx in taps:
            p, q, weight, *_ = _weight(edge, area, nearness, dy, dx)
            total[p] += weight[..., None] * light[q]
            weights[p] += weight
        mean = total / weights[..., None]
        ctx.taps = taps
        ctx.save_for_backward(light, edge, nearness, area, growth, weights, mean)
        return mean

    @staticmethod
    def backward(ctx, v_mean):
        light, edge, nearness, area, growth, weights, mean = ctx.saved_tensors
        v_light, v_edge = torch.zeros_like(light), torch.zeros_like(edge)
        v_total = v_mean / weights[..., None]
        v_weights = -(v_total * mean).sum(-1)
        for dy, dx in ctx.taps:
            p, q, weight, cover, is_own, its_area = _weight(edge, area, nearness, dy, dx)
            v_light[q] += weight[..., None] * v_total[p]
            v_weight = (v_total[p] * light[q]).sum(-1) + v_weights[p]
            at_rim = (cover > 0) & (cover < 1)
            its_growth = torch.where(is_own, growth[p], growth[q])
            slope = v_weight * (at_rim / its_area - weight * its_growth / its_area)
            v_edge[p] += torch.where(is_own, slope, 0)
            v_edge[q] += torch.where(is_own, 0, slope)
        return v_light, v_edge, None


def _weight(edge: Tensor, area: Tensor, nearness: Tensor, dy: int, dx: int) -> tuple:
    """How much of each pixel's light reaches the pixel that has it at (dy, dx), and what that came from."""
    rows, columns = _shifted(edge.shape[0], dy), _shifted(edge.shape[1], dx)
    p, q = (rows[0], columns[0]), (rows[1], columns[1])
    is_own = (nearness[q] < nearness[p]) & (edge[p] < edge[q])
    cover = torch.where(is_own, edge[p], edge[q]) + (0.5 - hypot(dy, dx))
    its_area = torch.where(is_own, area[p], area[q])
    return p, q, cover.clamp(0, 1) / its_area, cover, is_own, its_area


class _SpreadOnCpu(torch.autograd.Function):
    """The same, compiled."""

    @staticmethod
    def forward(ctx, light, edge, nearness):
        planar = light.detach().permute(2, 0, 1).contiguous().numpy()
        flat = (x.detach().contiguous().numpy() for x in (edge, nearness))
        mean, ctx.kept = spread_kernels.spread_forward(planar, *flat)
        return torch.from_numpy(mean).permute(1, 2, 0)

    @staticmethod
    def backward(ctx, v_mean):
        v_light, v_edge = spread_kernels.spread_backward(v_mean.permute(2, 0, 1).contiguous().numpy(), ctx.kept)
        return torch.from_numpy(v_light).permute(1, 2, 0), torch.from_numpy(v_edge), None


def spread(
    light: Float[Tensor, "height width 3"],
    radius: Float[Tensor, "height width"],
    nearness: Float[Tensor, "height width"],
) -> Float[Tensor, "height width 3"]:
    """The picture with each pixel's light spread evenly over a disk of its `radius` in px.

    Args:
        light: linear RGB.
        nearness: 1 / depth; no gradient.
    Returns:
        The picture; where disks run over its border, what is left weighs more, so that an even picture stays even.
    """
    op = _SpreadOnCpu if light.device.type == "cpu" else _Spread
    return op.apply(light, edge_of(radius), nearness.detach().to(light))
