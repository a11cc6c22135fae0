"""The CUDA renderer: gsplat's kernels, one call for all cameras or sub-frames."""

from dataclasses import dataclass, field, replace
from types import ModuleType

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import BackendError
from ..geometry import Cameras
from ..scene import Gaussians
from .rasterizer import ALPHA_MIN, Burst, ProjectionInfo, Render, RenderOptions, average_burst

TILE_PX = 16  # what gsplat's kernels are tuned for
FOOTPRINT_SIGMAS = 3.33  # gsplat's bound: no opacity up to 1 reaches 1/255 farther out


def _load_gsplat() -> ModuleType:
    """gsplat with its kernels; the first use builds them, which takes minutes and needs a CUDA toolkit."""
    if not torch.cuda.is_available():
        raise BackendError("gsplat renders on CUDA, and torch sees no CUDA device; use --device cpu")
    try:
        import gsplat
        from gsplat.cuda._backend import _C
    except Exception as error:
        raise BackendError(
            f"gsplat's CUDA kernels could not be built: {error}. Building needs nvcc of torch's CUDA version "
            f"({torch.version.cuda}) and a C++ compiler; set CUDA_HOME, or use --device cpu"
        ) from error
    if _C is None:
        raise BackendError(
            "gsplat found no CUDA toolkit to build its kernels with; install nvcc of torch's CUDA version "
            f"({torch.version.cuda}) and set CUDA_HOME, or use --device cpu"
        )
    return gsplat


@dataclass(frozen=True, eq=False)
class _Splats:
    """Gaussians on the screen; entries where `radii` are 0 are undefined."""

    means2d: Float[Tensor, "camera N 2"]
    depths: Float[Tensor, "camera N"]
    conics: Float[Tensor, "camera N 3"]
    opacities: Float[Tensor, "camera N"]
    radii: Int[Tensor, "camera N 2"]


