import math
import shutil
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import synthetic
import torch
from PIL import Image

from splatdeblur.capture import Capture, prepare
from splatdeblur.geometry import inverse
from splatdeblur.poses import find_poses, load_reconstruction
from splatdeblur.poses.imports import import_poses
from splatdeblur.poses.lenses import intrinsics
from splatdeblur.poses.reconstruction import Posed
from splatdeblur.poses.triangulate import near_pairs, with_points
from splatdeblur.run import Run

SIZE = (160, 120)


@pytest.fixture(scope="module")
def shots() -> synthetic.SyntheticCapture:
    scene = synthetic.make_scene(0, texels=256)
    return synthetic.make_capture(scene, photos=8, size=SIZE, blur_px=(0, 0, 0, 2), subframes=4, tests=1, samples=1)


@pytest.fixture(scope="module")
def folder(shots, tmp_path_factory) -> Path:
    return shots.save(tmp_path_factory.mktemp("shots"))


@pytest.fixture
def capture(folder, tmp_path) -> tuple[Run, Capture]:
    run = Run(tmp_path / "run")
    return run, prepare(folder, run)


def depth_errors(points: np.ndarray, shots: synthetic.SyntheticCapture) -> np.ndarray:
    """How far each point is from the surface, as a fraction of its depth, in the photo where it fits best."""
    errors = np.full(len(points), np.inf)
    for depth, viewmat in zip(shots.depth, shots.viewmats, strict=True):
        local = points @ viewmat[:3, :3].T + viewmat[:3, 3]
        column, row = np.floor((local @ shots.K.T)[:, :2] / local[:, 2:]).astype(int).T
        seen = (local[:, 2] > 0) & (column >= 0) & (column < SIZE[0]) & (row >= 0) & (row < SIZE[1])
        true = depth[row[seen], column[seen]]
        errors[seen] = np.minimum(errors[seen], abs(local[seen, 2] - true) / true)
    return errors


def test_points_lie_on_the_surface_and_poses_stay_as_they_came(capture, shots):
    run, taken = capture
    messages = []
    found = find_poses(run, taken, on_progress=lambda fraction, message: messages.append((fraction, message)))
    errors = depth_errors(found.points.numpy(), shots)
    assert len(errors) > 50
    assert np.median(errors) < 0.02 and np.quantile(errors, 0.9) < 0.06
    imported = import_poses(Path(taken.known_poses), taken)
    assert torch.equal(found.cameras.viewmats, imported.viewmats)
    assert torch.equal(found.cameras.Ks, imported.cameras().Ks)
    assert found.names == imported.names
    assert 0 < found.reprojection_px < 4
    assert "triangulated" in found.attempts[-1] and len(found.attempts) == 2
    assert any("points" in m for _, m in messages) and all(0 <= f <= 1 for f, _ in messages)
    again = load_reconstruction(run)
    assert torch.equal(again.points.sort(0).values, found.points.sort(0).values)
    torch.testing.assert_close(again.cameras.viewmats, imported.viewmats, atol=1e-12, rtol=0)


def test_colours_are_those_of_the_photos(capture, shots):
    found = find_poses(*capture)
    viewmats, K = torch.from_numpy(shots.viewmats), torch.from_numpy(shots.K)
    local = torch.einsum("cij,pj->cpi", viewmats[:, :3, :3], found.points) + viewmats[:, None, :3, 3]
    pixels = (local @ K.mT)[..., :2] / local[..., 2:]
    scale = 2 / torch.tensor(SIZE, dtype=torch.float64)
    photos = torch.from_numpy(shots.sharp).permute(0, 3, 1, 2).double()
    values = torch.nn.functional.grid_sample(photos, (pixels * scale - 1)[:, None], align_corners=False)[:, :, 0]
    apart = (values.permute(0, 2, 1) - found.colors).abs().mean(-1).amin(0)
    assert apart.median() < 0.05


def test_the_same_seed_gives_the_same_points(folder, tmp_path):
    first, second = (
        find_poses(run, prepare(folder, run), seed=3) for run in (Run(tmp_path / "first"), Run(tmp_path / "second"))
    )
    assert torch.equal(first.points.sort(0).values, second.points.sort(0).values), (first.attempts, second.attempts)


