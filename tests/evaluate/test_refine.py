"""A pose that is a few pixels off finds back to its picture; one that is right stays."""

import torch

from splatdeblur.evaluate.metrics import psnr
from splatdeblur.evaluate.refine import median_depths, refine_poses
from splatdeblur.geometry import exp
from splatdeblur.render import RenderOptions


def moved(world, angle: float, shift: float):
    g = torch.Generator().manual_seed(2)
    delta = torch.randn(len(world.test_cameras), 6, generator=g, dtype=torch.float64)
    delta[:, :3] *= shift / delta[:, :3].norm(dim=1, keepdim=True)
    delta[:, 3:] *= angle / delta[:, 3:].norm(dim=1, keepdim=True)
    return world.test_cameras.with_viewmats(exp(delta) @ world.test_cameras.viewmats)


def refined(world, start, steps):
    truths = world.rasterizer.render(world.scene, world.test_cameras).rgb.clamp(0, 1).detach()
    drawn = world.rasterizer.render(world.scene, start)
    depths = median_depths(drawn.depth).detach()
    found = refine_poses(
        world.scene,
        world.rasterizer,
        start.to(dtype=torch.float32),
        truths,
        depths=depths,
        options=RenderOptions(),
        steps=steps,
    )
    better = world.rasterizer.render(world.scene, found.cameras).rgb.detach()
    return found, psnr(drawn.rgb.detach(), truths), psnr(better, truths)


def test_poses_several_pixels_off_are_recovered(world):
    # 0.06 rad is 2.7 px and 0.1 units at a depth of 3 are 1.5 px of these 48 px pictures.
    found, before, after = refined(world, moved(world, 0.06, 0.1), 120)
    assert before.max() < 25
    assert after.min() > 38
    assert (found.loss < 0.2 * found.start_loss).all()


def test_refinement_never_ends_worse_than_it_began(world):
    for steps in (0, 1, 7):
        found, _, _ = refined(world, moved(world, 0.3, 0.5), steps)
        assert (found.loss <= found.start_loss).all()


def test_a_true_pose_stays(world):
    found, _, after = refined(world, world.test_cameras, 20)
    assert after.min() > 60
    assert (found.cameras.viewmats - world.test_cameras.viewmats).abs().max() < 1e-3


def test_the_scene_is_not_touched(world):
    before = {k: v.detach().clone() for k, v in world.scene.params.items()}
    refined(world, moved(world, 0.02, 0.02), 4)
    assert all(torch.equal(v, before[k]) for k, v in world.scene.params.items())
    assert all(v.grad is None for v in world.scene.params.values())
