"""Poses that came along: transforms.json, COLMAP models, LLFF's poses_bounds.npy."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import torch

from ..capture import Capture
from ..capture.listing import colmap_model, listed_path, llff_photos
from ..errors import PoseError
from ..geometry import Cameras, inverse
from .lenses import pinhole_lens
from .reconstruction import Posed, posed_from_colmap
from .transforms import read_transforms, rigid


def read_poses(path: Path, split: str | None = None) -> Posed:
    """The poses in `path`, named as it names its photos (`file_path`, relative to the file's folder).

    Args:
        path: a `transforms.json`, a COLMAP model, a `poses_bounds.npy`, or a folder that holds one of these.
        split: of a `transforms.json` only this part, such as "train" or "test"; None for all.

    Raises:
        PoseError: it holds no poses, or nonsense, or no frame of that split.
    """
    if path.is_dir():
        found = [path / n for n in ("transforms.json", "transforms_train.json") if (path / n).is_file()]
        bounds = path / "poses_bounds.npy"
        path = next(iter(found), colmap_model(path) or (bounds if bounds.is_file() else path))
    if path.is_dir() and colmap_model(path) is not None:
        return _read_colmap(colmap_model(path) or path)
    if path.suffix == ".npy" and path.is_file():
        return _read_llff(path)
    if path.suffix == ".json" and path.is_file():
        return read_transforms(path, split)
    raise PoseError(f"{path} holds no poses; need transforms.json, a COLMAP model (sparse/0) or poses_bounds.npy")


def load_cameras(path: Path, split: str | None = None) -> tuple[tuple[str, ...], Cameras]:
    """Names of the photos in `path` and pinhole cameras of their undistorted versions; see `read_poses`."""
    posed = read_poses(path, split)
    return posed.names, posed.cameras()


def import_poses(path: Path, capture: Capture) -> Posed:
    """The poses of the capture's photos, from the file or folder that came with them.

    Intrinsics are scaled to the photos' size in the run. Photos that the file does not know are `missing`.

    Raises:
        PoseError: fewer than 3 photos have a pose, or sizes do not fit.
    """
    posed = read_poses(path)
    files = _photo_files(path, posed.names)
    rows = {file: row for row, file in enumerate(files)}
    known = [(f.name, rows[s]) for f in capture.frames if (s := Path(f.source).resolve()) in rows]
    missing = {f.name: f"{path} has no pose for it" for f in capture.frames if Path(f.source).resolve() not in rows}
    if len(known) < 3:
        raise PoseError(
            f"{path} has poses for {len(known)} of the {len(capture.frames)} photos, need at least 3. "
            "To find poses from the photos alone, give the folder of the photos as input"
        )
    sizes = {frame.name: capture.size_of(frame) for frame in capture.frames}
    lenses = tuple(_fitted(posed.lenses[row], sizes[name], name) for name, row in known)
    return replace(
        posed,
        names=tuple(name for name, _ in known),
        viewmats=posed.viewmats[[row for _, row in known]],
        lenses=lenses,
        missing=missing,
        velocities={name: posed.velocities[v] for name, row in known if (v := posed.names[row]) in posed.velocities},
        attempts=(f"poses came from {path}: {len(known)} of {len(capture.frames)} photos",),
    )


def _photo_files(path: Path, names: tuple[str, ...]) -> list[Path]:
    """The photo file behind each name that `read_poses` gave."""
    if path.suffix == ".json":
        return [listed_path(path, name).resolve() for name in names]
    # COLMAP's models lie in ROOT/sparse/0, ROOT/sparse or ROOT; poses_bounds.npy in ROOT.
    folder = next((p / "images" for p in (path, *path.parents) if (p / "images").is_dir()), path)
    return [(folder / name).resolve() for name in names]


def _fitted(lens: pycolmap.Camera, size: tuple[int, int], name: str) -> pycolmap.Camera:
    """The lens at the size of the run's photo."""
    width, height = size
    scale_x, scale_y = width / lens.width, height / lens.height
    # Rounding to whole pixels moves the two apart by about a pixel's worth, and no more.
    if abs(scale_x - scale_y) * max(lens.width, lens.height) > 2:
        raise PoseError(
            f"{name} is {width}x{height} px, its pose speaks of {lens.width}x{lens.height}: "
            "not the same shape. Use the photos that the poses were made from"
        )
    fitted = pycolmap.Camera(lens.todict())
    if (lens.width, lens.height) != size:
        fitted.rescale(width, height)
    return fitted


def _read_colmap(folder: Path) -> Posed:
    try:
        posed = posed_from_colmap(pycolmap.Reconstruction(folder))
    except (OSError, ValueError, RuntimeError) as error:
        raise PoseError(f"{folder} cannot be read as a COLMAP model ({error})") from error
    if not posed.names:
        raise PoseError(f"{folder} is a COLMAP model without registered images")
    return posed


def _read_llff(path: Path) -> Posed:
    """Poses of LLFF and Deblur-NeRF: rows of a 3x5 matrix [R | t | (h, w, f)] and two depth bounds.

    Columns of R are the camera's down, right and backward axes in the world.
    """
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise PoseError(f"{path} cannot be read as a NumPy array ({error})") from error
    if rows.ndim != 2 or rows.shape[1] != 17 or not np.isfinite(rows).all():
        raise PoseError(f"{path} has the shape {rows.shape}, need (photos, 17) finite numbers")
    photos, _ = llff_photos(path)
    if len(photos) != len(rows):
        raise PoseError(f"{path} has {len(rows)} poses for {len(photos)} photos in images/; they must be as many")
    matrices = torch.from_numpy(rows[:, :15].reshape(-1, 3, 5).astype(np.float64))
    down, right, back = matrices[..., 0], matrices[..., 1], matrices[..., 2]
    opencv = torch.stack([right, down, -back], dim=-1)
    poses = [rigid(r, t, f"{path}: row {i}") for i, (r, t) in enumerate(zip(opencv, matrices[..., 3], strict=True))]
    lenses = []
    for height, width, focal in matrices[..., 4].tolist():
        K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], dtype=torch.float64)
        lenses.append(pinhole_lens(K, round(width), round(height)))
    return Posed(tuple(p.name for p in photos), inverse(torch.stack(poses)), tuple(lenses))
