"""Cameras for other programs: COLMAP models, transforms.json, trajectories; `imports` reads the first two back."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap
import torch
from jaxtyping import Float
from plyfile import PlyData, PlyElement
from torch import Tensor

from ..errors import FormatError
from ..geometry import Cameras, inverse, quat_from_matrix
from ..run import atomic_write
from .reconstruction import Reconstruction, colmap_from_reconstruction, opengl_from_viewmats

_MODEL = ("cameras", "frames", "images", "points3D", "rigs")
COLMAP_FILES = tuple(
    f"{part}/0/{name}.{suffix}" for part in ("sparse", "sparse_text") for name in _MODEL for suffix in ("bin", "txt")
)
TRANSFORMS_FILES = ("transforms.json", "points.ply")
CONVENTIONS = (
    "world_from_camera: 4x4 matrices from camera to world, OpenCV axes (x right, y down, z forward); shutter_time: "
    "0 when the shutter opens, 1 when it closes; taken_at_s: the middle of the exposure; null: not known"
)


@dataclass(frozen=True, eq=False)
class Trajectories:
    """How each photo's camera moved while the shutter was open.

    Attributes:
        names: of the photos.
        viewmats: of each photo at each of the shutter times.
        shutter_times: in [0, 1].
        taken_at_s: middle of each exposure, in seconds; None if unknown.
        exposures_s: what [0, 1] stands for, in seconds: the exposure, and the read-out of a rolling shutter; None if
            unknown.
    """

    names: tuple[str, ...]
    viewmats: Float[Tensor, "photo time 4 4"]
    shutter_times: Float[Tensor, "time"]
    taken_at_s: tuple[float | None, ...]
    exposures_s: tuple[float | None, ...]


def write_colmap(reconstruction: Reconstruction, folder: Path) -> None:
    """A COLMAP model as binary files in FOLDER/sparse/0 and as text in FOLDER/sparse_text/0, no file half-written.

    Raises:
        OSError: the disk is full.
    """
    model = colmap_from_reconstruction(reconstruction)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".colmap.") as made:
        for part, write in (("sparse", model.write_binary), ("sparse_text", model.write_text)):
            new = Path(made) / part
            new.mkdir()
            write(new)
            _require_whole(new, model)
        for part in ("sparse", "sparse_text"):
            (folder / part / "0").mkdir(parents=True, exist_ok=True)
            for path in (Path(made) / part).iterdir():
                path.replace(folder / part / "0" / path.name)


def _require_whole(written: Path, model: pycolmap.Reconstruction) -> None:
    """COLMAP does not notice that a disk is full: what it wrote is read again.

    Raises:
        OSError: something is missing.
    """
    try:
        found = pycolmap.Reconstruction(written)
        is_whole = (found.num_images(), found.num_points3D()) == (model.num_images(), model.num_points3D())
    except (RuntimeError, ValueError, IndexError, MemoryError):
        is_whole = False
    if not is_whole:
        raise OSError("a COLMAP model could not be written whole; most likely the disk is full. Free some space")


def write_transforms(reconstruction: Reconstruction, folder: Path) -> None:
    """FOLDER/transforms.json as nerfstudio reads it, for photos in FOLDER/images, and points in FOLDER/points.ply."""
    columns = [(name, "f4") for name in "xyz"] + [(name, "u1") for name in ("red", "green", "blue")]
    points = np.empty(len(reconstruction.points), columns)
    points["x"], points["y"], points["z"] = reconstruction.points.float().numpy().T
    colors = (reconstruction.colors * 255).round().clamp(0, 255).numpy()
    points["red"], points["green"], points["blue"] = colors.T
    with atomic_write(folder / "points.ply") as temporary:
        PlyData([PlyElement.describe(points, "vertex")], byte_order="<").write(str(temporary))
    photos = [f"images/{name}" for name in reconstruction.names]
    save_cameras(folder / "transforms.json", photos, reconstruction.cameras, "points.ply")


def save_cameras(path: Path, photos: Sequence[str], cameras: Cameras, points: str | None = None) -> None:
    """Writes cameras as a `transforms.json`, whole or not at all: camera-to-world, OpenGL axes.

    Picture sizes and lenses stand once for all cameras if they are the same for all, else with each camera.

    Args:
        photos: a picture for each camera, relative to the folder of `path`; they need not be there.
        points: a PLY file of sparse points, relative to that folder.
    """
    sizes = [{"w": width, "h": height} for width, height in cameras.own_sizes]
    lenses = [
        {"fl_x": K[0, 0].item(), "fl_y": K[1, 1].item(), "cx": K[0, 2].item(), "cy": K[1, 2].item()}
        for K in cameras.Ks.double()
    ]
    content = {"camera_model": "OPENCV", "k1": 0.0, "k2": 0.0, "p1": 0.0, "p2": 0.0}
    frames = [{"file_path": photo} for photo in photos]
    for values in (sizes, lenses):
        if all(value == values[0] for value in values):
            content |= values[0]
        else:
            frames = [frame | value for frame, value in zip(frames, values, strict=True)]
    matrices = opengl_from_viewmats(cameras.viewmats.double()).tolist()
    content |= {} if points is None else {"ply_file_path": points}
    content["frames"] = [frame | {"transform_matrix": matrix} for frame, matrix in zip(frames, matrices, strict=True)]
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1))


def write_trajectories(trajectories: Trajectories, path: Path) -> Path:
    """Writes `path` as JSON and, beside it, the same as TUM text, whose path is returned.

    TUM's lines are `seconds x y z qx qy qz qw`, world from camera. Photos without a time of their own are a second
    apart there; an exposure of unknown length fills half the smallest gap between photos.

    Raises:
        FormatError: `path` is not named NAME.json.
    """
    if path.suffix.lower() != ".json":
        raise FormatError(f"trajectories are JSON with a TUM file beside: {path} must end in .json")
    poses = inverse(trajectories.viewmats.double())
    photos = [
        {
            "name": name, "taken_at_s": taken, "exposure_s": exposure,
            "shutter_time": trajectories.shutter_times.tolist(), "world_from_camera": matrices.tolist(),
        }
        for name, taken, exposure, matrices in zip(
            trajectories.names, trajectories.taken_at_s, trajectories.exposures_s, poses, strict=True
        )
    ]  # fmt: skip
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps({"conventions": CONVENTIONS, "photos": photos}, indent=1))
    text = path.with_suffix(".tum")
    with atomic_write(text) as temporary:
        temporary.write_text("".join(_tum_lines(trajectories, poses)))
    return text


def _tum_lines(trajectories: Trajectories, poses: Float[Tensor, "photo time 4 4"]) -> list[str]:
    taken = [index + 0.5 if t is None else t for index, t in enumerate(trajectories.taken_at_s)]
    gaps = np.diff(np.unique(taken))
    spare = 0.5 * float(gaps.min()) if len(gaps) else 0.5
    quats = quat_from_matrix(poses[..., :3, :3]).roll(-1, dims=-1)  # xyzw
    lines = ["# seconds x y z qx qy qz qw, world from camera, OpenCV axes\n"]
    for photo in np.argsort(taken, kind="stable"):
        exposure = trajectories.exposures_s[photo]
        seconds = taken[photo] + (trajectories.shutter_times.double() - 0.5) * (spare if exposure is None else exposure)
        rows = torch.cat([seconds[:, None], poses[photo, :, :3, 3], quats[photo]], dim=1)
        lines += [" ".join(f"{value:.9g}" if i else f"{value:.6f}" for i, value in enumerate(row)) + "\n"
                  for row in rows.tolist()]  # fmt: skip
    return lines
