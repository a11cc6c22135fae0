"""The sRGB curve, between display-referred values and linear light; continued above 1, beyond white."""

import torch
from torch import Tensor


def linear_from_srgb(srgb: Tensor) -> Tensor:
    """Linear light of sRGB-encoded values of any shape; above 1 the curve goes on, below 0 its straight foot.

    Source: IEC 61966-2-1.
    """
    is_foot = srgb <= 0.04045
    return torch.where(is_foot, srgb / 12.92, ((srgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(linear: Tensor) -> Tensor:
    """sRGB-encoded values of linear light of any shape; the inverse of `linear_from_srgb`."""
    is_foot = linear <= 0.0031308
    return torch.where(is_foot, linear * 12.92, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)
