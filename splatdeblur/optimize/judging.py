"""All photos judged: what blurred each, and what was learned of it put right."""

from math import isfinite
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..exposure import Exposure, Window
from ..exposure.motion import Motion
from .causes import JUDGE_AT, TOLD, Cause, Still, Verdict, judge, lens_alone

if TYPE_CHECKING:
    from .trainer import Trainer

SEEN_BLUR = 1 / 200  # of a photo's width: a photo less blurred than that everywhere is not asked
WINDOW_PIXELS, WINDOW_STEP_PX = 5_000, 8  # of the part of a photo that is looked at, and of where it may lie
STILL_PATH = 1 / 400  # of a photo's width: what is left of a path that stood in for disks


def can_judge(exposure: Exposure) -> bool:
    """Whether photos have a lens, and perhaps a path of their own, and nothing else that could explain blur."""
    lens, is_plain = exposure.lens, exposure.sight is None
    return isinstance(exposure.motion, Motion) and is_plain and lens.focus is not None and lens.kernels is None


def telling(
    photo: Float[Tensor, "height width 3"],
    sharp: Float[Tensor, "height width 3"],
    keep: Bool[Tensor, "height width"] | None,
) -> Window:
    """The part of a photo that lost the most detail, by its `sharp` render; of its proportions, and of no more than
    WINDOW_PIXELS."""
    height, width = photo.shape[:2]
    share = min(1.0, (WINDOW_PIXELS / (height * width)) ** 0.5)
    size = int(height * share), int(width * share)
    if share == 1:
        return Window.whole(width, height)
    lost = _detail(sharp) - _detail(photo)
    if keep is not None:
        lost = torch.where(keep[:-1, :-1], lost, lost.min())
    sums = torch.nn.functional.avg_pool2d(lost[None, None], (size[0] - 1, size[1] - 1), stride=WINDOW_STEP_PX)[0, 0]
    row, column = divmod(int(sums.argmax()), sums.shape[1])
    return Window(column * WINDOW_STEP_PX, row * WINDOW_STEP_PX, size[1], size[0], width, height)


def _detail(picture: Float[Tensor, "height width 3"]) -> Float[Tensor, "_ _"]:
    """How much a pixel differs from the next ones across and down."""
    across, down = picture.diff(dim=1)[:-1], picture.diff(dim=0)[:, :-1]
    return (across.abs() + down.abs()).mean(-1)


@torch.no_grad()
def judge_photos(trainer: "Trainer") -> str:
    """Tells anew what blurred each photo that is blurred, and puts right what was learned of it; a sentence on that.

    In the part that lost the most detail, a better witness than whole photos, and quicker; but what is found there
    must leave the whole photo no worse explained than without any blur, else it is taken back, or where it was a lens,
    that is looked for in the whole. At full training size: smaller pictures of a scene are sharper than reduced photos,
    so any blur would seem to explain something. Those that were found to show more than the scene are not blurred.
    """
    cameras = trainer.photos.cameras[-1]
    counts = trainer.exposure.subframe_counts(cameras.Ks[0, 0, 0].item())
    for frame, looks in enumerate(trainer.photos.looks):
        is_blurred = isfinite(looks.most_px) and looks.most_px >= SEEN_BLUR * cameras.at(frame).width
        if is_blurred and trainer.causes[frame] != Cause.SHARP:
            _judge_photo(trainer, frame, max(counts[frame], 2) if trainer.exposure.has_motion else 1)
    told = ", ".join(f"{cause.name.lower()} {n}" for cause in Cause if (n := trainer.causes.count(cause)))
    return f"what blurred the photos: {told}"


def _judge_photo(trainer: "Trainer", frame: int, num_subframes: int) -> None:
    """Tells anew what blurred one photo, and puts right what was learned of it."""
    exposure, charges, camera = trainer.exposure, trainer.charges[-1], trainer.photos.cameras[-1].at(frame)
    photo, keep = trainer.photos.pictures[-1][frame], trainer.photos.keeps[-1][frame]
    focal_px, told_before = camera.Ks[0, 0, 0].item(), trainer.causes[frame]
    still = Still.of(trainer.render_fn(camera)(exposure.sharp_viewmat(frame)[None], None))
    sharp = exposure.tone(still.light, frame, True, Window.whole(camera.width, camera.height))
    window = telling(photo, sharp, keep)
    seen = camera.cropped(window.left, window.top, window.width, window.height)
    found = judge(
        exposure, frame, trainer.render_fn(seen), still.within(window), window.of(photo),
        None if keep is None else window.of(keep), window=window, focal_px=focal_px,
        num_subframes=num_subframes, charges=charges, looks=trainer.photos.looks[frame],
        is_tried=trainer.done["judgements"] == len(JUDGE_AT) or told_before in (Cause.FOCUS, Cause.BOTH),
    )  # fmt: skip

    def left() -> float:
        return charges.of_photo(trainer.predict(-1, frame, num_subframes=num_subframes), photo, keep).item()

    without = charges.of_photo(sharp, photo, keep).item()
    parts = [exposure.lens.focus.focus[frame]]
    if exposure.has_motion:
        parts.append(exposure.motion.control_points[frame])
    learned = [part.clone() for part in parts]
    changed = _put_right(exposure, frame, found, STILL_PATH * camera.width, focal_px)
    if changed and left() > (1 + TOLD) * without:  # the part that was looked at is not the whole
        for part, values in zip(parts, learned, strict=True):
            part.copy_(values)
        is_focus, found, changed = found.cause == Cause.FOCUS, Verdict(told_before), []
        if is_focus:
            lens = lens_alone(exposure, frame, still, photo, keep, focal_px=focal_px, charges=charges)
            if lens.error < (1 - TOLD) * min(left(), without):
                found = Verdict(Cause.FOCUS, lens)
                changed = _put_right(exposure, frame, found, STILL_PATH * camera.width, focal_px)
    trainer.causes[frame] = found.cause
    for kind, parameter in changed:  # the optimizer forgets how they moved
        trainer.optimizers[kind].state.pop(parameter, None)


def _put_right(
    exposure: Exposure, frame: int, found: Verdict, still_px: float, focal_px: float
) -> list[tuple[str, Tensor]]:
    """Makes a photo's path and lens those of a verdict; what was changed, by the name of its optimizer."""
    lens, motion = exposure.lens.focus, exposure.motion
    changed = []
    if found.lens is not None or lens.focus[frame].any():
        lens.focus[frame].copy_(torch.zeros(2) if found.lens is None else found.lens.values)
        changed.append(("focus", lens.focus[frame]))
    if found.path is not None:
        motion.trace(frame, *(found.path.values / focal_px))
    elif found.cause == Cause.FOCUS:
        exposure.shorten(frame, still_px, focal_px)
    if exposure.has_motion and (found.path is not None or found.cause == Cause.FOCUS):
        changed.append(("motion", motion.control_points[frame]))
    return changed
