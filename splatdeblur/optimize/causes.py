"""What blurred a photo, motion or focus: the simplest that explains it as well as any, the scene being as it is.

Small steps leave that to chance: a path stands in for disks and disks for a path, whichever gradients found first,
and disks too small to be seen get no gradient at all. So at a few moments each photo is told anew from its sharp
render, and from what its path makes of that: with the lens that suits best, and with an even and an accelerated path
in every direction. All of it happens in the picture; it takes two renders of the photo. A camera that is known to have
stood still has a lens alone to be told.
"""

from dataclasses import dataclass
from enum import IntEnum

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..exposure import Exposure, RenderFn, Window
from ..exposure.lens import MAX_RADIUS_PX
from ..exposure.spread import spread
from ..geometry import linear_from_srgb
from ..render import Render
from .fits import START_SHARE, Error, Fit, Light, fit_both, fit_lens, fit_path
from .losses import Loss
from .photos import Looks

JUDGE_AT = (0.2, 0.35, 0.5)  # progress of the training at which photos are judged
TOLD = 0.02  # share of the error that some cause must explain
ALIKE = 0.4  # of what the better of both causes explains: if they differ by less, the photo's looks decide
LIKELY_DISKS = 1 / 3  # chance of disks from which they then do so for focus
SHOWN = 0.2  # of the error: the less likely disks are, the nearer to so much they must explain to be the cause
CLEAR = 0.9  # of what one cause leaves: the other is there as well where both leave less
SURE_DISKS = 0.55  # likelier disks are believed whatever paths do
REGROWN, SEEN_PATH = 0.3, 0.01  # of the blur that shows, of the width: a path so long again is there
KNOWN = 0.9  # of what disks explain: a path that explains more is not looked for
SHORTEST_PX = 1.0  # paths shorter than that have hardly a direction


class Cause(IntEnum):
    """What a photo was found to be blurred by; UNKNOWN until it is looked at, or where nothing tells, SHARP where the
    photo shows more than the scene (`clear`)."""

    UNKNOWN = 0
    MOTION = 1
    FOCUS = 2
    BOTH = 3
    SHARP = 4


def simplest(none: float, motion: float, focus: float, both: float, disks: float, is_moved: bool = False) -> Cause:
    """The simplest cause that explains a photo as well as any, from the errors that they leave.

    Early on, motion and focus often explain as much; what is then taken for true comes true, as the scene follows. So
    the chance of `disks` by the photo's looks decides between equals, and whether faint disks are believed. Where the
    photo `is_moved` for sure, disks must show, and focus alone is no answer unless it leaves less without the path.
    """
    best = min(motion, focus, both)
    if none - best < TOLD * none:
        return Cause.UNKNOWN
    alone = Cause.FOCUS if focus < motion else Cause.MOTION
    if abs(focus - motion) < ALIKE * (none - min(focus, motion)):
        alone = Cause.FOCUS if disks >= LIKELY_DISKS and not is_moved else Cause.MOTION
    if alone == Cause.FOCUS and none - focus < SHOWN * (1 - disks / LIKELY_DISKS) * none:
        alone = Cause.MOTION
    left = focus if alone == Cause.FOCUS else motion
    if alone == Cause.MOTION and none - motion < TOLD * none:
        return Cause.UNKNOWN
    is_both = both < CLEAR * left or (is_moved and alone == Cause.FOCUS and both <= focus)
    return Cause.BOTH if is_both else alone


@dataclass(frozen=True, eq=False)
class Verdict:
    """What blurred a photo, and what is better than what was learned of it; None where nothing is."""

    cause: Cause
    lens: Fit | None = None
    path: Fit | None = None


@dataclass(frozen=True, eq=False)
class Still:
    """What a photo would show of the scene had it been sharp: linear light, and inverse depth; 0 where nothing is."""

    light: Light
    nearness: Float[Tensor, "height width"]

    @classmethod
    def of(cls, drawn: Render) -> "Still":
        """The first picture of a render."""
        depth = drawn.depth[0]
        return cls(light_of(drawn), torch.where(depth > 0, 1 / depth.clamp(min=1e-6), torch.zeros_like(depth)))

    def within(self, window: Window) -> "Still":
        """The part of it in a window."""
        return Still(window.of(self.light), window.of(self.nearness))


