"""One photo file in; an upright 8-bit RGB picture, what EXIF knows of it, and a file in the run out."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import ExifTags, Image, ImageOps

T = TypeVar("T")
Progress = Callable[[float | None, str], None]
"""Called with the finished fraction (None if unknown) and a short message."""

HEIF_SUFFIXES = frozenset({".heic", ".heif"})
PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"}) | HEIF_SUFFIXES


class UnreadablePhoto(Exception):
    """This one file cannot be used; the message is the reason, and the capture goes on without it."""


@dataclass(frozen=True)
class PhotoHeader:
    """What a photo says of itself before its pixels are decoded.

    Attributes:
        width, height: in px, after turning it upright.
        is_plain: a JPEG or PNG that is upright 8-bit RGB already; its bytes can be copied as they are.
        is_jpeg: its pixels went through JPEG once.
        exposure_s, iso, focal_35mm: from EXIF; None if unknown.
    """

    width: int
    height: int
    is_plain: bool
    is_jpeg: bool
    exposure_s: float | None
    iso: float | None
    focal_35mm: float | None


def _open(path: Path) -> Image.Image:
    if path.suffix.lower() not in HEIF_SUFFIXES:
        return Image.open(path)
    try:
        import pillow_heif
    except ImportError as error:
        raise UnreadablePhoto("HEIC needs `pip install pillow-heif`, or export the photos as JPEG") from error
    return pillow_heif.read_heif(path).to_pillow()  # already upright; it resets the orientation tag


def _reading(path: Path, read: Callable[[Image.Image], T]) -> T:
    try:
        with _open(path) as image:
            return read(image)
    except UnreadablePhoto:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadablePhoto(f"refused: {error}") from error
    except (
        Exception
    ) as error:  # on hostile bytes Pillow's decoders raise nearly anything; Ctrl-C is not among it
        raise UnreadablePhoto(f"corrupt or truncated ({str(error) or type(error).__name__})") from error


def _number(value: object) -> float | None:
    """A positive finite EXIF number, else None; EXIF writers leave zeros, 0/0 and lists there."""
    if isinstance(value, tuple):
        value = value[0] if value else None
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if 0 < number < 1e9 else None


def _header(image: Image.Image) -> PhotoHeader:
    exif = image.getexif()
    camera = exif.get_ifd(ExifTags.IFD.Exif)
    orientation = exif.get(ExifTags.Base.Orientation, 1)
    width, height = image.size[::-1] if orientation in (5, 6, 7, 8) else image.size
    is_jpeg = image.format in ("JPEG", "MPO")
    return PhotoHeader(
        width=width,
        height=height,
        is_plain=(is_jpeg or image.format == "PNG")
        and image.mode == "RGB"
        and "transparency" not in image.info
        and orientation not in (2, 3, 4, 5, 6, 7, 8),
        is_jpeg=is_jpeg,
        exposure_s=_number(camera.get(ExifTags.Base.ExposureTime)),
        iso=_number(camera.get(ExifTags.Base.ISOSpeedRatings)),
        focal_35mm=_number(camera.get(ExifTags.Base.FocalLengthIn35mmFilm)),
    )


def read_header(path: Path) -> PhotoHeader:
    """Size and EXIF of a photo, without decoding its pixels.

    Raises:
        UnreadablePhoto: it is no photo, or claims a size that no photo has.
    """
    return _reading(path, _header)


def _as_rgb8(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":  # 16-bit and deeper grey; Pillow would clip it
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        # Renderings with a transparent background: white is what their datasets are shown on.
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def read_photo(path: Path) -> Image.Image:
    """The pixels of a photo, upright, 8-bit RGB.

    Raises:
        UnreadablePhoto: the file is corrupt, cut short, or no photo.
    """
    return _reading(path, _as_rgb8)


def reduced_size(width: int, height: int, max_size: int) -> tuple[int, int]:
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
    image = read_photo(source)  # decoded even if the bytes are copied: only so a cut-off file is noticed
    if header.is_plain and image.size == size:
        name = stem + (".jpg" if header.is_jpeg else ".png")
        shutil.copyfile(source, folder / name)
        return name
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    name = stem + (".jpg" if header.is_jpeg else ".png")
    save_picture(image, folder / name)
    return name
