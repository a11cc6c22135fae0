"""Poses of a `transforms.json`, as nerfstudio, instant-ngp and the synthetic NeRF scenes write it."""

import logging
import math
from pathlib import Path
from statistics import median

import numpy as np
import pycolmap
import torch
from jaxtyping import Float
from PIL import Image
from plyfile import PlyData, PlyElementParseError, PlyParseError
from torch import Tensor

from ..capture.listing import is_training_frame, listed_path, load_transforms
from ..errors import CaptureError, PoseError
from .reconstruction import Posed, viewmats_from_opengl

logger = logging.getLogger(__name__)

FISHEYE_MODELS = ("OPENCV_FISHEYE", "FISHEYE")
PINHOLE_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "FULL_OPENCV", "PERSPECTIVE")
MAX_SIDE_PX = 100_000
MAX_READOUT = 20.0  # times the exposure: more than a phone in sunshine
OTHER_LENSES = ("ftheta_p0", "latlong", "equirectangular")  # keys by which instant-ngp names lenses without pinhole


def read_transforms(path: Path, split: str | None = None) -> Posed:
    """The frames of a `transforms.json` (nerfstudio, instant-ngp, synthetic NeRF scenes), by `file_path`.

    Raises:
        PoseError: a matrix or the intrinsics are missing or no numbers, or there is no frame of that split.
        CaptureError: it is no such file.
    """
    content = load_transforms(path)
    frames = [f for f in content["frames"] if split is None or _is_in_split(content, f, split)]
    if not frames:
        raise PoseError(f"{path} has no frame of the split {split!r}; leave the split out to take all frames")
    world_from_camera = torch.stack([_matrix(path, frame) for frame in frames])
    sizes: dict[str, tuple[int, int]] = {}
    lenses = tuple(_lens(path, content, frame, sizes) for frame in frames)
    names = tuple(frame["file_path"] for frame in frames)
    points, colors = _points(path, content)
    velocities, readout = _movement(path, content, frames)
    return Posed(
        names, viewmats_from_opengl(world_from_camera), lenses, points, colors, velocities=velocities, readout=readout
    )


