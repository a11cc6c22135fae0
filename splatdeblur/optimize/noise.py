"""Sensor noise: how much of it a photo has, and what a prediction costs against a noisy photo.

In linear light the variance of a sensor grows with the signal: photons come one by one, and reading adds its own.
Source of the model: Foi et al. 2008.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import hypot

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..geometry import linear_from_srgb, srgb_from_linear
from .losses import Loss, as_taken, ssim

BLOCK_PX = 8
QUIET_SHARE = 0.2  # of the blocks of like brightness: those with the least texture speak for the noise
QUIET_BIAS = 0.61  # their variance over the noise's, for white noise; measured on a photo of nothing
GROUPS = 6  # of brightness
MIN_BLOCKS = 4  # in a group that is heard
BLACK, WHITE = 0.5 / 255, 254 / 255  # sRGB values beyond which a photo was clipped
ROUNDING = 1 / 255 / 12**0.5  # of sRGB values, standard deviation
DEAFNESS = 2.0  # standard deviations of the noise that SSIM is to be deaf to
STRAIGHT_FROM = 2.5  # standard deviations from which errors count in proportion: not all that is off is noise

# Differences of differences along both axes: blind to slopes, of unit gain for white noise.
SECOND = torch.tensor([1.0, -2.0, 1.0])
HIGH_PASS = torch.outer(SECOND, SECOND) / 6


@dataclass(frozen=True)
class Noise:
    """Variance of a photo's linear light (white is 1): `shot` times the light, plus `read`."""

    shot: float
    read: float

    def std(self, light: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Standard deviation of linear light, rounding to 8 bits included."""
        light = light.clamp(min=0)
        return (self.shot * light + self.read + (ROUNDING * _slope(light)) ** 2).sqrt()

    def level(self, photo_srgb: Float[Tensor, "*shape 3"]) -> float:
        """Standard deviation of a photo's sRGB values, RMS over the photo."""
        light = linear_from_srgb(photo_srgb)
        variance = self.shot * light + self.read
        return (variance / _slope(light) ** 2).mean().sqrt().item()


def _slope(light: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Of linear light over sRGB value, from its inverse a little apart."""
    return 0.01 / (srgb_from_linear(light + 0.005) - srgb_from_linear((light - 0.005).clamp(min=-0.005)))


def estimate_noise(
    photo_srgb: Float[Tensor, "height width 3"], keep: Bool[Tensor, "height width"] | None = None
) -> Noise | None:
    """The noise of a photo, from its least textured blocks at every brightness; None where too few blocks tell.

    White noise is assumed: what compression or a denoiser has smoothed away does not count. Texture that fills a
    whole photo counts as noise.

    Args:
        keep: the pixels that count; the others show nothing that a sensor saw.
    """
    light = linear_from_srgb(photo_srgb).permute(2, 0, 1)[:, None]
    detail = F.pad(F.conv2d(light, HIGH_PASS.to(light)[None, None]), (1, 1, 1, 1), mode="replicate")
    is_clipped = (photo_srgb <= BLACK) | (photo_srgb >= WHITE)
    if keep is not None:
        is_clipped = is_clipped | ~keep[..., None]
    is_clipped = is_clipped.to(light).permute(2, 0, 1)[:, None]
    means, variances, clipped = (
        F.avg_pool2d(x, BLOCK_PX).flatten() for x in (light, detail.square(), is_clipped)
    )
    is_whole = clipped == 0
    means, variances = means[is_whole], variances[is_whole]
    if len(means) < MIN_BLOCKS * GROUPS:
        return None
    found = []
    for group in means.argsort().chunk(GROUPS):
        if len(group) >= MIN_BLOCKS:
            quiet = group[variances[group] <= variances[group].quantile(QUIET_SHARE)]
            found.append(torch.stack([means[quiet].mean(), variances[quiet].mean() / QUIET_BIAS]))
    x, y = torch.stack(found).double().unbind(1)
    return _line(x, y)


def _line(light: Float[Tensor, "group"], variance: Float[Tensor, "group"]) -> Noise:
    """The line through points of equal relative error, with neither part below 0."""
    weight = 1 / variance.clamp(min=max(1e-12, 1e-3 * variance.median().item()))  # a flat sky is no proof of no noise
    design = torch.stack([light, torch.ones_like(light)], dim=1) * weight[:, None]
    shot, read = torch.linalg.lstsq(design, (variance * weight)[:, None]).solution[:, 0].tolist()
    if read < 0:
        shot, read = (light * variance * weight**2).sum() / (light**2 * weight**2).sum(), 0.0
    elif shot < 0:
        shot, read = 0.0, (variance * weight**2).sum() / (weight**2).sum()
    return Noise(float(shot), float(read))


def _one_sided(z: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Cost of a prediction `z` standard deviations inside, where the photo was clipped: 0 far beyond the limit."""
    top = z.new_tensor(STRAIGHT_FROM)
    slope = (-top**2 / 2 - torch.special.log_ndtr(-top)).exp() / (2 * torch.pi) ** 0.5
    return -torch.special.log_ndtr(-z.clamp(max=STRAIGHT_FROM)) + slope * (z - STRAIGHT_FROM).clamp(min=0)


def noise_weighted(
    predicted: Float[Tensor, "height width 3"],
    photo: Float[Tensor, "height width 3"],
    noise: Noise,
    keep: Bool[Tensor, "height width"] | None = None,
) -> Float[Tensor, ""]:
    """Negative log likelihood of a noisy photo, up to a constant; mean over all pixels.

    Errors count in standard deviations of linear light, squared up to STRAIGHT_FROM of them. A clipped pixel says
    only that light and noise together were no brighter than black, or no darker than white (Tobin 1958).

    Args:
        predicted, photo: sRGB values, the prediction not clipped.
        keep: the pixels that count.
    """
    light = linear_from_srgb(predicted)
    std = noise.std(light.detach())
    z = (light - linear_from_srgb(photo)) / std
    cost = F.huber_loss(z, torch.zeros_like(z), reduction="none", delta=STRAIGHT_FROM)
    is_black, is_white = photo <= BLACK, photo >= WHITE
    if is_black.any():
        black = linear_from_srgb(photo.new_tensor(BLACK))
        cost = torch.where(is_black, _one_sided((light - black) / std), cost)
    if is_white.any():
        white = linear_from_srgb(photo.new_tensor(WHITE))
        cost = torch.where(is_white, _one_sided((white - light) / std), cost)
    if keep is not None:
        cost = torch.where(keep[..., None], cost, 0.0)
    return cost.mean()


@dataclass(frozen=True)
class NoiseLevel:
    """The noise of a set of photos.

    Attributes:
        photos: of each.
        level: median over the photos of the standard deviation of sRGB values.
    """

    photos: tuple[Noise, ...]
    level: float

    @classmethod
    def of(
        cls,
        pictures: Sequence[Float[Tensor, "_ _ 3"]],
        keeps: Sequence[Bool[Tensor, "_ _"] | None] | None = None,
    ) -> "NoiseLevel | None":
        """Estimated; None where no photo tells. One that does not is taken for the median one.

        Args:
            keeps: the pixels of each picture that count; None where all do.
        """
        keeps = keeps or (None,) * len(pictures)
        found = [estimate_noise(picture, keep) for picture, keep in zip(pictures, keeps, strict=True)]
        known = sorted(
            ((noise.level(picture), noise) for noise, picture in zip(found, pictures, strict=True) if noise),
            key=lambda pair: pair[0],
        )
        if not known:
            return None
        level, usual = known[len(known) // 2]
        return cls(tuple(noise or usual for noise in found), level)

    def is_loud(self, loss: Loss) -> bool:
        """Whether photos are charged by how probable it makes them."""
        return self.level > loss.noise_from

    def heard_by(self, loss: Loss) -> Loss:
        """The loss, with an SSIM that is deaf to what is as faint as the noise: as it is, it rewards contrast that
        noise only feigns. Nor are slopes charged where the noise is loud."""
        slopes = 0.0 if self.is_loud(loss) else loss.slopes
        return replace(loss, k2=hypot(loss.k2, DEAFNESS * self.level), slopes=slopes)

    def loss(
        self, predicted: Tensor, photo: Tensor, frame: int, charges: Loss, keep: Tensor | None = None
    ) -> Float[Tensor, ""]:
        """(1 - dssim) times `noise_weighted`, on the scale of a mean absolute error of sRGB values, and dssim
        (1 - SSIM)."""
        loss = (1 - charges.dssim) * self.level * noise_weighted(predicted, photo, self.photos[frame], keep)
        if charges.dssim:
            loss = loss + charges.dssim * (1 - ssim(as_taken(predicted, photo, keep), photo, charges.k2**2))
        return loss
