"""What stands between a camera and all that its photo shows is taken out.

Two or three photos are explained a little better by a Gaussian close to their cameras, or by a sheet without thickness
that another camera sees edge-on. Their neighbours do not see it, so nothing pulls at it; who walks between the cameras
does, as fog. Structure from motion tells how near to a camera things are that a photo shows. What is nearer is taken
out where that photo hardly misses it, even if others do: those find another way to be explained, as density control has
ended by then and nothing new can grow there. (Others were heard once: next to nothing went, and the fog stayed.) Real
surfaces may be nearer than all points, if they have no texture: a photo that is explained worse without what is near
says nothing against it. What is real, near, and hardly matters to one of the photos that have it in view, goes as well.

On a phone's photos, ten of them held out, 150,000 Gaussians after 9,000 steps: without what that takes out of the
finished scene (8,817, of 70 of 87 photos), held-out views had 30.0 instead of 29.2 dB, the worst 31.2 instead of 26.3.
On desk, whose nearest surfaces are bare, no photo of 26 let anything go of a finished scene.
"""

from typing import TYPE_CHECKING

import torch
from gsplat.strategy.ops import remove
from jaxtyping import Bool
from torch import Tensor

from .density import Default
from .idle import is_affordable
from .initial import seen_from

if TYPE_CHECKING:
    from .trainer import Trainer

OBSTRUCTIONS_AT = (0.62, 0.8)  # progress of the training at which that is done
AFFORDABLE = 0.15  # of the training's steps, as many pixels as each sees, all photos together may be worth
NEARER = 0.8  # times the depth of what is nearest in a photo something must be to stand in the way
MISSED = 1.02  # times the error without it: the photo needs what is near
GONE = -30.0  # a logit of opacity that no renderer draws
NOT_LOOKED = "What stands before all that a photo shows stays: so many photos take too long to look at in so few steps"


def wants_obstructions_out(trainer: "Trainer") -> bool:
    """Whether that is to be done: between density control and the mean of the last scenes, and not with loud noise,
    beside which what a photo misses looks small."""
    density, noise = trainer.config.density, trainer.noise[-1]
    is_asked = trainer.config.unblocks and isinstance(density, Default) and any(trainer.photos.nearest)
    is_loud = noise is not None and noise.is_loud(trainer.charges[-1])
    is_between = is_asked and density.stop <= trainer.progress < 1 - trainer.config.average
    return is_between and not is_loud


@torch.no_grad()
def take_out_obstructions(trainer: "Trainer") -> str:
    """Takes out what stands before all that a photo shows, of all photos that hardly miss it; a sentence on that."""
    if not is_affordable(trainer, AFFORDABLE):
        return NOT_LOOKED
    opacities = trainer.scene.params["opacities"]
    are_near = torch.zeros_like(opacities, dtype=torch.bool)
    num_missing = 0
    for frame in range(len(trainer.photos)):
        are_before = obstructions(trainer, frame)
        if not are_before.any():
            continue
        with_them, learned = max(trainer.residual(frame), 0.0), opacities[are_before]
        opacities[are_before] = GONE
        is_missed = trainer.residual(frame) > MISSED * with_them
        opacities[are_before] = learned
        if is_missed:
            num_missing += 1
        else:
            are_near |= are_before
    count = len(opacities)
    remove(trainer.scene.params, trainer.optimizers, trainer.density.state, are_near)
    return (
        f"{int(are_near.sum())} of {count} Gaussians stand before all that a photo shows: taken out; "
        f"{num_missing} photos need what is near"
    )


def obstructions(trainer: "Trainer", frame: int) -> Bool[Tensor, "N"]:
    """Which Gaussians a photo has in view nearer than anything that it shows, and not where it is masked."""
    camera = trainer.photos.cameras[-1].at(frame).with_viewmats(trainer.exposure.sharp_viewmat(frame)[None])
    depths, pixels, are_in_view = seen_from(camera, trainer.scene.means)
    are_before = are_in_view & (depths < NEARER * trainer.photos.nearest[frame])
    keep = trainer.photos.keeps[-1][frame]
    if keep is not None:
        column, row = pixels[are_before].long().unbind(-1)
        are_before[are_before.clone()] = keep[row, column]
    return are_before
