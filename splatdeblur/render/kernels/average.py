"""The mean of a burst's sub-frames, in linear light, and its gradient: one pass over the pictures each way."""

from numba import njit

from .maths import FASTMATH, power_2_4
from .projection import OPTIONS
from .shares import ALL, spread

BANDS = 64  # of rows; the shares of the work
FOOT = 0.04045  # up to here the sRGB curve is a straight line; see geometry.linear_from_srgb


@njit(fastmath=FASTMATH, **OPTIONS)
def average(subframes, alphas, depths, weights, is_linear, rgb, alpha, depth, share):
    """Fills rgb [H, 3 W], alpha and depth [H, W] from sub-frames [S, H, ...] and their weights [S, H]."""
    if share == ALL:
        spread(0, BANDS)
        return
    n_subframes, height = weights.shape
    real = subframes.dtype.type
    foot, slope, shift, scale = real(FOOT), real(1 / 12.92), real(0.055), real(1 / 1.055)
    for y in range(share * height // BANDS, (share + 1) * height // BANDS):
        for i in range(rgb.shape[1]):
            rgb[y, i] = 0
        for i in range(alpha.shape[1]):
            alpha[y, i], depth[y, i] = 0, 0
        for s in range(n_subframes):
            weight = weights[s, y]
            if is_linear:
                for i in range(rgb.shape[1]):
                    x = subframes[s, y, i]
                    curve = power_2_4((max(x, foot) + shift) * scale)
                    rgb[y, i] += weight * (slope * x if x <= foot else curve)
            else:
                for i in range(rgb.shape[1]):
                    rgb[y, i] += weight * subframes[s, y, i]
            for i in range(alpha.shape[1]):
                alpha[y, i] += weight * alphas[s, y, i]
                depth[y, i] += weight * depths[s, y, i]


@njit(fastmath=FASTMATH, **OPTIONS)
def average_backward(
    subframes, alphas, depths, weights, is_linear, v_rgb, v_alpha, v_depth,
    v_subframes, v_alphas, v_depths, v_weights, share,
):  # fmt: skip
    """Fills the last four arrays; where `v_alpha` or `v_depth` is empty, for none, so is its companion."""
    if share == ALL:
        spread(0, BANDS)
        return
    n_subframes, height = weights.shape
    real = subframes.dtype.type
    foot, slope, shift, scale = real(FOOT), real(1 / 12.92), real(0.055), real(1 / 1.055)
    exponent = real(2.4)
    for y in range(share * height // BANDS, (share + 1) * height // BANDS):
        for s in range(n_subframes):
            weight, v_weight = weights[s, y], real(0)
            if is_linear:
                for i in range(v_rgb.shape[1]):
                    x, v = subframes[s, y, i], v_rgb[y, i]
                    shifted = max(x, foot) + shift
                    curve = power_2_4(shifted * scale)
                    v_weight += v * (slope * x if x <= foot else curve)
                    v_subframes[s, y, i] = weight * v * (slope if x <= foot else exponent * curve / shifted)
            else:
                for i in range(v_rgb.shape[1]):
                    v_weight += v_rgb[y, i] * subframes[s, y, i]
                    v_subframes[s, y, i] = weight * v_rgb[y, i]
            if v_alpha.shape[0] > 0:
                for i in range(v_alpha.shape[1]):
                    v_weight += v_alpha[y, i] * alphas[s, y, i]
                    v_alphas[s, y, i] = weight * v_alpha[y, i]
            if v_depth.shape[0] > 0:
                for i in range(v_depth.shape[1]):
                    v_weight += v_depth[y, i] * depths[s, y, i]
                    v_depths[s, y, i] = weight * v_depth[y, i]
            v_weights[s, y] = v_weight
