"""Where the cameras were: poses, lenses and sparse points, from COLMAP or from a file that brought them.

The only place that knows COLMAP's quaternions (xyzw) and OpenGL's axes.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pycolmap
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..errors import PoseError
from ..geometry import Cameras, inverse
from ..run import Run
from .evidence import Evidence
from .lenses import (
    intrinsics,
    is_pinhole,
    pinhole_lens,
    straightened,
    undistort,
    undistort_mask,
    undistortion_grid,
)

UNTOLD_SEARCH_S = 300.0  # what runs that only say that they searched by rendering were given


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Posed photos and the sparse points seen by them.

    Attributes:
        names: file names of the registered photos, in the order of `cameras`.
        cameras: their poses at mid-exposure and pinhole intrinsics, at the size of the undistorted photos.
        points, colors: sparse points in world units and their sRGB colours in [0, 1]; may be empty.
        missing: photos without a pose, name -> reason.
        reprojection_px: mean reprojection error of the points; None where these, or none, came from a file.
        attempts: what was tried, in order, each a sentence with its result.
        evidence: what holds the poses that structure from motion found, by name; none for others.
        lost_lenses: pinholes of photos without a pose, as far as they are known, by name.
        guesses: other poses that photos without a firm one may have, [4, 4] each, by name.
        searched_s: seconds given to looking for photos without a firm pose by rendering; 0 where that was not done.
        velocities: of cameras while their photos were exposed, where a file told them, by name: [6] each, world units
            and radians per exposure, along and about the camera's own OpenCV axes.
        readout: seconds from the first row's exposure to the last row's, over the exposure time, where a file told it.
    """

    names: tuple[str, ...]
    cameras: Cameras
    points: Float[Tensor, "P 3"]
    colors: Float[Tensor, "P 3"]
    missing: dict[str, str]
    reprojection_px: float | None
    attempts: tuple[str, ...]
    evidence: dict[str, Evidence] = field(default_factory=dict)
    lost_lenses: dict[str, pycolmap.Camera] = field(default_factory=dict)
    guesses: dict[str, list[Tensor]] = field(default_factory=dict)
    searched_s: float = 0.0
    velocities: dict[str, Tensor] = field(default_factory=dict)
    readout: float = 0.0

    @property
    def doubtful(self) -> dict[str, str]:
        """Registered photos whose pose is not to be believed, name -> reason."""
        doubts = {name: self.evidence[name].doubt for name in self.names if name in self.evidence}
        return {name: doubt for name, doubt in doubts.items() if doubt}


@dataclass(frozen=True, eq=False)
class Posed:
    """Poses of photos as they were taken, before distortion is taken out of them.

    Attributes:
        names: of the photos.
        viewmats: their poses, float64.
        lenses: one per photo, at the photo's size in px.
        points, colors, missing, reprojection_px, attempts, evidence, velocities, readout: as in Reconstruction.
        lost_lenses: of photos without a pose, as far as they are known, by name.
        guesses: other poses that photos may have, in the same world, by name.
    """

    names: tuple[str, ...]
    viewmats: Float[Tensor, "camera 4 4"]
    lenses: tuple[pycolmap.Camera, ...]
    points: Float[Tensor, "P 3"] = field(default_factory=lambda: torch.zeros(0, 3, dtype=torch.float64))
    colors: Float[Tensor, "P 3"] = field(default_factory=lambda: torch.zeros(0, 3, dtype=torch.float64))
    missing: dict[str, str] = field(default_factory=dict)
    reprojection_px: float | None = None
    attempts: tuple[str, ...] = ()
    evidence: dict[str, Evidence] = field(default_factory=dict)
    lost_lenses: dict[str, pycolmap.Camera] = field(default_factory=dict)
    guesses: dict[str, list[Tensor]] = field(default_factory=dict)
    velocities: dict[str, Tensor] = field(default_factory=dict)
    readout: float = 0.0

    @property
    def is_distorted(self) -> bool:
        return not all(is_pinhole(lens) for lens in self.all_lenses.values())

    @property
    def all_lenses(self) -> dict[str, pycolmap.Camera]:
        """Of the photos with a pose and of those without one, by name."""
        return dict(zip(self.names, self.lenses, strict=True)) | self.lost_lenses

    def cameras(self) -> Cameras:
        """The pinhole cameras of the undistorted photos."""
        Ks, sizes = straightened([*self.lenses, *self.lost_lenses.values()])  # names may stand there twice
        return Cameras.of_sizes(self.viewmats, Ks[: len(self.names)], sizes[: len(self.names)])

    def straightened(self) -> Reconstruction:
        """The reconstruction of the undistorted photos."""
        Ks, sizes = (rows[len(self.names) :] for rows in straightened(list(self.all_lenses.values())))
        lost = {name: pinhole_lens(K, *size) for name, K, size in zip(self.lost_lenses, Ks, sizes, strict=True)}
        doubted = {name for name in self.names if name in self.evidence and self.evidence[name].doubt}
        return Reconstruction(
            self.names,
            self.cameras(),
            self.points,
            self.colors,
            self.missing,
            self.reprojection_px,
            self.attempts,
            self.evidence,
            lost,
            {name: poses for name, poses in self.guesses.items() if name in doubted or name not in self.names},
            velocities=self.velocities,
            readout=self.readout,
        )


