"""A burst shares its work between sub-frames, and must not be told from as many renders that were averaged after."""

from dataclasses import replace

import numba
import numpy as np
import pytest
import torch
from render.scenes import Case, cameras, case, slices, sliding

from splatdeblur.geometry import exp, linear_from_srgb
from splatdeblur.render import Burst, RenderOptions
from splatdeblur.render.cpu import CpuRasterizer
from splatdeblur.render.kernels import maths
from splatdeblur.render.rasterizer import average_burst
from splatdeblur.scene import Gaussians

CPU = CpuRasterizer()
OPTIONS = RenderOptions(background=(0.2, 0.5, 0.1))


def moving(name, count=4):
    """The scene of that name before sub-frames that agree on the depth order."""
    return Case(case(name).raw, sliding(case(name).cameras, count))


def along_a_path(name, length_px, count):
    """The scene of that name before cameras that slide and turn; the picture moves by about that length."""
    one = case(name)
    turn = torch.tensor([0.3, 0.2, 0.0, 0.0, 1.0, 0.2], dtype=torch.float64) * length_px / (0.9 * 64)
    views = [exp(turn * time) @ one.cameras.viewmats[0] for time in torch.linspace(-0.5, 0.5, count).tolist()]
    return Case(one.raw, replace(one.cameras, viewmats=torch.stack(views), Ks=one.cameras.Ks[:1].repeat(count, 1, 1)))


def outcomes(test_case, dtype, *, is_thick=False, by_row=False, is_linear=True):
    """Pictures and gradients of a burst, and of the same sub-frames rendered one by one and averaged in torch."""
    count, height = len(test_case.cameras), test_case.cameras.height
    results = []
    for is_shared in (True, False):
        scene, views = test_case.scene(dtype), test_case.cameras.to(dtype=dtype)
        generator = torch.Generator().manual_seed(1)
        weights = torch.rand(*((count, height) if by_row else (count,)), generator=generator, dtype=torch.float64)
        leaves = dict(scene.params.items()) | {
            "viewmats": views.viewmats.clone().requires_grad_(),
            "weights": (weights / weights.sum(0)).to(dtype).requires_grad_(),
        }
        if is_thick:
            leaves["slices"] = slices(test_case.cameras, length=0.01).to(dtype).requires_grad_()
        views = views.with_viewmats(leaves["viewmats"])
        burst = Burst(leaves["weights"], leaves.get("slices"), is_linear)
        if is_shared:
            out = CPU.render(scene, views, options=OPTIONS, burst=burst)
            pictures = [out.rgb, out.alpha, out.depth, out.subframes]
        else:
            parts = []
            for s in range(count):
                one = Burst(weights=torch.ones(1, dtype=dtype), slices=burst.slices[s : s + 1] if is_thick else None)
                out = CPU.render(scene, views.at(s), options=OPTIONS, burst=one)
                parts.append((out.subframes, out.alpha, out.depth))
            rgb, alpha, depth = (torch.cat(x) for x in zip(*parts, strict=True))
            pictures = [*average_burst(rgb, alpha, depth, burst), rgb]
        generator = torch.Generator().manual_seed(2)
        probes = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in pictures]
        loss = sum((p.double() * probe).sum() for p, probe in zip(pictures, probes, strict=True))
        gradients = torch.autograd.grad(loss, [v for v in leaves.values() if v.numel()])
        results.append((pictures, dict(zip([k for k, v in leaves.items() if v.numel()], gradients, strict=True))))
    return results


def relative_errors(results):
    (pictures, gradients), (expected_pictures, expected_gradients) = results
    pairs = list(zip(pictures, expected_pictures, strict=True))
    pairs += [(gradients[k], expected_gradients[k]) for k in expected_gradients]
    return [((a.double() - b.double()).norm() / b.double().norm()).item() for a, b in pairs]


@pytest.mark.parametrize("is_thick", [False, True])
@pytest.mark.parametrize("name", ["random", "crowd", "behind", "edge"])
def test_a_burst_equals_its_subframes_averaged(name, is_thick):
    assert max(relative_errors(outcomes(moving(name), torch.float64, is_thick=is_thick))) < 1e-9
    assert max(relative_errors(outcomes(moving(name), torch.float32, is_thick=is_thick))) < 1e-3


