"""What a photo's EXIF says of how it was taken. EXIF lies: what makes no sense counts as unknown."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from PIL import ExifTags, Image

TAGS = ExifTags.Base
FULL_FRAME_DIAGONAL_MM = math.hypot(36, 24)
MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0}  # of FocalPlaneResolutionUnit
TURNED = frozenset({5, 6, 7, 8})  # orientations that swap width and height

# Smallest and largest value that a camera has.
EXPOSURE_S = (1e-6, 3600.0)
ISO = (1.0, 1e7)
FOCAL_35MM = (4.0, 3000.0)


@dataclass(frozen=True)
class Exif:
    """Facts of one photo; None where unknown.

    Attributes:
        orientation: 1 to 8, as EXIF counts; 1 is upright.
        exposure_s, iso: shutter time and sensor gain.
        focal_35mm: focal length in mm of a 36 x 24 mm camera with the same diagonal field of view.
        taken_s: date in seconds, good for differences only: the time zone is ignored.
    """

    orientation: int = 1
    exposure_s: float | None = None
    iso: float | None = None
    focal_35mm: float | None = None
    taken_s: float | None = None


def _number(value: object, limits: tuple[float, float]) -> float | None:
    """A number within limits, else None; EXIF writers leave zeros, 0/0 and lists there."""
    if isinstance(value, tuple):
        value = value[0] if value else None
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if limits[0] <= number <= limits[1] else None


def _focal_35mm(camera: dict, width: int, height: int) -> float | None:
    """As told, else from the focal length and the size of the sensor's pixels."""
    told = _number(camera.get(TAGS.FocalLengthIn35mmFilm), FOCAL_35MM)
    focal = _number(camera.get(TAGS.FocalLength), (0.1, 3000.0))
    per_unit = _number(camera.get(TAGS.FocalPlaneXResolution), (1e-3, 1e7))
    unit = MM_PER_UNIT.get(camera.get(TAGS.FocalPlaneResolutionUnit, 2))
    full_width = _number(camera.get(TAGS.ExifImageWidth), (1.0, 1e6)) or width
    if told is not None or focal is None or per_unit is None or unit is None:
        return told
    sensor_mm = full_width / per_unit * unit * math.hypot(width, height) / width  # its diagonal
    return _number(focal * FULL_FRAME_DIAGONAL_MM / sensor_mm, FOCAL_35MM)


def _taken_s(camera: dict) -> float | None:
    try:
        date = datetime.strptime(str(camera[TAGS.DateTimeOriginal]).strip("\0 "), "%Y:%m:%d %H:%M:%S")
        digits = str(camera.get(TAGS.SubsecTimeOriginal, "")).strip("\0 ")
        return date.replace(tzinfo=UTC).timestamp() + (float(f"0.{digits}") if digits.isdecimal() else 0.0)
    except (KeyError, ValueError, OverflowError):
        return None


def read_exif(image: Image.Image) -> Exif:
    """The facts of a photo; one whose EXIF is damaged is a photo without EXIF."""
    try:
        exif = image.getexif()
        camera = dict(exif.get_ifd(ExifTags.IFD.Exif))
        orientation = exif.get(TAGS.Orientation, 1)
    except Exception:  # on hostile bytes Pillow raises nearly anything; Ctrl-C is not among it
        return Exif()
    return Exif(
        orientation=orientation if orientation in range(1, 9) else 1,
        exposure_s=_number(camera.get(TAGS.ExposureTime), EXPOSURE_S),
        iso=_number(camera.get(TAGS.ISOSpeedRatings), ISO),
        focal_35mm=_focal_35mm(camera, *image.size),
        taken_s=_taken_s(camera),
    )
