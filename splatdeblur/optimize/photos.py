"""The photos to explain, at every resolution of the training."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..capture.pixels import reduced_size, resize_photo
from ..geometry import Cameras

SMALLEST_PX = 80  # of the shorter side at any level: smaller pictures hold too few windows of SSIM


@dataclass(frozen=True, eq=False)
class PhotoSet:
    """Posed photos, from coarse to fine.

    Attributes:
        names: of the photos.
        cameras: of each level, with the poses that training starts from.
        pictures: of each level, sRGB values in [0, 1].
    """

    names: tuple[str, ...]
    cameras: tuple[Cameras, ...]
    pictures: tuple[Float[Tensor, "frame height width 3"], ...]

    @classmethod
    def build(
        cls,
        names: tuple[str, ...],
        cameras: Cameras,
        pictures: Float[Tensor, "frame height width 3"],
        levels: tuple[int, ...],
    ) -> "PhotoSet":
        """Reduces full-size `pictures` by each of `levels` in linear light; no picture goes under SMALLEST_PX."""
        limit = max(1, min(cameras.width, cameras.height) // SMALLEST_PX)
        sizes = [reduced_size(cameras.width, cameras.height, float(min(level, limit))) for level in levels]
        stacks = tuple(torch.stack([resize_photo(p, *size) for p in pictures]) for size in sizes)
        return cls(names, tuple(cameras.resized(*size) for size in sizes), stacks)

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device | str) -> "PhotoSet":
        """The same photos on another device."""
        return PhotoSet(
            self.names, tuple(c.to(device) for c in self.cameras), tuple(p.to(device) for p in self.pictures)
        )
