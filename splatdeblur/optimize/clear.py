"""Photos that turn out to be sharp: they show more detail than the scene does.

A scene that is soft somewhere (few photos show it, poses are a little off) explains sharp photos a little better with
some blur on top: detail in the wrong place is an error twice, detail that is missing only once. So short paths and
small disks come to be believed, which keep the detail of those photos from the scene. But what blurred a photo leaves
it with less detail than the scene has.

Half way through trainings of 1,500 steps on what is known to be blurred by 1.5 px or more (a ray-traced room, desk),
photos have 0.4 to 1.09 of the slopes of their sharp render, and their blur leaves 0.06 to 0.99 of the error that there
is without it, both ends by how much they are blurred. Through trainings of 3,000 on two phones' photos, most of them
sharp to the eye, nine of ten have 1.1 to 1.8 of its slopes, and what was learned of their blur leaves 0.93 or more.
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .causes import Cause
from .losses import photometric

if TYPE_CHECKING:
    from .trainer import Trainer

AS_SHARP = 1.1  # of the slopes of its sharp render: a photo that has more is not blurred
HARDLY = 0.9  # of the error without blur: what leaves more explains hardly anything
LEAST_VISITS = 10  # of each photo: before that, a scene is soft everywhere
SOFTER = 1.0  # a photo that was told to be sharp, and has less than that by now, may be blurred after all


def can_clear(trainer: "Trainer") -> bool:
    """Whether photos have paths that do nothing but blur, nothing but lens and path blurs them, and detail tells: loud
    noise passes for it, and a scene at its beginning has none."""
    exposure, noise = trainer.exposure, trainer.noise[-1]
    is_loud = noise is not None and noise.is_loud(trainer.charges[-1])
    is_simple = exposure.sight is None and exposure.lens.kernels is None and not exposure.shutter.shutter.is_rolling
    is_young = trainer.step_number < LEAST_VISITS * len(trainer.photos)
    return trainer.config.clears and is_simple and not is_loud and not is_young


@torch.no_grad()
def clear_sharp(trainer: "Trainer") -> list[int]:
    """Takes path and disks from photos that have more detail than their sharp render, and whose blur explains hardly
    anything; which these are. From then on they are held sharp. Those told so before that are softer than the scene by
    now begin anew, with a path as small as that of all photos at first."""
    cleared = []
    for frame, cause in enumerate(trainer.causes):
        photo, keep = trainer.photos.pictures[-1][frame], trainer.photos.keeps[-1][frame]
        parts, with_blur = _blurring(trainer, frame), trainer.residual(frame)
        learned = [part.clone() for part in parts.values()]
        for part in parts.values():
            part.zero_()
        sharp = trainer.predict(-1, frame)
        without = photometric(sharp, photo, trainer.config.loss.dssim, keep).item()
        noise = 0.0 if trainer.noise[-1] is None else trainer.noise[-1].photos[frame].level(photo)
        share = slopes(photo, keep, noise) / max(slopes(sharp, keep), 1e-9)
        if cause == Cause.SHARP:
            if share < SOFTER:
                trainer.causes[frame] = Cause.UNKNOWN
                trainer.exposure.motion.begin(frame, trainer.config.noise, trainer.generator)
        elif share > AS_SHARP and with_blur > HARDLY * without:
            trainer.causes[frame] = Cause.SHARP
            cleared.append(frame)
            for kind, part in parts.items():  # the optimizer forgets how they moved
                trainer.optimizers[kind].state.pop(part, None)
        else:
            for part, values in zip(parts.values(), learned, strict=True):
                part.copy_(values)
    return cleared


def _blurring(trainer: "Trainer", frame: int) -> dict[str, torch.nn.Parameter]:
    """What blurs a photo, by the name of its optimizer."""
    parts, focus = {"motion": trainer.exposure.motion.control_points[frame]}, trainer.exposure.lens.focus
    return parts if focus is None else parts | {"focus": focus.focus[frame]}


def slopes(
    picture: Float[Tensor, "height width 3"], keep: Bool[Tensor, "height width"] | None, noise: float = 0.0
) -> float:
    """Root mean square of how much a pixel differs from the next ones across and down, where all three count, without
    what white noise of that standard deviation adds to it."""
    seen = picture.clamp(0, 1)
    squares = seen.diff(dim=1)[:-1].square() + seen.diff(dim=0)[:, :-1].square()
    if keep is not None:
        whole = keep[:-1, :-1] & keep[1:, :-1] & keep[:-1, 1:]
        squares = squares[whole] if whole.any() else squares
    return max(squares.mean().item() - 4 * noise**2, 0.0) ** 0.5
