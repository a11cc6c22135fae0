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
from .photos import SHARP

if TYPE_CHECKING:
    from .trainer import Trainer

HARDLY = 0.9  # of the error without blur: what leaves more explains hardly anything
AS_SHARP = 1.1  # of the slopes of its sharp render: a photo that has more is not blurred
SOFTER = 1.0  # a photo that was told to be sharp, and has less than that by now, may be blurred after all
SHORTEST = SHARP / 4  # of a photo's width: shorter paths keep nothing from the scene


@torch.no_grad()
def clear_sharp(trainer: "Trainer") -> list[int]:
    """Takes path and disks from photos that have more detail than their sharp render, and whose blur explains hardly
    anything; which these are. Those told so before that are softer than the scene by now may blur again.

    Nothing is told where noise is loud, which passes for detail, and behind a rolling shutter, where a path does more
    than blur.
    """
    exposure, noise, found = trainer.exposure, trainer.noise[-1], []
    is_loud = noise is not None and noise.is_loud(trainer.charges[-1])
    if is_loud or exposure.shutter.shutter.is_rolling:
        return found
    for frame, cause in enumerate(trainer.causes):
        parts = _blurring(trainer, frame)
        if cause != Cause.SHARP and not parts:
            continue
        with_blur = trainer.residual(frame)
        learned = {kind: part.clone() for kind, part in parts.items()}
        for part in parts.values():
            part.zero_()
        photo, keep = trainer.photos.pictures[-1][frame], trainer.photos.keeps[-1][frame]
        std = 0.0 if noise is None else noise.photos[frame].level(photo)
        share = slopes(photo, keep, std) / max(slopes(trainer.predict(-1, frame), keep), 1e-9)
        if cause != Cause.SHARP and share > AS_SHARP and with_blur > HARDLY * trainer.residual(frame):
            trainer.causes[frame] = Cause.SHARP
            found.append(frame)
            for kind, part in parts.items():  # the optimizer forgets how they moved
                trainer.optimizers[kind].state.pop(part, None)
            continue
        for kind, part in parts.items():
            part.copy_(learned[kind])
        if cause == Cause.SHARP and share < SOFTER:
            trainer.causes[frame] = Cause.UNKNOWN
    return found


def _blurring(trainer: "Trainer", frame: int) -> dict[str, torch.nn.Parameter]:
    """What blurs a photo to speak of, path or disks, by the name of its optimizer."""
    exposure, camera, parts = trainer.exposure, trainer.photos.cameras[-1].at(frame), {}
    length_px = exposure.blur_px(frame, camera.Ks[0, 0, 0].item()).item()
    focus = exposure.lens.focus
    has_disks = focus is not None and bool(focus.focus[frame].any())
    if length_px > SHORTEST * camera.width or has_disks:
        parts["motion"] = exposure.motion.control_points[frame]
    if has_disks:
        parts["focus"] = focus.focus[frame]
    return parts


def slopes(
    picture: Float[Tensor, "height width 3"], keep: Bool[Tensor, "height width"] | None, noise: float = 0.0
) -> float:
    """Root mean square of how much a pixel differs from the next ones across and down, of those that count, without
    what white noise of that standard deviation adds to it."""
    seen = picture.clamp(0, 1)
    squares = seen.diff(dim=1)[:-1].square() + seen.diff(dim=0)[:, :-1].square()
    if keep is not None and keep[:-1, :-1].any():
        squares = squares[keep[:-1, :-1]]
    return max(squares.mean().item() - 4 * noise**2, 0.0) ** 0.5
