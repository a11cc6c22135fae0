"""The CPU renderer: numba kernels behind three autograd functions, multi-threaded, forward and backward."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..geometry import Cameras
from ..scene import Gaussians
from .kernels import average as averaging
from .kernels import blend as blending
from .kernels import colors as shading
from .kernels import culling, projection, tiles
from .kernels.shares import ALL
from .rasterizer import Burst, ProjectionInfo, Render, RenderOptions


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _or_empty(gradients: Sequence[Tensor | None], like: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Gradients as arrays; an empty one for what nobody used."""
    return [
        _array(v) if v is not None else np.empty((0, *x.shape[1:]), x.dtype)
        for v, x in zip(gradients, like, strict=True)
    ]


@dataclass(frozen=True)
class _Task:
    """What is to be drawn: pictures of some sub-frames each, one after another in the list of cameras."""

    width: int
    height: int
    num_subframes: int
    degree: int
    options: RenderOptions

    @property
    def grid(self) -> tuple[int, int]:
        """Tiles across and down."""
        return -(-self.width // tiles.TILE), -(-self.height // tiles.TILE)

    @property
    def lens(self) -> tuple[int, int, float, float]:
        return self.width, self.height, self.options.dilation_px2, self.options.near


class _Project(torch.autograd.Function):
    """Scene and cameras to splats, as in `kernels.projection`: screen ellipses and colours of all that may be seen."""

    @staticmethod
    def forward(ctx, means, quats, scales, opacities, sh0, sh_rest, viewmats, Ks, slices, task):
        options, n_cameras, n = task.options, len(viewmats), len(means)
        geometry = [_array(x) for x in (means, quats, scales, opacities)]
        colors = [_array(x) for x in (sh0, sh_rest)]
        cameras = [_array(x.double()) for x in (viewmats, Ks, slices.flatten(0, 1))]
        n_pictures = n_cameras // task.num_subframes
        candidates = np.empty(n_pictures * n, np.int32)
        offsets = np.empty(n_pictures * projection.CHUNKS + 1, np.int64)
        culling.cull(
            geometry[0], *geometry[2:], *cameras, task.num_subframes, *task.lens, options.far, candidates, offsets, ALL
        )
        candidates = candidates[: offsets[-1]]
        # From torch, whose memory begins at a cache line.
        splats = means.new_empty(task.num_subframes, len(candidates), projection.COLUMNS)
        depths = means.new_empty(len(candidates))
        means2d = means.new_zeros(n_cameras, n, 2)
        radii = torch.zeros(n_cameras, n, 2, dtype=torch.int32)
        projection.project(
            *geometry, *cameras, *task.lens, options.far, options.is_antialiased,
            candidates, offsets, splats.numpy(), depths.numpy(), means2d.numpy(), radii.numpy(), ALL,
        )  # fmt: skip
        shading.shade(geometry[0], *colors, cameras[0], task.degree, candidates, offsets, splats.numpy(), ALL)
        ctx.arrays = (geometry, colors, cameras, candidates, offsets, splats.numpy())
        ctx.task, ctx.dtypes = task, (viewmats.dtype, slices.dtype)
        ctx.slices_shape = slices.shape
        rest = depths, radii, torch.from_numpy(candidates), torch.from_numpy(offsets)
        ctx.mark_non_differentiable(*rest)
        return means2d, splats, *rest

    @staticmethod
    def backward(ctx, v_means2d, v_splats, *_):
        geometry, colors, cameras, candidates, offsets, splats = ctx.arrays
        task = ctx.task
        v_geometry, v_colors = ([np.zeros_like(x) for x in arrays] for arrays in (geometry, colors))
        v_viewmats = np.zeros((projection.CHUNKS, *cameras[0].shape))
        v_slices = np.zeros((projection.CHUNKS, *cameras[2].shape))
        v_splats = _array(v_splats)
        projection.project_backward(
            *geometry, *cameras, *task.lens, task.options.is_antialiased,
            candidates, offsets, splats, v_splats, _array(v_means2d), *v_geometry, v_viewmats, v_slices, ALL,
        )  # fmt: skip
        shading.shade_backward(
            geometry[0], *colors, cameras[0], task.degree, candidates, offsets, splats, v_splats,
            v_geometry[0], *v_colors, v_viewmats, ALL,
        )  # fmt: skip
        gradients = [torch.from_numpy(x) for x in (*v_geometry, *v_colors)]
        v_viewmats = torch.from_numpy(v_viewmats.sum(0)).to(ctx.dtypes[0])
        v_slices = torch.from_numpy(v_slices.sum(0)).to(ctx.dtypes[1]).view(ctx.slices_shape)
        return *gradients, v_viewmats, None, v_slices, None


class _Blend(torch.autograd.Function):
    """Splats to the pictures of all cameras. The screen positions are an input only to receive their gradient."""

    @staticmethod
    def forward(ctx, means2d, splats, depths, candidates, offsets, task):
        splats, candidates, offsets = splats.detach().numpy(), candidates.numpy(), offsets.numpy()
        shape = len(means2d), task.height, task.width
        bits, passes = (np.uint32, 3) if splats.dtype == np.float32 else (np.uint64, 6)
        order = tiles.sort_by_depth(depths.numpy().view(bits), passes, offsets)
        tile_starts, entries, slots, pair_starts = tiles.tile_lists(splats, order, offsets, *task.grid)
        background = np.asarray(task.options.background, splats.dtype)
        pictures = [np.empty((*shape, *tail), splats.dtype) for tail in ((3,), (), ())]
        blocks = np.empty((len(splats), len(entries)), np.uint64)
        blending.blend(splats, entries, tile_starts, *task.grid, background, *pictures, blocks, ALL)
        ctx.arrays = (splats, entries, tile_starts, slots, pair_starts, *task.grid, *pictures, blocks)
        ctx.candidates = (candidates, offsets)
        ctx.set_materialize_grads(False)
        ctx.shape = means2d.shape
        return tuple(torch.from_numpy(x) for x in pictures)

    @staticmethod
    def backward(ctx, *v_pictures):
        splats, *_, rgb, alpha, depth, _ = ctx.arrays
        v_rgb, v_alpha, v_depth = _or_empty(v_pictures, (rgb, alpha, depth))
        if not len(v_rgb):
            v_rgb = np.zeros_like(rgb)
        v_splats, v_means2d = np.empty_like(splats), np.zeros(ctx.shape, splats.dtype)
        v_pairs = np.empty((len(ctx.arrays[1]), projection.GRADIENTS), splats.dtype)
        blending.blend_backward(
            *ctx.arrays, v_rgb, v_alpha, v_depth, *ctx.candidates, v_pairs, v_splats, v_means2d, ALL
        )
        return torch.from_numpy(v_means2d), torch.from_numpy(v_splats), None, None, None, None


class _Average(torch.autograd.Function):
    """Sub-frames to the weighted mean of a burst: rgb in linear light or not, alpha and depth."""

    @staticmethod
    def forward(ctx, rgb, alpha, depth, weights, is_linear):
        subframes, height, width = alpha.shape
        rows = weights.to(rgb.dtype).reshape(subframes, -1).expand(subframes, height)
        arrays = [_array(x) for x in (rgb.flatten(2), alpha, depth, rows)]
        means = [rgb.new_empty(height, x.shape[2]) for x in arrays[:3]]
        averaging.average(*arrays, is_linear, *(x.numpy() for x in means), ALL)
        ctx.arrays, ctx.is_linear, ctx.weights = arrays, is_linear, (weights.shape, weights.dtype)
        ctx.set_materialize_grads(False)
        return means[0].view(1, height, width, 3), means[1][None], means[2][None]

    @staticmethod
    def backward(ctx, v_rgb, v_alpha, v_depth):
        rgb, alpha, depth, weights = ctx.arrays
        flat = None if v_rgb is None else v_rgb.flatten(2)
        v_means = _or_empty(
            [None if x is None else x[0] for x in (flat, v_alpha, v_depth)], (rgb[0], alpha[0], depth[0])
        )
        if not len(v_means[0]):
            v_means[0] = np.zeros_like(rgb[0])
        v_pictures = [np.empty((len(weights) if len(v) else 0, *v.shape), v.dtype) for v in v_means]
        v_weights = np.empty_like(weights)
        averaging.average_backward(*ctx.arrays, ctx.is_linear, *v_means, *v_pictures, v_weights, ALL)
        v_rgb, v_alpha, v_depth = (torch.from_numpy(v) if len(v) else None for v in v_pictures)
        shape, dtype = ctx.weights
        v_weights = torch.from_numpy(v_weights).to(dtype)
        return (
            v_rgb.view(*alpha.shape, 3), v_alpha, v_depth, v_weights if len(shape) == 2 else v_weights.sum(1), None
        )  # fmt: skip


class CpuRasterizer:
    """Numba kernels, forward and hand-written backward; float32 or float64, after the scene's own precision.

    The sub-frames of a burst share one depth order (by their mean depth) and one list of Gaussians for each tile.
    """

    name = "cpu"
    device = torch.device("cpu")

    def render(
        self,
        scene: Gaussians,
        cameras: Cameras,
        *,
        options: RenderOptions = RenderOptions(),
        burst: Burst | None = None,
    ) -> Render:
        """All cameras in one call; with `burst`, their weighted average. Gradients as in the protocol."""
        degree = scene.sh_degree if options.sh_degree is None else min(options.sh_degree, scene.sh_degree)
        slices = None if burst is None else burst.slices
        if slices is None:
            slices = cameras.viewmats.new_empty(0, 2, 4, 4)
        num_subframes = 1 if burst is None else len(cameras)
        task = _Task(cameras.width, cameras.height, num_subframes, degree, options)
        means2d, splats, depths, radii, candidates, offsets = _Project.apply(
            scene.means, scene.quats, scene.scales, scene.opacities, scene.params["sh0"], scene.params["shN"],
            cameras.viewmats, cameras.Ks, slices, task,
        )  # fmt: skip
        rgb, alpha, depth = _Blend.apply(means2d, splats, depths, candidates, offsets, task)
        info = ProjectionInfo(means2d=means2d, radii=radii, width=cameras.width, height=cameras.height)
        if burst is None:
            return Render(rgb=rgb, alpha=alpha, depth=depth, info=info)
        averages = _Average.apply(rgb, alpha, depth, burst.weights, burst.is_linear)
        return Render(*averages, info, is_linear=burst.is_linear, subframes=rgb)
