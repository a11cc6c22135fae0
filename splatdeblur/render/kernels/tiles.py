"""Which Gaussians touch which tile of the picture, front to back; one depth order and one list for all sub-frames."""

import math

import numpy as np
from numba import njit

from .maths import prefetch
from .shares import ALL, spread
from .splats import CHUNKS, HALF_HEIGHT, HALF_ROW, HALF_WIDTH, INLINE, OPTIONS, REACH_SLACK, SLOPE, X, Y

TILE = 32  # px
AHEAD = 8  # Gaussians; so long before it is needed, what is known of one is asked for
SEGMENTS = 16  # the depth order of a picture is dealt with in so many pieces, each counted for itself


@njit(**INLINE)
def _extent(splat, low, high):
    """How far a footprint reaches to the left and to the right of its mean between the heights `low` and `high`.

    Heights are in px from the mean; at least one of them is one of the footprint's. A bound, near for thin stretches.
    """
    half_height = float(splat[HALF_HEIGHT])
    low, high = max(float(low), -half_height), min(float(high), half_height)
    # A row at height y is centred at slope * y, and shorter than the middle one by sqrt(1 - (y / half height)^2).
    nearest = max(low, -high, 0.0) / half_height
    half_row = splat[HALF_ROW] * math.sqrt(max(1.0 - nearest * nearest, 0.0)) + REACH_SLACK
    a, b = splat[SLOPE] * low, splat[SLOPE] * high
    half_width = float(splat[HALF_WIDTH])
    return max(min(a, b) - half_row, -half_width), min(max(a, b) + half_row, half_width)


@njit(**INLINE)
def _radix_order(keys, passes, order):
    """Stable order of unsigned keys by 11-bit digits, written to `order`."""
    n = keys.shape[0]
    buffer = np.empty(n, np.int32)
    counts = np.empty(2049, np.int64)
    for i in range(n):
        order[i] = i
    source, target = order, buffer
    for p in range(passes):
        shift = np.uint64(11 * p)
        counts[:] = 0
        for i in range(n):
            counts[((np.uint64(keys[i]) >> shift) & np.uint64(2047)) + 1] += 1
        for d in range(2048):
            counts[d + 1] += counts[d]
        for i in range(n):
            digit = (np.uint64(keys[source[i]]) >> shift) & np.uint64(2047)
            target[counts[digit]] = source[i]
            counts[digit] += 1
        source, target = target, source
    if passes % 2 == 1:
        for i in range(n):
            order[i] = source[i]


@njit(**OPTIONS)
def sort_by_depth(depth_bits, passes, offsets):
    """Candidates of each picture front to back, one picture after another.

    depth_bits are the depths' bit patterns, which sort like the depths themselves as none is negative.
    """
    n_pictures = offsets.shape[0] // CHUNKS
    order = np.empty(depth_bits.shape[0], np.int32)
    for picture in range(n_pictures):
        begin, end = offsets[picture * CHUNKS], offsets[(picture + 1) * CHUNKS]
        _radix_order(depth_bits[begin:end], passes, order[begin:end])
        for rank in range(begin, end):
            order[rank] += begin
    return order


