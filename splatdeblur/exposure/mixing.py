"""Every pixel as a weighted mean of its neighbours, the weights known on a coarse grid and bilinear between.

Neither the weights of all pixels nor the unfolded picture are ever in memory: kernels of K x K taps on every fourth
pixel of P need K^2 P / 16 numbers. Beyond its border a picture goes on as it ends.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate, pad

from . import mixing_kernels


@dataclass(frozen=True, eq=False)
class _Lerp:
    """Between which two of `cells` places each of `size` pixels lies, and how far from the first: along one side."""

    low: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, size: int, cells: int, dtype: np.dtype) -> "_Lerp":
        at = np.clip((np.arange(size) + 0.5) * cells / size - 0.5, 0, cells - 1)
        low = np.minimum(at.astype(np.int64), max(cells - 2, 0))
        return cls(low, (at - low).astype(dtype))


class _Mix(torch.autograd.Function):
    """The CPU kernels, on planar arrays."""

    @staticmethod
    def forward(ctx, padded, weights):
        size = round(len(weights) ** 0.5)
        channels, height, width = padded.shape[0], padded.shape[1] - size + 1, padded.shape[2] - size + 1
        arrays = [x.detach().contiguous().numpy() for x in (padded, weights)]
        rows, columns = (
            _Lerp.of(n, cells, arrays[0].dtype) for n, cells in zip((height, width), weights.shape[1:], strict=True)
        )
        ctx.plan = (size, rows.low, rows.share, columns.low, columns.share)
        ctx.arrays = arrays
        out = np.empty((channels, height, width), arrays[0].dtype)
        mixing_kernels.mix(*arrays, *ctx.plan, out)
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx, v_out):
        padded, weights = ctx.arrays
        v_out = v_out.contiguous().numpy()
        v_padded, v_weights = np.empty_like(padded), np.empty_like(weights)
        mixing_kernels.mix_back_picture(v_out, weights, *ctx.plan, v_padded)
        mixing_kernels.mix_back_weights(v_out, padded, *ctx.plan, v_weights)
        return torch.from_numpy(v_padded), torch.from_numpy(v_weights)


def mix_by_shifts(
    padded: Float[Tensor, "channel padded_height padded_width"], weights: Float[Tensor, "tap rows columns"]
) -> Float[Tensor, "channel height width"]:
    """`mix` in plain torch, on any device; the weights of all pixels are in memory."""
    size = round(len(weights) ** 0.5)
    height, width = padded.shape[1] - size + 1, padded.shape[2] - size + 1
    full = interpolate(weights[None], (height, width), mode="bilinear", align_corners=False)[0]
    shifts = ((dy, dx) for dy in range(size) for dx in range(size))
    terms = (w * padded[:, dy : dy + height, dx : dx + width] for w, (dy, dx) in zip(full, shifts, strict=True))
    return sum(terms, start=padded.new_zeros(()))


def mix(
    light: Float[Tensor, "height width 3"], weights: Float[Tensor, "tap rows columns"]
) -> Float[Tensor, "height width 3"]:
    """Each pixel as the sum of its neighbours, weighted.

    Args:
        weights: [K^2, rows, columns] on a grid over the picture, K odd; tap K * i + j is the neighbour i - K // 2 rows
            below and j - K // 2 columns to the right.
    """
    reach = round(len(weights) ** 0.5) // 2
    padded = pad(light.permute(2, 0, 1)[None], (reach,) * 4, mode="replicate")[0]
    op = _Mix.apply if light.device.type == "cpu" else mix_by_shifts
    return op(padded, weights).permute(1, 2, 0)
