"""gsplat's backend: on CUDA against the oracle; without, the same code over gsplat's own torch functions."""

import sys
from types import ModuleType

import pytest
import torch
from gsplat.cuda import _torch_impl as gsplat_torch
from render import scenes

from splatdeblur.errors import BackendError
from splatdeblur.render import Burst, Rasterizer, RenderOptions
from splatdeblur.render.gsplat_cuda import GsplatRasterizer
from splatdeblur.render.reference import ReferenceRasterizer
from splatdeblur.scene import Gaussians

MODES = [RenderOptions(background=(0.2, 0.1, 0.4)), RenderOptions(is_antialiased=True, sh_degree=1)]
SHUTTERS = ("none", "thin", "thick")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def torch_projection(
    means, covars, quats, scales, viewmats, Ks, width, height, *,
    eps2d, near_plane, far_plane, calc_compensations, opacities,
):  # fmt: skip
    """gsplat's fused projection, with the footprints that its torch version leaves out."""
    assert covars is None
    covars, _ = gsplat_torch._quat_scale_to_covar_preci(quats, scales, compute_preci=False)
    _, means2d, depths, conics, compensations = gsplat_torch._fully_fused_projection(
        means, covars, viewmats, Ks, width, height, eps2d, near_plane, far_plane, calc_compensations=True
    )
    bound = opacities * compensations if calc_compensations else opacities.expand_as(depths)
    extent = (2 * (bound * 255).clamp(min=1).log()).sqrt().clamp(max=3.33)
    inverse_det = conics[..., 0] * conics[..., 2] - conics[..., 1] ** 2
    variances = conics[..., [2, 0]] / inverse_det[..., None]
    radii = (extent[..., None] * variances.sqrt()).ceil()
    inside = (means2d + radii > 0) & (means2d - radii < torch.tensor([width, height]))
    drawn = inside.all(-1) & (depths >= near_plane) & (depths <= far_plane) & (bound >= 1 / 255)
    radii = torch.where(drawn[..., None], radii, 0.0).int()
    undefined = torch.where(drawn, 0.0, torch.nan)
    means2d, conics = means2d + undefined[..., None].detach(), conics + undefined[..., None].detach()
    compensations = torch.where(drawn, compensations, 0.0) if calc_compensations else None
    return radii, means2d, depths, conics, compensations


def torch_rasterization(
    means2d, conics, colors, opacities, width, height, tile_size, offsets, flatten_ids, backgrounds, absgrad
):
    """gsplat's blending kernel, Gaussian by Gaussian through each tile's list; without the magnitudes of gradients."""
    count, tile_height, tile_width = offsets.shape
    ends = torch.cat([offsets.flatten()[1:], torch.tensor([len(flatten_ids)])]).view_as(offsets)
    means2d, conics, colors = (value.flatten(0, 1) for value in (means2d, conics, colors))
    opacities = opacities.flatten()
    pictures, alphas = [], []
    for i in range(count):
        picture = torch.zeros(tile_height * tile_size, tile_width * tile_size, colors.shape[-1] + 1)
        for row in range(tile_height):
            for column in range(tile_width):
                y = torch.arange(row * tile_size, (row + 1) * tile_size)[:, None] + 0.5
                x = torch.arange(column * tile_size, (column + 1) * tile_size)[None] + 0.5
                total, t = (
                    torch.zeros(tile_size, tile_size, colors.shape[-1]),
                    torch.ones(tile_size, tile_size),
                )
                done = torch.zeros_like(t, dtype=torch.bool)
                for g in flatten_ids[offsets[i, row, column] : ends[i, row, column]]:
                    dx, dy = means2d[g, 0] - x, means2d[g, 1] - y
                    sigma = 0.5 * (conics[g, 0] * dx**2 + conics[g, 2] * dy**2) + conics[g, 1] * dx * dy
                    alpha = (opacities[g] * (-sigma).exp()).clamp(max=0.999)
                    seen = (sigma >= 0) & (alpha >= 1 / 255) & ~done
                    done = done | (seen & (t * (1 - alpha) <= 1e-4))
                    alpha = torch.where(seen & ~done, alpha, 0.0)
                    total = total + (alpha * t)[..., None] * colors[g]
                    t = t * (1 - alpha)
                tile = torch.cat([total + t[..., None] * backgrounds[i], 1 - t[..., None]], dim=-1)
                picture[row * tile_size :, column * tile_size :][:tile_size, :tile_size] = tile
        pictures.append(picture[:height, :width, :-1])
        alphas.append(picture[:height, :width, -1:])
    return torch.stack(pictures), torch.stack(alphas)


def torch_spherical_harmonics(degree, dirs, coeffs, masks):
    colors = gsplat_torch._spherical_harmonics(degree, dirs, coeffs)
    return torch.where(masks[..., None], colors, torch.nan)


