"""Which Gaussians touch which tile of the picture, front to back."""

import math

import numpy as np
from numba import njit, prange

from ..rasterizer import ALPHA_MIN
from .projection import INLINE, OPTIONS

TILE = 16
BANDS = 4  # the tile rows of a picture are shared between this many independent pieces of work

# Columns of the packed Gaussians that the blending loops read, in depth order.
X, Y, XX, XY, YY, OPACITY, REACH, HALF_HEIGHT, RED, GREEN, BLUE, DEPTH = range(12)
PACKED = 12
REACH_SLACK = 1e-3  # px; footprints are a hair larger than the ellipse, so that rounding never cuts a pixel


@njit(**INLINE)
def _radix_order(keys, order, buffer, passes):
    """Stable order of unsigned keys by 11-bit digits, written to `order`."""
    n = keys.shape[0]
    counts = np.empty(2049, np.int64)
    for i in range(n):
        order[i] = i
    source, target = order, buffer
    for p in range(passes):
        shift = np.uint64(11 * p)
        counts[:] = 0
        for i in range(n):
            counts[((keys[i] >> shift) & np.uint64(2047)) + 1] += 1
        for d in range(2048):
            counts[d + 1] += counts[d]
        for i in range(n):
            digit = (keys[source[i]] >> shift) & np.uint64(2047)
            target[counts[digit]] = source[i]
            counts[digit] += 1
        source, target = target, source
    if passes % 2 == 1:
        for i in range(n):
            order[i] = source[i]


@njit(**OPTIONS)
def sort_and_pack(means2d, conics, screen_opacities, colors, depths, depth_bits, passes, radii, drawn, packed, counts):
    """For each camera, the drawn Gaussians front to back.

    Fills drawn [C, N] with their indices, packed [C, N, PACKED] with what blending reads, counts [C].
    depth_bits are the depths' bit patterns, which sort like the (positive) depths themselves.
    """
    n_cameras, n = radii.shape[0], radii.shape[1]
    for c in prange(n_cameras):
        seen = np.empty(n, np.int32)
        count = 0
        for g in range(n):
            if radii[c, g, 0] > 0:
                seen[count] = g
                count += 1
        keys = np.empty(count, np.uint64)
        for i in range(count):
            keys[i] = np.uint64(depth_bits[c, seen[i]])
        order, buffer = np.empty(count, np.int32), np.empty(count, np.int32)
        _radix_order(keys, order, buffer, passes)
        counts[c] = count
        for i in range(count):
            g = seen[order[i]]
            drawn[c, i] = g
            row = packed[c, i]
            row[X], row[Y] = means2d[c, g, 0], means2d[c, g, 1]
            row[XX], row[XY], row[YY] = conics[c, g, 0], conics[c, g, 1], conics[c, g, 2]
            row[OPACITY] = screen_opacities[c, g]
            # Twice the exponent at which the Gaussian falls under ALPHA_MIN: its footprint is d^T Q d <= reach.
            row[REACH] = 2 * math.log(screen_opacities[c, g] / ALPHA_MIN)
            # How far it reaches up and down, in px.
            det = float(row[XX]) * row[YY] - float(row[XY]) * row[XY]
            row[HALF_HEIGHT] = math.sqrt(max(row[REACH], 0.0) * row[XX] / det) + REACH_SLACK
            row[RED], row[GREEN], row[BLUE] = colors[c, g, 0], colors[c, g, 1], colors[c, g, 2]
            row[DEPTH] = depths[c, g]


@njit(**INLINE)
def _tile_span(row, low, high, tiles_x):
    """First and last tile column that the footprint touches between heights `low` and `high` (px from its mean)."""
    a, b, c, k = float(row[XX]), float(row[XY]), float(row[YY]), max(float(row[REACH]), 0.0)
    reach_x = math.sqrt(k * c / (a * c - b * b))
    peak = -b * reach_x / c  # height of the rightmost point; the leftmost mirrors it
    right_y = min(max(peak, low), high)
    left_y = min(max(-peak, low), high)
    right = (-b * right_y + math.sqrt(max(b * b * right_y * right_y - a * (c * right_y * right_y - k), 0.0))) / a
    left = (-b * left_y - math.sqrt(max(b * b * left_y * left_y - a * (c * left_y * left_y - k), 0.0))) / a
    first = math.floor((row[X] + left - REACH_SLACK - 0.5) / TILE)
    last = math.floor((row[X] + right + REACH_SLACK + 0.5) / TILE)
    return int(max(first, 0.0)), int(min(last, tiles_x - 1.0))


@njit(**OPTIONS)
def visit_tiles(packed, counts, tiles_x, tiles_y, cursor, entries):
    """Goes through all (Gaussian, tile) pairs, front to back within each tile.

    cursor [C * tiles] is advanced by one for each pair of a tile; if `entries` is not empty, the Gaussian's rank in
    its camera's depth order is written at entries[cursor] first. Called twice: to count, and to fill.
    """
    n_cameras = packed.shape[0]
    is_filling = entries.shape[0] > 0
    for work in prange(n_cameras * BANDS):
        c, band = work // BANDS, work % BANDS
        first_row, last_row = band * tiles_y // BANDS, (band + 1) * tiles_y // BANDS
        for rank in range(counts[c]):
            row = packed[c, rank]
            y, reach = float(row[Y]), float(row[HALF_HEIGHT])
            top = max(first_row, int(max(math.floor((y - reach - 0.5) / TILE), 0.0)))
            bottom = min(last_row - 1, int(min(math.floor((y + reach + 0.5) / TILE), tiles_y - 1.0)))
            for tile_y in range(top, bottom + 1):
                low = max(tile_y * TILE + 0.5 - y, -reach)
                high = min(tile_y * TILE + TILE - 0.5 - y, reach)
                if low > high:
                    continue
                first, last = _tile_span(row, low, high, tiles_x)
                base = (c * tiles_y + tile_y) * tiles_x
                for tile in range(base + first, base + last + 1):
                    if is_filling:
                        entries[cursor[tile]] = rank
                    cursor[tile] += 1
