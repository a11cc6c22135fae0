"""Gaussians that hardly show in any photo are taken out, and what they took of the budget goes where detail is lacking.

Splitting leaves many of them behind others, and fading ones that others have replaced: at the end of trainings on real
photos without this, four to six of ten Gaussians weighed less than half a pixel in every photo, and all of those
together no more than a hundredth of what photos show.

Sources: importance by blending weight, Fang & Wang 2024 (Mini-Splatting) and Fan et al. 2024 (LightGaussian).
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from gsplat.strategy.ops import remove
from jaxtyping import Float
from torch import Tensor

from ..geometry import Cameras
from ..render import Rasterizer, RenderOptions
from ..scene import Gaussians
from ..scene.gaussians import SH_C0
from .density import Default

if TYPE_CHECKING:
    from .trainer import Trainer

IDLE_AT = (0.2, 0.3, 0.4, 0.5)  # progress of the training at which they are; density control goes on until 0.6
AFFORDABLE = 1 / 20  # photos to look at for each step of the training, at most


def can_take_out(trainer: "Trainer") -> bool:
    """Whether that is asked for, and looking at every photo is little beside the training itself."""
    density = trainer.config.density
    is_asked = isinstance(density, Default) and density.idle > 0
    return is_asked and len(trainer.photos) <= AFFORDABLE * trainer.config.steps


def weights(scene: Gaussians, rasterizer: Rasterizer, camera: Cameras, options: RenderOptions) -> Float[Tensor, "N"]:
    """How much of one camera's picture is each Gaussian's: its blending weights over all pixels, in px.

    That is what the picture's sum changes by with the Gaussian's colour, so any renderer that has gradients tells it.
    """
    with torch.enable_grad():
        grey = torch.zeros_like(scene.params["sh0"]).requires_grad_()
        raw = {name: value.detach() for name, value in scene.params.items()} | {"sh0": grey}
        drawn = rasterizer.render(scene.with_raw(raw), camera, options=replace(options, sh_degree=0))
        (gradient,) = torch.autograd.grad(drawn.rgb[..., 0].sum(), grey)
    return gradient[:, 0, 0] / SH_C0


@torch.no_grad()
def take_out_idle(trainer: "Trainer") -> str:
    """Takes out the Gaussians whose largest weight in any photo is least, as many as together have `density.idle` of
    what all photos show; a sentence on that. Photos are looked at sharp and at the size that is trained at."""
    trainer.idles += 1
    cameras = trainer.photos.cameras[trainer.config.resolution.level(trainer.progress)]
    options = RenderOptions(trainer.config.is_antialiased)
    most = total = torch.zeros_like(trainer.scene.params["opacities"])
    for frame in range(len(trainer.photos)):
        camera = cameras.at(frame).with_viewmats(trainer.exposure.sharp_viewmat(frame)[None])
        found = weights(trainer.scene, trainer.rasterizer, camera, options)
        most, total = torch.maximum(most, found), total + found
    order = most.argsort()
    is_idle = torch.zeros_like(most, dtype=torch.bool)
    is_idle[order] = total[order].cumsum(0) <= trainer.config.density.idle * total.sum()
    remove(trainer.scene.params, trainer.optimizers, trainer.density.state, is_idle)
    return f"{int(is_idle.sum())} of {len(is_idle)} Gaussians hardly show in any photo: taken out"
