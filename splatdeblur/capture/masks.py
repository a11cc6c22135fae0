"""Masks: which pixels of a photo show the scene, and which show people and things that moved.

A mask is a PNG that is black (0) where a pixel is to be ignored, as COLMAP and nerfstudio have it; all else counts.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from .exif import TURNED
from .photos import TURNS, UnreadablePhoto

FOLDER = "masks"


def find_masks(photos: Iterable[Path], root: Path) -> dict[Path, Path]:
    """Photo -> its mask, for those that have one.

    Looked for in `masks/` inside `root`, or beside it if that is a folder `images`, under the photo's path with
    `.png` appended (COLMAP) or in place of its suffix.
    """
    folders = [root / FOLDER, *([root.parent / FOLDER] if root.name == "images" else [])]
    folders = [folder for folder in folders if folder.is_dir()]
    found = {}
    for photo in photos if folders else ():
        path = photo.relative_to(root) if photo.is_relative_to(root) else Path(photo.name)
        for folder in folders:
            for name in (path.with_name(f"{path.name}.png"), path.with_suffix(".png")):
                mask = folder / name
                if photo not in found and mask.is_file() and mask.resolve().is_relative_to(folder.resolve()):
                    found[photo] = mask
    return found


def decode_mask(path: Path, size: tuple[int, int], orientation: int = 1) -> Image.Image:
    """White where the photo's pixels count, at the size (width, height) of the upright photo in the run.

    A reduced pixel counts only if all that it was made from does.

    Args:
        orientation: of the photo; a mask that has the shape of the unturned photo is turned with it.

    Raises:
        UnreadablePhoto: it is no picture, or of another shape than the photo.
    """
    try:
        with Image.open(path, formats=("PNG",)) as image:
            keep = Image.fromarray(np.where(np.asarray(image.convert("L")) > 0, np.uint8(255), np.uint8(0)))
    except Exception as error:  # on hostile bytes Pillow's decoders raise nearly anything; Ctrl-C is not among it
        raise UnreadablePhoto(f"mask {path.name} cannot be read ({error})") from error
    if not _has_shape(keep, size) and orientation in TURNED and _has_shape(keep, size[::-1]):
        keep = keep.transpose(TURNS[orientation])
    if not _has_shape(keep, size):
        raise UnreadablePhoto(
            f"mask {path.name} is {keep.width}x{keep.height}, its photo has the shape of {size[0]}x{size[1]}"
        )
    if keep.size != size:
        keep = keep.resize(size, Image.Resampling.BOX).point(lambda value: 255 if value == 255 else 0)
        keep = keep.filter(ImageFilter.MinFilter(3))  # photos are reduced by a filter that reaches a little further
    return keep


def _has_shape(mask: Image.Image, size: tuple[int, int]) -> bool:
    """Whether it is the same picture at some scale: rounding moves the two apart by about a pixel's worth."""
    return abs(mask.width * size[1] - mask.height * size[0]) <= 2 * max(mask.width, mask.height, *size)
