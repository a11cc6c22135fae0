"""Where things lie in the browser, and which colours they have there."""

import numpy as np
import torch

from splatdeblur.geometry import Cameras, look_at, matrix_from_quat
from splatdeblur.render import RenderOptions
from splatdeblur.render.reference import ReferenceRasterizer
from splatdeblur.scene import Gaussians
from splatdeblur.view.display import CAMERA_DISTANCE, Display


def cameras(count=5, scale=30.0):
    angles = torch.linspace(0, 2, count).double()
    eyes = scale * torch.stack([angles.cos(), torch.full_like(angles, 0.2), angles.sin()], -1) + 7
    target = torch.full((3,), 7.0).double()
    viewmats = look_at(eyes, target.expand_as(eyes), torch.tensor([0.0, -1.0, 0.0]).double())
    K = torch.tensor([[100.0, 0, 60], [0, 100.0, 40], [0, 0, 1]])
    return Cameras(viewmats.float(), K.expand(count, 3, 3), 120, 80), target.float()


def scene(count=40, sh_degree=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Gaussians.from_raw(
        torch.rand(count, 3, generator=generator) * 8 + 3, torch.randn(count, 4, generator=generator),
        torch.rand(count, 3, generator=generator), torch.randn(count, generator=generator),
        torch.randn(count, (sh_degree + 1) ** 2, 3, generator=generator) * 0.2,
    )  # fmt: skip


def test_cameras_stand_upright_around_the_origin():
    views, target = cameras()
    display = Display.around(views, target)
    np.testing.assert_allclose(display.points(target), 0, atol=1e-6)
    places = np.stack([display.pose(v)[1] for v in views.viewmats])
    np.testing.assert_allclose(np.median(np.linalg.norm(places, axis=1)), CAMERA_DISTANCE, rtol=1e-5)
    for viewmat in views.viewmats:
        axes = matrix_from_quat(torch.tensor(display.pose(viewmat)[0]))
        assert axes[2, 1] < -0.9  # a camera's y axis points down
    torch.testing.assert_close(torch.linalg.det(display.rotation), torch.tensor(1.0).double())


def test_a_pose_in_the_display_leads_back_to_its_view_matrix():
    views, target = cameras()
    display = Display.around(views, target)
    for viewmat in views.viewmats:
        torch.testing.assert_close(display.viewmat(*display.pose(viewmat)), viewmat, atol=1e-4, rtol=1e-4)


def test_splats_are_the_scene_turned_moved_and_scaled():
    views, target = cameras()
    display = Display.around(views, target)
    gaussians = scene()
    splats = display.splats(gaussians, views.centers[0])
    rotation = matrix_from_quat(gaussians.quats)
    covariances = rotation @ torch.diag_embed(gaussians.scales**2) @ rotation.mT
    turn = display.rotation.float()
    expected = display.scale**2 * turn @ covariances @ turn.mT
    np.testing.assert_allclose(splats.covariances, expected.detach().numpy(), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(splats.centers, display.points(gaussians.means))
    np.testing.assert_allclose(splats.opacities[:, 0], gaussians.opacities.detach().numpy())


def test_colours_are_those_that_a_render_from_there_shows():
    views, target = cameras()
    one = scene(count=1)
    one.params["opacities"].data[:] = 20.0
    one.params["means"].data[:] = target + 0.3
    splats = Display.around(views, target).splats(one, views.centers[1])
    camera = views.at(1)
    drawn = ReferenceRasterizer().render(one, camera, options=RenderOptions(background=(0.0, 0.0, 0.0)))
    y, x = divmod(drawn.alpha[0].argmax().item(), drawn.alpha.shape[2])
    color = (drawn.rgb[0, y, x] / drawn.alpha[0, y, x]).clamp(0, 1)
    np.testing.assert_allclose(splats.rgbs[0], color.detach().numpy(), atol=2e-3)


def test_sorted_splats_begin_with_the_farthest():
    views, target = cameras()
    display = Display.around(views, target)
    splats = display.splats(scene(), views.centers[2], is_sorted=True)
    distances = np.linalg.norm(splats.centers - display.points(views.centers[2]), axis=1)
    assert (np.diff(distances) <= 1e-6).all()
    plain = display.splats(scene(), views.centers[2])
    assert sorted(map(tuple, splats.rgbs)) == sorted(map(tuple, plain.rgbs))
