"""The oracle itself: closed forms, finite differences, laws, and gsplat's own torch functions."""

from dataclasses import replace
from math import factorial, pi, sqrt

import numpy as np
import pytest
import torch
from gsplat.cuda import _torch_impl as gsplat_torch
from numpy.polynomial import legendre, polynomial
from render import scenes

from splatdeblur.render import Burst, Rasterizer, RenderOptions
from splatdeblur.render.rasterizer import ALPHA_MIN
from splatdeblur.render.reference import ReferenceRasterizer, _project, sh_basis
from splatdeblur.scene import Gaussians

REFERENCE = ReferenceRasterizer()
ANTIALIASED = RenderOptions(is_antialiased=True)


def test_reference_keeps_the_protocol():
    assert isinstance(REFERENCE, Rasterizer)


def test_one_gaussian_is_a_bell_over_the_background():
    options = RenderOptions(background=(0.1, 0.3, 0.2))
    render = REFERENCE.render(scenes.one_round_gaussian(), scenes.identity_camera(), options=options)
    variance = (30 * 0.3 / 3) ** 2 + 0.3
    y, x = torch.meshgrid(torch.arange(24) + 0.5, torch.arange(32) + 0.5, indexing="ij")
    alpha = 0.8 * torch.exp(-((x.double() - 16) ** 2 + (y - 12) ** 2) / (2 * variance))
    alpha = torch.where(alpha < 1 / 255, 0, alpha)
    color, background = torch.tensor([0.2, 0.5, 0.9]).double(), torch.tensor(options.background).double()
    torch.testing.assert_close(render.alpha[0], alpha)
    torch.testing.assert_close(render.rgb[0], alpha[..., None] * color + (1 - alpha[..., None]) * background)
    torch.testing.assert_close(render.depth[0], torch.where(alpha > 0, 3.0, 0.0).double())
    assert not render.is_linear


@pytest.mark.parametrize("is_antialiased", [False, True])
def test_integral_of_one_gaussian_is_its_closed_form(is_antialiased):
    options = RenderOptions(is_antialiased=is_antialiased)
    camera = scenes.identity_camera(64, 48)
    render = REFERENCE.render(scenes.one_round_gaussian(opacity=0.6, sigma=0.2), camera, options=options)
    sharp = (30 * 0.2 / 3) ** 2
    opacity = 0.6 * sharp / (sharp + 0.3) if is_antialiased else 0.6
    # What lies under 1/255 is cut off, which takes as much again as a plateau of that height would.
    expected = 2 * pi * (sharp + 0.3) * (opacity - ALPHA_MIN)
    assert render.alpha.sum().item() == pytest.approx(expected, rel=3e-3)


def naive_picture(splats, camera, cameras, background):
    """Pixel by pixel, Gaussian by Gaussian, as the kernels do it."""
    order = sorted(range(splats.depths.shape[1]), key=lambda n: splats.depths[camera, n].item())
    drawn = [n for n in order if (splats.radii[camera, n] > 0).all()]
    picture = np.zeros((cameras.height, cameras.width, 5))
    for row in range(cameras.height):
        for column in range(cameras.width):
            t, out = 1.0, np.zeros(4)
            for n in drawn:
                dx, dy = (splats.means2d[camera, n] - torch.tensor([column + 0.5, row + 0.5])).tolist()
                a, b, c = splats.conics[camera, n].tolist()
                sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
                alpha = min(0.999, splats.opacities[camera, n].item() * np.exp(-sigma))
                if sigma < 0 or alpha < 1 / 255:
                    continue
                if t * (1 - alpha) <= 1e-4:
                    break
                out += (
                    alpha
                    * t
                    * np.array([*splats.colors[camera, n].tolist(), splats.depths[camera, n].item()])
                )
                t *= 1 - alpha
            depth = out[3] / (1 - t) if t < 1 else 0.0
            picture[row, column] = [*(out[:3] + t * np.array(background)), 1 - t, depth]
    return picture


