"""The scene as a photo sees it: never sharper than it is, each camera's own, as it is while nothing is learned."""

import pytest
import torch
from render.scenes import case

from splatdeblur.exposure import Exposure, Shutter, Static, Tone, Widened
from splatdeblur.geometry import inverse
from splatdeblur.render.cpu import CpuRasterizer
from splatdeblur.scene import Gaussians

TEST_CASE = case("random")
SCENE = TEST_CASE.scene()
CAMERAS = TEST_CASE.cameras
CAMERA = CAMERAS.at(0)


def draw(viewmats, burst, seen=lambda scene: scene):
    return CpuRasterizer().render(seen(SCENE), CAMERA.with_viewmats(viewmats), burst=burst)


def make(config, last=1.0, is_linear=False):
    """An exposure whose network's last layer was scaled: 0 leaves only its bias."""
    exposure = Exposure(
        CAMERAS.viewmats, CAMERAS.viewmats.new_full((len(CAMERAS),), 3.0), motion=Static(),
        shutter=Shutter(is_linear=is_linear), tone=Tone(False, False), sight=config,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    with torch.no_grad():
        exposure.sight.last.weight.mul_(last)
    return exposure


def seen(exposure, frame=0):
    return [change(SCENE) for change in exposure.sight.changes(CAMERAS.viewmats[frame])]


@pytest.mark.parametrize("is_linear", [False, True])
def test_a_network_that_says_one_leaves_the_photo_as_it_is(is_linear):
    plain = CpuRasterizer().render(SCENE, CAMERA).rgb[0]
    for copies in (0, 2):
        photo = make(Widened(copies=copies), last=0.0, is_linear=is_linear)(draw, 0, 1, camera=CAMERA)
        torch.testing.assert_close(photo.srgb, plain, atol=1e-6, rtol=0)


def test_gaussians_are_only_widened_and_no_more_than_allowed():
    (wide,) = seen(make(Widened(step=0.5, most=1.3), last=60.0))
    factors = (wide.scales / SCENE.scales).detach()
    assert factors.min() >= 1 - 1e-9 and factors.max() == pytest.approx(1.3, rel=1e-5)
    assert factors.min() < 1.1
    assert torch.equal(wide.means, SCENE.means)


def test_each_camera_sees_a_scene_of_its_own_and_the_scene_stays():
    exposure, before = make(Widened(step=0.5, most=2.0)), SCENE.scales.clone()
    assert not torch.equal(seen(exposure, 0)[0].scales, seen(exposure, 1)[0].scales)
    assert torch.equal(SCENE.scales, before)


def test_a_photo_is_the_mean_of_the_scene_and_its_moved_copies():
    exposure = make(Widened(copies=2), last=0.0)
    shifts = torch.tensor([[3.0, 0.0, 0.0], [0.0, -2.0, 1.0]])
    with torch.no_grad():
        exposure.sight.last.bias[-6:] = shifts.flatten()
    renders = [CpuRasterizer().render(SCENE, CAMERA).rgb[0]]
    for shift in shifts.to(SCENE.means):
        raw = SCENE.params
        moved = Gaussians.from_raw(
            raw["means"] + 0.01 * 3.0 * shift, raw["quats"], raw["scales"], raw["opacities"], SCENE.sh
        )
        renders.append(CpuRasterizer().render(moved, CAMERA).rgb[0])
    photo = exposure(draw, 0, 1, camera=CAMERA).srgb
    torch.testing.assert_close(photo, torch.stack(renders).mean(0), atol=1e-6, rtol=0)
    assert (photo - renders[0]).abs().max() > 1e-2


def test_a_photo_teaches_the_network_and_the_scene():
    exposure = make(Widened(copies=1))
    for parameter in SCENE.params.values():
        parameter.grad = None
    exposure(draw, 0, 1, camera=CAMERA).srgb.square().sum().backward()
    for parameter in exposure.networks():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0
    assert SCENE.params["scales"].grad.abs().max() > 0 and SCENE.params["means"].grad.abs().max() > 0


def test_where_the_camera_stands_is_all_the_network_knows_of_a_photo():
    exposure = make(Widened(step=0.5))
    centers = inverse(CAMERAS.viewmats)[:, :3, 3]
    turned = CAMERAS.viewmats[0].clone()
    turned[:3] = turned[[1, 2, 0]]  # the same place, other axes
    torch.testing.assert_close(inverse(turned)[:3, 3], centers[0])
    torch.testing.assert_close(exposure.sight.changes(turned)[0](SCENE).scales, seen(exposure)[0].scales)
