"""Each held-out photo's own brightness and white balance: a camera that exposes anew for every photo is no error."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..geometry import linear_from_srgb, srgb_from_linear

DARK, BRIGHT = 0.02, 0.98  # sRGB values between which both pictures must lie to have a say
MIN_PIXELS = 16


def fit_gains(
    pictures: Float[Tensor, "image height width 3"], truths: Float[Tensor, "image height width 3"]
) -> Float[Tensor, "image 3"]:
    """The factor on each channel's linear light that brings a picture nearest to its truth in sRGB values; 1 where
    too few pixels are neither black nor white.

    Args:
        pictures, truths: sRGB, the pictures not clipped.
    """
    is_seen = (truths > DARK) & (truths < BRIGHT) & (pictures > DARK)
    ratio = linear_from_srgb(truths) / linear_from_srgb(pictures.clamp(min=DARK))
    # d sRGB / d log(light) at the truth: how much a wrong factor shows, in first order.
    weight = torch.where(is_seen, truths + 0.055, 0.0).square().double()
    # Reweighted: a mean of logarithms that moving edges and holes do not pull.
    log_ratio = ratio.log().double()
    mean = (weight * log_ratio).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1e-12)
    for _ in range(10):
        off = (log_ratio - mean[:, None, None]).abs()
        near = weight / (1 + (off / 0.1) ** 2)
        mean = (near * log_ratio).sum((1, 2)) / near.sum((1, 2)).clamp(min=1e-12)
    return torch.where(is_seen.sum((1, 2)) >= MIN_PIXELS, mean.exp(), 1.0).to(pictures)


def with_gains(
    pictures: Float[Tensor, "image height width 3"], gains: Float[Tensor, "image 3"]
) -> Float[Tensor, "image height width 3"]:
    """sRGB pictures as they would be, had their light been so many times stronger."""
    return srgb_from_linear(linear_from_srgb(pictures) * gains[:, None, None])
