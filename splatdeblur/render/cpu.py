"""The CPU renderer: numba kernels behind two autograd functions, multi-threaded, forward and backward."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..geometry import Cameras
from ..scene import Gaussians
from .kernels import average as averaging
from .kernels import blend as blending
from .kernels import culling, projection, tiles
from .kernels.shares import ALL
from .kernels.splats import CHUNKS, COLUMNS, SUMS
from .rasterizer import Burst, ProjectionInfo, Render, RenderOptions


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


@dataclass(frozen=True)
class _Task:
    """What is to be drawn: pictures of some sub-frames each, one after another in the list of cameras."""

    width: int
    height: int
    num_subframes: int
    is_linear: bool
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
        offsets = np.empty(n_pictures * CHUNKS + 1, np.int64)
        culling.cull(
            geometry[0], *geometry[2:], *cameras, task.num_subframes, *task.lens, options.far, candidates, offsets, ALL
        )
        candidates = candidates[: offsets[-1]]
        # From torch, whose memory begins at a cache line.
        splats = means.new_empty(task.num_subframes, len(candidates), COLUMNS)
        depths = means.new_empty(len(candidates))
        tile_rows = np.empty((len(candidates), 2), np.int32)
        means2d = means.new_zeros(n_cameras, n, 2)
        radii = torch.zeros(n_cameras, n, 2, dtype=torch.int32)
        projection.project(
            *geometry, *colors, *cameras, *task.lens, options.far, options.is_antialiased, task.degree,
            candidates, offsets, splats.numpy(), depths.numpy(), tile_rows, means2d.numpy(), radii.numpy(), ALL,
        )  # fmt: skip
        ctx.arrays = (geometry, colors, cameras, candidates, offsets, splats.numpy())
        ctx.task, ctx.dtypes = task, (viewmats.dtype, slices.dtype)
        ctx.slices_shape = slices.shape
        rest = depths, torch.from_numpy(tile_rows), radii, torch.from_numpy(candidates), torch.from_numpy(offsets)
        ctx.mark_non_differentiable(*rest)
        return means2d, splats, *rest

    @staticmethod
    def backward(ctx, v_means2d, v_splats, *_):
        geometry, colors, cameras, candidates, offsets, splats = ctx.arrays
        task = ctx.task
        v_geometry, v_colors = ([np.zeros_like(x) for x in arrays] for arrays in (geometry, colors))
        v_viewmats = np.zeros((CHUNKS, *cameras[0].shape))
        v_slices = np.zeros((CHUNKS, *cameras[2].shape))
        projection.project_backward(
            *geometry, *colors, *cameras, *task.lens, task.options.is_antialiased, task.degree,
            candidates, offsets, splats, _array(v_splats), _array(v_means2d),
            *v_geometry, *v_colors, v_viewmats, v_slices, ALL,
        )  # fmt: skip
        gradients = [torch.from_numpy(x) for x in (*v_geometry, *v_colors)]
        v_viewmats = torch.from_numpy(v_viewmats.sum(0)).to(ctx.dtypes[0])
        v_slices = torch.from_numpy(v_slices.sum(0)).to(ctx.dtypes[1]).view(ctx.slices_shape)
        return *gradients, v_viewmats, None, v_slices, None


class _Blend(torch.autograd.Function):
    """Splats to the pictures of all cameras or, of a burst, to their weighted mean; then the sub-frames come as well.

    The screen positions are an input only to receive their gradient.
    """

    @staticmethod
    def forward(ctx, means2d, splats, depths, tile_rows, candidates, offsets, weights, task):
        splats, candidates, offsets = splats.detach().numpy(), candidates.numpy(), offsets.numpy()
        count, height, width = len(means2d), task.height, task.width
        bits, passes = (np.uint32, 3) if splats.dtype == np.float32 else (np.uint64, 6)
        segments = np.empty(len(candidates), np.uint8)
        order = tiles.sort_by_depth(depths.numpy().view(bits), passes, offsets, segments)
        tile_starts, entries, pair_starts = tiles.tile_lists(
            splats, tile_rows.numpy(), order, segments, offsets, *task.grid
        )
        background = np.asarray(task.options.background, splats.dtype)
        pictures = [np.empty((count, height, size), splats.dtype) for size in (3 * width, width, width)]
        blocks = np.empty((len(splats), len(entries)), np.uint64)
        blending.blend(splats, entries, tile_starts, *task.grid, background, *pictures, blocks, ALL)
        means, rows = pictures, np.ones((count, height), splats.dtype)
        if weights is not None:
            rows = _array(weights.to(means2d.dtype).reshape(count, -1).expand(count, height))
            means = [np.empty((1, *x.shape[1:]), x.dtype) for x in pictures]
            averaging.average(*pictures, rows, task.is_linear, *(x[0] for x in means), ALL)
        ctx.arrays = (splats, entries, tile_starts, pair_starts, *task.grid, *pictures, blocks, rows)
        ctx.candidates, ctx.task, ctx.shape = (candidates, offsets), task, means2d.shape
        ctx.weights = None if weights is None else (weights.shape, weights.dtype)
        ctx.means2d = means2d  # is told, as gsplat does, how much its pixels pull at it
        ctx.set_materialize_grads(False)
        rgb, alpha, depth = (torch.from_numpy(x) for x in means)
        subframes = None if weights is None else torch.from_numpy(pictures[0]).view(-1, height, width, 3)
        return rgb.view(-1, height, width, 3), alpha, depth, subframes

    @staticmethod
    def backward(ctx, *v_outputs):
        splats, entries, *_, rgb, alpha, depth, _, rows = ctx.arrays
        v_rgb, v_alpha, v_depth, v_subframes = (
            np.empty((0, *x.shape[1:]), x.dtype) if v is None else _array(v).reshape(-1, *x.shape[1:])
            for v, x in zip(v_outputs, (rgb, alpha, depth, rgb), strict=True)
        )
        if not len(v_rgb):
            v_rgb = np.zeros_like(rgb if ctx.weights is None else rgb[:1])
        v_splats, v_means2d = np.empty_like(splats), np.zeros(ctx.shape, splats.dtype)
        sums = np.empty((len(entries), SUMS), splats.dtype)
        absgrad = np.zeros_like(v_means2d if ctx.task.options.keeps_magnitudes else v_means2d[:0])
        blending.blend_backward(
            *ctx.arrays, ctx.task.is_linear, v_rgb, v_alpha, v_depth, v_subframes, *ctx.candidates,
            sums, v_splats, v_means2d, absgrad, ALL,
        )  # fmt: skip
        if ctx.task.options.keeps_magnitudes:
            ctx.means2d.absgrad = torch.from_numpy(absgrad)
        v_weights = None
        if ctx.needs_input_grad[6]:
            by_row = np.empty_like(rows)
            v_means = v_rgb[0], *(v[0] if len(v) else v[:, 0] for v in (v_alpha, v_depth))
            averaging.weigh(rgb, alpha, depth, ctx.task.is_linear, *v_means, by_row, ALL)
            shape, dtype = ctx.weights
            v_weights = torch.from_numpy(by_row if len(shape) == 2 else by_row.sum(1)).to(dtype)
        return torch.from_numpy(v_means2d), torch.from_numpy(v_splats), None, None, None, None, v_weights, None


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
        num_subframes, is_linear = (1, False) if burst is None else (len(cameras), burst.is_linear)
        task = _Task(cameras.width, cameras.height, num_subframes, is_linear, degree, options)
        means2d, splats, depths, tile_rows, radii, candidates, offsets = _Project.apply(
            scene.means, scene.quats, scene.scales, scene.opacities, scene.params["sh0"], scene.params["shN"],
            cameras.viewmats, cameras.Ks, slices, task,
        )  # fmt: skip
        weights = None if burst is None else burst.weights
        *pictures, subframes = _Blend.apply(means2d, splats, depths, tile_rows, candidates, offsets, weights, task)
        info = ProjectionInfo(means2d=means2d, radii=radii, width=cameras.width, height=cameras.height)
        return Render(*pictures, info, is_linear=is_linear, subframes=subframes)
