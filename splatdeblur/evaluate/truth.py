"""A reference folder: true cameras, sharp photos, held-out views and the camera's paths, as far as they are there."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..capture.pixels import read_photo, reduced_size, resize_photo
from ..errors import FormatError, PoseError, SplatDeblurError
from ..geometry import Cameras
from ..poses.imports import read_transforms
from ..poses.lenses import is_pinhole, undistort, undistortion_grid
from ..poses.reconstruction import Posed, viewmats_from_opengl
from .trajectory import Paths


@dataclass(frozen=True, eq=False)
class Views:
    """True cameras, and how to read the pictures taken by them.

    Attributes:
        posed: poses and lenses, which may be distorted.
        cameras: the pinholes that stand in for them, at full size, in the same order.
    """

    posed: Posed
    cameras: Cameras

    @property
    def names(self) -> tuple[str, ...]:
        """As transforms.json names them: with their folder."""
        return self.posed.names

    def read(self, index: int, path: Path, downscale: float) -> Float[Tensor, "height width 3"]:
        """The picture `path` taken by camera `index`, freed of distortion, reduced in linear light.

        Raises:
            FormatError: it has another size than its camera.
        """
        picture, lens = read_photo(path), self.posed.lenses[index]
        if picture.shape[:2] != (lens.height, lens.width):
            raise FormatError(
                f"{path} is {picture.shape[1]}x{picture.shape[0]} px, its camera {lens.width}x{lens.height}; "
                "need the pictures that the transforms.json speaks of"
            )
        width, height = self.cameras.own_sizes[index]
        if not is_pinhole(lens):
            grid = undistortion_grid(lens, self.cameras.Ks[index], width, height)
            flat = undistort((picture * 255).round().to(torch.uint8).numpy(), grid)
            picture = torch.from_numpy(flat).float() / 255
        elif (lens.width, lens.height) != (width, height):
            top, left = (lens.height - height) // 2, (lens.width - width) // 2
            picture = picture[top : top + height, left : left + width]
        return resize_photo(picture, *reduced_size(width, height, downscale))


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of a scene beyond its blurred photos.

    Attributes:
        photos: the photos' true mid-exposure cameras.
        tests: held-out sharp views; None where the folder has none.
        paths: where each photo's camera was while the shutter was open, in the order of `photos`; or None.
        missing: part -> why it is not there.
    """

    folder: Path
    photos: Views
    tests: Views | None
    paths: Paths | None
    missing: dict[str, str]

    def sharp(self, name: str) -> Path | None:
        """The sharp picture of a photo, whatever its file type."""
        return _same_stem(self.folder / "sharp", name)

    def test_picture(self, name: str) -> Path | None:
        """The picture of a held-out view."""
        path = self.folder / name
        is_inside = path.resolve().is_relative_to(self.folder.resolve())
        return path if is_inside and path.is_file() else _same_stem(self.folder / "test", name)


def _same_stem(folder: Path, name: str) -> Path | None:
    stem = Path(name).stem
    found = sorted(p for p in folder.glob("*.*") if p.stem == stem) if folder.is_dir() else []
    return found[0] if found else None


def _load_paths(path: Path, count: int) -> Paths:
    """The sampled paths of `trajectories.npz`; times run over exposure and read-out, mapped to [0, 1].

    Raises:
        FormatError: not that file, or not `count` photos.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            poses = torch.from_numpy(file["c2w"].astype(np.float64))
            times = torch.from_numpy(file["times"].astype(np.float64))
            readout = float(file["readout"]) if "readout" in file else 0.0
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path} holds no paths ({error}); need arrays c2w and times") from error
    if poses.ndim != 4 or poses.shape[1:] != (len(times), 4, 4) or len(poses) != count:
        raise FormatError(
            f"{path} has paths of shape {tuple(poses.shape)} at {len(times)} times; need ({count}, times, 4, 4), "
            "one for each training photo"
        )
    return Paths(viewmats_from_opengl(poses.flatten(0, 1)).view_as(poses), times / (1 + readout))


def load_truth(folder: Path) -> Truth:
    """Reads a reference folder; parts that are not there are noted in `missing`.

    Raises:
        PoseError: it has no transforms.json, or no training cameras in it.
    """
    transforms = folder / "transforms.json"
    if not transforms.is_file():
        what = "no transforms.json" if folder.is_dir() else "no such folder"
        raise PoseError(
            f"{folder}: {what}; a reference needs transforms.json with the true cameras, beside sharp/ and test/"
        )
    photos = read_transforms(transforms, "train")
    missing, tests = {}, None
    try:
        tests = read_transforms(transforms, "test")
    except SplatDeblurError as error:
        missing["novel_view"] = str(error)
    paths = None
    try:
        if not (folder / "trajectories.npz").is_file():
            raise FormatError(f"{folder} has no trajectories.npz")
        paths = _load_paths(folder / "trajectories.npz", len(photos.names))
    except FormatError as error:
        missing["path_error_px"] = str(error)
    if not (folder / "sharp").is_dir():
        missing["deblurred_inputs"] = f"{folder} has no folder sharp/"
    return Truth(
        folder, Views(photos, photos.cameras()), Views(tests, tests.cameras()) if tests else None, paths, missing
    )
