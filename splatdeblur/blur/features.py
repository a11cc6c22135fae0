"""What tells blur from content: a patch's spectrum by frequency and direction, its derivatives and their echoes.

Motion takes away the frequencies along its way and leaves those across; defocus takes them from all directions alike;
sharp edges are steep for their height, whatever the content. All is measured relative to the patch's own
*reference direction*, the one with the least energy, so that what is learned at one angle holds at every other.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .patches import PATCH_PX, Patches

WEDGES = 12  # directions, over 180 degrees
BAND_EDGES = (1.5, 2.5, 4, 6, 9, 13, 18, 24, 32)  # cycles per patch
LAGS = (1, 2, 3, 4, 6, 8, 11, 15, 20, 26)  # px
ROUNDING = 1 / 255**2 / 12  # variance of 8-bit rounding: spectra have this floor at least
LEVEL_WIDTH = len(BAND_EDGES[1:]) * WEDGES + 2 * len(LAGS) + 9


@dataclass(frozen=True, eq=False)
class Features:
    """Numbers per patch, as seen from its reference direction.

    Attributes:
        values: level by level; see `mirrored` for their order.
        reference_deg: the reference direction, from x towards y (down), in [0, 180).
        contrast: spread of the luma within the patch, its 95th minus its 5th percentile, the larger of both levels.
    """

    values: Float[Tensor, "patch feature"]
    reference_deg: Float[Tensor, "patch"]
    contrast: Float[Tensor, "patch"]


def measure(patches: Patches) -> Features:
    """The features of every patch."""
    spectra = [_spectrum(windows) for windows in patches.windows]
    wedges = [_log_bands(power) for power in spectra]
    reference = sum(bands.mean(dim=1) for bands in wedges).argmin(dim=-1)
    angle = reference * (math.pi / WEDGES)
    parts, contrasts = [], []
    for windows, power, bands in zip(patches.windows, spectra, wedges, strict=True):
        total = power.sum(dim=(1, 2))
        slopes, contrast = _slopes(windows, angle)
        relative = _rolled(bands, reference) - total.log()[:, None, None]
        parts += [relative.flatten(1), _echoes(power, reference), slopes, total.log()[:, None]]
        contrasts.append(contrast)
    return Features(
        torch.cat(parts, dim=1), torch.rad2deg(angle), torch.stack(contrasts).amax(dim=0)
    )


def mirrored(values: Float[Tensor, "patch feature"]) -> Float[Tensor, "patch feature"]:
    """The features of the mirror images, the mirror lying along the reference direction."""
    bands = len(BAND_EDGES) - 1
    levels = []
    for level in values.split(LEVEL_WIDTH, dim=1):
        wedges = level[:, : bands * WEDGES].reshape(-1, bands, WEDGES)
        flipped = wedges[:, :, (-torch.arange(WEDGES)) % WEDGES]
        levels.append(torch.cat([flipped.flatten(1), level[:, bands * WEDGES :]], dim=1))
    return torch.cat(levels, dim=1)


def _spectrum(windows: Float[Tensor, "patch side side"]) -> Float[Tensor, "patch side half"]:
    """Power per frequency, Hann-windowed, such that its sum is about the variance."""
    ramp = torch.hann_window(PATCH_PX, periodic=False, dtype=windows.dtype)
    hann = ramp[:, None] * ramp[None, :]
    mean = (windows * hann).sum(dim=(1, 2), keepdim=True) / hann.sum()
    power = torch.fft.rfft2((windows - mean) * hann).abs().square()
    power[..., 1:-1] *= 2  # the half that rfft2 leaves out
    return power / (hann.square().sum() * PATCH_PX**2) + ROUNDING / PATCH_PX**2


@cache
def _frequencies() -> tuple[Float[Tensor, "bin"], Float[Tensor, "bin"]]:
    """x and y frequency of the flattened spectrum, in cycles per px."""
    y, x = torch.meshgrid(torch.fft.fftfreq(PATCH_PX), torch.fft.rfftfreq(PATCH_PX), indexing="ij")
    return x.flatten(), y.flatten()


@cache
def _polar() -> Float[Tensor, "bin cell"]:
    """Averages a flattened spectrum over bands of frequency and soft wedges of direction."""
    x, y = _frequencies()
    radius = torch.hypot(x, y) * PATCH_PX
    wedge = torch.atan2(y, x) / math.pi * WEDGES
    apart = (wedge[:, None] - torch.arange(WEDGES) + WEDGES / 2) % WEDGES - WEDGES / 2
    near = (1 - apart.abs()).clamp(min=0)
    edges = torch.tensor(BAND_EDGES)
    within = ((radius[:, None] >= edges[:-1]) & (radius[:, None] < edges[1:])).float()
    # The lowest band has fewer bins than wedges: a little of everything keeps all cells filled.
    weights = within[:, :, None] * (near[:, None, :] + 1e-3)
    return (weights / weights.sum(dim=0)).flatten(1)


def _log_bands(power: Float[Tensor, "patch side half"]) -> Float[Tensor, "patch band wedge"]:
    return (power.flatten(1) @ _polar()).log().reshape(len(power), -1, WEDGES)


def _rolled(
    bands: Float[Tensor, "patch band wedge"], reference: Int[Tensor, "patch"]
) -> Float[Tensor, "patch band wedge"]:
    index = (torch.arange(WEDGES) + reference[:, None]) % WEDGES
    return bands.gather(2, index[:, None, :].expand_as(bands))


@cache
def _lag_waves() -> Float[Tensor, "wedge bin lag"]:
    """From a flattened spectrum to the autocorrelation of the derivative along each direction, at `LAGS` and 0."""
    x, y = _frequencies()
    angles = torch.arange(WEDGES) * (math.pi / WEDGES)
    along = 2 * math.pi * (angles.cos()[:, None] * x + angles.sin()[:, None] * y)
    # Beyond the band of the spectrum that both levels see whole, noise would lead.
    within = (torch.hypot(x, y) < 0.5).float()
    lags = torch.tensor((0, *LAGS), dtype=torch.float32)
    return (along.sin().square() * within)[..., None] * torch.cos(along[..., None] * lags)


def _echoes(
    power: Float[Tensor, "patch side half"], reference: Int[Tensor, "patch"]
) -> Float[Tensor, "patch echo"]:
    """Autocorrelation of the derivative along and across the reference direction; a streak's ends show as a dip."""
    waves = _lag_waves()
    flat = power.flatten(1)
    echoes = torch.einsum("pb,wbl->pwl", flat, waves)
    pick = torch.arange(len(power))
    both = [echoes[pick, (reference + turn) % WEDGES] for turn in (0, WEDGES // 2)]
    return torch.cat([echo[:, 1:] / echo[:, :1] for echo in both], dim=1)


def _slopes(
    windows: Float[Tensor, "patch side side"], angle: Float[Tensor, "patch"]
) -> tuple[Float[Tensor, "patch slope"], Float[Tensor, "patch"]]:
    """How steep edges are for their height, along and across; how few pixels hold the slope; and the height."""
    x = (windows[:, 1:-1, 2:] - windows[:, 1:-1, :-2]) / 2
    y = (windows[:, 2:, 1:-1] - windows[:, :-2, 1:-1]) / 2
    c, s = angle.cos()[:, None, None], angle.sin()[:, None, None]
    # Every second pixel will do: neighbours are alike.
    samples = windows[:, ::2, ::2].flatten(1).sort(dim=1).values
    count = samples.shape[1]
    contrast = samples[:, int(0.95 * count)] - samples[:, int(0.05 * count)]
    floor = ROUNDING**0.5
    found = [(contrast + floor).log()]
    for slope in (c * x + s * y, c * y - s * x):
        size = slope.abs().flatten(1) + 1e-6
        top = size[:, ::2].topk(size.shape[1] // 100, dim=1).values  # the steepest 2 %
        mean, rms = size.mean(dim=1), size.square().mean(dim=1).sqrt()
        found += [
            (top[:, 0] / (contrast + floor)).log(),
            (top.mean(dim=1) / (contrast + floor)).log(),
            (mean / rms).log(),
        ]
    found.append(found[3] - found[6])
    return torch.stack(found, dim=1), contrast
