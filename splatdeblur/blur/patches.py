"""A photo cut into overlapping square patches, at its own scale and at half of it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

PATCH_PX = 64
STRIDE_PX = 32
LEVELS = 2  # each half as fine as the one before; the coarser patch shows twice the surroundings

# Rec. 601, on encoded values: noise is about even there, in linear light it is not.
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, eq=False)
class Patches:
    """Windows around the same centres at every level.

    Attributes:
        windows: one tensor a level, finest first, luma as encoded.
        centers: x and y in px of the photo, the centre of the first pixel at (0.5, 0.5).
        rows, columns: the patches' grid; they are stored row by row.
    """

    windows: tuple[Float[Tensor, "patch side side"], ...]
    centers: Float[Tensor, "patch 2"]
    rows: int
    columns: int


def luma(photo_srgb: Float[Tensor, "height width 3"]) -> Float[Tensor, "height width"]:
    """Brightness as encoded, in [0, 1]."""
    return photo_srgb @ torch.tensor(LUMA).to(photo_srgb)


def cut(picture: Float[Tensor, "height width"], stride_px: int = STRIDE_PX) -> Patches:
    """Patches of `PATCH_PX`, about every `stride_px`, the outermost flush with the edges.

    What a window needs beyond the edges is mirrored.
    """
    rows, columns = (_grid(side, stride_px) for side in picture.shape)
    centers = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], dim=-1).reshape(-1, 2)
    return cut_at(picture, centers, len(rows), len(columns))


def cut_at(
    picture: Float[Tensor, "height width"], centers: Float[Tensor, "patch 2"], rows: int, columns: int
) -> Patches:
    """Patches around given centres (x, y)."""
    windows = []
    for level in range(LEVELS):
        if level:
            picture = F.avg_pool2d(picture[None, None], 2, ceil_mode=True, count_include_pad=False)[0, 0]
        first = torch.round(centers / 2**level - PATCH_PX / 2).long()
        inside = torch.arange(PATCH_PX, device=picture.device)
        x = _mirrored(first[:, :1] + inside, picture.shape[1])
        y = _mirrored(first[:, 1:] + inside, picture.shape[0])
        windows.append(picture[y[:, :, None], x[:, None, :]])
    return Patches(tuple(windows), centers, rows, columns)


def _grid(size: int, stride_px: int) -> Float[Tensor, "place"]:
    if size <= PATCH_PX:
        return torch.tensor([size / 2])
    count = round((size - PATCH_PX) / stride_px) + 1
    return torch.linspace(PATCH_PX / 2, size - PATCH_PX / 2, max(2, count))


def _mirrored(index: Int[Tensor, "*place"], size: int) -> Int[Tensor, "*place"]:
    """Indices beyond the edges, folded back inside: -1 is 0, `size` is `size` - 1."""
    folded = index % (2 * size)
    return torch.minimum(folded, 2 * size - 1 - folded)
