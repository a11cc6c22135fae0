"""Pictures on disk, as tensors of sRGB values; the one place that reads a photo at a reduced size."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from ..errors import CaptureError
from ..geometry import linear_from_srgb, srgb_from_linear
from ..run import atomic_write

LIGHT = linear_from_srgb(torch.arange(256) / 255).numpy()  # of each value of 8 bits, as a power for each pixel is slow


def reduced_size(width: int, height: int, downscale: float) -> tuple[int, int]:
    """Width and height of a photo read at `downscale`: whole pixels, rounded down as in `Cameras.scaled`."""
    return max(1, int(width / downscale + 1e-6)), max(1, int(height / downscale + 1e-6))


def _overlaps(size: int, new_size: int, like: Tensor) -> Float[Tensor, "new old"]:
    """How much of each new pixel every old one covers; rows sum to 1."""
    edges = torch.arange(new_size + 1, dtype=torch.float64) * (size / new_size)
    pixel = torch.arange(size, dtype=torch.float64)
    covered = torch.minimum(edges[1:, None], pixel + 1) - torch.maximum(edges[:-1, None], pixel)
    return (covered.clamp(min=0) * (new_size / size)).to(like)


def resize_area(
    picture: Float[Tensor, "old_height old_width channel"], width: int, height: int
) -> Float[Tensor, "height width channel"]:
    """The mean over the area of each new pixel, exact for sizes that do not divide each other too.

    The whole picture is kept, so `Cameras.resized(width, height)` is the matching lens.
    """
    old_height, old_width, channels = picture.shape
    if old_height % height == 0 and old_width % width == 0:
        blocks = picture.reshape(height, old_height // height, width, old_width // width, channels)
        return blocks.mean(dim=(1, 3))
    rows = torch.einsum("yr,rxc->yxc", _overlaps(old_height, height, picture), picture)
    return torch.einsum("xr,yrc->yxc", _overlaps(old_width, width, picture), rows)


def resize_photo(
    photo_srgb: Float[Tensor, "old_height old_width 3"], width: int, height: int
) -> Float[Tensor, "height width 3"]:
    """A smaller photo, averaged in linear light: what larger sensor pixels would have seen."""
    if photo_srgb.shape[:2] == (height, width):
        return photo_srgb
    return srgb_from_linear(resize_area(linear_from_srgb(photo_srgb), width, height)).clamp(0, 1)


def read_photo(path: Path, downscale: float = 1.0) -> Float[Tensor, "height width 3"]:
    """sRGB values in [0, 1] of a picture file, reduced by `downscale` (1 or more) in linear light.

    The stored pixels count: an orientation tag is not applied here, as poses refer to stored pixels.

    Raises:
        CaptureError: the file is missing, cut short or no picture.
    """
    try:
        with Image.open(path) as image:
            pixels = np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CaptureError(f"{path} cannot be read as a picture ({error}); replace or remove it") from error
    height, width = pixels.shape[:2]
    new_width, new_height = reduced_size(width, height, downscale)
    if (new_width, new_height) == (width, height):
        return torch.from_numpy(pixels).float() / 255
    light = torch.from_numpy(LIGHT[pixels])
    return srgb_from_linear(resize_area(light, new_width, new_height)).clamp(0, 1)


def read_mask(path: Path, downscale: float = 1.0) -> Bool[Tensor, "height width"]:
    """Where a mask file is not black, reduced by `downscale`: a pixel counts only if all it is made from do.

    Raises:
        CaptureError: the file is missing, cut short or no picture.
    """
    try:
        with Image.open(path) as image:
            keep = torch.from_numpy(np.array(image.convert("L")) > 0)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CaptureError(f"{path} cannot be read as a mask ({error}); run `splatdeblur prepare` again") from error
    width, height = reduced_size(keep.shape[1], keep.shape[0], downscale)
    return resize_area(keep[..., None].double(), width, height)[..., 0] > 1 - 1e-9


def eight_bit(srgb: Float[Tensor, "height width 3"]) -> UInt8[np.ndarray, "height width 3"]:
    """Values clipped to [0, 1] and rounded to 255 steps."""
    return (srgb.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def write_picture(path: Path, srgb: Float[Tensor, "height width 3"]) -> None:
    """Writes an 8-bit PNG, values clipped to [0, 1] and rounded; whole or not at all."""
    with atomic_write(path) as temporary:
        Image.fromarray(eight_bit(srgb)).save(temporary, format="PNG")
