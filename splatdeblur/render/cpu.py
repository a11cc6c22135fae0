"""The CPU renderer: numba kernels behind two autograd functions, multi-threaded, forward and backward."""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..geometry import Cameras
from ..scene import Gaussians
from .kernels import blend as blending
from .kernels import colors as shading
from .kernels import projection, tiles
from .rasterizer import Burst, ProjectionInfo, Render, RenderOptions, average_burst


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


class _Project(torch.autograd.Function):
    """Scene and cameras to screen ellipses and colours. All arrays as in `kernels.projection` and `kernels.colors`."""

    @staticmethod
    def forward(ctx, means, quats, scales, opacities, sh, viewmats, Ks, slices, size, degree, options):
        n_cameras, n = len(viewmats), len(means)
        real = _array(means).dtype
        means2d, conics = np.empty((n_cameras, n, 2), real), np.empty((n_cameras, n, 3), real)
        depths, screen_opacities = np.empty((n_cameras, n), real), np.empty((n_cameras, n), real)
        radii, colors = np.empty((n_cameras, n, 2), np.int32), np.empty((n_cameras, n, 3), real)
        scene = [_array(x) for x in (means, quats, scales, opacities, sh)]
        cameras = [_array(x.double()) for x in (viewmats, Ks, slices)]
        projection.project(
            *scene[:4], *cameras, *size, options.dilation_px2, options.near, options.far, options.is_antialiased,
            means2d, conics, depths, screen_opacities, radii,
        )  # fmt: skip
        shading.shade(scene[0], scene[4], cameras[0], degree, radii, colors)
        ctx.arrays = (scene, cameras, size, degree, options, radii, conics, screen_opacities, colors)
        ctx.dtypes = (viewmats.dtype, slices.dtype)
        outputs = [torch.from_numpy(x) for x in (means2d, conics, screen_opacities, colors, depths, radii)]
        ctx.mark_non_differentiable(outputs[-1])
        return tuple(outputs)

    @staticmethod
    def backward(ctx, v_means2d, v_conics, v_screen_opacities, v_colors, v_depths, _):
        scene, cameras, size, degree, options, radii, conics, screen_opacities, colors = ctx.arrays
        v_means, v_quats, v_scales, v_opacities, v_sh = (np.zeros_like(x) for x in scene)
        v_viewmats = np.zeros((projection.CHUNKS, *cameras[0].shape))
        v_slices = np.zeros((projection.CHUNKS, *cameras[2].shape))
        projection.project_backward(
            *scene[:4], *cameras, *size, options.dilation_px2, options.near, options.is_antialiased,
            radii, conics, screen_opacities,
            _array(v_means2d), _array(v_conics), _array(v_depths), _array(v_screen_opacities),
            v_means, v_quats, v_scales, v_opacities, v_viewmats, v_slices,
        )  # fmt: skip
        shading.shade_backward(
            scene[0], scene[4], cameras[0], degree, radii, colors, _array(v_colors), v_means, v_sh, v_viewmats
        )
        gradients = [torch.from_numpy(x) for x in (v_means, v_quats, v_scales, v_opacities, v_sh)]
        v_viewmats = torch.from_numpy(v_viewmats.sum(0)).to(ctx.dtypes[0])
        v_slices = torch.from_numpy(v_slices.sum(0)).to(ctx.dtypes[1])
        return *gradients, v_viewmats, None, v_slices, None, None, None


