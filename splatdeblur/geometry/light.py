"""The sRGB curve, between display-referred values and linear light; continued above 1, beyond white.

Its slope is known once its value is: gradients made from that need no second power of every value.
"""

import torch
from torch import Tensor

FOOT, FOOT_SRGB = 0.0031308, 0.04045  # up to which the curve is straight, in light and in values
RISE, SCALE, OFFSET, POWER = 12.92, 1.055, 0.055, 2.4


class _LinearFromSrgb(torch.autograd.Function):
    @staticmethod
    def forward(ctx, srgb):
        base = (srgb.clamp(min=FOOT_SRGB) + OFFSET) / SCALE
        linear = torch.where(is_foot := srgb <= FOOT_SRGB, srgb / RISE, base**POWER)
        ctx.save_for_backward(is_foot, base, linear)
        return linear

    @staticmethod
    def backward(ctx, v_linear):
        is_foot, base, linear = ctx.saved_tensors
        return v_linear * torch.where(is_foot, 1 / RISE, POWER / SCALE * linear / base)


class _SrgbFromLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, linear):
        light = linear.clamp(min=FOOT)
        power = light ** (1 / POWER)
        ctx.save_for_backward(is_foot := linear <= FOOT, light, power)
        return torch.where(is_foot, linear * RISE, SCALE * power - OFFSET)

    @staticmethod
    def backward(ctx, v_srgb):
        is_foot, light, power = ctx.saved_tensors
        return v_srgb * torch.where(is_foot, RISE, SCALE / POWER * power / light)


def linear_from_srgb(srgb: Tensor) -> Tensor:
    """Linear light of sRGB-encoded values of any shape; above 1 the curve goes on, below 0 its straight foot.

    Source: IEC 61966-2-1.
    """
    return _LinearFromSrgb.apply(srgb)


def srgb_from_linear(linear: Tensor) -> Tensor:
    """sRGB-encoded values of linear light of any shape; the inverse of `linear_from_srgb`."""
    return _SrgbFromLinear.apply(linear)
