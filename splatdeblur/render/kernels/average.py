"""The mean of a burst's sub-frames, in linear light, and its gradient by their weights.

The gradient by the sub-frames is taken where it is used, in `blend.blend_backward`.
"""

from numba import njit

from .maths import FASTMATH, power_2_4
from .shares import ALL, spread
from .splats import INLINE, OPTIONS

BANDS = 64  # of rows; the shares of the work
FOOT = 0.04045  # up to here the sRGB curve is a straight line; see geometry.linear_from_srgb


@njit(fastmath=FASTMATH, **INLINE)
def light(x):
    """Linear light of an sRGB value, and its slope."""
    real = type(x)
    foot, slope = real(FOOT), real(1 / 12.92)
    shifted = max(x, foot) + real(0.055)
    curve = power_2_4(shifted * real(1 / 1.055))
    return (slope * x if x <= foot else curve), (slope if x <= foot else real(2.4) * curve / shifted)


@njit(fastmath=FASTMATH, **OPTIONS)
def average(subframes, alphas, depths, weights, is_linear, rgb, alpha, depth, share):
    """Fills rgb [H, 3 W], alpha and depth [H, W] from sub-frames [S, H, ...] and their weights [S, H]."""
    if share == ALL:
        spread(0, BANDS)
        return
    n_subframes, height = weights.shape
    for y in range(share * height // BANDS, (share + 1) * height // BANDS):
        for i in range(rgb.shape[1]):
            rgb[y, i] = 0
        for i in range(alpha.shape[1]):
            alpha[y, i], depth[y, i] = 0, 0
        for s in range(n_subframes):
            weight = weights[s, y]
            if is_linear:
                for i in range(rgb.shape[1]):
                    rgb[y, i] += weight * light(subframes[s, y, i])[0]
            else:
                for i in range(rgb.shape[1]):
                    rgb[y, i] += weight * subframes[s, y, i]
            for i in range(alpha.shape[1]):
                alpha[y, i] += weight * alphas[s, y, i]
                depth[y, i] += weight * depths[s, y, i]


@njit(fastmath=FASTMATH, **OPTIONS)
def weigh(subframes, alphas, depths, is_linear, v_rgb, v_alpha, v_depth, v_weights, share):
    """Fills v_weights [S, H]; `v_alpha` or `v_depth` may be empty, for none."""
    if share == ALL:
        spread(0, BANDS)
        return
    n_subframes, height = v_weights.shape
    for y in range(share * height // BANDS, (share + 1) * height // BANDS):
        for s in range(n_subframes):
            total = subframes.dtype.type(0)
            if is_linear:
                for i in range(v_rgb.shape[1]):
                    total += v_rgb[y, i] * light(subframes[s, y, i])[0]
            else:
                for i in range(v_rgb.shape[1]):
                    total += v_rgb[y, i] * subframes[s, y, i]
            if v_alpha.shape[0] > 0:
                for i in range(v_alpha.shape[1]):
                    total += v_alpha[y, i] * alphas[s, y, i]
            if v_depth.shape[0] > 0:
                for i in range(v_depth.shape[1]):
                    total += v_depth[y, i] * depths[s, y, i]
            v_weights[s, y] = total
