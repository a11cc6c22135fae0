"""Pictures larger than those of the training, in which every Gaussian is as wide as training drew it.

Renderers widen each Gaussian's footprint by a fraction of a pixel. Training counts on that: many Gaussians of a scene
are thinner than its pixels, and show as scratches where pixels are smaller and so widen them less.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..geometry import Cameras
from ..scene import Gaussians
from .rasterizer import RenderOptions


@dataclass(frozen=True, eq=False)
class TrainingWidth:
    """What training's pixels added to each Gaussian.

    Attributes:
        variance: in world units^2, along every axis.
        focal_px: of the training's cameras.
    """

    variance: Float[Tensor, "N"]
    focal_px: float

    @classmethod
    @torch.no_grad()
    def of(cls, scene: Gaussians, cameras: Cameras, options: RenderOptions) -> "TrainingWidth":
        """For a scene trained on `cameras`, at their size; for each Gaussian by the camera that resolves it best.

        Nothing is added to scenes trained antialiased: their opacities tell thin Gaussians from wide ones.

        Source: the 3D smoothing filter of Yu et al. 2024 (Mip-Splatting), applied after the training.
        """
        finest = torch.full_like(scene.means[:, 0], torch.inf)
        for viewmat, K, (width, height) in zip(
            cameras.viewmats.to(scene.means), cameras.Ks.to(scene.means), cameras.own_sizes, strict=True
        ):
            u, v, z = ((scene.means @ viewmat[:3, :3].mT + viewmat[:3, 3]) @ K.mT).unbind(-1)
            is_seen = (z > options.near) & (u > 0) & (u < z * width) & (v > 0) & (v < z * height)
            finest = torch.where(is_seen, finest.minimum(z / K[0, 0]), finest)
        is_known = finest.isfinite() & (not options.is_antialiased)
        variance = options.dilation_px2 * torch.where(is_known, finest, 0.0).square()
        return cls(variance, cameras.Ks[:, 0, 0].mean().item())

    @torch.no_grad()
    def seen_through(self, camera: Cameras, scene: Gaussians) -> Gaussians:
        """The scene for a picture by `camera`, whose own pixels widen it less the larger the picture is."""
        return self.enlarged(scene, camera.Ks[0, 0, 0].item() / self.focal_px)

    @torch.no_grad()
    def enlarged(self, scene: Gaussians, enlargement: float) -> Gaussians:
        """The scene for pictures so many times as large as the training's; at 1 or less as it was trained."""
        if enlargement <= 1 + 1e-6:
            return scene
        scales = (scene.scales.square() + (1 - enlargement**-2) * self.variance[:, None]).sqrt()
        raw = scene.params
        return Gaussians.from_raw(scene.means, scene.quats, scales.log(), raw["opacities"], scene.sh).detached()
