"""A photo's own brightness and white balance: a camera that exposes anew for every photo is no error of the scene."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..geometry import linear_from_srgb, srgb_from_linear

DARK, BRIGHT = 0.02, 0.98  # sRGB values between which both pictures must lie to have a say
MIN_PIXELS = 8
USUAL_ERROR = 0.1  # of log-light: pixels that are off by more lose their say


def fit_gains(
    picture: Float[Tensor, "height width 3"],
    model: Float[Tensor, "height width 3"],
    keep: Bool[Tensor, "height width"] | None = None,
) -> Float[Tensor, "3"]:
    """The factor on each channel's linear light that brings a picture nearest to another of the same view; 1 where
    too few pixels are neither black nor white.

    Args:
        picture, model: sRGB, not clipped.
        keep: the pixels that count; None for all.
    """
    is_seen = (model > DARK) & (model < BRIGHT) & (picture > DARK)
    if keep is not None:
        is_seen = is_seen & keep[..., None]
    log_ratio = (linear_from_srgb(model) / linear_from_srgb(picture.clamp(min=DARK))).clamp(min=1e-4).log().double()
    # The slope of the sRGB curve over log-light: how much a wrong factor shows.
    weight = torch.where(is_seen, model + 0.055, 0.0).square().double()
    near = weight
    for _ in range(10):  # reweighted, so that moving edges and holes do not pull the mean
        mean = (near * log_ratio).sum((0, 1)) / near.sum((0, 1)).clamp(min=1e-12)
        near = weight / (1 + ((log_ratio - mean) / USUAL_ERROR) ** 2)
    return torch.where(is_seen.sum((0, 1)) >= MIN_PIXELS, mean.exp(), 1.0).to(picture)


def with_gains(
    picture: Float[Tensor, "height width 3"], gains: Float[Tensor, "3"]
) -> Float[Tensor, "height width 3"]:
    """An sRGB picture as it would be, had its light been so many times stronger."""
    return srgb_from_linear(linear_from_srgb(picture) * gains)