@torch.no_grad()
@pytest.mark.parametrize("opacity", [(-3.0, 3.0), (4.0, 9.0)])
def test_blending_equals_a_naive_loop_over_pixels(opacity):
    scene = Gaussians.from_raw(**scenes.raw_scene(25, seed=8, opacity=opacity, scale=(0.05, 0.6)))
    cameras = scenes.cameras(19, 18, count=2)
    options = RenderOptions(background=(0.3, 0.1, 0.7))
    render = REFERENCE.render(scene, cameras, options=options)
    splats = _project(scene, cameras, options, None)
    for i in range(2):
        naive = torch.from_numpy(naive_picture(splats, i, cameras, options.background))
        torch.testing.assert_close(render.rgb[i], naive[..., :3])
        torch.testing.assert_close(render.alpha[i], naive[..., 3])
        torch.testing.assert_close(render.depth[i], naive[..., 4])


def naive_harmonic(degree, order, x, y, z):
    """A real spherical harmonic by its definition, with the Condon-Shortley phase."""
    m = abs(order)
    p = polynomial.polyval(z, polynomial.polyder(legendre.leg2poly([0] * degree + [1]), m))
    p = (-1) ** m * (1 - z * z) ** (m / 2) * p
    norm = np.sqrt((2 * degree + 1) / (4 * pi) * factorial(degree - m) / factorial(degree + m))
    phi = np.arctan2(y, x)
    angular = 1 if order == 0 else sqrt(2) * (np.sin(m * phi) if order < 0 else np.cos(m * phi))
    return norm * p * angular


def test_harmonics_match_their_definition_and_gsplat():
    directions = torch.nn.functional.normalize(torch.randn(50, 3, dtype=torch.float64), dim=-1)
    x, y, z = directions.numpy().T
    naive = [naive_harmonic(n, m, x, y, z) for n in range(4) for m in range(-n, n + 1)]
    basis = sh_basis(directions, 3)
    np.testing.assert_allclose(basis.numpy(), np.stack(naive, -1), atol=1e-12)
    for degree in range(4):
        theirs = gsplat_torch._eval_sh_bases_fast((degree + 1) ** 2, directions)
        torch.testing.assert_close(sh_basis(directions, degree), theirs, rtol=1e-7, atol=1e-7)


@torch.no_grad()
@pytest.mark.parametrize("name", scenes.CASES)
def test_projection_matches_gsplats_own_torch_functions(name):
    case = scenes.case(name)
    scene, cameras = case.scene(), case.cameras
    splats = _project(scene, cameras, ANTIALIASED, None)
    covariances, _ = gsplat_torch._quat_scale_to_covar_preci(scene.quats, scene.scales, compute_preci=False)
    _, means2d, depths, conics, compensations = gsplat_torch._fully_fused_projection(
        scene.means, covariances, cameras.viewmats, cameras.Ks, cameras.width, cameras.height,
        calc_compensations=True,
    )  # fmt: skip
    drawn = (splats.radii > 0).all(-1)
    assert drawn.any()
    for ours, theirs in [
        (splats.means2d, means2d),
        (splats.depths, depths),
        (splats.conics, conics),
        (splats.opacities, scene.opacities * compensations),
    ]:
        torch.testing.assert_close(ours[drawn], theirs[drawn], rtol=1e-6, atol=1e-9)
    sh = scene.sh.expand(len(cameras), *scene.sh.shape)
    directions = scene.means - cameras.centers[:, None]
    colors = gsplat_torch._spherical_harmonics(scene.sh_degree, directions, sh).add(0.5).clamp(min=0)
    torch.testing.assert_close(splats.colors[drawn], colors[drawn], rtol=1e-6, atol=1e-7)


@torch.no_grad()
@pytest.mark.parametrize("options", [RenderOptions(), ANTIALIASED])
def test_what_is_dropped_would_have_left_no_trace(options):
    """Drawn over a picture so large that nothing lies outside it, the middle looks the same."""
    case = scenes.case("edge")
    scene, small = case.scene(), case.cameras.at(0)
    splats = _project(scene, small, options, None)
    naive = naive_picture(
        replace(splats, radii=torch.ones_like(splats.radii)),
        0,
        small.cropped(0, 0, 37, 5),
        options.background,
    )
    render = REFERENCE.render(scene, small, options=options)
    torch.testing.assert_close(render.rgb[0, :5], torch.from_numpy(naive[..., :3]))