@njit(**INLINE)
def _tile_rows(splats, i, tiles_y):
    """First tile row that a footprint touches in any sub-frame, and the one after the last."""
    first, last = tiles_y, -1
    for s in range(splats.shape[0]):
        splat = splats[s, i]
        reach = splat[HALF_HEIGHT]
        if reach < 0:
            continue
        first = min(first, int(max(math.ceil(splat[Y] - reach - 0.5), 0.0)) // TILE)
        last = max(last, int(min(math.floor(splat[Y] + reach - 0.5), tiles_y * TILE - 1.0)) // TILE)
    return first, max(first, last + 1)


@njit(**OPTIONS)
def tile_rows(splats, tiles_y, first_rows, row_starts, share):
    """Of each candidate the first tile row that it touches in any sub-frame, and where its rows begin in `spans`.

    Fills first_rows [D] and row_starts [D + 1].
    """
    n = splats.shape[1]
    if share == ALL:
        spread(0, CHUNKS)
        row_starts[0] = 0
        for i in range(n):
            row_starts[i + 1] += row_starts[i]
        return
    for i in range(share * n // CHUNKS, (share + 1) * n // CHUNKS):
        first_rows[i], end = _tile_rows(splats, i, tiles_y)
        row_starts[i + 1] = end - first_rows[i]


@njit(**OPTIONS)
def tile_spans(splats, tiles_x, first_rows, row_starts, spans, pair_starts, share):
    """The tiles that each candidate touches in any sub-frame.

    Fills spans [rows, 2], the first tile column of a row and the one after the last, and pair_starts [D + 1], where
    the (Gaussian, tile) pairs of each candidate begin.
    """
    n_subframes, n = splats.shape[0], splats.shape[1]
    if share == ALL:
        spread(0, CHUNKS)
        pair_starts[0] = 0
        for i in range(n):
            pair_starts[i + 1] += pair_starts[i]
        return
    for i in range(share * n // CHUNKS, (share + 1) * n // CHUNKS):
        pairs = 0
        for row in range(row_starts[i], row_starts[i + 1]):
            top = (first_rows[i] + row - row_starts[i]) * TILE + 0.5
            first, end = tiles_x, 0
            for s in range(n_subframes):
                splat = splats[s, i]
                x, y, reach = float(splat[X]), float(splat[Y]), float(splat[HALF_HEIGHT])
                low, high = max(top - y, -reach), min(top + TILE - 1 - y, reach)
                if not low <= high:
                    continue
                left, right = _extent(splat, low, high)
                left, right = math.ceil(x + left - 0.5), math.floor(x + right - 0.5)
                if left <= right:
                    first = min(first, int(max(left, 0.0)) // TILE)
                    end = max(end, int(min(right, tiles_x * TILE - 1.0)) // TILE + 1)
            spans[row, 0], spans[row, 1] = first, max(first, end)
            pairs += max(end - first, 0)
        pair_starts[i + 1] = pairs


@njit(**OPTIONS)
def list_tiles(
    order, offsets, row_starts, first_rows, spans, pair_starts, tiles_x, tiles_y,
    cursors, tile_starts, entries, slots, share,
):  # fmt: skip
    """For each tile of each picture, its candidates front to back.

    Fills tile_starts [pictures * tiles + 1], entries [pairs] (candidates), and slots [pairs]: the number of the same
    pair where those of one candidate lie together. cursors [SEGMENTS, pictures * tiles] must come as zeros.
    """
    n_pictures, n_tiles = offsets.shape[0] // CHUNKS, tiles_x * tiles_y
    pieces = n_pictures * SEGMENTS
    if share == ALL:
        # How many pairs each segment of the depth order has in each tile; then, where the next of them goes.
        spread(0, pieces)
        total = 0
        for tile in range(n_pictures * n_tiles):
            tile_starts[tile] = total
            for segment in range(SEGMENTS):
                count = cursors[segment, tile]
                cursors[segment, tile] = total
                total += count
        tile_starts[n_pictures * n_tiles] = total
        spread(pieces, pieces)
        return
    is_filling, picture, segment = share >= pieces, share % pieces // SEGMENTS, share % SEGMENTS
    begin, count = offsets[picture * CHUNKS], offsets[(picture + 1) * CHUNKS] - offsets[picture * CHUNKS]
    end = begin + (segment + 1) * count // SEGMENTS
    for rank in range(begin + segment * count // SEGMENTS, end):
        i = order[rank]
        ahead, far_ahead = order[min(rank + AHEAD, end - 1)], order[min(rank + 2 * AHEAD, end - 1)]
        prefetch(spans, 2 * row_starts[ahead])
        prefetch(row_starts, np.int64(far_ahead))
        prefetch(first_rows, np.int64(far_ahead))
        prefetch(pair_starts, np.int64(far_ahead))
        base = picture * n_tiles + first_rows[i] * tiles_x
        slot = pair_starts[i]
        for row in range(row_starts[i], row_starts[i + 1]):
            for tile in range(base + spans[row, 0], base + spans[row, 1]):
                if is_filling:
                    entries[cursors[segment, tile]], slots[cursors[segment, tile]] = i, slot
                    slot += 1
                cursors[segment, tile] += 1
            base += tiles_x


def tile_lists(
    splats: np.ndarray, order: np.ndarray, offsets: np.ndarray, tiles_x: int, tiles_y: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """tile_starts, entries and slots as in `list_tiles`, and pair_starts as in `tile_spans`."""
    n, n_tiles = splats.shape[1], (len(offsets) // CHUNKS) * tiles_x * tiles_y
    first_rows = np.empty(n, np.int32)
    row_starts, pair_starts, tile_starts = (np.empty(count + 1, np.int64) for count in (n, n, n_tiles))
    tile_rows(splats, tiles_y, first_rows, row_starts, ALL)
    spans = np.empty((row_starts[-1], 2), np.int32)
    tile_spans(splats, tiles_x, first_rows, row_starts, spans, pair_starts, ALL)
    entries, slots = np.empty((2, pair_starts[-1]), np.int32)
    list_tiles(
        order, offsets, row_starts, first_rows, spans, pair_starts, tiles_x, tiles_y,
        np.zeros((SEGMENTS, n_tiles), np.int64), tile_starts, entries, slots, ALL,
    )  # fmt: skip
    return tile_starts, entries, slots, pair_starts
