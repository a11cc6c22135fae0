"""One photo file in; an upright 8-bit sRGB picture, what EXIF knows of it, and a file in the run out."""

import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from .color import ColorSpace, as_srgb8, is_srgb, through_profile
from .deep import NeedsPyAV, deep_space, is_deep, read_deep, tagged_space
from .exif import TURNED, Exif, read_exif

T = TypeVar("T")
Progress = Callable[[float | None, str], None]
"""Called with the finished fraction (None if unknown) and a short message."""

HEIF_SUFFIXES = frozenset({".heic", ".heif"})
PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"}) | HEIF_SUFFIXES
OTHER_SUFFIXES = frozenset(
    {".gif", ".bmp", ".avif", ".jxl", ".jp2", ".exr", ".hdr"}  # other kinds
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2"}  # raw
)
"""Pictures that are not read; a folder's are named as left out."""
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP")
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadablePhoto(Exception):
    """This one file cannot be used; the message is the reason, and the capture goes on without it."""


@dataclass(frozen=True)
class PhotoHeader:
    """What a photo says of itself before its pixels are decoded.

    Attributes:
        width, height: in px, after turning it upright.
        is_plain: a JPEG or PNG that is upright 8-bit sRGB already; its bytes can be copied as they are.
        is_jpeg: its pixels went through JPEG once.
        exif: what the camera noted.
        note: something to tell people about it; empty for nothing.
    """

    width: int
    height: int
    is_plain: bool
    is_jpeg: bool
    exif: Exif
    note: str = ""


def _open(path: Path) -> Image.Image:
    """Opens by content, whatever the suffix says."""
    with open(path, "rb") as file:
        head = file.read(12)
    if head[4:8] != b"ftyp" or head[8:12] not in HEIF_BRANDS:
        if head[:4] == b"GIF8":
            raise UnreadablePhoto("it is a GIF, which has 256 colours and no EXIF; export the photo as JPEG or PNG")
        return Image.open(path, formats=FORMATS)
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise UnreadablePhoto(
            "HEIC needs pillow-heif: pip install 'splatdeblur[heic]', or export the photos as JPEG"
        ) from error
    return HeifImageFile(path)  # already upright; it resets the orientation tag


def _reading(path: Path, read: Callable[[Image.Image], T]) -> T:
    try:
        with warnings.catch_warnings():
            # Pillow warns of large photos, which phones make, and of damaged EXIF, which counts as none.
            warnings.simplefilter("ignore")
            with _open(path) as image:
                return read(image)
    except UnreadablePhoto:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadablePhoto(f"refused: {error}") from error
    except UnidentifiedImageError as error:
        raise UnreadablePhoto("no photo: its content is no JPEG, PNG, TIFF, WebP or HEIC") from error
    except NeedsPyAV as error:
        raise UnreadablePhoto(
            "16-bit RGB needs PyAV: pip install 'splatdeblur[video]', or export the photos with 8 bits"
        ) from error
    except Exception as error:  # on hostile bytes Pillow's decoders raise nearly anything; Ctrl-C is not among it
        raise UnreadablePhoto(f"corrupt or truncated ({str(error) or type(error).__name__})") from error


def _header(image: Image.Image, path: Path) -> PhotoHeader:
    is_16_bit = is_deep(image)  # asked first: Pillow may decode a PNG to find its EXIF, and forget this
    exif, space = read_exif(image), tagged_space(image, path)
    width, height = image.size[::-1] if exif.orientation in TURNED else image.size
    is_jpeg = image.format in ("JPEG", "MPO")
    count = getattr(image, "n_frames", 1)
    if count > 1 and image.format in ("PNG", "WEBP"):
        raise UnreadablePhoto(f"it is an animation of {count} pictures; give a video or single photos")
    if image.mode == "F":
        raise UnreadablePhoto("it holds floating-point values; export the photo with 8 or 16 bits")
    return PhotoHeader(
        width=width,
        height=height,
        is_plain=(is_jpeg or image.format == "PNG")
        and image.mode == "RGB"
        and "transparency" not in image.info
        and exif.orientation == 1
        and not is_16_bit
        and is_srgb(image.info.get("icc_profile"))
        and space is None,
        is_jpeg=is_jpeg,
        exif=exif,
        note=_note(image, space, count),
    )


def _note(image: Image.Image, space: ColorSpace | None, count: int) -> str:
    if count > 1 and image.format == "HEIF":
        return f"{count} pictures in one file, the main one is used"
    if space is not None and space.is_hdr:
        return f"{space.name}: its diffuse white became sRGB's white, and what is brighter was clipped"
    return ""


def read_header(path: Path) -> PhotoHeader:
    """Size and EXIF of a photo, without decoding its pixels.

    Raises:
        UnreadablePhoto: it is no photo, or claims a size that no photo has.
    """
    return _reading(path, lambda image: _header(image, path))


def _as_srgb(image: Image.Image, path: Path) -> Image.Image:
    if is_deep(image):
        result = Image.fromarray(as_srgb8(read_deep(image, path), deep_space(image, path)))
    else:
        profile, space = image.info.get("icc_profile"), tagged_space(image, path)
        result = _as_rgb8(image)
        if space is not None:
            result = Image.fromarray(as_srgb8(np.asarray(result), space))
        elif not is_srgb(profile):
            result = through_profile(result, profile)
    orientation = read_exif(image).orientation
    return result if orientation == 1 else result.transpose(TURNS[orientation])


def _as_rgb8(image: Image.Image) -> Image.Image:
    """RGB with 8 bits, its colours untouched."""
    if image.mode.startswith("I"):  # deeper grey; Pillow would clip it
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        # Renderings with a transparent background: white is what their datasets are shown on.
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def decode_photo(path: Path) -> Image.Image:
    """The pixels of a photo, upright, 8-bit sRGB; deeper ones and other colour spaces are rounded once, at the end.

    Raises:
        UnreadablePhoto: the file is corrupt, cut short, or no photo.
    """
    return _reading(path, lambda image: _as_srgb(image, path))


def fitted_size(width: int, height: int, max_size: int) -> tuple[int, int]:
    """The size in px with the longer side at most `max_size`, its shape kept as whole pixels allow."""
    factor = min(1.0, max_size / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def save_picture(image: Image.Image, path: Path) -> None:
    """Writes a picture in the format of its suffix, `.jpg` or `.png`."""
    if path.suffix.lower() in (".jpg", ".jpeg"):
        image.save(path, "JPEG", quality=97, subsampling=0)
    else:
        image.save(path, "PNG", compress_level=3)


def store_photo(source: Path, header: PhotoHeader, size: tuple[int, int], folder: Path, stem: str) -> str:
    """Writes one photo into the run's `images/`, `size` px large, and returns its file name there.

    A photo that needs no change keeps its bytes. A changed JPEG stays a JPEG, at quality 97 with full colour:
    its own compression took more already, and a PNG is several times larger. All else becomes PNG.

    Raises:
        UnreadablePhoto: the pixels cannot be decoded; nothing is written.
    """
    image = decode_photo(source)  # decoded even if the bytes are copied: only so a cut-off file is noticed
    name = stem + (".jpg" if header.is_jpeg else ".png")
    if header.is_plain and image.size == size:
        shutil.copyfile(source, folder / name)
        return name
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    save_picture(image, folder / name)
    return name
