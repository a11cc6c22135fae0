"""The renderer that reads like the paper: plain torch, double precision, slow; the oracle of the others.

Sources: Kerbl et al. 2023 (splatting), Zwicker et al. 2001 (projected covariances), Yu et al. 2024
(antialiasing), Radl et al. 2024 (footprints that know the opacity); clamps and thresholds as in gsplat 1.5.
"""

from dataclasses import dataclass, field, replace
from math import pi, sqrt

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..geometry import Cameras, matrix_from_quat
from ..scene import Gaussians
from . import rasterizer
from .rasterizer import ALPHA_MAX, ALPHA_MIN, TRANSMITTANCE_MIN, Burst, ProjectionInfo, Render, RenderOptions

TILE_PX = 16  # pixels are blended in squares of this size, so that no array holds pixels x Gaussians


@dataclass(frozen=True)
class ReferenceRasterizer:
    """Draws with autograd alone; inputs are converted to `dtype`, and gradients flow back through that."""

    dtype: torch.dtype = torch.float64
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    name: str = "reference"

    def render(
        self,
        scene: Gaussians,
        cameras: Cameras,
        *,
        options: RenderOptions = RenderOptions(),
        burst: Burst | None = None,
    ) -> Render:
        """All cameras in one call; with `burst`, their weighted average."""
        cameras = cameras.to(self.device, self.dtype)
        splats = _project(scene, cameras, options, burst.slices if burst else None)
        background = torch.tensor(options.background, dtype=self.dtype, device=self.device)
        pictures = [_draw(splats, i, background, cameras.width, cameras.height) for i in range(len(cameras))]
        rgb, alpha, depth = (torch.stack(parts) for parts in zip(*pictures, strict=True))
        info = ProjectionInfo(splats.means2d, splats.radii, cameras.width, cameras.height)
        if burst is None:
            return Render(rgb, alpha, depth, info)
        averages = rasterizer.average_burst(rgb, alpha, depth, replace(burst, weights=burst.weights.to(rgb)))
        return Render(*averages, info, is_linear=burst.is_linear, subframes=rgb)


@dataclass(frozen=True, eq=False)
class _Splats:
    """Gaussians on the screen; `conics` are the entries xx, xy, yy of the inverse covariances in px^-2."""

    means2d: Float[Tensor, "camera N 2"]
    depths: Float[Tensor, "camera N"]
    conics: Float[Tensor, "camera N 3"]
    opacities: Float[Tensor, "camera N"]
    colors: Float[Tensor, "camera N 3"]
    radii: Int[Tensor, "camera N 2"]


def sh_basis(directions: Float[Tensor, "*batch 3"], degree: int) -> Float[Tensor, "*batch K"]:
    """Real spherical harmonics of unit vectors up to `degree` (0-3), order and signs as in 3DGS files."""
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    basis = [torch.full_like(x, sqrt(1 / pi) / 2)]
    if degree >= 1:
        c = sqrt(3 / pi) / 2
        basis += [-c * y, c * z, -c * x]
    if degree >= 2:
        c = sqrt(15 / pi) / 2
        basis += [c * x * y, -c * y * z, sqrt(5 / pi) / 4 * (2 * zz - xx - yy), -c * x * z, c / 2 * (xx - yy)]
    if degree >= 3:
        a, b, c = sqrt(35 / (2 * pi)) / 4, sqrt(105 / pi) / 2, sqrt(21 / (2 * pi)) / 4
        basis += [-a * y * (3 * xx - yy), b * x * y * z, -c * y * (4 * zz - xx - yy)]
        basis += [sqrt(7 / pi) / 4 * z * (2 * zz - 3 * xx - 3 * yy)]
        basis += [-c * x * (4 * zz - xx - yy), b / 2 * z * (xx - yy), -a * x * (xx - 3 * yy)]
    return torch.stack(basis, dim=-1)


