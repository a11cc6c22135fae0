"""SSIM and its gradient on a CPU: the general version in `losses` spends more time than the renderer.

Planar float32 arrays [3, H, W]; the window is separable, rows of the picture are shared between threads.
"""

import numpy as np
from numba import njit

from ..render.kernels.shares import ALL, COMMON, spread

WINDOW, SIGMA = 11, 1.5  # Wang et al. 2004
C1, K2 = 0.01**2, 0.03
MAPS = 5  # filtered: a, b, a a, b b, a b

_offsets = np.arange(WINDOW) - WINDOW // 2
_weights = np.exp(-(_offsets**2) / (2 * SIGMA**2))
TAPS = (_weights / _weights.sum()).astype(np.float32)

FASTMATH = {"contract", "nsz", "reassoc"}
OPTIONS = {**COMMON, "cache": True, "fastmath": FASTMATH}
BANDS = 64  # of rows; the shares of the work


@njit(**OPTIONS)
def _across(a, b, taps, out, share):
    """Filters each row of the five products; out [3, MAPS, H, W - 10]."""
    if share == ALL:
        spread(0, BANDS)
        return
    channels, height, width = a.shape
    valid = width - WINDOW + 1
    products = np.empty((MAPS, width), np.float32)
    for work in range(share * channels * height // BANDS, (share + 1) * channels * height // BANDS):
        c, y = work // height, work % height
        for x in range(width):
            p, q = a[c, y, x], b[c, y, x]
            products[0, x], products[1, x] = p, q
            products[2, x], products[3, x], products[4, x] = p * p, q * q, p * q
        for m in range(MAPS):
            row, target = products[m], out[c, m, y]
            target[:] = 0
            for k in range(WINDOW):
                tap = taps[k]
                for x in range(valid):
                    target[x] += tap * row[x + k]


@njit(**OPTIONS)
def _down_and_compare(rows, taps, c2, similarity, slopes, share):
    """Filters columns, sums SSIM per row of windows, and writes its slopes by mean a, a a and a b.

    rows [3, MAPS, H, W - 10]; similarity [3, H - 10]; slopes [3, 3, H - 10, W - 10].
    """
    if share == ALL:
        spread(0, BANDS)
        return
    channels, _, height, valid_x = rows.shape
    valid_y = height - WINDOW + 1
    two, c1 = np.float32(2), np.float32(C1)
    f = np.empty((MAPS, valid_x), np.float32)
    for work in range(share * channels * valid_y // BANDS, (share + 1) * channels * valid_y // BANDS):
        c, y = work // valid_y, work % valid_y
        f[:] = 0
        for m in range(MAPS):
            target = f[m]
            for k in range(WINDOW):
                tap, row = taps[k], rows[c, m, y + k]
                for x in range(valid_x):
                    target[x] += tap * row[x]
        total = np.float32(0)
        for x in range(valid_x):
            mean_a, mean_b = f[0, x], f[1, x]
            light = two * mean_a * mean_b + c1
            structure = two * (f[4, x] - mean_a * mean_b) + c2
            light_norm = mean_a * mean_a + mean_b * mean_b + c1
            structure_norm = f[2, x] - mean_a * mean_a + f[3, x] - mean_b * mean_b + c2
            value = light * structure / (light_norm * structure_norm)
            total += value
            slopes[c, 2, y, x] = two * light / (light_norm * structure_norm)
            slopes[c, 1, y, x] = -value / structure_norm
            slopes[c, 0, y, x] = (
                two * mean_b * (structure - light) / (light_norm * structure_norm)
                - two * mean_a * value * (np.float32(1) / light_norm - np.float32(1) / structure_norm)
            )
        similarity[c, y] = total


@njit(**OPTIONS)
def _back(a, b, taps, slopes, scale, out, share):
    """The gradient by `a`, [3, H, W]: slopes through the transposed window, times what each product was made of."""
    if share == ALL:
        spread(0, BANDS)
        return
    channels, height, width = a.shape
    valid_y, valid_x = slopes.shape[2], slopes.shape[3]
    columns, sums = np.empty((3, valid_x), np.float32), np.empty((3, width), np.float32)
    for work in range(share * channels * height // BANDS, (share + 1) * channels * height // BANDS):
        c, y = work // height, work % height
        columns[:], sums[:] = 0, 0
        for m in range(3):
            for k in range(max(0, y - valid_y + 1), min(WINDOW, y + 1)):
                tap, row, target = taps[k], slopes[c, m, y - k], columns[m]
                for x in range(valid_x):
                    target[x] += tap * row[x]
            for k in range(WINDOW):
                tap, row, target = taps[k], columns[m], sums[m]
                for x in range(valid_x):
                    target[x + k] += tap * row[x]
        for x in range(width):
            out[c, y, x] = scale * (
                sums[0, x] + np.float32(2) * a[c, y, x] * sums[1, x] + b[c, y, x] * sums[2, x]
            )


def ssim_and_gradient(a: np.ndarray, b: np.ndarray, c2: float = K2**2) -> tuple[float, np.ndarray]:
    """Mean SSIM over all whole windows of two pictures [3, H, W], float32, and its gradient by the first."""
    channels, height, width = a.shape
    rows = np.empty((channels, MAPS, height, width - WINDOW + 1), np.float32)
    _across(a, b, TAPS, rows, ALL)
    similarity = np.empty((channels, height - WINDOW + 1), np.float32)
    slopes = np.empty((channels, 3, height - WINDOW + 1, width - WINDOW + 1), np.float32)
    _down_and_compare(rows, TAPS, np.float32(c2), similarity, slopes, ALL)
    windows = slopes[:, 0].size
    gradient = np.empty_like(a)
    _back(a, b, TAPS, slopes, np.float32(1 / windows), gradient, ALL)
    return float(similarity.sum(dtype=np.float64)) / windows, gradient