def test_near_and_far_are_inclusive():
    for z, options, is_drawn in [
        (2.0, RenderOptions(near=2.0), True),
        (2.0, RenderOptions(near=2.0 + 1e-9), False),
        (2.0, RenderOptions(far=2.0), True),
        (2.0, RenderOptions(far=2.0 - 1e-9), False),
        (-2.0, RenderOptions(), False),
    ]:
        render = REFERENCE.render(scenes.one_round_gaussian(z=z), scenes.identity_camera(), options=options)
        assert (render.alpha.max() > 0) == is_drawn
        assert bool((render.info.radii > 0).all()) == is_drawn


def test_radii_follow_the_opacity():
    sigma = sqrt(9 + 0.3)
    for opacity, extent in [(0.99, sqrt(2 * np.log(0.99 * 255))), (0.1, sqrt(2 * np.log(25.5))), (0.0039, 0)]:
        radii = REFERENCE.render(scenes.one_round_gaussian(opacity=opacity), scenes.identity_camera()).info.radii
        assert radii.tolist() == [[[np.ceil(extent * sigma)] * 2]]


def test_nothing_in_view_shows_the_background_and_zero_depth():
    scene = Gaussians.from_raw(**scenes.raw_scene(5, depth=(-4.0, -1.0)))
    render = REFERENCE.render(scene, scenes.identity_camera(), options=RenderOptions(background=(0.2, 0.4, 0.6)))
    torch.testing.assert_close(render.rgb, torch.tensor([0.2, 0.4, 0.6]).double().expand_as(render.rgb))
    assert render.depth.abs().max() == 0
    (render.rgb.sum() + render.depth.sum()).backward()
    assert all(p.grad is None or (p.grad == 0).all() for p in scene.params.values())


@torch.no_grad()
def test_lower_harmonic_degree_ignores_the_higher_coefficients():
    raw = scenes.raw_scene(20)
    cameras = scenes.cameras(24, 18)
    low = REFERENCE.render(Gaussians.from_raw(**raw), cameras, options=RenderOptions(sh_degree=1))
    cut = REFERENCE.render(Gaussians.from_raw(**(raw | {"sh": raw["sh"][:, :4]})), cameras)
    torch.testing.assert_close(low.rgb, cut.rgb, rtol=0, atol=0)


@torch.no_grad()
def test_order_of_the_gaussians_does_not_matter():
    case = scenes.case("random")
    shuffle = torch.randperm(len(case.scene()))
    shuffled = Gaussians.from_raw(**{k: v[shuffle] for k, v in case.raw.items()})
    a, b = (REFERENCE.render(s, case.cameras) for s in (case.scene(), shuffled))
    torch.testing.assert_close(a.rgb, b.rgb)
    torch.testing.assert_close(a.info.means2d[:, shuffle], b.info.means2d)


@torch.no_grad()
def test_a_scene_is_its_front_over_its_back():
    raw = scenes.raw_scene(40, opacity=(-3.0, 0.0))
    camera = scenes.identity_camera()
    is_front = raw["means"][:, 2] < 3
    front, back = ({k: v[mask] for k, v in raw.items()} for mask in (is_front, ~is_front))
    whole, front, back = (REFERENCE.render(Gaussians.from_raw(**r), camera) for r in (raw, front, back))
    torch.testing.assert_close(whole.rgb, front.rgb + (1 - front.alpha[..., None]) * back.rgb)
    torch.testing.assert_close(
        whole.depth * whole.alpha, front.depth * front.alpha + (1 - front.alpha) * back.depth * back.alpha
    )


def gradient_scene():
    raw = scenes.raw_scene(3, seed=11, depth=(1.5, 3.0), spread=0.3, scale=(0.2, 0.7), opacity=(0.0, 2.0))
    cameras = scenes.cameras(8, 6, count=2)
    inputs = raw | {
        "viewmats": cameras.viewmats,
        "slices": scenes.slices(cameras, length=0.05),
        "weights": torch.tensor([0.4, 0.6], dtype=torch.float64),
    }
    return inputs, cameras


