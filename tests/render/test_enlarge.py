"""Larger pictures than those of the training: what was as wide as a pixel there stays as wide in the world."""

import pytest
import torch
from render import scenes

from splatdeblur.capture.pixels import resize_area
from splatdeblur.render import RenderOptions
from splatdeblur.render.enlarge import TrainingWidth
from splatdeblur.render.reference import ReferenceRasterizer
from splatdeblur.scene import Gaussians

REFERENCE = ReferenceRasterizer()
TRAINED = scenes.identity_camera(32, 24, focal=30.0)


def picture(scene, camera):
    with torch.no_grad():
        return REFERENCE.render(scene, camera).rgb[0]


def error(seen, truth):
    return (seen - truth).square().mean().sqrt().item()


def thin_scene():
    """Needles, thinner than a pixel of TRAINED."""
    raw = scenes.raw_scene(30, seed=3, depth=(2.0, 3.0), spread=0.4, scale=(0.005, 0.2), opacity=(2.0, 4.0))
    return Gaussians.from_raw(**raw).detached()


@pytest.mark.parametrize("factor", [2.0, 4.0])
def test_a_larger_picture_reduced_is_the_picture_of_the_training(factor):
    scene, larger = thin_scene(), TRAINED.scaled(factor)
    width = TrainingWidth.of(scene, TRAINED, RenderOptions())
    truth = picture(scene, TRAINED)
    plain, widened = (
        error(resize_area(picture(s, larger), TRAINED.width, TRAINED.height), truth)
        for s in (scene, width.seen_through(larger, scene))
    )
    assert widened < 0.5 * plain


def test_a_footprint_grows_with_the_picture():
    """Its variance on the screen is (focal / z)^2 times its own, and the dilation: k^2 times as large in all."""
    options, scene, larger = RenderOptions(), scenes.one_round_gaussian(z=3.0, sigma=0.01), TRAINED.scaled(5.0)
    seen = TrainingWidth.of(scene, TRAINED, options).seen_through(larger, scene)

    def variance_px2(gaussians, camera):
        return (camera.Ks[0, 0, 0] / 3 * gaussians.scales[0, 0]).item() ** 2 + options.dilation_px2

    assert variance_px2(seen, larger) == pytest.approx(25 * variance_px2(scene, TRAINED))


def test_what_needs_no_width_keeps_its_own():
    scene = thin_scene()
    width = TrainingWidth.of(scene, TRAINED, RenderOptions())
    assert width.seen_through(TRAINED, scene) is scene and width.seen_through(TRAINED.scaled(0.5), scene) is scene
    antialiased = TrainingWidth.of(scene, TRAINED, RenderOptions(is_antialiased=True))
    behind = TRAINED.with_viewmats(torch.diag(torch.tensor([-1.0, 1, -1, 1], dtype=torch.float64))[None])
    for other in (antialiased, TrainingWidth.of(scene, behind, RenderOptions())):
        torch.testing.assert_close(other.seen_through(TRAINED.scaled(4.0), scene).scales, scene.scales)


def test_the_camera_that_resolves_a_gaussian_best_decides():
    scene = scenes.one_round_gaussian(z=4.0)
    both = TRAINED.with_viewmats(torch.eye(4, dtype=torch.float64).repeat(2, 1, 1))
    both.viewmats[1, 2, 3] = -2  # nearer by 2
    options = RenderOptions()
    near = TrainingWidth.of(scene, both.at(1), options).variance
    assert TrainingWidth.of(scene, both, options).variance == near == options.dilation_px2 * (2 / 30) ** 2
