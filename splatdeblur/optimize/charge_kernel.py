"""What a photo is charged, and the gradient of it, in one go on a CPU: the same in torch (`losses`) takes forty walks
over the picture, most of them on one thread.

Pictures are float32, [H, W, 3] from outside and planar [3, H, W] inside, as SSIM's kernel wants them; rows are shared
between threads.
"""

import numpy as np
from numba import njit

from ..render.kernels.shares import ALL, spread
from .ssim_kernel import BANDS, OPTIONS, ssim_and_gradient

WHITE = 0.995  # of a photo's values: from there on it says only "at least white"


@njit(**OPTIONS)
def _take(predicted, photo, keep, taken, planar, share):
    """The prediction as the photo was taken, and the photo, both planar; an empty `keep` keeps all."""
    if share == ALL:
        spread(0, BANDS)
        return
    height, width, channels = photo.shape
    for y in range(share * height // BANDS, (share + 1) * height // BANDS):
        for x in range(width):
            is_kept = keep.size == 0 or keep[y, x]
            for c in range(channels):
                p, q = predicted[y, x, c], photo[y, x, c]
                is_free = is_kept and not (q >= np.float32(WHITE) and p > q)
                taken[c, y, x], planar[c, y, x] = p if is_free else q, q


@njit(**OPTIONS)
def _compare(taken, planar, predicted, by_ssim, l1, across, down, sums, out, share):
    """Sums of absolute errors and of those of slopes across and down, [H, 3]; `out` is the gradient of their sum,
    weighed, and of what was charged by SSIM, [3, H, W] or empty. Values that were not taken have none."""
    if share == ALL:
        spread(0, BANDS)
        return
    channels, height, width = taken.shape
    error = np.empty((3, width), np.float32)  # of the row above, this one and the one below
    for y in range(share * height // BANDS, (share + 1) * height // BANDS):
        for c in range(channels):
            for row in range(3):
                other = min(max(y + row - 1, 0), height - 1)  # beyond the edge as at the edge: no slope
                for x in range(width):
                    error[row, x] = taken[c, other, x] - planar[c, other, x]
            for x in range(width):
                here = error[1, x]
                left = here - error[1, max(x - 1, 0)]
                right = error[1, min(x + 1, width - 1)] - here
                above, below = here - error[0, x], error[2, x] - here
                sums[y, 0] += abs(here)
                sums[y, 1] += abs(right)
                sums[y, 2] += abs(below)
                slope = l1 * np.sign(here) + across * (np.sign(left) - np.sign(right))
                slope += down * (np.sign(above) - np.sign(below))
                if by_ssim.size > 0:
                    slope += by_ssim[c, y, x]
                out[y, x, c] = slope if taken[c, y, x] == predicted[y, x, c] else np.float32(0)


def charge_and_gradient(
    predicted: np.ndarray, photo: np.ndarray, keep: np.ndarray | None, dssim: float, slopes: float, c2: float
) -> tuple[float, np.ndarray]:
    """`losses.photometric` and its gradient by the prediction; c2 is the square of its k2."""
    height, width, channels = photo.shape
    taken = np.empty((channels, height, width), np.float32)
    planar = np.empty_like(taken)
    _take(predicted, photo, np.empty((0, 0), np.bool_) if keep is None else keep, taken, planar, ALL)
    similarity, by_ssim = 1.0, np.empty((0, 0, 0), np.float32)
    if dssim:
        similarity, by_ssim = ssim_and_gradient(taken, planar, c2)
        by_ssim *= -dssim
    counts = np.array([height * width, height * max(width - 1, 1), max(height - 1, 1) * width]) * channels
    weights = (np.array([1 - dssim, slopes, slopes]) / counts).astype(np.float32)
    sums, gradient = np.zeros((height, 3)), np.empty((height, width, channels), np.float32)
    _compare(taken, planar, predicted, by_ssim, *weights, sums, gradient, ALL)
    return float(sums.sum(0) @ weights.astype(np.float64)) + dssim * (1 - similarity), gradient