def _movement(path: Path, content: dict, frames: list[dict]) -> tuple[dict[str, Tensor], float]:
    """How cameras moved during their exposures, and the read-out, as in Reconstruction, where the file tells them.

    Keys as phones' inertial tracking is recorded with for "Gaussian Splatting on the Move" (Seiskari et al. 2024):
    `camera_linear_velocity` and `camera_angular_velocity` of a frame, in units or radians per second along and about
    the camera's OpenGL axes; `exposure_time` and `rolling_shutter_time` of the file or a frame, in seconds.

    Raises:
        PoseError: they are not finite numbers, or no times.
    """
    velocities: dict[str, Tensor] = {}
    readouts: list[float] = []
    to_opencv = torch.tensor([1.0, -1.0, -1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    for frame in frames:
        where = f"{path}: {frame['file_path']}"
        fields = {**content, **frame}
        exposure_s, readout_s = (_seconds(where, fields, key) for key in ("exposure_time", "rolling_shutter_time"))
        if not exposure_s:
            continue
        readouts += [readout_s / exposure_s]
        given = [frame.get(f"camera_{kind}_velocity") for kind in ("linear", "angular")]
        if any(velocity is not None for velocity in given):
            try:
                twist = torch.tensor([velocity or [0.0] * 3 for velocity in given], dtype=torch.float64)
            except (TypeError, ValueError) as error:
                raise PoseError(f"{where}: camera velocities must be three numbers each") from error
            if twist.shape != (2, 3) or not twist.isfinite().all():
                raise PoseError(f"{where}: camera velocities must be three finite numbers each")
            velocities[frame["file_path"]] = exposure_s * to_opencv * twist.flatten()
    readout = min(median(readouts), MAX_READOUT) if readouts else 0.0
    return velocities, readout


def _seconds(where: str, fields: dict, key: str) -> float:
    """A time; 0 where it is not told."""
    try:
        value = float(fields.get(key) or 0.0)
    except (TypeError, ValueError) as error:
        raise PoseError(f"{where}: {key} is {fields[key]!r}, need seconds") from error
    if not 0 <= value < math.inf:
        raise PoseError(f"{where}: {key} is {value:g}, need seconds, 0 or more")
    return value


def _points(path: Path, content: dict) -> tuple[Float[Tensor, "P 3"], Float[Tensor, "P 3"]]:
    """Points and colours of nerfstudio's `ply_file_path`, in the world of the poses; none if it cannot be read."""
    none = torch.zeros(0, 3, dtype=torch.float64)
    name = content.get("ply_file_path")
    if not isinstance(name, str):
        return none, none
    try:
        vertex = PlyData.read(str(listed_path(path, name)))["vertex"]
        points, colors = (
            torch.from_numpy(np.stack([np.asarray(vertex[key], np.float64) for key in keys], axis=1))
            for keys in (("x", "y", "z"), ("red", "green", "blue"))
        )
    except (CaptureError, OSError, ValueError, KeyError, MemoryError, PlyParseError, PlyElementParseError) as error:
        logger.warning("%s: the points of %r are not used (%s)", path, name, error)
        return none, none
    is_finite = points.isfinite().all(dim=1)
    return points[is_finite], colors[is_finite] / 255


def _is_in_split(content: dict, frame: dict, split: str) -> bool:
    if split == "train":
        return is_training_frame(content, frame)
    listed = content.get(f"{split}_filenames")
    return frame["file_path"] in listed if isinstance(listed, list) else frame.get("split") == split


def _matrix(path: Path, frame: dict) -> torch.Tensor:
    """A frame's camera-to-world matrix, its rotation made exact.

    Raises:
        PoseError: it is no rigid motion.
    """
    try:
        matrix = torch.tensor(frame["transform_matrix"], dtype=torch.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise PoseError(f"{path}: {frame['file_path']} has no transform_matrix of numbers; need 4x4") from error
    if matrix.shape not in ((4, 4), (3, 4)) or not matrix.isfinite().all():
        raise PoseError(f"{path}: transform_matrix of {frame['file_path']} must be 4x4 finite numbers")
    return rigid(matrix[:3, :3], matrix[:3, 3], f"{path}: {frame['file_path']}")


def rigid(rotation: torch.Tensor, translation: torch.Tensor, where: str) -> torch.Tensor:
    """A 4x4 pose with the rotation nearest to `rotation`, which may be rounded, or scaled as a whole."""
    u, s, vh = torch.linalg.svd(rotation)
    if s[-1] <= 0 or s[0] / s[-1] > 1.02 or torch.linalg.det(rotation) <= 0:
        raise PoseError(f"{where}: the pose is not a rotation and a position (singular values {s.tolist()})")
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3], pose[:3, 3] = u @ vh, translation
    return pose


def _picture_size(path: Path, fields: dict, sizes: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """Width and height in px from the fields, else from the photo; `sizes` remembers what was read."""
    if "w" in fields and "h" in fields:
        try:
            size = int(float(fields["w"])), int(float(fields["h"]))
        except (TypeError, ValueError, OverflowError) as error:
            raise PoseError(f"{path}: w and h are {fields['w']!r} and {fields['h']!r}; they need to be px") from error
        if not 1 <= min(size) <= max(size) <= MAX_SIDE_PX:
            raise PoseError(f"{path}: the photos are {size[0]}x{size[1]} px; need 1 to {MAX_SIDE_PX} on each side")
        return size
    name = fields["file_path"]
    if name not in sizes:
        try:
            with Image.open(listed_path(path, name)) as image:
                sizes[name] = image.size
        except (OSError, CaptureError) as error:
            raise PoseError(f"{path} gives no w and h, and {name} cannot be read for them ({error})") from error
    return sizes[name]


def _lens(path: Path, content: dict, frame: dict, sizes: dict[str, tuple[int, int]]) -> pycolmap.Camera:
    """The lens of one frame; a frame's own fields go before the file's.

    Raises:
        PoseError: no focal length, numbers that are none, or a lens that no pinhole camera can stand in for.
    """
    fields = {**content, **frame}
    width, height = _picture_size(path, fields, sizes)
    model = fields.get("camera_model", "OPENCV")
    others = [key for key in OTHER_LENSES if fields.get(key)]
    if model not in (*PINHOLE_MODELS, *FISHEYE_MODELS) or others:
        raise PoseError(
            f"{path}: the camera model {others[0] if others else model!r} sees more than a flat picture can show; "
            f"need {', '.join((*PINHOLE_MODELS, *FISHEYE_MODELS))}. Cut the photos into perspective views first"
        )

    def number(key: str, default: float = 0.0) -> float:
        try:
            value = float(fields.get(key, default))
        except (TypeError, ValueError) as error:
            raise PoseError(f"{path}: {key} is {fields[key]!r}, need a number") from error
        if not math.isfinite(value):
            raise PoseError(f"{path}: {key} is {value}, need a finite number")
        return value

    def focal(axis: str, size_px: int) -> float | None:
        """In px, from px, degrees (instant-ngp) or radians; a frame's own word goes before the file's."""
        for source in (frame, content):
            if f"fl_{axis}" in source:
                return number(f"fl_{axis}")
            for key, per_unit in ((f"{axis}_fov", math.pi / 180), (f"camera_angle_{axis}", 1.0)):
                if key in source:
                    angle = number(key) * per_unit
                    if not 0 < angle < math.pi:
                        raise PoseError(f"{path}: {key} is {number(key):g}; a pinhole camera sees 0 to 180 degrees")
                    return 0.5 * size_px / math.tan(0.5 * angle)
        return None

    fl_x, fl_y = focal("x", width), focal("y", height)
    fl_x, fl_y = fl_x or fl_y, fl_y or fl_x
    if fl_x is None or fl_y is None:
        raise PoseError(f"{path} has neither fl_x nor camera_angle_x; the focal length is needed, in px or radians")
    if min(fl_x, fl_y, width, height) <= 0:
        raise PoseError(f"{path}: focal length {fl_x} px and size {width}x{height} must be positive")
    pinhole = [fl_x, fl_y, number("cx", width / 2), number("cy", height / 2)]
    k1, k2, k3, k4, p1, p2 = (number(k) for k in ("k1", "k2", "k3", "k4", "p1", "p2"))
    if model in FISHEYE_MODELS or fields.get("is_fisheye"):
        model, params = "OPENCV_FISHEYE", [*pinhole, k1, k2, k3, k4]
    elif k3 or k4:
        model, params = "FULL_OPENCV", [*pinhole, k1, k2, p1, p2, k3, k4, 0.0, 0.0]
    elif k1 or k2 or p1 or p2:
        model, params = "OPENCV", [*pinhole, k1, k2, p1, p2]
    else:
        model, params = "PINHOLE", pinhole
    return pycolmap.Camera(model=model, width=width, height=height, params=params)
