"""The CPU kernels against the oracle, against finite differences, and on input that would break a careless loop."""

from dataclasses import replace

import numba
import pytest
import torch
from render.scenes import CASES, case, raw_scene, slices, sliding
from render.scenes import cameras as small_cameras

from splatdeblur.geometry import Cameras
from splatdeblur.render import Burst, RenderOptions, reference
from splatdeblur.render.cpu import CpuRasterizer
from splatdeblur.render.rasterizer import ALPHA_MIN
from splatdeblur.render.reference import ReferenceRasterizer
from splatdeblur.scene import Gaussians

VARIANTS = {
    "classic": (RenderOptions(background=(0.2, 0.4, 0.6)), False),
    "antialiased": (RenderOptions(is_antialiased=True), False),
    "thick": (RenderOptions(sh_degree=1), True),
    "thick antialiased": (RenderOptions(is_antialiased=True), True),
}


def draw_with_gradients(rasterizer, test_case, variant, dtype):
    """Pictures and the gradients of one random scalar of all of them."""
    options, is_thick = VARIANTS[variant]
    scene = test_case.scene(dtype)
    views = sliding(test_case.cameras, len(test_case.cameras)) if is_thick else test_case.cameras
    around = slices(views).to(dtype)
    views = views.to(dtype=dtype)
    viewmats = views.viewmats.clone().requires_grad_()
    burst = None
    leaves = dict(scene.params.items()) | {"viewmats": viewmats}
    if is_thick:
        ends = around.requires_grad_()
        leaves["slices"] = ends
        burst = Burst(weights=torch.full((len(views),), 1 / len(views), dtype=dtype), slices=ends)
    out = rasterizer.render(scene, views.with_viewmats(viewmats), options=options, burst=burst)
    generator = torch.Generator().manual_seed(0)
    loss = 0.0
    for picture in (out.rgb, out.alpha, out.depth):
        weights = torch.randn(picture.shape, generator=generator, dtype=torch.float64)
        loss = loss + (picture.double() * weights).sum()
    loss.backward()
    return out, {k: v.grad.double() for k, v in leaves.items() if v.numel()}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", CASES)
def test_float64_kernels_equal_the_reference(name, variant):
    test_case = case(name)
    expected, expected_gradients = draw_with_gradients(ReferenceRasterizer(), test_case, variant, torch.float64)
    found, gradients = draw_with_gradients(CpuRasterizer(), test_case, variant, torch.float64)
    torch.testing.assert_close(found.rgb, expected.rgb, atol=1e-8, rtol=0)
    torch.testing.assert_close(found.alpha, expected.alpha, atol=1e-8, rtol=0)
    torch.testing.assert_close(found.depth, expected.depth, atol=1e-6, rtol=1e-6)
    assert torch.equal(found.info.radii, expected.info.radii)
    for key, gradient in gradients.items():
        error = (gradient - expected_gradients[key]).norm() / expected_gradients[key].norm()
        assert error < 1e-6, f"{key}: {error:.1e}"


def undecided_pixels(test_case, variant, monkeypatch):
    """Pixels where some Gaussian is so near to the smallest alpha drawn that rounding decides: [C, H, W]."""
    pictures = []
    for nudge in (1 - 1e-5, 1 + 1e-5):
        monkeypatch.setattr(reference, "ALPHA_MIN", ALPHA_MIN * nudge)
        pictures.append(draw_with_gradients(ReferenceRasterizer(), test_case, variant, torch.float64)[0].rgb)
    monkeypatch.undo()
    return (pictures[0] - pictures[1]).abs().amax(-1) > 1e-6


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", CASES)
def test_float32_kernels_agree_with_the_reference(name, variant, monkeypatch):
    test_case = case(name)
    expected, expected_gradients = draw_with_gradients(ReferenceRasterizer(), test_case, variant, torch.float64)
    found, gradients = draw_with_gradients(CpuRasterizer(), test_case, variant, torch.float32)
    error = (found.rgb.double() - expected.rgb).abs().amax(-1)
    if error.max() > 1e-4:
        undecided = undecided_pixels(test_case, variant, monkeypatch)
        assert undecided.double().mean() < 0.02
        assert error[~undecided].max() <= 1e-4
        assert error.max() <= 1 / 255
    assert (found.alpha.double() - expected.alpha).abs().max() <= 1e-3
    for key, gradient in gradients.items():
        error = (gradient - expected_gradients[key]).norm() / expected_gradients[key].norm()
        assert error < 1e-3, f"{key}: {error:.1e}"