@torch.no_grad()
def judge(
    exposure: Exposure,
    frame: int,
    render: RenderFn,
    still: Still,
    photo: Float[Tensor, "height width 3"],
    keep: Bool[Tensor, "height width"] | None,
    *,
    window: Window,
    focal_px: float,
    num_subframes: int,
    looks: Looks,
    charges: Loss,
    is_tried: bool,
) -> Verdict:
    """What blurred photo `frame`, of which `window` is looked at.

    Args:
        render: draws the window; still: what is seen there from the middle of the exposure.
        num_subframes: of what the photo's path makes of it.
        looks: how blurred the photo is.
        is_tried: whether a path that was there had to prove itself already.
    """
    focus = exposure.lens.focus
    moved, _ = exposure.gathered(render, frame, num_subframes, window=window)
    error = _error_of(exposure, frame, still, photo, keep, window, charges)
    sharp, along = still.light, light_of(moved)
    none, learned = error(sharp, None).item(), error(along, None).item()
    relative = _relative(exposure, frame, still)
    lens = [focus.focus[frame].detach()] if focus.focus[frame].any() else []
    has_direction = looks.blur_px >= SHORTEST_PX and not exposure.shutter.shutter.is_rolling and exposure.has_motion
    disks = looks.disks if exposure.has_motion else 1.0  # of cameras that stood still, nothing else can be the cause
    motion, path = learned, None
    with torch.enable_grad():
        alone = fit_lens(sharp, relative, focal_px, error, lens)
        both, least = (alone, None), alone.error
        if none - min(learned, alone.error) < TOLD * none and not has_direction:
            return Verdict(Cause.UNKNOWN)
        if none - learned >= TOLD * none:
            besides = fit_lens(along, relative, focal_px, error, [*lens, START_SHARE * alone.values], anew=False)
            both, least = (besides, None), besides.error
        if has_direction and none - learned < KNOWN * (none - alone.error):
            path = fit_path(sharp, looks.blur_px, error)
        if path is not None and path.error < learned:
            motion = path.error
            joint = fit_both(sharp, relative, focal_px, error, path, alone)
            if joint.error < least:
                both, least = (Fit(joint.values[2], joint.error), Fit(joint.values[:2], joint.error)), joint.error
        else:
            path = None
    length_px = exposure.blur_px(frame, focal_px).item()
    is_moved = length_px > max(REGROWN * looks.blur_px, SEEN_PATH * window.photo_width)
    is_moved = is_moved and is_tried and disks < SURE_DISKS
    cause = simplest(none, motion, alone.error, least, disks, is_moved)
    kept = {Cause.MOTION: (None, path), Cause.FOCUS: (alone, None), Cause.BOTH: both}
    return Verdict(cause, *kept.get(cause, (None, None)))


@torch.no_grad()
def lens_alone(
    exposure: Exposure,
    frame: int,
    still: Still,
    photo: Float[Tensor, "height width 3"],
    keep: Bool[Tensor, "height width"] | None,
    *,
    focal_px: float,
    charges: Loss,
) -> Fit:
    """The lens that suits a whole photo best, had the camera stood still."""
    height, width = still.nearness.shape
    error = _error_of(exposure, frame, still, photo, keep, Window.whole(width, height), charges)
    with torch.enable_grad():
        return fit_lens(still.light, _relative(exposure, frame, still), focal_px, error)


@torch.no_grad()
def path_alone(
    exposure: Exposure,
    frame: int,
    still: Still,
    photo: Float[Tensor, "height width 3"],
    keep: Bool[Tensor, "height width"] | None,
    *,
    focal_px: float,
    looks: Looks,
    charges: Loss,
) -> Fit:
    """The plain path that suits a whole photo best, through the disks that it has."""
    height, width = still.nearness.shape
    error = _error_of(exposure, frame, still, photo, keep, Window.whole(width, height), charges)
    focus, radius_px = exposure.lens.focus, None
    if focus is not None and focus.focus[frame].any():
        aperture, vergence = focus.focus[frame].detach()
        radius_px = focal_px * (aperture * _relative(exposure, frame, still) - vergence).abs()
    with torch.enable_grad():
        return fit_path(still.light, looks.blur_px, lambda light, _: error(light, radius_px))


def _error_of(
    exposure: Exposure,
    frame: int,
    still: Still,
    photo: Float[Tensor, "height width 3"],
    keep: Bool[Tensor, "height width"] | None,
    window: Window,
    charges: Loss,
) -> Error:
    """How unlike the window of a photo some light is, spread or not."""

    def error(light: Tensor, radius_px: Tensor | None) -> Tensor:
        if radius_px is not None:
            light = spread(light, radius_px.clamp(max=MAX_RADIUS_PX), still.nearness)
        return charges.of_photo(exposure.tone(light, frame, True, window), photo, keep)

    return error


def _relative(exposure: Exposure, frame: int, still: Still) -> Float[Tensor, "height width"]:
    """The scene's typical depth over each pixel's."""
    return (still.nearness * exposure.lens.focus.depths[frame]).clamp(max=10)


def light_of(drawn: Render) -> Light:
    """The first picture of a render, in linear light."""
    return drawn.rgb[0] if drawn.is_linear else linear_from_srgb(drawn.rgb[0])
