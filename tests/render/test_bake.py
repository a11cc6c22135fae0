"""Baking: nothing changes without antialiasing, and with it a plain renderer shows nearly the same."""

import torch
from scenes import cameras, raw_scene

from splatdeblur.render import RenderOptions
from splatdeblur.render.bake import baked
from splatdeblur.render.cpu import CpuRasterizer
from splatdeblur.scene import Gaussians

ANTIALIASED = RenderOptions(is_antialiased=True)


def scene(**kind):
    return Gaussians.from_raw(**raw_scene(200, **kind)).detached()


def psnr(a, b):
    return -10 * torch.log10((a - b).square().mean()).item()


def test_a_scene_trained_plainly_is_returned_as_it_is():
    plain = scene()
    assert baked(plain, cameras(), RenderOptions()) is plain


def test_a_baked_scene_looks_the_same_to_a_plain_renderer():
    thin = scene(scale=(0.004, 0.03))
    views = cameras(count=4)
    draw = CpuRasterizer().render
    truth = draw(thin, views, options=ANTIALIASED).rgb
    before = psnr(draw(thin, views).rgb, truth)
    after = psnr(draw(baked(thin, views, ANTIALIASED), views).rgb, truth)
    assert before < 22 and after > before + 15


def test_one_camera_is_matched_exactly():
    thin = scene(scale=(0.004, 0.03), spread=0.3)
    views = cameras()
    draw = CpuRasterizer().render
    truth = draw(thin, views, options=ANTIALIASED).rgb
    assert psnr(draw(baked(thin, views, ANTIALIASED), views).rgb, truth) > 60


def test_what_no_camera_sees_keeps_its_opacity():
    behind = raw_scene(20)
    behind["means"][:, 2] *= -1
    behind = Gaussians.from_raw(**behind).detached()
    torch.testing.assert_close(baked(behind, cameras(), ANTIALIASED).opacities, behind.opacities)
