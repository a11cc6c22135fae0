"""What blurred a photo, motion or focus: the simplest that explains it as well as any, the scene being as it is.

Small steps leave that to chance: a path stands in for disks and disks for a path, whichever gradients found first,
and disks too small to be seen get no gradient at all. So at a few moments each photo is told anew from its sharp
render, and from what its path makes of that: with the lens that suits best, and with an even and an accelerated path
in every direction. All of it happens in the picture; it takes two renders of the photo.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from math import cos, pi, sin

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..exposure import Exposure, RenderFn, Window
from ..exposure.lens import MAX_RADIUS_PX
from ..exposure.spread import spread
from ..geometry import Cameras, linear_from_srgb
from ..render import Render
from .losses import Loss, photometric
from .photos import Looks

JUDGE_AT = (0.2, 0.35, 0.5)  # progress of the training at which photos are judged
TOLD = 0.02  # share of the error that some cause must explain
ENOUGH = {1: 0.85, 2: 0.9}  # of what can be explained: motion, focus alone are taken where they explain so much
ALIKE = 0.3  # of what the better of them explains: if they differ by less, the photo's looks decide
LIKELY_DISKS = 1 / 3  # chance of disks from which they then do so for focus
RADII_PX = (0.7, 1.4, 2.8)  # of the disks from which a lens is fitted
SHAPES = ((0.2, 1.8), (1.8, 0.2), (1.0, 1.0), (-1.2, 1.2))  # their radii where the scene is far and where it is near
DIRECTIONS = 12
STRETCHES = (0.7, 1.0, 1.4)  # of straight paths, times the blur that the photo shows
SHORTEST_PX = 1.0  # paths shorter than that have hardly a direction
STEPS, STEP_PX = 8, 0.3  # of a fit
PIECES = 7  # straight ones, of an accelerated path
BORDER_PX = 24

Light = Float[Tensor, "height width 3"]
Error = Callable[[Light, Float[Tensor, "height width"] | None], Tensor]
"""How unlike a photo is what becomes of linear light, each pixel's spread over a disk of so many px; None for none."""


class Cause(IntEnum):
    """What a photo was found to be blurred by; UNKNOWN until it is looked at, or where nothing tells."""

    UNKNOWN = 0
    MOTION = 1
    FOCUS = 2
    BOTH = 3


@dataclass(frozen=True, eq=False)
class Fit:
    """What suits a photo best, and the error that it leaves.

    Attributes:
        values: of a lens, aperture and vergence in radians; of a path, px right and down [2, 2]: velocity, and
            acceleration: at time u it is at velocity (u - 1/2) + acceleration (u - 1/2)^2.
    """

    values: Float[Tensor, "*_"]
    error: float


def _descend(start: Tensor, loss: Callable[[Tensor], Tensor]) -> Fit:
    """A few steps down from `start`, all in px; the best of what they met."""
    at = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([at], betas=(0.7, 0.9))
    found = Fit(start, float("inf"))
    for step in range(STEPS + 1):
        value = loss(at)
        if value.item() < found.error:
            found = Fit(at.detach().clone(), value.item())
        (at.grad,) = torch.autograd.grad(value, at, allow_unused=True)
        if at.grad is None:
            break
        optimizer.param_groups[0]["lr"] = STEP_PX * (1 - step / (STEPS + 1))
        optimizer.step()
    return found


def fit_lens(light: Light, nearness: Float[Tensor, "height width"], focal_px: float, error: Error) -> Fit:
    """The thin lens behind which `light` is most like the photo.

    Args:
        nearness: the scene's typical depth over each pixel's.
    """
    far, near = torch.quantile(nearness.flatten(), nearness.new_tensor([0.1, 0.9])).tolist()
    near = max(near, far + 0.05)

    def lens(ends_px: Tensor) -> Tensor:
        aperture = (ends_px[1] - ends_px[0]) / (near - far)
        return torch.stack([aperture, aperture * far - ends_px[0]]) / focal_px

    def loss(ends_px: Tensor) -> Tensor:
        aperture, vergence = lens(ends_px)
        return error(light, focal_px * ((aperture * nearness - vergence).square() + 1e-12).sqrt())

    starts = [radius * nearness.new_tensor(shape) for radius in RADII_PX for shape in SHAPES]
    with torch.no_grad():
        best = min(starts, key=lambda start: loss(start).item())
    found = _descend(best, loss)
    return Fit(lens(found.values), found.error)


def smeared(light: Light, path: Float[Tensor, "2 2"]) -> Light:
    """A picture that moved along a path, see `Fit`, while it was taken."""
    border = min(BORDER_PX, *(size - 1 for size in light.shape[:2]))
    planar = torch.nn.functional.pad(light.permute(2, 0, 1)[None], (border,) * 4, mode="reflect")[0]
    height, width = planar.shape[1:]
    times = (torch.arange(PIECES).to(light) + 0.5) / PIECES - 0.5
    places = times[:, None] * path[0] + times[:, None] ** 2 * path[1]
    lengths = (path[0] + 2 * times[:, None] * path[1]) / PIECES
    across, down = torch.fft.rfftfreq(width).to(light), torch.fft.fftfreq(height).to(light)[:, None]

    def along(steps: Tensor) -> Tensor:
        return steps[:, 0, None, None] * across + steps[:, 1, None, None] * down

    turns = -2 * pi * along(places)
    weights = torch.sinc(along(lengths)) / PIECES
    transfer = torch.complex((weights * turns.cos()).sum(0), (weights * turns.sin()).sum(0))
    moved = torch.fft.irfft2(torch.fft.rfft2(planar) * transfer, (height, width))
    return moved[:, border:-border, border:-border].permute(1, 2, 0).clamp(min=0)