def viewmats_from_opengl(world_from_camera: Float[Tensor, "camera 4 4"]) -> Float[Tensor, "camera 4 4"]:
    """View matrices from camera-to-world matrices with OpenGL axes (x right, y up, looking along -z)."""
    opengl_from_opencv = torch.diag(world_from_camera.new_tensor([1.0, -1.0, -1.0, 1.0]))
    return inverse(world_from_camera @ opengl_from_opencv)


def opengl_from_viewmats(viewmats: Float[Tensor, "camera 4 4"]) -> Float[Tensor, "camera 4 4"]:
    """Camera-to-world matrices with OpenGL axes; the inverse of `viewmats_from_opengl`."""
    return inverse(viewmats) @ torch.diag(viewmats.new_tensor([1.0, -1.0, -1.0, 1.0]))


def posed_from_colmap(model: pycolmap.Reconstruction) -> Posed:
    """The registered images of a COLMAP model, sorted by name, and its points."""
    images = sorted((i for i in model.images.values() if i.has_pose), key=lambda i: i.name)
    viewmats = torch.eye(4, dtype=torch.float64).repeat(len(images), 1, 1)
    for viewmat, image in zip(viewmats, images, strict=True):
        viewmat[:3] = torch.from_numpy(np.array(image.cam_from_world().matrix()))
    points = list(model.points3D.values())
    return Posed(
        names=tuple(i.name for i in images),
        viewmats=viewmats,
        lenses=tuple(model.cameras[i.camera_id] for i in images),
        points=torch.tensor(np.array([p.xyz for p in points])).reshape(-1, 3).double(),
        colors=torch.tensor(np.array([p.color for p in points])).reshape(-1, 3).double() / 255,
    )