def loss_of(inputs, cameras, options, is_burst):
    """A scalar that every output enters, and the leaves by the names of the inputs."""
    raw = {k: inputs[k] for k in ("means", "quats", "log_scales", "opacity_logits", "sh")}
    scene = Gaussians.from_raw(**raw)
    viewmats, slices, weights = (
        inputs[k].clone().requires_grad_() for k in ("viewmats", "slices", "weights")
    )
    burst = Burst(weights, slices) if is_burst else None
    render = REFERENCE.render(scene, cameras.with_viewmats(viewmats), options=options, burst=burst)
    g = torch.Generator().manual_seed(5)
    probe = torch.randn(*render.rgb.shape[:3], 5, generator=g, dtype=torch.float64)
    outputs = torch.cat([render.rgb, render.alpha[..., None], render.depth[..., None]], dim=-1)
    p = scene.params
    leaves = {
        "means": [p["means"]], "quats": [p["quats"]], "log_scales": [p["scales"]], "sh": [p["sh0"], p["shN"]],
        "opacity_logits": [p["opacities"]], "viewmats": [viewmats], "slices": [slices], "weights": [weights],
    }  # fmt: skip
    return (outputs * probe).sum(), leaves


@pytest.mark.parametrize("is_burst", [False, True])
@pytest.mark.parametrize("options", [RenderOptions(), ANTIALIASED])
def test_gradients_match_finite_differences(options, is_burst):
    inputs, cameras = gradient_scene()
    loss, leaves = loss_of(inputs, cameras, options, is_burst)
    loss.backward()
    g = torch.Generator().manual_seed(6)
    for name, value in inputs.items():
        if not is_burst and name in ("slices", "weights"):
            continue
        gradient = torch.cat([leaf.grad for leaf in leaves[name]], dim=1 if name == "sh" else 0)
        assert gradient.abs().max() > 1e-3
        for _ in range(4):
            direction = torch.randn(value.shape, generator=g, dtype=torch.float64)
            with torch.no_grad():
                up, down = (
                    loss_of(inputs | {name: value + step * direction}, cameras, options, is_burst)[0].item()
                    for step in (1e-6, -1e-6)
                )
            expected = (up - down) / 2e-6
            assert (gradient * direction).sum().item() == pytest.approx(expected, rel=1e-5, abs=1e-7), name


def test_gradient_of_screen_positions_can_be_kept():
    scene = Gaussians.from_raw(**scenes.raw_scene(6, spread=0.3))
    cameras = scenes.cameras(16, 12, count=3)
    cameras = replace(cameras, Ks=cameras.Ks.clone().requires_grad_())
    render = REFERENCE.render(scene, cameras, burst=Burst(torch.full((3,), 1 / 3)))
    render.info.means2d.retain_grad()
    render.rgb.square().sum().backward()
    assert render.info.means2d.shape == (3, 6, 2)
    # Moving the principal point moves all Gaussians of a camera.
    torch.testing.assert_close(render.info.means2d.grad.sum(1), cameras.Ks.grad[:, :2, 2])


@pytest.mark.parametrize("name", scenes.CASES)
@pytest.mark.parametrize("options", [RenderOptions(), ANTIALIASED])
def test_images_and_gradients_are_finite_on_hard_scenes(name, options):
    case = scenes.case(name)
    scene, count = case.scene(torch.float32), len(case.cameras)
    slices = scenes.slices(case.cameras).requires_grad_()
    viewmats = case.cameras.viewmats.clone().requires_grad_()
    burst = Burst(torch.full((count,), 1 / count), slices)
    render = REFERENCE.render(scene, case.cameras.with_viewmats(viewmats), options=options, burst=burst)
    (render.rgb.square().sum() + render.alpha.sum() + render.depth.sum()).backward()
    assert render.rgb.dtype == torch.float64 and render.rgb.isfinite().all()
    assert scene.means.grad.dtype == torch.float32
    for gradient in [*(p.grad for p in scene.params.values()), viewmats.grad, slices.grad]:
        assert gradient.isfinite().all()


@pytest.mark.parametrize("shutter", ["none", "thick"])
@pytest.mark.parametrize("options", [RenderOptions(), ANTIALIASED])
@pytest.mark.parametrize("name", scenes.CASES)
def test_single_precision_agrees_with_double(name, options, shutter):
    """Else the scenes would be no fair test of the renderers that have only single precision."""
    case = scenes.case(name)
    single, double = (
        scenes.outcome(ReferenceRasterizer(dtype), case, options=options, shutter=shutter)
        for dtype in (torch.float32, torch.float64)
    )
    table = scenes.disagreement(single, double)
    assert table.pop("image max") < 5e-3
    assert table.pop("image 99.9 %") < 2e-5
    assert all(error < 1e-3 for error in table.values()), table
