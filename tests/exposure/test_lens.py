"""What the lens does to a photo: nothing unless asked, disks as a thin lens makes them, kernels that sum to one."""

import pytest
import torch
from render.scenes import case

from splatdeblur.exposure import Defocus, Exposure, Lens, PixelKernels, Shutter, Static, Tone
from splatdeblur.exposure.lens import LensParts
from splatdeblur.render.cpu import CpuRasterizer

TEST_CASE = case("random")
SCENE = TEST_CASE.scene()
CAMERA = TEST_CASE.cameras.at(0)
UNIT = torch.tensor(2.0)


def draw(viewmats, burst):
    return CpuRasterizer().render(SCENE, CAMERA.with_viewmats(viewmats), burst=burst)


def parts(lens, seed=0):
    return LensParts(lens, torch.tensor([2.0, 3.0]), torch.Generator().manual_seed(seed))


def halved(picture):
    return picture.unflatten(1, (-1, 2)).unflatten(0, (-1, 2)).mean((1, 3))


def exposure(lens):
    cameras = TEST_CASE.cameras
    return Exposure(
        cameras.viewmats, cameras.viewmats.new_full((len(cameras),), 3.0),
        motion=Static(), shutter=Shutter(), tone=Tone(), lens=lens, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip


def test_a_lens_without_parts_is_no_lens():
    assert parts(Lens()).is_clear
    plain = CpuRasterizer().render(SCENE, CAMERA).rgb[0]
    torch.testing.assert_close(exposure(Lens())(draw, 0, 1, camera=CAMERA).srgb, plain, atol=1e-9, rtol=0)


def test_radii_are_those_of_a_thin_lens():
    focus = parts(Lens(focus=Defocus())).focus
    with torch.no_grad():
        focus.focus[0].copy_(torch.tensor([0.02, 0.02 * 2.0 / 5.0]))  # aperture 0.02 depths, in focus at z = 5
    depth = torch.tensor([[2.0, 5.0, 10.0, 0.0]])
    radius = focus.radius_px(depth, 0, 100.0)
    expected = 100.0 * 0.02 * 2.0 * abs(1 / depth[0, :3] - 1 / 5)
    torch.testing.assert_close(radius[0, :3], expected, atol=2e-4, rtol=1e-4)
    assert radius.isfinite().all()


def test_kernels_sum_to_one_and_a_closed_gate_lets_the_picture_through():
    light, depth = torch.rand(32, 48, 3), torch.rand(32, 48) + 1
    camera = CAMERA.resized(48, 32)
    network = parts(Lens(kernels=PixelKernels(sizes=(3, 5), features=8))).kernels
    for level, taps in ((0, 9), (1, 25), (7, 25)):
        weights, _ = network(light, depth, 0, camera, level, UNIT)
        assert weights.shape == (taps, 8, 12)
        torch.testing.assert_close(weights.sum(0), torch.ones(8, 12))
    closed = parts(Lens(kernels=PixelKernels(sizes=(3,), features=8, gate=-40.0)))
    seen, blur = closed(light, depth, 0, camera, unit=UNIT)
    torch.testing.assert_close(seen, light)
    assert blur.moved.max() < 1e-6


def test_a_window_shows_kernels_the_same_depths_as_the_whole_photo():
    light, depth = torch.rand(32, 48, 3), torch.rand(32, 48) + 1
    depth[:, 24:] *= 50  # beyond the window
    network = parts(Lens(kernels=PixelKernels(sizes=(3,), features=8))).kernels
    whole, window = network.seen(light, depth, UNIT), network.seen(light[8:, :20], depth[8:, :20], UNIT)
    torch.testing.assert_close(window, whole[:, 2:, :5])
    assert window[3].max() < 0.6 and whole[3, :, 6:].min() > 0.9  # another scale would show the far half


@pytest.mark.parametrize(
    "lens", [Lens(focus=Defocus(start=0.25)), Lens(kernels=PixelKernels(sizes=(9,), features=8, gate=2.0))]
)
def test_a_larger_picture_is_blurred_as_much_in_proportion(lens):
    camera = CAMERA.resized(60, 40)
    assert 8 < 0.25 * camera.Ks[0, 0, 0] < 16  # px: a radius that is allowed at this size, and twice that is not
    large = torch.zeros(80, 120, 3)
    large[20:, 50:] = torch.tensor([0.9, 0.5, 0.2])
    small, depth = halved(large), torch.full((80, 120), 3.0)
    lens = parts(lens)
    with torch.no_grad():
        expected = lens(small, halved(depth[..., None])[..., 0], 0, camera, unit=UNIT)[0]
        larger = CAMERA.resized(120, 80)
        ours, as_if_trained_so = (
            halved(lens(large, depth, 0, larger, unit=UNIT, enlarged=enlarged)[0]) for enlarged in (2.0, 1.0)
        )
    assert (expected - small).abs().max() > 0.2
    assert (ours - expected).abs().max() < 0.05 < 0.2 < (as_if_trained_so - expected).abs().max()


@pytest.mark.parametrize("lens", [Lens(focus=Defocus(start=0.05)), Lens(kernels=PixelKernels(sizes=(3,), features=8))])
def test_a_photo_teaches_its_own_part_of_the_lens(lens):
    made = exposure(lens)
    made(draw, 0, 1, camera=CAMERA).srgb.square().sum().backward()
    part = made.lens.focus.focus if made.lens.focus else made.lens.kernels.embeddings
    assert part[0].grad.isfinite().all() and part[0].grad.abs().max() > 0
    assert part[1].grad is None


def test_kernels_do_not_depend_on_what_else_was_drawn_before():
    a, b = (parts(Lens(kernels=PixelKernels(sizes=(3,), features=8))).kernels for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