def _move(means: Float[Tensor, "N 3"], viewmats: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch N 3"]:
    return means @ viewmats[..., :3, :3].mT + viewmats[..., None, :3, 3]


def _or_axis(points: Float[Tensor, "*batch 3"], is_safe: Bool[Tensor, "*batch"]) -> Float[Tensor, "*batch 3"]:
    """The points, and one on the optical axis in place of those whose projection would blow up."""
    return torch.where(is_safe[..., None], points, points.new_tensor([0.0, 0.0, 1.0]))


def _project(
    scene: Gaussians, cameras: Cameras, options: RenderOptions, slices: Float[Tensor, "camera 2 4 4"] | None
) -> _Splats:
    """Every Gaussian in every camera; radii are 0 for those that would leave no trace."""
    means, quats, scales, opacities, sh = (
        value.to(cameras.Ks) for value in (scene.means, scene.quats, scene.scales, scene.opacities, scene.sh)
    )
    focal, center = cameras.Ks[:, None, [0, 1], [0, 1]], cameras.Ks[:, None, [0, 1], [2, 2]]
    size = center.new_tensor([cameras.width, cameras.height])
    points = _move(means, cameras.viewmats)
    is_in_range = (points[..., 2] >= options.near) & (points[..., 2] <= options.far)
    points = _or_axis(points, is_in_range)
    slopes = points[..., :2] / points[..., 2:]
    means2d = focal * slopes + center

    # Far outside the picture the derivative of the projection is taken where it is tame: just outside.
    margin = 0.3 * size / (2 * focal)
    slopes = torch.clamp(slopes, -center / focal - margin, (size - center) / focal + margin)
    scale = focal / points[..., 2:]
    jacobian = torch.cat([torch.diag_embed(scale), -(scale * slopes)[..., None]], dim=-1)
    # Screen covariance A A^T, with A = J W R S: projection, camera rotation, own rotation, own scale.
    shape = jacobian @ cameras.viewmats[:, None, :3, :3] @ (matrix_from_quat(quats) * scales[:, None, :])
    xx, xy, yy = (shape[..., i, :].mul(shape[..., j, :]).sum(-1) for i, j in ((0, 0), (0, 1), (1, 1)))
    det_sharp = xx * yy - xy * xy
    xx, yy = xx + options.dilation_px2, yy + options.dilation_px2
    det = xx * yy - xy * xy
    is_solid = det > 0  # not so, by rounding, for needles far longer than the picture
    det = torch.where(is_solid, det, torch.ones_like(det))
    opacities = opacities.expand(len(cameras), -1)
    if options.is_antialiased:
        has_area = det_sharp > 0
        ratio = torch.where(has_area, det_sharp, torch.ones_like(det)) / det
        opacities = opacities * torch.where(has_area, ratio.sqrt(), torch.zeros_like(ratio))
    if slices is not None:
        ends = _move(means, slices.to(cameras.Ks))
        ends = _or_axis(ends, (ends[..., 2] >= options.near).all(1, keepdim=True).expand(ends.shape[:-1]))
        ends = focal[:, None] * ends[..., :2] / ends[..., 2:]
        dx, dy = (ends[:, 1] - ends[:, 0]).unbind(-1)
        # det(A + d d^T) = det A + d^T adj(A) d: exact where the subtraction would cancel, for long paths.
        det_thin, det = det, det + (yy * dx * dx - 2 * xy * dx * dy + xx * dy * dy).clamp(min=0) / 12
        xx, xy, yy = xx + dx * dx / 12, xy + dx * dy / 12, yy + dy * dy / 12
        opacities = opacities * (det_thin / det).sqrt()

    conics = torch.stack([yy, -xy, xx], dim=-1) / det[..., None]
    with torch.no_grad():
        sigmas = (2 * (opacities / ALPHA_MIN).clamp(min=1).log()).sqrt().clamp(max=3.33)
        radii = (sigmas[..., None] * torch.stack([xx, yy], dim=-1).sqrt()).ceil().clamp(max=2**30)
        is_on_screen = ((means2d + radii > 0) & (means2d - radii < size)).all(-1)
        is_drawn = is_in_range & is_solid & (opacities >= ALPHA_MIN) & is_on_screen
        radii = torch.where(is_drawn[..., None], radii, torch.zeros_like(radii)).int()

    directions = F.normalize(means - cameras.centers[:, None], dim=-1)
    degree = scene.sh_degree if options.sh_degree is None else min(options.sh_degree, scene.sh_degree)
    basis = sh_basis(directions, degree)
    colors = (torch.einsum("cnk,nkd->cnd", basis, sh[:, : basis.shape[-1]]) + 0.5).clamp(min=0)
    return _Splats(means2d, points[..., 2], conics, opacities, colors, radii)


def _draw(
    splats: _Splats, camera: int, background: Float[Tensor, "3"], width: int, height: int
) -> tuple[Float[Tensor, "height width 3"], Float[Tensor, "height width"], Float[Tensor, "height width"]]:
    """One camera's colour, alpha and depth, blended from front to back."""
    drawn = (splats.radii[camera] > 0).all(-1).nonzero().squeeze(-1)
    order = drawn[splats.depths[camera, drawn].argsort(stable=True)]
    low = (splats.means2d[camera] - splats.radii[camera]).detach()[order]
    high = (splats.means2d[camera] + splats.radii[camera]).detach()[order]
    features = torch.cat([splats.colors, splats.depths[..., None]], dim=-1)[camera]
    rows = []
    for top in range(0, height, TILE_PX):
        row = []
        for left in range(0, width, TILE_PX):
            corner = low.new_tensor([left, top])
            ids = order[((high > corner) & (low < corner + TILE_PX)).all(-1)]
            y = torch.arange(top, min(top + TILE_PX, height)).to(low) + 0.5
            x = torch.arange(left, min(left + TILE_PX, width)).to(low) + 0.5
            pixels = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
            splat = (part[camera, ids] for part in (splats.means2d, splats.conics, splats.opacities))
            # Recomputed in the backward pass, so that memory holds one tile's arrays at a time.
            row.append(checkpoint(_blend, pixels, *splat, features[ids], use_reentrant=False))
        rows.append(torch.cat(row, dim=1))
    picture = torch.cat(rows)
    transmittance = picture[..., 4]
    alpha = 1 - transmittance
    depth = picture[..., 3] / torch.where(alpha > 0, alpha, torch.ones_like(alpha))
    return picture[..., :3] + transmittance[..., None] * background, alpha, depth


def _blend(
    pixels: Float[Tensor, "height width 2"],
    means2d: Float[Tensor, "G 2"],
    conics: Float[Tensor, "G 3"],
    opacities: Float[Tensor, "G"],
    features: Float[Tensor, "G 4"],
) -> Float[Tensor, "height width 5"]:
    """Colour and depth sums, and what light still passes, at some pixels; Gaussians come nearest first."""
    x, y = (pixels[:, :, None] - means2d).unbind(-1)
    exponent = 0.5 * (conics[:, 0] * x * x + conics[:, 2] * y * y) + conics[:, 1] * x * y
    alpha = (opacities * torch.exp(-exponent)).clamp(max=ALPHA_MAX)
    alpha = torch.where((exponent < 0) | (alpha < ALPHA_MIN), torch.zeros_like(alpha), alpha)
    # Sums of logarithms: a product of thousands of factors underflows, and its gradient then divides by zero.
    log_passed = torch.log1p(-alpha)
    log_after = log_passed.cumsum(-1)
    # Transmittance only falls: this leaves out the first Gaussian that would cross the limit and all behind.
    is_blended = log_after.exp() > TRANSMITTANCE_MIN
    weights = torch.where(is_blended, alpha * (log_after - log_passed).exp(), torch.zeros_like(alpha))
    transmittance = torch.where(is_blended, log_passed, torch.zeros_like(alpha)).sum(-1).exp()
    return torch.cat([weights @ features, transmittance[..., None]], dim=-1)