def colmap_from_reconstruction(reconstruction: Reconstruction) -> pycolmap.Reconstruction:
    """A COLMAP model with PINHOLE cameras, one for each lens and size, and points without tracks."""
    model = pycolmap.Reconstruction()
    cameras = reconstruction.cameras
    camera_ids: dict[tuple, int] = {}
    for index, (name, viewmat) in enumerate(zip(reconstruction.names, cameras.viewmats, strict=True)):
        lens = pinhole_lens(cameras.Ks[index], *cameras.own_sizes[index])
        camera_id = camera_ids.setdefault((*lens.params, lens.width, lens.height), len(camera_ids) + 1)
        if not model.exists_camera(camera_id):
            lens.camera_id = camera_id
            model.add_camera_with_trivial_rig(lens)
        image = pycolmap.Image(name=name, camera_id=camera_id, image_id=index + 1)
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(viewmat[:3].double().numpy()))
    colors = (reconstruction.colors * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    for point, color in zip(reconstruction.points.double().numpy(), colors, strict=True):
        model.add_point3D(point, pycolmap.Track(), color)
    return model


def photo_path(run: Run, name: str) -> Path:
    """The photo that fits the pinhole cameras: the undistorted one if there is one, else `images/`."""
    undistorted = _undistorted_path(run.poses / "images", name)
    return undistorted if undistorted.is_file() else run.images / name


def mask_path(run: Run, name: str) -> Path | None:
    """The mask that fits `photo_path`; None if all of the photo counts."""
    masks = (run.poses / "masks" if photo_path(run, name).is_relative_to(run.poses) else run.masks) / f"{name}.png"
    return masks if masks.is_file() else None


def _undistorted_path(folder: Path, name: str) -> Path:
    return folder / (name if name.lower().endswith(".png") else f"{name}.png")  # lossless whatever the photo was


def save_posed(
    posed: Posed, run: Run, *, made_from: str, on_progress: Callable[[float | None, str], None]
) -> Reconstruction:
    """Writes `poses/` (poses.json, a COLMAP model in sparse/, undistorted photos if the lens bends lines),
    whole or not at all, and returns what was written.

    Args:
        made_from: says from which photos and settings; `is_saved_from` compares it.

    Raises:
        PoseError: `poses/` holds something else, which would be lost.
    """
    if run.poses.exists() and not (run.poses / "poses.json").exists():
        raise PoseError(f"{run.poses} was not made by this program; choose another folder for the run")
    reconstruction = posed.straightened()
    run.folder.mkdir(parents=True, exist_ok=True)
    with _replaced(run.poses) as folder:
        if posed.is_distorted:
            _write_undistorted(posed, run, folder, on_progress)
        _write_model(reconstruction, folder, made_from)
    return reconstruction


def save_again(reconstruction: Reconstruction, run: Run) -> None:
    """Writes `poses/` with other poses of the same photos, whole or not at all."""
    made_from = json.loads((run.poses / "poses.json").read_text())["made_from"]
    with _replaced(run.poses) as folder:
        for part in ("images", "masks"):
            if (run.poses / part).exists():
                shutil.copytree(run.poses / part, folder / part)
        _write_model(reconstruction, folder, made_from)


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """Yields a new folder that takes the place of the folder `path` at the end; on any failure that one stays."""
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield folder
        if path.exists():
            shutil.rmtree(path)
        folder.chmod(0o755)
        folder.rename(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_model(reconstruction: Reconstruction, folder: Path, made_from: str) -> None:
    """poses.json and sparse/."""
    (folder / "sparse").mkdir()
    colmap_from_reconstruction(reconstruction).write(folder / "sparse")
    lost = {n: {"params": list(c.params), "size": [c.width, c.height]} for n, c in reconstruction.lost_lenses.items()}
    facts = {
        "registered": reconstruction.names,
        "missing": reconstruction.missing,
        "doubtful": reconstruction.doubtful,
        "searched_s": reconstruction.searched_s,
        "reprojection_px": reconstruction.reprojection_px,
        "attempts": reconstruction.attempts,
        "evidence": {name: asdict(found) for name, found in reconstruction.evidence.items()},
        "lost_lenses": lost,
        "guesses": {name: [p.tolist() for p in poses] for name, poses in reconstruction.guesses.items()},
        "velocities": {name: velocity.tolist() for name, velocity in reconstruction.velocities.items()},
        "readout": reconstruction.readout,
        "made_from": made_from,
    }
    (folder / "poses.json").write_text(json.dumps(facts, indent=1))


def _write_undistorted(posed: Posed, run: Run, folder: Path, on_progress: Callable[[float | None, str], None]) -> None:
    """Photos and their masks as pinhole cameras would have taken them, to `images/` and `masks/` in `folder`."""
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    lenses = posed.all_lenses
    pinholes = zip(lenses.values(), *straightened(list(lenses.values())), strict=True)
    straight = {id(lens): (lens, K, *size) for lens, K, size in pinholes}

    @lru_cache(maxsize=2)  # most often all photos share one lens; where each has its own, grids of all are too much
    def grid_of(lens: int) -> Tensor:
        return undistortion_grid(*straight[lens])

    def write(name: str, lens: pycolmap.Camera) -> None:
        grid = grid_of(id(lens))
        with Image.open(run.images / name) as image:
            picture = undistort(np.asarray(image.convert("RGB")), grid)
        Image.fromarray(picture).save(_undistorted_path(folder / "images", name), compress_level=3)
        mask = run.masks / f"{name}.png"
        if mask.is_file():
            with Image.open(mask) as image:
                keep = undistort_mask(np.asarray(image.convert("L")) > 0, grid)
            Image.fromarray(keep.astype(np.uint8) * 255).save(folder / "masks" / mask.name)

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        done = [pool.submit(write, *item) for item in lenses.items()]
        for index, future in enumerate(done):
            on_progress(index / len(done), f"undistorting photo {index + 1} of {len(done)}")
            future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def is_saved_from(run: Run, made_from: str) -> bool:
    """Whether `poses/` was made from these photos and settings."""
    try:
        return json.loads((run.poses / "poses.json").read_text())["made_from"] == made_from
    except (OSError, ValueError, KeyError, TypeError):
        return False


def load_reconstruction(run: Run) -> Reconstruction:
    """Reads what `find_poses` wrote.

    Raises:
        FormatError: the stage has not run.
        PoseError: the files are damaged.
    """
    path = run.require(run.poses / "poses.json", "pose")
    try:
        facts = json.loads(path.read_text())
        posed = posed_from_colmap(pycolmap.Reconstruction(run.poses / "sparse"))
        rows = [posed.names.index(name) for name in facts["registered"]]
        lenses: Sequence[pycolmap.Camera] = [posed.lenses[row] for row in rows]
        cameras = Cameras.of_sizes(
            posed.viewmats[rows],
            torch.stack([intrinsics(c) for c in lenses]),
            [(c.width, c.height) for c in lenses],
        )
        return Reconstruction(
            tuple(facts["registered"]),
            cameras,
            posed.points,
            posed.colors,
            facts["missing"],
            facts["reprojection_px"],
            tuple(facts["attempts"]),
            {name: Evidence(**found) for name, found in facts.get("evidence", {}).items()},
            {
                name: pycolmap.Camera(
                    model="PINHOLE", width=lens["size"][0], height=lens["size"][1], params=lens["params"]
                )
                for name, lens in facts.get("lost_lenses", {}).items()
            },
            {
                name: [torch.tensor(pose, dtype=torch.float64) for pose in poses]
                for name, poses in facts.get("guesses", {}).items()
            },
            facts.get("searched_s", UNTOLD_SEARCH_S if facts.get("is_rendered") else 0.0),
            {name: torch.tensor(v, dtype=torch.float64) for name, v in facts.get("velocities", {}).items()},
            facts.get("readout", 0.0),
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError) as error:
        raise PoseError(f"{run.poses} is damaged ({error}); delete it and run `splatdeblur pose` again") from error