def test_lenses_that_bend_lines_and_differ_are_used_as_they_are(capture, shots, tmp_path):
    _, taken = capture
    imported = import_poses(Path(taken.known_poses), taken)
    f, _, cx, cy = imported.lenses[0].params[:4]
    bent = [
        pycolmap.Camera(model="OPENCV", width=SIZE[0], height=SIZE[1], params=[f, f, cx, cy, k, 0.0, 0.0, 0.0])
        for k in (0.1, -0.08)
    ]
    lenses = tuple(bent[index % 2] for index in range(len(imported.names)))
    photos = tmp_path / "bent"
    photos.mkdir()
    for name, lens, photo in zip(imported.names, lenses, shots.photos, strict=True):
        Image.fromarray(bend(photo, lens)).save(photos / name)
    before = [list(lens.params) for lens in lenses]
    posed = Posed(imported.names, imported.viewmats, lenses)
    found = with_points(posed, photos, taken, seed=0, on_progress=lambda *_: None, time_limit_s=None)
    assert found.lenses == lenses and [list(lens.params) for lens in lenses] == before
    assert torch.equal(found.viewmats, imported.viewmats)
    errors = depth_errors(found.points.numpy(), shots)
    assert len(errors) > 30 and np.median(errors) < 0.02


def bend(photo: np.ndarray, lens: pycolmap.Camera) -> np.ndarray:
    """The photo that the lens takes of what a pinhole camera of the same focal length photographed."""
    width, height = SIZE
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = lens.cam_from_img(np.stack([u.ravel(), v.ravel()], -1))
    K = intrinsics(lens).numpy()
    pixels = rays[:, :2] * [K[0, 0], K[1, 1]] + K[:2, 2]
    grid = torch.from_numpy(pixels / [width, height] * 2 - 1).reshape(1, height, width, 2).float()
    image = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    bent = torch.nn.functional.grid_sample(image, grid, mode="bicubic", padding_mode="border", align_corners=False)
    return (bent[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()


def test_photos_without_texture_give_no_points_and_no_error(folder, tmp_path, caplog):
    plain = tmp_path / "in"
    shutil.copytree(folder, plain)
    for path in (plain / "images").glob("*.png"):
        Image.new("RGB", SIZE, (120, 130, 140)).save(path)
    run = Run(tmp_path / "run")
    found = find_poses(run, prepare(plain, run))
    assert found.points.shape == (0, 3) and found.colors.shape == (0, 3)
    assert found.reprojection_px is None and len(found.names) == 8
    assert "no points could be triangulated" in found.attempts[-1]
    assert sum("no points could be triangulated" in r.message for r in caplog.records) == 1
    assert load_reconstruction(run).points.shape == (0, 3)


def test_no_time_gives_no_points_and_no_error(capture):
    found = find_poses(*capture, time_limit_s=0.0)
    assert len(found.points) == 0 and len(found.names) == 8
    assert "time limit" in found.attempts[-1]


def test_ctrl_c_stops_it_and_leaves_no_poses(capture):
    run, taken = capture

    def stop(fraction, message):
        if "matches" in message:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_poses(run, taken, on_progress=stop)
    assert not run.poses.exists()


def test_of_many_photos_the_ones_that_look_alike_are_compared():
    angle = torch.linspace(0, 2 * math.pi, 101, dtype=torch.float64)[:-1]
    world_from_camera = torch.eye(4, dtype=torch.float64).repeat(100, 1, 1)
    world_from_camera[:, :3, 0] = torch.stack([-angle.sin(), angle.cos(), 0 * angle], -1)
    world_from_camera[:, :3, 1] = torch.tensor([0.0, 0, -1])
    world_from_camera[:, :3, 2] = torch.stack([-angle.cos(), -angle.sin(), 0 * angle], -1)
    world_from_camera[:, :3, 3] = -3 * world_from_camera[:, :3, 2]
    names = tuple(f"{i:03d}" for i in range(100))
    pairs = near_pairs(names, inverse(world_from_camera), most=12)
    steps = [min((int(b) - int(a)) % 100, (int(a) - int(b)) % 100) for a, b in pairs]
    assert len(pairs) == len(set(pairs)) <= 1200 and all(a < b for a, b in pairs)
    assert max(steps) <= 13 and min(steps) == 1
    assert {name for pair in pairs for name in pair} == set(names)
