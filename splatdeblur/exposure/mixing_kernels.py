"""The loops of `mixing` on a CPU: planar pictures [channel, height, width], weights [tap, rows, columns] on a grid.

For each row of pixels `row_low` and `row_share` say between which two rows of the grid it lies, and how far from the
first; the same for columns.
"""

import numpy as np
from numba import njit, prange

OPTIONS = {"parallel": True, "cache": True, "nogil": True, "fastmath": {"contract", "nsz", "reassoc"}}


@njit(inline="always")
def _row_of_weights(weights, tap, low, share, column_low, column_share, coarse, out):
    """Writes one tap's weights for a row of pixels to `out`; `coarse` is room for a row of the grid."""
    last = weights.shape[1] - 1
    above, below = weights[tap, low], weights[tap, min(low + 1, last)]
    for i in range(coarse.shape[0] - 1):
        coarse[i] = above[i] + share * (below[i] - above[i])
    coarse[-1] = coarse[-2]
    for x in range(out.shape[0]):
        i = column_low[x]
        out[x] = coarse[i] + column_share[x] * (coarse[i + 1] - coarse[i])


@njit(**OPTIONS)
def mix(padded, weights, size, row_low, row_share, column_low, column_share, out):
    """out[c, y, x] = sum over taps of weight * padded[c, y + dy, x + dx]."""
    channels, height, width = out.shape
    for y in prange(height):
        coarse = np.empty(weights.shape[2] + 1, out.dtype)
        row = np.empty(width, out.dtype)
        out[:, y] = 0
        for tap in range(size * size):
            dy, dx = tap // size, tap % size
            _row_of_weights(weights, tap, row_low[y], row_share[y], column_low, column_share, coarse, row)
            for c in range(channels):
                source, target = padded[c, y + dy], out[c, y]
                for x in range(width):
                    target[x] += row[x] * source[x + dx]


@njit(**OPTIONS)
def mix_back_picture(v_out, weights, size, row_low, row_share, column_low, column_share, v_padded):
    """The gradient by the picture: rows of it are filled one by one, from every pixel that read them."""
    channels, height, width = v_out.shape
    for source in prange(v_padded.shape[1]):
        coarse = np.empty(weights.shape[2] + 1, v_out.dtype)
        row = np.empty(width, v_out.dtype)
        v_padded[:, source] = 0
        for dy in range(max(0, source - height + 1), min(size, source + 1)):
            y = source - dy
            for dx in range(size):
                tap = dy * size + dx
                _row_of_weights(weights, tap, row_low[y], row_share[y], column_low, column_share, coarse, row)
                for c in range(channels):
                    v, target = v_out[c, y], v_padded[c, source]
                    for x in range(width):
                        target[x + dx] += row[x] * v[x]


@njit(**OPTIONS)
def mix_back_weights(v_out, padded, size, row_low, row_share, column_low, column_share, v_weights):
    """The gradient by the weights on their grid, one tap after the other."""
    channels, height, width = v_out.shape
    last = v_weights.shape[1] - 1
    for tap in prange(size * size):
        dy, dx = tap // size, tap % size
        coarse = np.empty(v_weights.shape[2] + 1, v_out.dtype)
        row = np.empty(width, v_out.dtype)
        v_weights[tap] = 0
        for y in range(height):
            row[:] = 0
            for c in range(channels):
                v, source = v_out[c, y], padded[c, y + dy]
                for x in range(width):
                    row[x] += v[x] * source[x + dx]
            coarse[:] = 0
            for x in range(width):
                i = column_low[x]
                far = column_share[x] * row[x]
                coarse[i] += row[x] - far
                coarse[i + 1] += far
            coarse[-2] += coarse[-1]
            low, share = row_low[y], row_share[y]
            above, below = v_weights[tap, low], v_weights[tap, min(low + 1, last)]
            for i in range(coarse.shape[0] - 1):
                above[i] += (1 - share) * coarse[i]
                below[i] += share * coarse[i]
