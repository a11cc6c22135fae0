"""A scene that was trained antialiased, made to look the same where nothing compensates for antialiasing."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..geometry import Cameras, matrix_from_quat
from ..scene import Gaussians
from .rasterizer import RenderOptions

_MARGIN = 0.15  # of the picture on each side: Gaussians just outside of it are seen too


@torch.no_grad()
def baked(scene: Gaussians, cameras: Cameras, options: RenderOptions) -> Gaussians:
    """The scene for renderers without antialiasing, as most viewers are.

    Antialiasing lowers the opacity of each Gaussian by sqrt(det S / det (S + dilation)), with S its covariance on the
    screen. That depends on the view; here each Gaussian's opacity is lowered, once and for all, by the mean of it over
    the cameras that see it, weighted by the footprint that it has there. Seen at much another distance or size, small
    Gaussians are a little too strong or too faint.

    Args:
        cameras: those of the training, at training size.
        options: with what the scene was trained; nothing is changed unless they are antialiased.
    """
    if not options.is_antialiased:
        return scene
    axes = matrix_from_quat(scene.quats) * scene.scales[:, None, :]
    total, weights = torch.zeros_like(scene.params["opacities"]), torch.zeros_like(scene.params["opacities"])
    for index in range(len(cameras)):
        factor, footprint = _compensation(scene.means, axes, cameras.at(index), options)
        total += footprint * factor
        weights += footprint
    factor = torch.where(weights > 0, total / weights.clamp(min=1e-12), torch.ones_like(total))
    opacities = (scene.opacities * factor).clamp(1e-7, 1 - 1e-6)
    return Gaussians.from_raw(scene.means, scene.quats, scene.params["scales"], opacities.logit(), scene.sh)


def _compensation(
    means: Float[Tensor, "N 3"], axes: Float[Tensor, "N 3 3"], camera: Cameras, options: RenderOptions
) -> tuple[Float[Tensor, "N"], Float[Tensor, "N"]]:
    """Of each Gaussian the factor on its opacity in one view, and the area of its footprint in px^2, 0 if unseen."""
    viewmat, K = camera.viewmats[0].to(means), camera.Ks[0].to(means)
    local = means @ viewmat[:3, :3].mT + viewmat[:3, 3]
    z = local[:, 2].clamp(min=options.near)
    x, y = local[:, 0] / z, local[:, 1] / z
    u, v = K[0, 0] * x + K[0, 2], K[1, 1] * y + K[1, 2]
    width, height = camera.width, camera.height
    is_seen = (
        (local[:, 2] > options.near) & (local[:, 2] < options.far)
        & (u > -_MARGIN * width) & (u < (1 + _MARGIN) * width)
        & (v > -_MARGIN * height) & (v < (1 + _MARGIN) * height)
    )  # fmt: skip
    turned = viewmat[:3, :3] @ axes
    rows = torch.stack(
        [
            K[0, 0] / z[:, None] * (turned[:, 0] - x[:, None] * turned[:, 2]),
            K[1, 1] / z[:, None] * (turned[:, 1] - y[:, None] * turned[:, 2]),
        ],
        dim=1,
    )
    covariance = (rows @ rows.mT).double()
    sharp = torch.linalg.det(covariance).clamp(min=0)
    wide = torch.linalg.det(covariance + options.dilation_px2 * torch.eye(2).to(covariance))
    return (sharp / wide).sqrt().to(means), (wide.sqrt() * is_seen).to(means)
