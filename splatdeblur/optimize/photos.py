"""The photos to explain, at every resolution of the training."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..capture.pixels import reduced_size, resize_area, resize_photo
from ..exposure import Timing
from ..geometry import Cameras, linear_from_srgb, srgb_from_linear

SHARP = 1 / 400  # of a photo's width: who smears points no further is sharp
NEARLY_ALL = 0.95
SMALLEST_PX = 80  # of the shorter side at any level: smaller pictures hold too few windows of SSIM

Pictures = tuple[Float[Tensor, "_ _ 3"], ...]
Masks = tuple[Bool[Tensor, "_ _"] | None, ...]


@dataclass(frozen=True)
class Looks:
    """How blurred a photo looks by itself, in px of the finest level.

    Attributes:
        blur_px: how far a point smears in half of the photo; infinity where that is not known.
        most_px: how far in the most blurred tenth of it.
        disks: how likely blur is focus rather than motion, in [0, 1].
    """

    blur_px: float = inf
    most_px: float = inf
    disks: float = 0.0


@dataclass(frozen=True, eq=False)
class PhotoSet:
    """Posed photos, from coarse to fine, each of its own size.

    Attributes:
        names: of the photos.
        cameras: of each level, with the poses that training starts from.
        pictures: of each level, sRGB values in [0, 1], [height, width, 3] each; pixels that do not count have their
            photo's mean colour, so that nothing of what was there reaches training.
        keeps: of each level, the pixels that count, [height, width] each; None where all do.
        looks: how blurred each photo is, as far as the photo itself tells.
        timing: when the photos of a video were taken; None where that is not asked for.
        velocities: at which each photo's camera moved, [6] in world units and radians per exposure, along and about
            its own OpenCV axes; None of those where that is not known.
        nearest: z-depth of about the nearest point of structure from motion in view of each photo, in world units; 0
            where too few are to tell.
    """

    names: tuple[str, ...]
    cameras: tuple[Cameras, ...]
    pictures: tuple[Pictures, ...]
    keeps: tuple[Masks, ...]
    looks: tuple[Looks, ...]
    timing: Timing | None = None
    velocities: tuple[Float[Tensor, "6"] | None, ...] = ()
    nearest: tuple[float, ...] = ()

    @classmethod
    def build(
        cls,
        names: tuple[str, ...],
        cameras: Cameras,
        pictures: Iterable[Float[Tensor, "_ _ 3"]],
        levels: tuple[int, ...],
        masks: Masks | None = None,
    ) -> "PhotoSet":
        """Reduces full-size `pictures` by each of `levels` in linear light; no picture goes under SMALLEST_PX.

        Args:
            masks: True where a full-size pixel counts; a reduced one counts only if all it is made from do.
        """
        keeps = masks or (None,) * len(names)
        blanked = [blanked_where_masked(picture, keep) for picture, keep in zip(pictures, keeps, strict=True)]
        limit = max(1, min(map(min, cameras.own_sizes)) // SMALLEST_PX)
        factors = [float(min(level, limit)) for level in levels]
        sizes = [[reduced_size(w, h, factor) for w, h in cameras.own_sizes] for factor in factors]
        return cls(
            names,
            tuple(cameras.resized_each(level) for level in sizes),
            tuple(tuple(resize_photo(p, *size) for p, size in zip(blanked, level, strict=True)) for level in sizes),
            tuple(tuple(reduced_mask(k, *size) for k, size in zip(keeps, level, strict=True)) for level in sizes),
            (Looks(),) * len(names),
        )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def mean_pixels(self) -> int:
        """Of a photo at the finest level."""
        return round(sum(w * h for w, h in self.cameras[-1].own_sizes) / len(self))

    @property
    def are_sharp(self) -> bool:
        """Whether nearly all of them look so."""
        sizes = self.cameras[-1].own_sizes
        sharp = [looks.blur_px <= SHARP * width for looks, (width, _) in zip(self.looks, sizes, strict=True)]
        return sum(sharp) >= NEARLY_ALL * len(self)

    @property
    def mask_marks(self) -> list[int]:
        """A number for each photo that tells its mask from others; 0 without one."""
        return [0 if k is None else 1 + zlib.crc32(np.packbits(k.cpu().numpy()).tobytes()) for k in self.keeps[-1]]

    def at(self, frames: list[int]) -> "PhotoSet":
        """Some of the photos."""
        return PhotoSet(
            tuple(self.names[i] for i in frames),
            tuple(c.at(frames) for c in self.cameras),
            tuple(tuple(level[i] for i in frames) for level in self.pictures),
            tuple(tuple(level[i] for i in frames) for level in self.keeps),
            tuple(self.looks[i] for i in frames),
            self.timing and self.timing.at(frames),
            tuple(self.velocities[i] for i in frames) if self.velocities else (),
            tuple(self.nearest[i] for i in frames) if self.nearest else (),
        )

    def to(self, device: torch.device | str) -> "PhotoSet":
        """The same photos on another device."""
        return PhotoSet(
            self.names,
            tuple(c.to(device) for c in self.cameras),
            tuple(tuple(p.to(device) for p in level) for level in self.pictures),
            tuple(tuple(k if k is None else k.to(device) for k in level) for level in self.keeps),
            self.looks,
            self.timing,
            tuple(v if v is None else v.to(device) for v in self.velocities),
            self.nearest,
        )


def blanked_where_masked(picture: Float[Tensor, "height width 3"], keep: Bool[Tensor, "height width"] | None) -> Tensor:
    """The picture with its mean colour, of the light, where it does not count."""
    if keep is None or keep.all() or not keep.any():
        return picture
    mean = srgb_from_linear(linear_from_srgb(picture[keep]).mean(0))
    return torch.where(keep[..., None], picture, mean)


def reduced_mask(keep: Bool[Tensor, "_ _"] | None, width: int, height: int) -> Tensor | None:
    """The pixels that count in a smaller picture: those for which all they are made from do; None for all."""
    if keep is None or keep.shape == (height, width):
        return keep
    return resize_area(keep[..., None].double(), width, height)[..., 0] > 1 - 1e-9
