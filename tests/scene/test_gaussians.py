"""Gaussians: physical values of raw ones, and the scene that sparse points start."""

import pytest
import torch

from splatdeblur.scene import Gaussians, from_points


def grid(spacing=0.5, side=4, dtype=torch.float32):
    axis = torch.arange(side, dtype=dtype) * spacing
    return torch.cartesian_prod(axis, axis, axis)


def gray(points):
    return torch.full_like(points, 0.25)


@pytest.mark.parametrize("spacing", [1e-3, 0.5, 300.0])
def test_points_on_a_grid_start_as_balls_of_the_grids_spacing(spacing):
    scene = from_points(grid(spacing), gray(grid()), sh_degree=0)
    torch.testing.assert_close(scene.scales, torch.full((64, 3), spacing))


def test_sizes_match_a_naive_search_for_the_nearest_three():
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
    scales = from_points(points, gray(points), sh_degree=0).scales
    for i, point in enumerate(points):
        others = torch.cat([points[:i], points[i + 1 :]])
        nearest = sorted(((others - point) ** 2).sum(1).tolist())[:3]
        expected = torch.full((3,), (sum(nearest) / 3) ** 0.5)
        torch.testing.assert_close(scales[i], expected, rtol=1e-3, atol=1e-5)


def test_more_points_than_one_block_give_the_same_sizes_as_few():
    points = torch.cat([grid(), grid(side=11) + 1000])
    scales = from_points(points, gray(points), sh_degree=0).scales
    torch.testing.assert_close(scales, torch.full_like(scales, 0.5), rtol=1e-2, atol=0)


def test_colours_and_opacities_are_what_was_asked_for():
    points = grid()
    colors = torch.rand(len(points), 3, generator=torch.Generator().manual_seed(1))
    scene = from_points(points, colors, sh_degree=3, opacity=0.3)
    torch.testing.assert_close(scene.opacities, torch.full((64,), 0.3))
    torch.testing.assert_close(0.28209479177387814 * scene.sh[:, 0] + 0.5, colors)
    assert not scene.sh[:, 1:].any()
    assert torch.equal(scene.means, points)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_the_degree_is_read_off_the_number_of_harmonics(degree):
    scene = from_points(grid(), gray(grid()), sh_degree=degree)
    assert scene.sh_degree == degree
    assert scene.sh.shape == (64, (degree + 1) ** 2, 3)
    assert len(scene) == 64


def test_points_at_one_place_do_not_start_as_nothing():
    points = torch.zeros(5, 3)
    scene = from_points(points, gray(points), sh_degree=0)
    assert scene.params["scales"].isfinite().all()


def test_two_points_are_enough():
    points = torch.tensor([[0.0, 0, 0], [0, 0, 2]])
    torch.testing.assert_close(from_points(points, gray(points), sh_degree=0).scales, torch.full((2, 3), 2.0))


def test_raw_tensors_are_copied():
    means = grid()
    scene = from_points(means, gray(means), sh_degree=0)
    with torch.no_grad():
        scene.means.add_(1)
    assert torch.equal(means, grid())


def test_detached_values_share_memory_and_need_no_gradient():
    scene = from_points(grid(), gray(grid()), sh_degree=1)
    detached = scene.detached()
    assert not any(value.requires_grad for value in detached.params.values())
    with torch.no_grad():
        scene.means.add_(1)
    assert torch.equal(detached.means, scene.means)


def test_physical_values_pass_gradients_to_raw_ones():
    scene = from_points(grid(), gray(grid()), sh_degree=1)
    (scene.scales.sum() + scene.opacities.sum() + scene.sh.sum()).backward()
    for name in ("scales", "opacities", "sh0", "shN"):
        assert scene.params[name].grad.abs().min() > 0
    assert isinstance(scene, Gaussians)
