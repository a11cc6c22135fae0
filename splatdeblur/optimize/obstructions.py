"""What stands between a camera and all that its photo shows is taken out.

Two or three photos are explained a little better by a Gaussian close to their cameras, or by a sheet without thickness
that another camera sees edge-on. Their neighbours do not see it, so nothing pulls at it; who walks between the cameras
does, as fog. Structure from motion tells how near to a camera things are that a photo shows. What is nearer is taken
out where that photo does not miss it, even if others do: those find another way to be explained, as density control has
ended by then and nothing new can grow there. Real surfaces may be nearer than all points, if they have no texture: a
photo that is explained worse without what is near keeps it.
"""

from typing import TYPE_CHECKING

import torch
from gsplat.strategy.ops import remove
from jaxtyping import Bool
from torch import Tensor

from .density import Default
from .initial import depths_in_view

if TYPE_CHECKING:
    from .trainer import Trainer

OBSTRUCTIONS_AT = (0.62, 0.8)  # progress of the training at which that is done
NEARER = 0.8  # times the depth of what is nearest in a photo something must be to stand in the way
MISSED = 1.02  # times the error without it: the photo needs what is near
GONE = -30.0  # a logit of opacity that no renderer draws


def is_due(trainer: "Trainer") -> bool:
    """Whether it is time to do so. Moments that a training under a clock went past are not made up."""
    passed = sum(trainer.progress >= moment for moment in OBSTRUCTIONS_AT)
    is_time, trainer.unblocked = passed > trainer.unblocked, max(passed, trainer.unblocked)
    density, progress = trainer.config.density, trainer.progress
    is_asked = trainer.config.unblocks and isinstance(density, Default)
    return is_time and is_asked and density.stop <= progress < 1 - trainer.config.average


@torch.no_grad()
def take_out_obstructions(trainer: "Trainer") -> str:
    """Takes out what stands before all that a photo shows, of all photos that do not miss it; a sentence on that."""
    opacities = trainer.scene.params["opacities"]
    are_near = torch.zeros_like(opacities, dtype=torch.bool)
    missing = 0
    for frame in range(len(trainer.photos)):
        are_before = obstructions(trainer, frame)
        if not are_before.any():
            continue
        with_them, learned = trainer.residual(frame), opacities[are_before]
        opacities[are_before] = GONE
        is_missed = trainer.residual(frame) > MISSED * with_them
        opacities[are_before] = learned
        if is_missed:
            missing += 1
        else:
            are_near |= are_before
    count = len(opacities)
    remove(trainer.scene.params, trainer.optimizers, trainer.density.state, are_near)
    return (
        f"{int(are_near.sum())} of {count} Gaussians stand before all that a photo shows: taken out; "
        f"{missing} photos need what is near"
    )


def obstructions(trainer: "Trainer", frame: int) -> Bool[Tensor, "N"]:
    """Which Gaussians a photo has in view nearer than anything that it shows."""
    camera = trainer.photos.cameras[-1].at(frame).with_viewmats(trainer.exposure.sharp_viewmat(frame)[None])
    depths, are_in_view = depths_in_view(camera, trainer.scene.means)
    return are_in_view & (depths < NEARER * trainer.photos.nearest[frame])
