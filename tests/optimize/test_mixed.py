"""Training on photos of several sizes, and on photos through which something moves."""

from dataclasses import replace

import pytest
import synthetic
import torch

from splatdeblur.exposure import Bezier, Static
from splatdeblur.geometry import Cameras
from splatdeblur.optimize import PhotoSet, TrainConfig, Trainer, checkpoint, initial_scene
from splatdeblur.optimize.density import Default
from splatdeblur.optimize.schedules import Resolution
from splatdeblur.render import RenderOptions
from splatdeblur.render.cpu import CpuRasterizer

CONFIG = TrainConfig(
    steps=250, gaussians=1200, motion=Static(), density=Default(start=0.05, every=20, threshold=(1e-6, 1e-6)),
    resolution=Resolution((2, 1), (0.3,)),
)  # fmt: skip
MAGENTA = torch.tensor([1.0, 0.0, 1.0])


@pytest.fixture(scope="module")
def shots():
    return synthetic.make_capture(synthetic.make_scene(0), photos=8, size=(64, 48), blur_px=0, subframes=1, tests=3)


def cameras_of(shots, viewmats) -> Cameras:
    viewmats = torch.as_tensor(viewmats).float()
    return Cameras(viewmats, torch.as_tensor(shots.K).float().expand(len(viewmats), 3, 3), *shots.size)


def make_trainer(shots, cameras: Cameras, pictures, masks=None, config=CONFIG) -> Trainer:
    names = tuple(f"{i:03d}.png" for i in range(len(cameras)))
    photos = PhotoSet.build(names, cameras, pictures, config.resolution.levels, masks)
    scene = initial_scene(
        cameras, torch.as_tensor(shots.points).float(), torch.as_tensor(shots.point_colors).float(),
        count=400, sh_degree=1, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    return Trainer(photos, scene, config, CpuRasterizer())


def novel_views(trainer: Trainer, shots) -> torch.Tensor:
    with torch.no_grad():
        scene = trainer.scene.detached()
        return trainer.rasterizer.render(scene, cameras_of(shots, shots.test_viewmats), options=RenderOptions()).rgb


def test_something_that_moves_is_no_part_of_the_scene_where_masks_cover_it(shots):
    clean = torch.as_tensor(shots.photos).float()
    painted, masks = clean.clone(), torch.ones(clean.shape[:3], dtype=torch.bool)
    for index in range(len(clean)):  # it crosses the picture, where the scene is
        left, top = 6 + 5 * index, 14 + 2 * (index % 3)
        painted[index, top : top + 14, left : left + 14] = MAGENTA
        masks[index, top : top + 14, left : left + 14] = False
    truth = torch.as_tensor(shots.test).float()
    errors = {}
    cases = ("clean", clean, None), ("painted", painted, None), ("masked", painted, tuple(masks))
    for name, pictures, keeps in cases:
        trainer = make_trainer(shots, cameras_of(shots, shots.viewmats), pictures, keeps)
        for _ in trainer.run():
            pass
        views = novel_views(trainer, shots)
        is_magenta = (views[..., [0, 2]].mean(-1) - views[..., 1]) > 0.35
        errors[name] = (views - truth).square().mean().item(), is_magenta.float().mean().item()
    print(errors)
    assert errors["painted"][1] > 0.01  # or the test would show nothing
    assert errors["masked"][1] <= errors["clean"][1] + 0.001
    assert errors["masked"][0] < 0.5 * (errors["clean"][0] + errors["painted"][0])


def test_portrait_and_landscape_train_together_as_well_as_alike(shots, tmp_path):
    """Every other photo is cut to its upright middle: the rest of the pictures stays, and so does the scene."""
    pictures = list(torch.as_tensor(shots.photos).float())
    alike = cameras_of(shots, shots.viewmats)
    Ks, sizes = alike.Ks.clone(), [shots.size] * len(alike)
    for index in range(0, len(alike), 2):
        pictures[index] = pictures[index][:, 14:50]
        Ks[index, 0, 2] -= 14
        sizes[index] = (36, 48)
    config = replace(CONFIG, motion=Bezier(order=3), crop_pixels=4096)
    trainer = make_trainer(shots, Cameras.of_sizes(alike.viewmats, Ks, sizes), pictures, config=config)
    for _ in trainer.run():
        pass
    truth = torch.as_tensor(shots.test).float()
    error = (novel_views(trainer, shots) - truth).square().mean()
    whole = make_trainer(shots, alike, torch.as_tensor(shots.photos).float(), config=config)
    for _ in whole.run():
        pass
    assert error < 1.6 * (novel_views(whole, shots) - truth).square().mean()
    checkpoint.save(trainer, tmp_path / "latest.pt", {})
    assert checkpoint.load(tmp_path / "latest.pt").cameras.own_sizes == tuple(sizes)
