"""Cameras against a projection written out naively."""

import math

import pytest
import torch

from splatdeblur.geometry import Cameras, exp, inverse, look_at


def random_cameras(count=3, width=64, height=48, seed=0):
    g = torch.Generator().manual_seed(seed)
    eyes = torch.randn(count, 3, generator=g, dtype=torch.float64) + torch.tensor([0, -6, 1.0])
    targets = torch.randn(count, 3, generator=g, dtype=torch.float64) * 0.2
    viewmats = look_at(eyes, targets, torch.tensor([0, 0, 1], dtype=torch.float64))
    Ks = torch.tensor([[50, 0, 31], [0, 55, 25], [0, 0, 1]], dtype=torch.float64).repeat(count, 1, 1)
    return Cameras(viewmats, Ks, width, height)


def project(cameras, index, point):
    """Where a world point appears in picture `index`: (x, y) in pixels, one number at a time."""
    viewmat, K = cameras.viewmats[index].tolist(), cameras.Ks[index].tolist()
    x, y, z = (sum(viewmat[r][c] * p for c, p in enumerate([*point.tolist(), 1.0])) for r in range(3))
    return K[0][0] * x / z + K[0][2], K[1][1] * y / z + K[1][2]


def world_points(count=10):
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.5


def test_cameras_of_several_sizes_scale_each_by_its_own_and_are_alike_again_when_taken_apart():
    alike = random_cameras()
    mixed = Cameras.of_sizes(alike.viewmats, alike.Ks, [(64, 48), (48, 64), (64, 48)])
    assert (mixed.width, mixed.height) == (64, 64) and alike.sizes is None
    assert alike.own_sizes == ((64, 48),) * 3
    assert mixed.at(1).sizes is None and (mixed.at(1).width, mixed.at(1).height) == (48, 64)
    assert mixed.at([0, 2]).sizes is None and mixed.at(slice(1, 3)).own_sizes == ((48, 64), (64, 48))
    half = mixed.scaled(0.5)
    assert half.own_sizes == ((32, 24), (24, 32), (32, 24))
    other = mixed.resized_each([(64, 48), (96, 64), (64, 48)])
    for point in world_points():
        x, y = project(mixed, 1, point)
        assert project(half, 1, point) == pytest.approx((x / 2, y / 2))
        assert project(other, 1, point) == pytest.approx((x * 2, y))
        assert project(other, 0, point) == pytest.approx(project(mixed, 0, point))


def test_scaling_moves_every_point_with_the_picture():
    cameras = random_cameras()
    half = cameras.scaled(0.5)
    assert (half.width, half.height) == (32, 24)
    for point in world_points():
        for i in range(3):
            x, y = project(cameras, i, point)
            assert project(half, i, point) == pytest.approx((x / 2, y / 2))


def test_a_size_that_does_not_divide_scales_each_side_on_its_own():
    cameras = random_cameras(width=65, height=49)
    smaller = cameras.scaled(1 / 4)
    assert (smaller.width, smaller.height) == (16, 12)
    x, y = project(cameras, 0, world_points()[0])
    assert project(smaller, 0, world_points()[0]) == pytest.approx((x * 16 / 65, y * 12 / 49))


@pytest.mark.parametrize(
    ("size", "factor", "scaled"), [(30, 0.1, 3), (3, 1 / 3, 1), (3, 0.01, 1), (7, 2.0, 14)]
)
def test_sizes_round_down_but_not_for_rounding_errors_and_never_to_nothing(size, factor, scaled):
    assert random_cameras(width=size, height=size).scaled(factor).width == scaled


def test_cropping_moves_every_point_by_the_windows_corner():
    cameras = random_cameras()
    window = cameras.cropped(10, 7, 20, 30)
    assert (window.width, window.height) == (20, 30)
    for point in world_points():
        x, y = project(cameras, 1, point)
        assert project(window, 1, point) == pytest.approx((x - 10, y - 7))


def test_scaling_and_cropping_leave_the_original_alone():
    cameras = random_cameras()
    Ks = cameras.Ks.clone()
    cameras.scaled(0.5).cropped(1, 2, 3, 4)
    assert torch.equal(cameras.Ks, Ks)
    assert (cameras.width, cameras.height) == (64, 48)


def test_the_middle_of_the_picture_stays_the_middle():
    cameras = random_cameras()
    centered = Cameras(cameras.viewmats, cameras.Ks.clone(), 64, 48)
    centered.Ks[:, 0, 2], centered.Ks[:, 1, 2] = 32, 24
    half = centered.scaled(0.5)
    assert half.Ks[0, 0, 2] == 16
    assert half.Ks[0, 1, 2] == 12


def test_centers_are_the_points_that_every_camera_puts_at_its_origin():
    cameras = random_cameras()
    for viewmat, center in zip(cameras.viewmats, cameras.centers, strict=True):
        local = viewmat @ torch.cat([center, torch.ones(1, dtype=torch.float64)])
        torch.testing.assert_close(local[:3], torch.zeros(3, dtype=torch.float64))


def test_a_camera_looks_at_its_target_with_up_pointing_up():
    eye = torch.tensor([3, -4, 2], dtype=torch.float64)
    viewmat = look_at(
        eye, torch.zeros(3, dtype=torch.float64), torch.tensor([0, 0, 1.0], dtype=torch.float64)
    )
    target = viewmat @ torch.tensor([0, 0, 0, 1], dtype=torch.float64)
    torch.testing.assert_close(target[:3], torch.tensor([0, 0, math.sqrt(29)], dtype=torch.float64))
    above = viewmat @ torch.tensor([0, 0, 0.1, 1], dtype=torch.float64)
    assert above[1] < 0  # y points down
    assert above[0] == pytest.approx(0, abs=1e-12)
    assert torch.linalg.det(viewmat) == pytest.approx(1)


def test_an_index_of_any_kind_gives_a_batch():
    cameras = random_cameras()
    for index, expected in (
        (1, [1]),
        (-1, [2]),
        (slice(0, 2), [0, 1]),
        ([2, 0], [2, 0]),
        (torch.tensor([1]), [1]),
    ):
        chosen = cameras.at(index)
        assert len(chosen) == len(expected)
        assert torch.equal(chosen.viewmats, cameras.viewmats[expected])


def test_one_lens_serves_any_number_of_poses():
    cameras = random_cameras()
    many = cameras.at(0).with_viewmats(cameras.viewmats.repeat(2, 1, 1))
    assert len(many) == 6
    assert torch.equal(many.Ks, cameras.Ks[:1].expand(6, 3, 3))
    assert torch.equal(cameras.with_viewmats(cameras.viewmats + 1).Ks, cameras.Ks)


def test_a_delta_moves_a_camera_in_its_own_frame():
    cameras = random_cameras()
    delta = exp(torch.tensor([0.0, 0, 0.5, 0, 0, 0], dtype=torch.float64))
    moved = cameras.with_viewmats(delta @ cameras.viewmats)
    # The world moves half a unit away along the axis, so the camera steps back.
    backwards = -inverse(cameras.viewmats)[:, :3, 2]
    torch.testing.assert_close(moved.centers, cameras.centers + 0.5 * backwards)


def test_precision_changes_all_or_nothing():
    single = random_cameras().to(dtype=torch.float32)
    assert single.viewmats.dtype == single.Ks.dtype == torch.float32
    assert single.scaled(0.5).Ks.dtype == torch.float32
