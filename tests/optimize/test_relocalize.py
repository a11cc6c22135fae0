from dataclasses import replace

import pytest
import torch

from splatdeblur.exposure import Exposure, Static, Tone
from splatdeblur.geometry import Cameras, exp, inverse, log, look_at
from splatdeblur.optimize import TrainConfig
from splatdeblur.optimize.relocalize import Guess, Lost, Relocalizer
from splatdeblur.render import RenderOptions
from splatdeblur.render.cpu import CpuRasterizer
from splatdeblur.scene import Gaussians, from_points

WIDTH, HEIGHT, FOCAL, DEPTH = 96, 64, 80.0, 4.0
CONFIG = TrainConfig()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module", name="scene")
def coloured_corner() -> Gaussians:
    """Spots of all colours on three walls."""
    rng = generator()
    points = torch.rand(3000, 3, generator=rng) * 4 - 2
    points[torch.arange(3000), torch.arange(3000) % 3] = -2.0
    # Neighbouring spots alike: pictures with detail at all scales.
    waves = torch.randn(3, 3, 6, generator=rng) * torch.tensor([0.5, 0.5, 1, 1, 2, 3])
    colors = 0.5 + 0.16 * torch.einsum("pi,icw->pcw", points, waves).sin().sum(-1)
    return from_points(points, colors.clamp(0, 1), sh_degree=0, opacity=0.9)


def cameras_around(count: int) -> Cameras:
    angle = torch.linspace(0.2, 1.3, count)
    eye = torch.stack([3.2 * angle.cos(), 3.2 * angle.sin(), torch.full_like(angle, 1.0)], dim=-1)
    target = torch.tensor([-1.0, -1.0, -1.0]).expand_as(eye)
    K = torch.tensor([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])
    viewmats = look_at(eye, target, torch.tensor([0.0, 0, 1]))
    return Cameras(viewmats, K.expand(count, 3, 3), WIDTH, HEIGHT)


def blurred_exposure(camera: Cameras) -> Exposure:
    return Exposure(
        camera.viewmats, torch.tensor([DEPTH]), motion=CONFIG.motion, shutter=CONFIG.shutter, tone=Tone(False, False),
        noise=0.0, generator=generator(),
    )  # fmt: skip


def photograph(scene: Gaussians, camera: Cameras, path_px: float, gain: float = 1.0) -> torch.Tensor:
    """A photo of the scene blurred along a straight path of about `path_px`."""
    exposure = blurred_exposure(camera)
    ends = torch.tensor([0.4, 0.2, 0.1, 0.3, -0.6, 0.2])
    for index, share in enumerate((-0.5, -1 / 6, 1 / 6, 0.5)):
        exposure.motion.control_points[0].data[index] = share * ends
    length = exposure.motion.length_px(0, FOCAL).item()
    exposure.motion.control_points[0].data.mul_(path_px / length)

    def render(viewmats, burst):
        drawn = CpuRasterizer().render(scene, camera.with_viewmats(viewmats), options=RenderOptions(), burst=burst)
        return replace(drawn, rgb=drawn.rgb * gain)

    with torch.no_grad():
        return exposure(render, 0, 6, camera=camera).srgb.clamp(0, 1)


def lost_photo(scene: Gaussians, camera: Cameras, path_px: float, gain: float = 1.0) -> Lost:
    nowhere = camera.with_viewmats(torch.eye(4)[None])
    return Lost(photograph(scene, camera, path_px, gain), nowhere, None, depth=DEPTH, spacing=0.6)


def apart(found: torch.Tensor, true: torch.Tensor) -> tuple[float, float]:
    """Between two poses: centres in world units, and directions in radians."""
    centers = [inverse(pose)[:3, 3] for pose in (found, true)]
    return (centers[0] - centers[1]).norm().item(), log(found @ inverse(true))[3:].norm().item()


def test_a_blurred_dark_photo_is_found_where_it_was_taken(scene):
    cameras, path_px, gain = cameras_around(7), 7.0, 0.6
    true = exp(torch.tensor([0.1, -0.2, 0.1, 0.05, 0.04, -0.06])) @ cameras.viewmats[3]
    lost = lost_photo(scene, cameras.at(3).with_viewmats(true[None]), path_px, gain)
    starts = cameras.viewmats[[0, 1, 2, 4, 5, 6]]
    finder = Relocalizer(scene, CpuRasterizer(), CONFIG, generator())
    found = finder.find(lost, starts)
    distance, angle = apart(found.viewmat, true)
    nearest = min(apart(start, true)[0] for start in starts)
    assert distance < 0.2 * nearest and angle < 0.03
    assert found.loss < 0.05
    motion = blurred_exposure(cameras.at(3)).motion
    motion.control_points[0].data.copy_(found.path)
    assert 0.5 * path_px < motion.length_px(0, FOCAL) < 2 * path_px


def test_a_path_that_no_step_finds_is_the_plain_one_that_suits_best(scene):
    camera = cameras_around(5).at(2)
    lost = lost_photo(scene, camera, path_px=24.0)
    finder = Relocalizer(scene, CpuRasterizer(), CONFIG, generator(1))
    across = torch.tensor([[-1.0], [-0.3], [0.3], [1.0]]) * torch.tensor([0, 0, 0, 0.08, 0.1, 0])
    wrong = Guess(camera.viewmats[0], across, float("inf"))
    stuck = finder.settle(lost, [wrong])
    found = finder.settle(replace(lost, blur_px=24.0), [wrong])
    assert found.loss < 0.5 * stuck.loss
    assert apart(found.viewmat, camera.viewmats[0])[0] < 0.5 * apart(stuck.viewmat, camera.viewmats[0])[0]


def test_masked_pixels_do_not_mislead(scene):
    cameras = cameras_around(5)
    lost = lost_photo(scene, cameras.at(2), 2.0)
    picture, keep = lost.picture.clone(), torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    picture[14:40, 26:66], keep[14:40, 26:66] = torch.tensor([1.0, 0.0, 0.0]), False
    finder = Relocalizer(scene, CpuRasterizer(), CONFIG, generator())
    found = finder.find(replace(lost, picture=picture, keep=keep), cameras.viewmats[[0, 1, 3, 4]])
    assert apart(found.viewmat, cameras.viewmats[2])[0] < 0.06


def test_refinement_is_never_worse_than_its_start_and_leaves_the_scene(scene):
    cameras = cameras_around(5)
    lost = lost_photo(scene, cameras.at(2), 4.0)
    finder = Relocalizer(scene, CpuRasterizer(), replace(CONFIG, motion=Static()), generator())
    before = scene.means.detach().clone()
    start = finder.refine(lost, finder.guess(exp(torch.full((6,), 0.02)) @ cameras.viewmats[2]), 0)
    after = finder.refine(lost, start, 15)
    assert after.loss < start.loss
    assert scene.means.grad is None and torch.equal(scene.means, before)
