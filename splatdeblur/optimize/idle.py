"""Gaussians that hardly show in any photo are taken out, and what they took of the budget goes where detail is lacking.

Splitting leaves many of them behind others, and fading ones that others have replaced.

Sources: importance by blending weight, Fang & Wang 2024 (Mini-Splatting) and Fan et al. 2024 (LightGaussian).
"""

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

import torch
from gsplat.strategy.ops import remove
from jaxtyping import Bool, Float
from torch import Tensor

from ..geometry import Cameras
from ..render import Rasterizer, RenderOptions
from ..scene import Gaussians
from ..scene.gaussians import SH_C0
from .density import Default

if TYPE_CHECKING:
    from .trainer import Trainer

IDLE_AT = (0.2, 0.3, 0.4, 0.5)  # progress of the training at which they are, if density control is at work then
AFFORDABLE = 0.05  # of the training's steps, as many pixels as each sees, all photos together may be worth
MOVED_PX = 1.0  # a photo that moved further shows at its border what the middle of its exposure does not
NOT_LOOKED = "Gaussians that hardly show stay: so many photos take too long to look at in so short a training"


def wants_idle_out(trainer: "Trainer") -> bool:
    """Whether what is idle is to be taken out: where that is asked for and density control is at work."""
    density = trainer.config.density
    return isinstance(density, Default) and density.idle > 0 and density.start <= trainer.progress < density.stop


def is_affordable(trainer: "Trainer", share: float = AFFORDABLE) -> bool:
    """Whether looking at every photo is little beside the training: no more than `share` of the steps that it will come
    to, as far as can be told, with so many pixels as each sees."""
    steps = trainer.step_number / max(trainer.progress, 1e-6)
    crops = max(trainer.photos.mean_pixels / (trainer.config.crop_pixels or inf), 1)
    return len(trainer.photos) * crops <= share * steps


def weights(
    scene: Gaussians,
    rasterizer: Rasterizer,
    cameras: Cameras,
    options: RenderOptions,
    keep: Bool[Tensor, "height width"] | None = None,
) -> Float[Tensor, "N"]:
    """How much of the cameras' pictures is each Gaussian's: its blending weights over all pixels that count, in px, as
    a mean over the cameras.

    That is what the pictures' sum changes by with the Gaussian's colour, so any renderer that has gradients tells it.
    """
    with torch.enable_grad():
        grey = torch.zeros_like(scene.params["sh0"]).requires_grad_()
        raw = {name: value.detach() for name, value in scene.params.items()} | {"sh0": grey}
        drawn = rasterizer.render(scene.with_raw(raw), cameras, options=replace(options, sh_degree=0)).rgb[..., 0]
        (gradient,) = torch.autograd.grad((drawn if keep is None else drawn * keep).sum(), grey)
    return gradient[:, 0, 0] / SH_C0 / len(cameras)


@torch.no_grad()
def take_out_idle(trainer: "Trainer") -> str:
    """Takes out the Gaussians whose largest weight in any photo is least, as many as together have `density.idle` of
    what all photos show; a sentence on that. Photos are looked at without their lens, at the size that is trained at,
    and those that moved at both ends of their paths as well."""
    if not is_affordable(trainer):
        return NOT_LOOKED
    level = trainer.config.resolution.level(trainer.progress)
    cameras, options = trainer.photos.cameras[level], RenderOptions(trainer.config.is_antialiased)
    most = total = torch.zeros_like(trainer.scene.params["opacities"])
    for frame in range(len(trainer.photos)):
        views = cameras.at(frame).with_viewmats(_poses(trainer, frame, cameras.Ks[frame, 0, 0].item()))
        found = weights(trainer.scene, trainer.rasterizer, views, options, trainer.photos.keeps[level][frame])
        most, total = torch.maximum(most, found), total + found
    order = most.argsort()
    is_idle = torch.zeros_like(most, dtype=torch.bool)
    is_idle[order] = total[order].cumsum(0) < trainer.config.density.idle * total.sum()
    remove(trainer.scene.params, trainer.optimizers, trainer.density.state, is_idle)
    return f"{int(is_idle.sum())} of {len(is_idle)} Gaussians hardly show in any photo: taken out"


def _poses(trainer: "Trainer", frame: int, focal_px: float) -> Float[Tensor, "view 4 4"]:
    """From where a photo is looked at."""
    exposure = trainer.exposure
    middle = exposure.sharp_viewmat(frame)[None]
    if not exposure.has_motion or exposure.length_px(frame, focal_px) < MOVED_PX:
        return middle
    return torch.cat([middle, exposure.path(frame, middle.new_tensor([0.0, 1.0]))])
