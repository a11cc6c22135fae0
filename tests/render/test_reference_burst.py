"""The oracle's sub-frames: averages that are what they say, and thick ones that conserve light."""

from itertools import pairwise
from math import pi, sqrt

import pytest
import torch
from render import scenes

from splatdeblur.geometry import linear_from_srgb, srgb_from_linear
from splatdeblur.render import Burst, RenderOptions
from splatdeblur.render.rasterizer import ALPHA_MIN
from splatdeblur.render.reference import ReferenceRasterizer
from splatdeblur.scene import Gaussians

REFERENCE = ReferenceRasterizer()
ANTIALIASED = RenderOptions(is_antialiased=True)


@torch.no_grad()
def test_burst_of_equal_subframes_is_one_render_decoded():
    case = scenes.case("random")
    camera = case.cameras.at(0)
    one = REFERENCE.render(case.scene(), camera)
    repeated = camera.with_viewmats(camera.viewmats.repeat(3, 1, 1))
    weights = torch.tensor([0.2, 0.5, 0.3])
    burst = REFERENCE.render(case.scene(), repeated, burst=Burst(weights))
    assert burst.is_linear and len(burst.rgb) == 1
    torch.testing.assert_close(burst.subframes, one.rgb.expand(3, -1, -1, -1), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(burst.rgb, linear_from_srgb(one.rgb), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(burst.depth, one.depth, rtol=1e-6, atol=1e-7)
    encoded = REFERENCE.render(case.scene(), repeated, burst=Burst(weights, is_linear=False))
    assert not encoded.is_linear
    torch.testing.assert_close(encoded.rgb, one.rgb, rtol=1e-6, atol=1e-7)


@torch.no_grad()
def test_row_weights_pick_each_row_from_its_own_subframe():
    case = scenes.case("random")
    cameras = scenes.cameras(count=2, shake=0.05)
    weights = torch.zeros(2, cameras.height)
    weights[0, :20] = weights[1, 20:] = 1
    burst = REFERENCE.render(case.scene(), cameras, burst=Burst(weights))
    apart = linear_from_srgb(REFERENCE.render(case.scene(), cameras).rgb)
    torch.testing.assert_close(burst.rgb[0], torch.cat([apart[0, :20], apart[1, 20:]]))


def sideways(time, speed):
    """Cameras that slide along x during the exposure."""
    viewmats = torch.eye(4, dtype=torch.float64).repeat(len(time), 1, 1)
    viewmats[:, 0, 3] = speed * (time - 0.5)
    return viewmats


def photo(scene, count, is_thick, speed=1.0):
    """The mean over the shutter of `count` sub-frames at the middles of their slices, sRGB-encoded."""
    edges = torch.linspace(0, 1, count + 1, dtype=torch.float64)
    camera = scenes.identity_camera()
    slices = torch.stack([sideways(edges[:-1], speed), sideways(edges[1:], speed)], dim=1)
    burst = Burst(torch.full((count,), 1 / count), slices if is_thick else None)
    cameras = camera.with_viewmats(sideways((edges[1:] + edges[:-1]) / 2, speed))
    return srgb_from_linear(REFERENCE.render(scene, cameras, burst=burst).rgb)


@torch.no_grad()
def test_thick_subframes_without_motion_are_thin():
    case = scenes.case("edge")
    still = torch.stack([case.cameras.viewmats] * 2, dim=1)
    weights = torch.tensor([0.5, 0.5])
    for options in (RenderOptions(), ANTIALIASED):
        thin = REFERENCE.render(case.scene(), case.cameras, options=options, burst=Burst(weights))
        thick = REFERENCE.render(case.scene(), case.cameras, options=options, burst=Burst(weights, still))
        torch.testing.assert_close(thick.rgb, thin.rgb)
        assert (thick.info.radii == thin.info.radii).all()


@torch.no_grad()
@pytest.mark.parametrize("speed", [0.1, 0.4])
def test_thick_subframes_conserve_light(speed):
    camera, slices = scenes.identity_camera(64, 48), sideways(torch.tensor([0.0, 1.0]), speed)[None]
    render = REFERENCE.render(scenes.one_round_gaussian(opacity=0.5), camera, burst=Burst(torch.ones(1), slices))
    variance, moved = 9.3, 30 * speed / 3
    wide = sqrt(variance * (variance + moved**2 / 12))
    expected = 2 * pi * (0.5 * variance - wide * ALPHA_MIN)
    assert render.alpha.sum().item() == pytest.approx(expected, rel=3e-3)
    column = render.alpha.sum((0, 1))
    x = torch.arange(64) + 0.5
    spread = (column * (x - 32) ** 2).sum() / column.sum()
    assert spread.item() == pytest.approx(variance + moved**2 / 12, rel=0.06)


@torch.no_grad()
def test_thick_subframes_come_nearer_to_the_exposure_than_thin_ones():
    scene = Gaussians.from_raw(**scenes.raw_scene(60, depth=(2.0, 4.0), scale=(0.03, 0.15)))
    truth = photo(scene, 64, is_thick=False)
    counts = (1, 2, 4, 8)  # paths of about 10 px: spacings down to 1 px, where thin is as good
    thin, thick = (
        [(photo(scene, count, is_thick) - truth).square().mean().sqrt().item() for count in counts]
        for is_thick in (False, True)
    )
    assert all(a < 0.75 * b for a, b in zip(thick[:3], thin[:3], strict=True))
    assert all(finer < 0.75 * coarser for coarser, finer in pairwise(thick))
    assert thick[3] < 0.15 * thick[0]


@torch.no_grad()
def test_a_mean_that_passes_the_near_plane_during_its_slice_is_not_widened():
    near = RenderOptions(near=0.5)
    scene, camera = scenes.one_round_gaussian(z=0.6, sigma=0.03), scenes.identity_camera()
    slices = torch.eye(4, dtype=torch.float64).repeat(1, 2, 1, 1)
    slices[0, 1, :3, 3] = torch.tensor([0.1, 0.0, -0.2])
    thin = REFERENCE.render(scene, camera, options=near, burst=Burst(torch.ones(1)))
    thick = REFERENCE.render(scene, camera, options=near, burst=Burst(torch.ones(1), slices))
    torch.testing.assert_close(thick.rgb, thin.rgb)


@torch.no_grad()
def test_a_very_long_path_fades_out():
    scene, camera = scenes.one_round_gaussian(z=0.011, sigma=1e-4), scenes.identity_camera()
    slices = sideways(torch.tensor([0.0, 1.0]), 1e4)[None]
    for dtype in (torch.float64, torch.float32):
        burst = Burst(torch.ones(1), slices)
        render = ReferenceRasterizer(dtype).render(scene, camera, burst=burst)
        assert render.rgb.isfinite().all() and render.alpha.max() == 0