@pytest.fixture
def on_cpu():
    """The backend on the CPU; where gsplat's kernels leave memory undefined, these functions write NaN."""
    twin = ModuleType("gsplat")
    twin.fully_fused_projection = torch_projection
    twin.quat_scale_to_covar_preci = gsplat_torch._quat_scale_to_covar_preci
    twin.proj = gsplat_torch._persp_proj
    twin.spherical_harmonics = torch_spherical_harmonics
    twin.isect_tiles = gsplat_torch._isect_tiles
    twin.isect_offset_encode = gsplat_torch._isect_offset_encode
    twin.rasterize_to_pixels = torch_rasterization
    return GsplatRasterizer(torch.device("cpu"), _gsplat=twin)


def small_case(name):
    if name == "random":
        return scenes.Case(scenes.raw_scene(15, scale=(0.05, 0.4)), scenes.cameras(30, 20, count=2))
    if name == "edge":
        return scenes.Case(
            scenes.raw_scene(30, seed=6, spread=2.0, scale=(0.05, 0.6)), scenes.cameras(18, 17, count=2)
        )
    raw = scenes.raw_scene(30, seed=2, depth=(-3.0, 3.0), spread=0.9)
    return scenes.Case(raw, scenes.cameras(18, 17, seed=2, count=2))


def assert_alike(ours, truth, *, image, gradient):
    table = scenes.disagreement(ours, truth)
    assert table.pop("image max") < 0.01
    assert table.pop("image 99.9 %") < image, table
    assert all(error < gradient for error in table.values()), table


@pytest.mark.parametrize("shutter", SHUTTERS)
@pytest.mark.parametrize("options", MODES)
@pytest.mark.parametrize("name", ["random", "edge", "behind"])
def test_over_gsplats_torch_functions_it_agrees_with_the_reference(on_cpu, name, options, shutter):
    case = small_case(name)
    ours, truth = (
        scenes.outcome(rasterizer, case, options=options, shutter=shutter)
        for rasterizer in (on_cpu, ReferenceRasterizer())
    )
    assert_alike(ours, truth, image=1e-4, gradient=1e-3)
    assert (ours.render.info.radii == truth.render.info.radii).all()
    assert ours.render.is_linear == truth.render.is_linear
    torch.testing.assert_close(ours.render.depth.double(), truth.render.depth, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", MODES)
def test_needles_longer_than_single_precision_can_tell_leave_gradients_finite(on_cpu, options):
    raw = scenes.raw_scene(40, depth=(0.03, 2.0), scale=(1e-5, 1e3))
    case = scenes.Case(raw, scenes.cameras(18, 17, count=2))
    for rasterizer in (on_cpu, ReferenceRasterizer(torch.float32)):
        outcome = scenes.outcome(rasterizer, case, options=options, shutter="thick")
        assert outcome.render.rgb.isfinite().all()
        assert all(gradient.isfinite().all() for gradient in outcome.gradients.values())


def test_it_keeps_the_protocol(on_cpu):
    assert isinstance(on_cpu, Rasterizer)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_without_a_cuda_device_it_says_what_to_do():
    with pytest.raises(BackendError, match="--device cpu"):
        GsplatRasterizer()


@pytest.mark.parametrize("built", [{"_C": None}, {}])
def test_kernels_that_cannot_be_built_are_named(monkeypatch, built):
    backend = ModuleType("gsplat.cuda._backend")
    vars(backend).update(built)
    monkeypatch.setitem(sys.modules, backend.__name__, backend)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(BackendError, match="CUDA_HOME"):
        GsplatRasterizer()


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("shutter", SHUTTERS)
@pytest.mark.parametrize("options", MODES)
@pytest.mark.parametrize("name", scenes.CASES)
def test_on_cuda_it_agrees_with_the_reference(name, options, shutter):
    case = scenes.case(name)
    ours, truth = (
        scenes.outcome(rasterizer, case, options=options, shutter=shutter)
        for rasterizer in (GsplatRasterizer(), ReferenceRasterizer())
    )
    # Its kernels are built with fast-math, and its antialiasing gradient divides by compensation + 1e-6.
    assert_alike(ours, truth, image=1e-3, gradient=2e-2)


@pytest.mark.gpu
@needs_cuda
def test_on_cuda_an_empty_view_shows_the_background():
    scene = Gaussians.from_raw(**scenes.raw_scene(5, depth=(-4.0, -1.0)))
    options = RenderOptions(background=(0.2, 0.4, 0.6))
    render = GsplatRasterizer().render(scene, scenes.cameras(), options=options)
    torch.testing.assert_close(render.rgb.cpu(), torch.tensor([0.2, 0.4, 0.6]).expand_as(render.rgb))
    assert render.depth.abs().max() == 0


@pytest.mark.gpu
@needs_cuda
def test_on_cuda_screen_gradients_can_be_kept():
    scene = Gaussians.from_raw(**scenes.raw_scene(50)).to("cuda")
    cameras = scenes.cameras(count=3)
    options = RenderOptions(keeps_magnitudes=True)
    render = GsplatRasterizer().render(scene, cameras, options=options, burst=Burst(torch.full((3,), 1 / 3)))
    render.info.means2d.retain_grad()
    render.rgb.square().sum().backward()
    assert render.info.means2d.grad[(render.info.radii > 0).all(-1)].abs().sum() > 0
    assert (render.info.means2d.absgrad >= 0.999 * render.info.means2d.grad.abs()).all()
