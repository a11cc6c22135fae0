"""A small cloud of Gaussians, cameras around it, and a reference folder made from their renders."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from splatdeblur.capture.pixels import write_picture
from splatdeblur.evaluate.studio import TrainedPhotos
from splatdeblur.geometry import Cameras, exp, inverse, look_at
from splatdeblur.render.reference import ReferenceRasterizer
from splatdeblur.run import Run
from splatdeblur.scene import Gaussians

SIZE = (48, 36)
OPENGL = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))


@dataclass(frozen=True)
class World:
    """A scene, the cameras of its photos and test views, and how each photo's camera moved."""

    scene: Gaussians
    cameras: Cameras
    test_cameras: Cameras
    paths: torch.Tensor
    times: torch.Tensor
    rasterizer: ReferenceRasterizer


def _cameras(count: int, height: float) -> Cameras:
    angle = torch.linspace(0, 1.5, count, dtype=torch.float64)
    eyes = torch.stack([3 * angle.cos(), 3 * angle.sin(), height + 0.3 * (3 * angle).sin()], -1)
    up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    K = torch.tensor([[45.0, 0, 24], [0, 45.0, 18], [0, 0, 1]], dtype=torch.float64)
    viewmats = look_at(eyes, torch.zeros(count, 3, dtype=torch.float64), up)
    return Cameras(viewmats, K.expand(count, 3, 3), *SIZE)


@pytest.fixture(scope="session")
def world() -> World:
    g = torch.Generator().manual_seed(0)
    count = 80
    scene = Gaussians.from_raw(
        torch.randn(count, 3, generator=g) * 0.6,
        torch.randn(count, 4, generator=g),
        torch.rand(count, 3, generator=g) * 0.8 - 2.6,
        torch.full((count,), 2.0),
        torch.randn(count, 1, 3, generator=g) * 1.2,
    )
    cameras = _cameras(6, 0.8)
    times = torch.linspace(0, 1, 9, dtype=torch.float64)
    twists = 0.02 * torch.randn(6, 1, 6, generator=g, dtype=torch.float64)
    paths = exp(twists * (times[None, :, None] - 0.5)) @ cameras.viewmats[:, None]
    rasterizer = ReferenceRasterizer(dtype=torch.float32)
    return World(scene, cameras, _cameras(3, 1.2), paths, times, rasterizer)


def _frames(folder: str, split: str, cameras: Cameras) -> list[dict]:
    poses = inverse(cameras.viewmats) @ OPENGL
    return [
        {"file_path": f"{folder}/{i:03d}.png", "split": split, "transform_matrix": pose.tolist()}
        for i, pose in enumerate(poses)
    ]


@pytest.fixture
def reference(world: World, tmp_path: Path) -> Path:
    """A reference folder of the world, as the desk capture lays it out."""
    folder = tmp_path / "reference"
    for name, cameras in [("sharp", world.cameras), ("images", world.cameras), ("test", world.test_cameras)]:
        for i, picture in enumerate(world.rasterizer.render(world.scene, cameras).rgb):
            write_picture(folder / name / f"{i:03d}.png", picture)
    K = world.cameras.Ks[0]
    frames = _frames("images", "train", world.cameras) + _frames("test", "test", world.test_cameras)
    lens = {"camera_model": "PINHOLE", "w": SIZE[0], "h": SIZE[1], "fl_x": K[0, 0].item(), "fl_y": K[1, 1].item()}
    lens |= {"cx": K[0, 2].item(), "cy": K[1, 2].item()}
    split = {f"{name}_filenames": [f["file_path"] for f in frames if f["split"] == name] for name in ("train", "test")}
    (folder / "transforms.json").write_text(json.dumps({**lens, **split, "frames": frames}))
    c2w = inverse(world.paths) @ OPENGL
    np.savez(folder / "trajectories.npz", c2w=c2w.numpy(), times=world.times.numpy(), readout=0.0)
    return folder


@pytest.fixture
def trained(world: World, reference: Path, tmp_path: Path) -> tuple[Run, TrainedPhotos]:
    """A perfect run: photos named .jpg where the reference has .png, cameras and paths as they were."""
    run = Run(tmp_path / "run")
    names = tuple(f"{i:03d}.jpg" for i in range(len(world.cameras)))
    for name in names:
        source = reference / "images" / name.replace("jpg", "png")
        run.images.mkdir(parents=True, exist_ok=True)
        (run.images / name).write_bytes(source.read_bytes())
    return run, TrainedPhotos(names, world.cameras, world.paths, world.times)