class _Blend(torch.autograd.Function):
    """Screen ellipses to pictures: rgb without background, alpha, and the sum of weight times depth."""

    @staticmethod
    def forward(ctx, means2d, conics, screen_opacities, colors, depths, radii, size):
        width, height = size
        n_cameras, n = radii.shape[:2]
        grid = -(-width // tiles.TILE), -(-height // tiles.TILE)
        arrays = [_array(x) for x in (means2d, conics, screen_opacities, colors, depths)]
        real = arrays[0].dtype
        bits, passes = (np.uint32, 3) if real == np.float32 else (np.uint64, 6)
        drawn, counts = np.empty((n_cameras, n), np.int32), np.empty(n_cameras, np.int64)
        packed = np.empty((n_cameras, n, tiles.PACKED), real)
        tiles.sort_and_pack(*arrays, arrays[4].view(bits), passes, _array(radii), drawn, packed, counts)
        offsets = np.zeros(n_cameras * grid[0] * grid[1] + 1, np.int64)
        tiles.visit_tiles(packed, counts, *grid, offsets[1:], np.empty(0, np.int32))
        np.cumsum(offsets, out=offsets)
        entries = np.empty(offsets[-1], np.int32)
        if len(entries):
            tiles.visit_tiles(packed, counts, *grid, offsets[:-1].copy(), entries)
        rgb = np.empty((n_cameras, height, width, 3), real)
        alpha, depth = np.empty((n_cameras, height, width), real), np.empty((n_cameras, height, width), real)
        blending.blend(packed, entries, offsets, *grid, rgb, alpha, depth)
        ctx.arrays = (packed, entries, offsets, grid, drawn, rgb, alpha, depth)
        return torch.from_numpy(rgb), torch.from_numpy(alpha), torch.from_numpy(depth)

    @staticmethod
    def backward(ctx, v_rgb, v_alpha, v_depth):
        packed, entries, offsets, grid, drawn, rgb, alpha, depth = ctx.arrays
        v_entries = np.empty((len(entries), blending.GRADIENTS), packed.dtype)
        blending.blend_backward(
            packed, entries, offsets, *grid, rgb, alpha, depth,
            _array(v_rgb), _array(v_alpha), _array(v_depth), v_entries,
        )
        shape = drawn.shape
        gradients = [np.zeros((*shape, *tail), packed.dtype) for tail in ((2,), (3,), (), (3,), ())]
        blending.gather(entries, offsets, grid[0] * grid[1], drawn, v_entries, *gradients)
        return *(torch.from_numpy(x) for x in gradients), None, None


class CpuRasterizer:
    """Numba kernels, forward and hand-written backward; float32 or float64, after the scene's own precision."""

    name = "cpu"
    device = torch.device("cpu")
    dtypes: ClassVar = (torch.float32, torch.float64)

    def render(
        self,
        scene: Gaussians,
        cameras: Cameras,
        *,
        options: RenderOptions = RenderOptions(),
        burst: Burst | None = None,
    ) -> Render:
        """All cameras in one call; with `burst`, their weighted average. Gradients as in the protocol."""
        size = cameras.width, cameras.height
        degree = scene.sh_degree if options.sh_degree is None else min(options.sh_degree, scene.sh_degree)
        slices = None if burst is None else burst.slices
        if slices is None:
            slices = cameras.viewmats.new_empty(0, 2, 4, 4)
        means2d, conics, opacities, colors, depths, radii = _Project.apply(
            scene.means, scene.quats, scene.scales, scene.opacities, scene.sh,
            cameras.viewmats, cameras.Ks, slices, size, degree, options,
        )  # fmt: skip
        rgb, alpha, weighted_depth = _Blend.apply(means2d, conics, opacities, colors, depths, radii, size)
        background = rgb.new_tensor(options.background)
        if background.any():
            rgb = rgb + (1 - alpha)[..., None] * background
        depth = torch.where(alpha > 0, weighted_depth / alpha.clamp(min=1e-8), torch.zeros_like(alpha))
        info = ProjectionInfo(means2d=means2d, radii=radii, width=cameras.width, height=cameras.height)
        if burst is None:
            return Render(rgb=rgb, alpha=alpha, depth=depth, info=info)
        subframes = rgb
        rgb, alpha, depth = average_burst(rgb, alpha, depth, burst)
        return Render(rgb, alpha, depth, info, is_linear=burst.is_linear, subframes=subframes)