def fit_path(light: Light, shows_px: float, error: Error) -> Fit:
    """The path, even or accelerated, of about `shows_px` along which `light` is most like the photo."""
    tried = []
    with torch.no_grad():
        for k in range(DIRECTIONS):
            for stretch in STRETCHES:
                velocity = [shows_px * stretch * f(pi * k / DIRECTIONS) for f in (cos, sin)]
                path = light.new_tensor([velocity, [0.0, 0.0]])
                tried.append((error(smeared(light, path), None).item(), path))
    _, best = min(tried, key=lambda pair: pair[0])
    return _descend(best, lambda path: error(smeared(light, path), None))


def fit_both(light: Light, nearness: Float[Tensor, "height width"], focal_px: float, error: Error, *starts: Fit) -> Fit:
    """Path and lens together: [3, 2], from what suits best of each alone, a little less of it."""

    def loss(values: Tensor) -> Tensor:
        aperture, vergence = values[2]
        return error(smeared(light, values[:2]), ((aperture * nearness - vergence).square() + 1e-12).sqrt())

    path, lens = (fit.values for fit in starts)
    found = _descend(0.8 * torch.cat([path, focal_px * lens[None]]), loss)
    return Fit(torch.cat([found.values[:2], found.values[2:] / focal_px]), found.error)


def simplest(none: float, motion: float, focus: float, both: float, disks: float) -> Cause:
    """The simplest cause that explains a photo as well as any, from the errors that they leave.

    Early on, motion and focus often explain as much; what is then taken for true comes true, as the scene follows. So
    the chance of `disks` by the photo's looks decides between equals.
    """
    best = min(motion, focus, both)
    if none - best < TOLD * none:
        return Cause.UNKNOWN
    alone = Cause.FOCUS if focus < motion else Cause.MOTION
    if abs(focus - motion) < ALIKE * (none - min(focus, motion)):
        alone = Cause.FOCUS if disks >= LIKELY_DISKS else Cause.MOTION
    explained = (none - (focus if alone == Cause.FOCUS else motion)) / (none - best)
    if explained >= ENOUGH[alone] or min(motion, focus) <= both:
        return alone
    return Cause.BOTH


@dataclass(frozen=True, eq=False)
class Verdict:
    """What blurred a photo, and what is better than what was learned of it; None where nothing is."""

    cause: Cause
    lens: Fit | None = None
    path: Fit | None = None


@torch.no_grad()
def judge(
    exposure: Exposure,
    frame: int,
    render: RenderFn,
    camera: Cameras,
    photo: Float[Tensor, "height width 3"],
    keep: Bool[Tensor, "height width"] | None,
    *,
    num_subframes: int,
    looks: Looks,
    charges: Loss,
) -> Verdict:
    """What blurred photo `frame`, seen through `camera`.

    Args:
        num_subframes: of what its path makes of it.
        looks: how blurred the photo is, in px of `camera`.
    """
    focus, focal_px = exposure.lens.focus, camera.Ks[0, 0, 0].item()
    window = Window.whole(camera.width, camera.height)
    still = render(exposure.sharp_viewmat(frame)[None], None)
    moved, _ = exposure.gathered(render, frame, num_subframes, window=window)
    depth = still.depth[0]
    nearness = torch.where(depth > 0, 1 / depth.clamp(min=1e-6), torch.zeros_like(depth))

    def error(light: Tensor, radius_px: Tensor | None) -> Tensor:
        if radius_px is not None:
            light = spread(light, radius_px.clamp(max=MAX_RADIUS_PX), nearness)
        return photometric(exposure.tone(light, frame, True, window), photo, charges.dssim, keep, charges.slopes)

    sharp, along = _light(still), _light(moved)
    none, motion = error(sharp, None).item(), error(along, None).item()
    relative = (nearness * focus.depths[frame]).clamp(max=10)
    path = joint = None
    with torch.enable_grad():
        alone = fit_lens(sharp, relative, focal_px, error)
        besides = fit_lens(along, relative, focal_px, error)
        if looks.blur_px >= SHORTEST_PX and not exposure.shutter.shutter.is_rolling:
            path = fit_path(sharp, looks.blur_px, error)
            joint = fit_both(sharp, relative, focal_px, error, path, alone)
    if path is not None and path.error < motion:
        motion = path.error
    else:
        path = None
    if joint is not None and joint.error < besides.error:
        better = Fit(joint.values[2], joint.error), Fit(joint.values[:2], joint.error)
    else:
        better = besides, None
    cause = simplest(none, motion, alone.error, better[0].error, looks.disks)
    kept = {Cause.MOTION: (None, path), Cause.FOCUS: (alone, None), Cause.BOTH: better}
    return Verdict(cause, *kept.get(cause, (None, None)))


def _light(drawn: Render) -> Light:
    return drawn.rgb[0] if drawn.is_linear else linear_from_srgb(drawn.rgb[0])
