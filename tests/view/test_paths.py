"""Camera paths: as many views as asked for, smooth, rigid, and looking at what they should."""

import math

import pytest
import torch

from splatdeblur.errors import ConfigError
from splatdeblur.geometry import Cameras, look_at
from splatdeblur.scene import from_points
from splatdeblur.view import camera_path
from splatdeblur.view.paths import around_scene

TARGET = torch.tensor([0.1, -0.2, 0.3])


def ring(count=7):
    """Cameras on an uneven arc around the target, in order."""
    angles = torch.linspace(0, 1.8, count) + 0.1 * torch.tensor([0, 1, -1, 1, 0, -1, 1])[:count]
    eyes = TARGET + torch.stack([2 * angles.sin(), -0.5 + 0.3 * (5 * angles).cos(), -2 * angles.cos()], -1)
    K = torch.tensor([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]])
    return Cameras(look_at(eyes, TARGET.expand(count, 3), torch.tensor([0.0, -1, 0])), K.expand(count, 3, 3), 64, 48)


def is_rigid(viewmats):
    rotation = viewmats[:, :3, :3]
    eye = torch.eye(3).expand_as(rotation)
    return torch.allclose(rotation @ rotation.mT, eye, atol=1e-5) and bool((torch.linalg.det(rotation) > 0).all())


@pytest.mark.parametrize("name", ["through", "orbit", "spiral"])
@pytest.mark.parametrize("frames", [1, 2, 13, 50])
def test_a_path_has_the_frames_asked_for_and_rigid_poses(name, frames):
    views = camera_path(ring(), name, TARGET, frames)
    assert len(views) == len(views.Ks) == frames and (views.width, views.height) == (64, 48)
    assert is_rigid(views.viewmats)


def test_inputs_are_the_cameras_themselves():
    cameras = ring()
    assert camera_path(cameras, "inputs", TARGET, 99) is cameras


@pytest.mark.parametrize("name", ["orbit", "spiral"])
def test_circles_look_at_the_target(name):
    views = camera_path(ring(), name, TARGET)
    local = views.viewmats[:, :3, :3] @ TARGET + views.viewmats[:, :3, 3]
    assert (local[:, :2].abs() < 1e-4).all() and (local[:, 2] > 0).all()


def test_photos_from_all_around_are_circled_as_far_and_high_as_they_stand():
    angles = torch.arange(12) * (2 * math.pi / 12)
    eyes = TARGET + torch.stack([2 * angles.sin(), torch.full_like(angles, -0.7), -2 * angles.cos()], -1)
    up = torch.tensor([0.0, -1, 0])
    cameras = Cameras(look_at(eyes, TARGET.expand(12, 3), up), ring().Ks[:1].expand(12, 3, 3), 64, 48)
    offsets = camera_path(cameras, "orbit", TARGET, 36).centers - TARGET
    torch.testing.assert_close(offsets[:, 1], torch.full((36,), -0.7), atol=1e-4, rtol=0)
    torch.testing.assert_close(offsets[:, [0, 2]].norm(dim=-1), torch.full((36,), 2.0), atol=1e-4, rtol=0)
    assert offsets.mean(0)[[0, 2]].norm() < 1e-4


def test_a_spiral_comes_nearer_and_goes_back():
    distance = (camera_path(ring(), "spiral", TARGET, 40).centers - TARGET).norm(dim=-1)
    assert distance[20] < 0.9 * distance[0] and distance[39] > 0.95 * distance[0]


def test_a_walk_is_smoother_than_its_stops_and_stays_near_them():
    cameras = ring()
    views = camera_path(cameras, "through", TARGET, 61)
    steps = views.centers.diff(dim=0)
    turns = torch.nn.functional.cosine_similarity(steps[1:], steps[:-1], dim=-1)
    assert turns.min() > math.cos(math.radians(12))
    gaps = cameras.centers.diff(dim=0)
    shares = torch.linspace(0, 1, 50)[:, None, None]
    way = (cameras.centers[:-1] + shares * gaps).flatten(0, 1)
    assert torch.cdist(views.centers, way).min(1).values.max() < 0.3 * gaps.norm(dim=-1).mean()
    ends = (views.centers[[0, -1]] - cameras.centers[[0, -1]]).norm(dim=-1)
    assert ends.max() < 0.05 * gaps.norm(dim=-1).mean()


def test_a_walk_past_one_photo_stands_still():
    views = camera_path(ring().at(0), "through", TARGET, 3)
    assert torch.equal(views.viewmats, ring().viewmats[:1].expand(3, 4, 4))


def test_an_unknown_path_is_an_error():
    with pytest.raises(ConfigError, match='no path "helix"; there are inputs, through, orbit, spiral'):
        camera_path(ring(), "helix", TARGET)


def test_a_scene_without_photos_is_seen_from_outside_all_around():
    g = torch.Generator().manual_seed(0)
    points = torch.randn(200, 3, generator=g) + torch.tensor([5.0, 0, 0])
    points[:3] = 1000.0  # a few far ones, as skies have them
    views = around_scene(from_points(points, torch.rand(200, 3, generator=g), sh_degree=0, opacity=0.9), 12)
    assert len(views) == 12 and is_rigid(views.viewmats)
    local = points[3:] @ views.viewmats[:, :3, :3].mT + views.viewmats[:, None, :3, 3]
    assert (local[..., 2] > 0).float().mean() > 0.95
    uv = local[..., :2] / local[..., 2:] * views.Ks[0, 0, 0] + views.Ks[0, :2, 2]
    is_inside = ((uv > 0) & (uv < torch.tensor([views.width, views.height]))).all(-1)
    assert is_inside.float().mean() > 0.8
