"""Photos of more than 8 bits per channel, which Pillow would cut to 8, and the colour tags that it does not read."""

import struct
from pathlib import Path

import numpy as np
from PIL import Image

from .color import ColorSpace, space_from_cicp, space_from_icc

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
LINEAR_TAG = (1, 8)  # primaries and transfer of BT.709 light without a curve


class NeedsPyAV(Exception):
    """The photo is 16-bit RGB, and PyAV, which reads it at full depth, is not there."""


def _png_code_points(path: Path) -> tuple[int, int] | None:
    """Primaries and transfer of a PNG's cICP chunk; None without one."""
    with open(path, "rb") as file:
        if file.read(8) != PNG_MAGIC:
            return None
        for _ in range(64):  # it stands before the pixels
            head = file.read(8)
            if len(head) < 8 or head[4:] == b"IDAT":
                return None
            (length,) = struct.unpack(">I", head[:4])
            if head[4:] == b"cICP" and length == 4:
                primaries, transfer = file.read(2)
                return primaries, transfer
            file.seek(length + 4, 1)
    return None


def tagged_space(image: Image.Image, path: Path) -> ColorSpace | None:
    """The colour space that a photo's tags name, ICC profiles apart; None where it is sRGB or silent.

    A PNG says it by cICP, or is linear by gAMA = 1 (without sRGB or iCCP, which go before); HEIF by nclx.
    """
    nclx = image.info.get("nclx_profile")
    if nclx and not image.info.get("icc_profile"):
        return space_from_cicp(nclx["color_primaries"], nclx["transfer_characteristics"])
    if image.format != "PNG":
        return None
    if (points := _png_code_points(path)) is not None:
        return space_from_cicp(*points)
    if "icc_profile" in image.info or "srgb" in image.info or image.info.get("gamma") != 1.0:
        return None
    return space_from_cicp(*LINEAR_TAG)


def is_deep(image: Image.Image) -> bool:
    """Whether it is 16-bit RGB or grey, without transparency."""
    if image.mode.startswith("I;16"):
        return True
    tiles = getattr(image, "tile", None)
    args = tiles[0][3] if tiles else None
    raw_mode = args[0] if isinstance(args, tuple) and args else args
    return image.mode == "RGB" and isinstance(raw_mode, str) and raw_mode.startswith("RGB;16")


def read_deep(image: Image.Image, path: Path) -> np.ndarray:
    """The stored 16-bit RGB pixels of a PNG or TIFF, [height, width, 3].

    Raises:
        NeedsPyAV: there is no PyAV to read RGB.
        ValueError: it cannot be decoded.
    """
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint16)
        return np.repeat(grey[..., None], 3, axis=2)
    try:
        import av
    except ImportError as error:
        raise NeedsPyAV from error
    # Given an open file, not its name, in which FFmpeg would take % for a pattern.
    with open(path, "rb") as file:
        kind = "png_pipe" if image.format == "PNG" else "tiff_pipe"
        with av.open(file, format=kind) as container:
            frame = next(container.decode(video=0))
            return frame.to_ndarray(format="rgb48le")


def deep_space(image: Image.Image, path: Path) -> ColorSpace | None:
    """The colour space of a deep photo: of its ICC profile if that can be read, else of its tags."""
    profile = image.info.get("icc_profile")
    return (space_from_icc(profile) if profile else None) or tagged_space(image, path)