def test_gradients_agree_with_finite_differences():
    generator = torch.Generator().manual_seed(3)
    raw = {
        "means": torch.tensor([[0.1, 0.0, 2.0], [-0.2, 0.1, 2.5], [0.0, -0.1, 3.0]], dtype=torch.float64),
        "quats": torch.randn(3, 4, generator=generator, dtype=torch.float64),
        "log_scales": torch.randn(3, 3, generator=generator, dtype=torch.float64) * 0.3 - 0.5,
        "opacity_logits": torch.randn(3, generator=generator, dtype=torch.float64),
        "sh": torch.randn(3, 16, 3, generator=generator, dtype=torch.float64) * 0.2,
    }
    K = torch.tensor([[8.0, 0, 4], [0, 8, 3], [0, 0, 1]], dtype=torch.float64)
    views = Cameras(torch.eye(4, dtype=torch.float64)[None], K[None], 8, 6)
    ends = slices(views, length=0.05)

    def picture(*values):
        scene = Gaussians.from_raw(*[torch.zeros_like(v) for v in values[:5]])
        means, quats, log_scales, logits, sh, viewmats, slice_ends = values
        object.__setattr__(scene, "params", {
            "means": means, "quats": quats, "scales": log_scales, "opacities": logits,
            "sh0": sh[:, :1], "shN": sh[:, 1:],
        })  # fmt: skip
        burst = Burst(weights=torch.ones(1, dtype=torch.float64), slices=slice_ends)
        out = CpuRasterizer().render(scene, views.with_viewmats(viewmats), burst=burst)
        return out.rgb, out.alpha, out.depth

    inputs = [v.clone().requires_grad_() for v in (*raw.values(), views.viewmats, ends)]
    assert torch.autograd.gradcheck(picture, inputs, eps=1e-7, atol=1e-5, rtol=1e-4, nondet_tol=0.0)


def test_results_do_not_depend_on_the_number_of_threads():
    test_case = case("crowd")
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
        _, many = draw_with_gradients(CpuRasterizer(), test_case, "thick", torch.float32)
        numba.set_num_threads(1)
        _, one = draw_with_gradients(CpuRasterizer(), test_case, "thick", torch.float32)
    finally:
        numba.set_num_threads(threads)
    assert all(torch.equal(many[k], one[k]) for k in many)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e38, 1e-45])
def test_bad_parameters_neither_hang_nor_spread(bad):
    test_case = case("random")
    raw = {k: v.clone() for k, v in test_case.raw.items()}
    for i, key in enumerate(raw):
        raw[key][i].view(-1)[0] = bad
    scene = Gaussians.from_raw(**{k: v.float() for k, v in raw.items()})
    out = CpuRasterizer().render(scene, test_case.cameras.to(dtype=torch.float32))
    out.alpha.sum().backward()
    assert out.alpha.isfinite().all()
    assert out.alpha.mean() > 0.1


def test_a_scene_that_nobody_sees_gives_the_background():
    test_case = case("random")
    raw = {**test_case.raw, "means": test_case.raw["means"] * torch.tensor([1.0, 1.0, -1.0])}
    out = CpuRasterizer().render(
        Gaussians.from_raw(**raw), test_case.cameras, options=RenderOptions(background=(0.1, 0.2, 0.3))
    )
    out.rgb.sum().backward()
    assert torch.equal(out.rgb, out.rgb.new_tensor([0.1, 0.2, 0.3]).expand_as(out.rgb))
    assert not out.depth.any()


@pytest.mark.parametrize("variant", ["classic", "thick antialiased"])
def test_magnitudes_of_screen_gradients_are_summed_over_the_pixels(variant):
    """Each pixel's gradient alone, by the oracle, in place of one sum over all of them."""
    options, is_thick = VARIANTS[variant]
    raw = raw_scene(12, scale=(0.1, 0.6))
    scene = Gaussians.from_raw(*raw.values())
    views = sliding(small_cameras(20, 14, count=2), 2).to(dtype=torch.float64)
    burst = None
    if is_thick:
        burst = Burst(weights=torch.tensor([0.3, 0.7], dtype=torch.float64), slices=slices(views))
    weights = torch.randn(14, 20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    keeping = replace(options, keeps_magnitudes=True)
    found = CpuRasterizer().render(scene, views, options=keeping, burst=burst)
    (found.rgb[0] * weights).sum().backward()
    expected = ReferenceRasterizer().render(scene, views, options=options, burst=burst)
    means2d, total = expected.info.means2d, torch.zeros(2, 12, 2, dtype=torch.float64)
    for value in (expected.rgb[0] * weights).sum(-1).flatten():
        (gradient,) = torch.autograd.grad(value, means2d, retain_graph=True)
        total += gradient.abs()
    torch.testing.assert_close(found.info.means2d.absgrad, total, atol=1e-9, rtol=1e-6)
    assert (total > 2 * torch.autograd.grad((expected.rgb[0] * weights).sum(), means2d)[0].abs()).any()