@dataclass(frozen=True, eq=False)
class GsplatRasterizer:
    """Draws with gsplat's kernels in single precision; scene and cameras are moved to the device if need be.

    Raises:
        BackendError: there is no CUDA device, or gsplat's kernels cannot be built.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cuda"))
    name: str = "gsplat"
    _gsplat: ModuleType = field(default_factory=_load_gsplat, repr=False)

    def render(
        self,
        scene: Gaussians,
        cameras: Cameras,
        *,
        options: RenderOptions = RenderOptions(),
        burst: Burst | None = None,
    ) -> Render:
        """All cameras in one call; with `burst`, their weighted average."""
        cameras = cameras.to(self.device, torch.float32)
        means, quats, scales, opacities, sh = (
            value.to(cameras.Ks)
            for value in (scene.means, scene.quats, scene.scales, scene.opacities, scene.sh)
        )
        if burst is None or burst.slices is None:
            splats = self._project(means, quats, scales, opacities, cameras, options)
        else:
            slices = burst.slices.to(cameras.Ks)
            splats = self._project_thick(means, quats, scales, opacities, cameras, options, slices)
        degree = scene.sh_degree if options.sh_degree is None else min(options.sh_degree, scene.sh_degree)
        colors = self._colors(means, sh, cameras, degree, (splats.radii > 0).all(-1))
        rgb, alpha, depth = self._draw(splats, colors, cameras, options)
        info = ProjectionInfo(splats.means2d, splats.radii, cameras.width, cameras.height)
        if burst is None:
            return Render(rgb, alpha, depth, info)
        averages = average_burst(rgb, alpha, depth, replace(burst, weights=burst.weights.to(rgb)))
        return Render(*averages, info, is_linear=burst.is_linear, subframes=rgb)

    def _project(
        self,
        means: Float[Tensor, "N 3"],
        quats: Float[Tensor, "N 4"],
        scales: Float[Tensor, "N 3"],
        opacities: Float[Tensor, "N"],
        cameras: Cameras,
        options: RenderOptions,
    ) -> _Splats:
        """Gaussians at an instant, by gsplat's fused kernel."""
        radii, means2d, depths, conics, compensations = self._gsplat.fully_fused_projection(
            means,
            None,
            quats,
            scales,
            cameras.viewmats,
            cameras.Ks,
            cameras.width,
            cameras.height,
            eps2d=options.dilation_px2,
            near_plane=options.near,
            far_plane=options.far,
            calc_compensations=options.is_antialiased,
            opacities=opacities,
        )
        opacities = opacities.expand(len(cameras), -1)
        if options.is_antialiased:
            opacities = opacities * compensations
        return _Splats(means2d, depths, conics, opacities, radii)

    def _project_thick(
        self,
        means: Float[Tensor, "N 3"],
        quats: Float[Tensor, "N 4"],
        scales: Float[Tensor, "N 3"],
        opacities: Float[Tensor, "N"],
        cameras: Cameras,
        options: RenderOptions,
        slices: Float[Tensor, "camera 2 4 4"],
    ) -> _Splats:
        """Gaussians widened by their own motion, before any is dropped as outside the picture."""
        covariances, _ = self._gsplat.quat_scale_to_covar_preci(quats, scales, compute_preci=False)
        rotations = cameras.viewmats[:, None, :3, :3]
        points = _move(means, cameras.viewmats)
        is_in_range = (points[..., 2] >= options.near) & (points[..., 2] <= options.far)
        points = _or_axis(points, is_in_range)
        means2d, screen = self._gsplat.proj(
            points, rotations @ covariances @ rotations.mT, cameras.Ks, cameras.width, cameras.height
        )
        xx, xy, yy = screen[..., 0, 0], screen[..., 0, 1], screen[..., 1, 1]
        det_sharp = xx * yy - xy * xy
        xx, yy = xx + options.dilation_px2, yy + options.dilation_px2
        det_thin = xx * yy - xy * xy
        is_solid = det_thin > 0  # not so, by rounding, for needles far longer than the picture
        det_thin = torch.where(is_solid, det_thin, 1.0)
        opacities = opacities.expand(len(cameras), -1)
        if options.is_antialiased:
            has_area = det_sharp > 0
            ratio = torch.where(has_area, det_sharp, 1.0) / det_thin
            opacities = opacities * torch.where(has_area, ratio.sqrt(), 0.0)

        dx, dy = _displacement(means, slices, cameras.Ks, options.near).unbind(-1)
        # det(A + d d^T) = det A + d^T adj(A) d; a difference of products would cancel for long paths.
        det = det_thin + (yy * dx * dx - 2 * xy * dx * dy + xx * dy * dy).clamp(min=0) / 12
        xx, xy, yy = xx + dx * dx / 12, xy + dx * dy / 12, yy + dy * dy / 12
        opacities = opacities * (det_thin / det).sqrt()
        conics = torch.stack([yy, -xy, xx], dim=-1) / det[..., None]
        radii = _radii(means2d, torch.stack([xx, yy], dim=-1), opacities, cameras.width, cameras.height)
        radii = radii * (is_in_range & is_solid)[..., None]
        return _Splats(means2d, points[..., 2], conics, opacities, radii)

    def _colors(
        self,
        means: Float[Tensor, "N 3"],
        sh: Float[Tensor, "N K 3"],
        cameras: Cameras,
        degree: int,
        is_drawn: Bool[Tensor, "camera N"],
    ) -> Float[Tensor, "camera N 3"]:
        directions = means - cameras.centers[:, None]
        coefficients = sh.expand(len(cameras), -1, -1, -1)
        colors = self._gsplat.spherical_harmonics(degree, directions, coefficients, masks=is_drawn)
        return (colors + 0.5).clamp(min=0)

    def _draw(
        self, splats: _Splats, colors: Float[Tensor, "camera N 3"], cameras: Cameras, options: RenderOptions
    ) -> tuple[
        Float[Tensor, "camera height width 3"],
        Float[Tensor, "camera height width"],
        Float[Tensor, "camera height width"],
    ]:
        """Colour, alpha and expected depth of every camera."""
        count = len(cameras)
        tiles = -(-cameras.width // TILE_PX), -(-cameras.height // TILE_PX)
        _, crossings, order = self._gsplat.isect_tiles(
            splats.means2d, splats.radii, splats.depths, TILE_PX, *tiles
        )
        offsets = self._gsplat.isect_offset_encode(crossings, count, *tiles)
        background = splats.means2d.new_tensor([*options.background, 0.0])
        picture, alpha = self._gsplat.rasterize_to_pixels(
            splats.means2d,
            splats.conics,
            torch.cat([colors, splats.depths[..., None]], dim=-1),
            splats.opacities,
            cameras.width,
            cameras.height,
            TILE_PX,
            offsets,
            order,
            backgrounds=background.expand(count, -1),
            absgrad=options.keeps_magnitudes,
        )
        alpha = alpha.squeeze(-1)
        return picture[..., :3], alpha, picture[..., 3] / torch.where(alpha > 0, alpha, 1.0)


def _move(means: Float[Tensor, "N 3"], viewmats: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch N 3"]:
    return means @ viewmats[..., :3, :3].mT + viewmats[..., None, :3, 3]


def _or_axis(points: Float[Tensor, "*batch 3"], is_safe: Bool[Tensor, "*batch"]) -> Float[Tensor, "*batch 3"]:
    """The points, and one on the optical axis in place of those whose projection would blow up."""
    return torch.where(is_safe[..., None], points, points.new_tensor([0.0, 0.0, 1.0]))


def _displacement(
    means: Float[Tensor, "N 3"],
    slices: Float[Tensor, "camera 2 4 4"],
    Ks: Float[Tensor, "camera 3 3"],
    near: float,
) -> Float[Tensor, "camera N 2"]:
    """Screen motion in px during each slice; 0 where a mean is nearer than `near` at its start or end."""
    ends = _move(means, slices)
    is_in_front = (ends[..., 2] >= near).all(1, keepdim=True).expand(ends.shape[:-1])
    ends = _or_axis(ends, is_in_front)
    slopes = ends[..., :2] / ends[..., 2:]
    return Ks[:, None, [0, 1], [0, 1]] * (slopes[:, 1] - slopes[:, 0])


@torch.no_grad()
def _radii(
    means2d: Float[Tensor, "camera N 2"],
    variances: Float[Tensor, "camera N 2"],
    opacities: Float[Tensor, "camera N"],
    width: int,
    height: int,
) -> Int[Tensor, "camera N 2"]:
    """Half extents in px of the box outside of which alpha is under 1/255; 0 where it misses the picture."""
    sigmas = (2 * (opacities / ALPHA_MIN).clamp(min=1).log()).sqrt().clamp(max=FOOTPRINT_SIGMAS)
    radii = (sigmas[..., None] * variances.sqrt()).ceil()
    is_on_screen = ((means2d + radii > 0) & (means2d - radii < radii.new_tensor([width, height]))).all(-1)
    is_drawn = is_on_screen & (opacities >= ALPHA_MIN)
    return torch.where(is_drawn[..., None], radii, 0.0).clamp(max=2**30).int()
