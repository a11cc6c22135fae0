"""The path and the lens that suit a photo best, the scene being as it is: made of its sharp render, in the picture.

So that all photos can be looked at in little time, few values are tried and few steps made from the best of them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import atan2, cos, pi, sin

import torch
from jaxtyping import Float
from torch import Tensor

RADII_PX = (0.7, 1.4, 2.8)  # of the disks from which a lens is fitted
SHAPES = ((0.2, 1.8), (1.8, 0.2), (-1.2, 1.2))  # their radii where the scene is far and where it is near, if uneven
DIRECTIONS = 6  # of straight paths; then those half way to the next
STRETCHES = (0.7, 1.4)  # of the best of these, times the blur that the photo shows
STEPS, STEP_PX = 4, 0.4  # of a fit
START_SHARE = 0.8  # of what is known of each cause alone, where both are fitted
PIECES = 5  # straight ones, of an accelerated path
BORDER_PX = 24
MOST_SORTED = 1_000_000  # of a photo's pixels; torch sorts 16 million at most for a quantile

Light = Float[Tensor, "height width 3"]
Error = Callable[[Light, Float[Tensor, "height width"] | None], Tensor]
"""How unlike a photo is what becomes of linear light, each pixel's spread over a disk of so many px; None for none."""


@dataclass(frozen=True, eq=False)
class Fit:
    """What suits a photo best, and the error that it leaves.

    Attributes:
        values: of a lens, aperture and vergence in radians; of a path, px right and down [2, 2]: velocity, and
            acceleration: at time u it is at velocity (u - 1/2) + acceleration (u - 1/2)^2.
    """

    values: Float[Tensor, "*_"]
    error: float


def _best(tried: Iterable[Tensor], loss: Callable[[Tensor], Tensor], known: Fit | None = None) -> Fit | None:
    """The best of some values, and of what is known already."""
    with torch.no_grad():
        fits = [Fit(values, loss(values).item()) for values in tried]
    return min([*fits, known] if known else fits, key=lambda fit: fit.error, default=None)


def _descend(start: Tensor, loss: Callable[[Tensor], Tensor]) -> Fit:
    """A few steps down from `start`, all in px; the best of what they met."""
    at = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([at], betas=(0.7, 0.9))
    found = Fit(start, float("inf"))
    for step in range(STEPS + 1):
        value = loss(at)
        if value.item() < found.error:
            found = Fit(at.detach().clone(), value.item())
        if step == STEPS:
            break
        (at.grad,) = torch.autograd.grad(value, at, allow_unused=True)
        if at.grad is None:
            break
        optimizer.param_groups[0]["lr"] = STEP_PX * (1 - step / STEPS)
        optimizer.step()
    return found


def fit_lens(
    light: Light,
    nearness: Float[Tensor, "height width"],
    focal_px: float,
    error: Error,
    known: Iterable[Float[Tensor, "2"]] = (),
    *,
    anew: bool = True,
) -> Fit:
    """The thin lens behind which `light` is most like the photo.

    Args:
        nearness: the scene's typical depth over each pixel's.
        known: lenses to begin with; `anew`, or with others.
    """
    some = nearness.flatten()[:: 1 + nearness.numel() // MOST_SORTED]
    far, near = torch.quantile(some, nearness.new_tensor([0.1, 0.9])).tolist()
    near = max(near, far + 0.05)
    ends = nearness.new_tensor([far, near])

    def lens(ends_px: Tensor) -> Tensor:
        aperture = (ends_px[1] - ends_px[0]) / (near - far)
        return torch.stack([aperture, aperture * far - ends_px[0]]) / focal_px

    def loss(ends_px: Tensor) -> Tensor:
        aperture, vergence = lens(ends_px)
        return error(light, focal_px * ((aperture * nearness - vergence).square() + 1e-12).sqrt())

    best = _best([focal_px * (aperture * ends - vergence) for aperture, vergence in known], loss)
    if anew:
        best = _best([torch.full_like(ends, radius) for radius in RADII_PX], loss, best)
        best = _best([best.values.abs().mean() * ends.new_tensor(shape) for shape in SHAPES], loss, best)
    found = _descend(best.values, loss)
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

    def loss(path: Tensor) -> Tensor:
        return error(smeared(light, path), None)

    def towards(angle: float) -> Tensor:
        return light.new_tensor([[shows_px * cos(angle), shows_px * sin(angle)], [0.0, 0.0]])

    coarse = [pi * k / DIRECTIONS for k in range(DIRECTIONS)]
    best = _best(map(towards, coarse), loss)
    angle = atan2(best.values[0, 1].item(), best.values[0, 0].item())
    best = _best([towards(angle + turn * pi / DIRECTIONS / 2) for turn in (-1, 1)], loss, best)
    best = _best([best.values * stretch for stretch in STRETCHES], loss, best)
    return _descend(best.values, loss)


def fit_both(light: Light, nearness: Float[Tensor, "height width"], focal_px: float, error: Error, *starts: Fit) -> Fit:
    """Path and lens together: [3, 2], from what suits best of each alone, a little less of it."""

    def loss(values: Tensor) -> Tensor:
        aperture, vergence = values[2]
        return error(smeared(light, values[:2]), ((aperture * nearness - vergence).square() + 1e-12).sqrt())

    path, lens = (fit.values for fit in starts)
    found = _descend(START_SHARE * torch.cat([path, focal_px * lens[None]]), loss)
    return Fit(torch.cat([found.values[:2], found.values[2:] / focal_px]), found.error)