@pytest.mark.parametrize("is_linear", [False, True])
def test_rows_may_have_weights_of_their_own(is_linear):
    results = outcomes(moving("random", 3), torch.float64, by_row=True, is_linear=is_linear)
    assert max(relative_errors(results)) < 1e-9


def test_one_depth_order_for_all_subframes_changes_little():
    """3000 Gaussians on 64 x 48 pixels, 9 sub-frames: the worst that a shared order does to picture and gradients."""
    errors = relative_errors(outcomes(along_a_path("crowd", 12, 9), torch.float32))
    assert errors[0] < 0.01
    assert max(errors) < 0.1


def test_a_gaussian_in_view_of_one_subframe_only_is_drawn_there():
    test_case = along_a_path("edge", 20, 3)
    views = test_case.cameras
    burst = CPU.render(test_case.scene(), views, burst=Burst(torch.full((3,), 1 / 3, dtype=torch.float64)))
    apart = CPU.render(test_case.scene(), views)
    is_seen = (burst.info.radii > 0).all(-1)
    assert (is_seen.any(0) & ~is_seen.all(0)).any()
    assert torch.equal(burst.info.radii, apart.info.radii)
    assert torch.equal(burst.info.means2d, apart.info.means2d)


def test_screen_gradients_of_each_subframe_can_be_kept():
    still = case("random").cameras.at([0, 0, 0])
    burst = Burst(torch.tensor([0.0, 0.25, 0.75], dtype=torch.float64))
    out = CPU.render(case("random").scene(), still, burst=burst)
    out.info.means2d.retain_grad()
    out.rgb.square().sum().backward()
    none, quarter, rest = out.info.means2d.grad
    assert not none.any() and quarter.any()
    torch.testing.assert_close(rest, 3 * quarter)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e38, 1e-45])
def test_bad_parameters_neither_hang_nor_spread(bad):
    test_case = moving("random", 3)
    raw = {k: v.clone() for k, v in test_case.raw.items()}
    for i, key in enumerate(raw):
        raw[key][i].view(-1)[0] = bad
    scene = Gaussians.from_raw(**{k: v.float() for k, v in raw.items()})
    burst = Burst(torch.full((3,), 1 / 3), slices(test_case.cameras).float())
    out = CPU.render(scene, test_case.cameras.to(dtype=torch.float32), burst=burst)
    out.alpha.sum().backward()
    assert out.alpha.isfinite().all()
    assert out.alpha.mean() > 0.1


def test_a_burst_that_shows_nothing_is_background_with_no_gradient():
    raw = {**case("random").raw, "means": case("random").raw["means"] * torch.tensor([1.0, 1.0, -1.0])}
    scene, views = Gaussians.from_raw(**raw), cameras(count=3)
    out = CPU.render(scene, views, options=OPTIONS, burst=Burst(torch.full((3,), 1 / 3)))
    out.rgb.sum().backward()
    background = linear_from_srgb(torch.tensor(OPTIONS.background, dtype=torch.float64))
    torch.testing.assert_close(out.rgb, background.expand_as(out.rgb))
    assert all(p.grad.abs().max() == 0 for p in scene.params.values())


@numba.njit
def _fast(x, powers, exponentials, logarithms):
    for i in range(len(x)):
        powers[i] = maths.power_2_4(x[i])
        exponentials[i] = maths.exp(-x[i])
        logarithms[i] = maths.log(x[i])


def test_fast_functions_are_right_to_single_precision():
    x = np.concatenate([np.geomspace(0.05, 1e3, 4000), np.geomspace(1e-6, 80, 4000)]).astype(np.float32)
    powers, exponentials, logarithms = np.empty((3, len(x)), np.float32)
    _fast(x, powers, exponentials, logarithms)
    np.testing.assert_allclose(powers[:4000], x[:4000].astype(float) ** 2.4, rtol=2e-6)
    np.testing.assert_allclose(exponentials, np.exp(-x.astype(float)), rtol=1e-5, atol=1e-37)
    np.testing.assert_allclose(logarithms, np.log(x.astype(float)), rtol=2e-7, atol=1e-7)
