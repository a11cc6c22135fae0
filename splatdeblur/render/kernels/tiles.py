"""Which Gaussians touch which tile of the picture, front to back; one depth order and one list for all sub-frames."""

import math

import numpy as np
from numba import njit

from .maths import prefetch
from .shares import ALL, spread
from .splats import (
    CHUNKS,
    HALF_HEIGHT,
    HALF_ROW,
    HALF_WIDTH,
    INLINE,
    OPTIONS,
    REACH_SLACK,
    SLOPE,
    TILE,
    X,
    Y,
)

AHEAD = 8  # Gaussians; so long before it is needed, what is known of one is asked for
SEGMENTS = 16  # the depth order of a picture is dealt with in so many pieces, each counted for itself
PIECES = 8  # of a picture's candidates in the order of the scene, when it is found out what each of them touches


@njit(**INLINE)
def _ranks(begin, end, segment):
    """Where a segment of a picture's depth order, which goes from `begin` to `end`, begins and ends."""
    return begin + segment * (end - begin) // SEGMENTS, begin + (segment + 1) * (end - begin) // SEGMENTS


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
def sort_by_depth(depth_bits, passes, offsets, segments):
    """Candidates of each picture front to back, one picture after another.

    depth_bits are the depths' bit patterns, which sort like the depths themselves as none is negative. Fills segments
    [D] with the piece of the order in which each candidate is.
    """
    n_pictures = offsets.shape[0] // CHUNKS
    order = np.empty(depth_bits.shape[0], np.int32)
    for picture in range(n_pictures):
        begin, end = offsets[picture * CHUNKS], offsets[(picture + 1) * CHUNKS]
        _radix_order(depth_bits[begin:end], passes, order[begin:end])
        for segment in range(SEGMENTS):
            first, last = _ranks(begin, end, segment)
            for rank in range(first, last):
                order[rank] += begin
                segments[order[rank]] = segment
    return order


@njit(**OPTIONS)
def start_rows(rows):
    """Where the rows of tiles of each candidate begin, [D + 1], when those of all lie one after another."""
    starts = np.empty(rows.shape[0] + 1, np.int32)
    starts[0] = 0
    for i in range(rows.shape[0]):
        starts[i + 1] = starts[i] + max(rows[i, 1] - rows[i, 0], 0)
    return starts


@njit(**INLINE)
def _extent(splats, s, i, low, high):
    """How far a footprint reaches to the left and to the right of its mean between the heights `low` and `high`.

    Heights are in px from the mean; at least one of them is one of the footprint's. A bound, near for thin stretches.
    """
    half_height, half_width = float(splats[s, i, HALF_HEIGHT]), float(splats[s, i, HALF_WIDTH])
    low, high = max(float(low), -half_height), min(float(high), half_height)
    # A row at height y is centred at slope * y, and shorter than the middle one by sqrt(1 - (y / half height)^2).
    nearest = max(low, -high, 0.0) / half_height
    half_row = splats[s, i, HALF_ROW] * math.sqrt(max(1.0 - nearest * nearest, 0.0)) + REACH_SLACK
    a, b = splats[s, i, SLOPE] * low, splats[s, i, SLOPE] * high
    return max(min(a, b) - half_row, -half_width), min(max(a, b) + half_row, half_width)


@njit(**INLINE)
def _span(splats, i, tile_row, tiles_x):
    """First tile of a row that a footprint touches in any sub-frame, and the one after the last."""
    top = tile_row * TILE + 0.5
    first, end = tiles_x, 0
    for s in range(splats.shape[0]):
        x, y, reach = float(splats[s, i, X]), float(splats[s, i, Y]), float(splats[s, i, HALF_HEIGHT])
        low, high = max(top - y, -reach), min(top + TILE - 1 - y, reach)
        if not low <= high:
            continue
        left, right = _extent(splats, s, i, low, high)
        left, right = math.ceil(x + left - 0.5), math.floor(x + right - 0.5)
        if left <= right:
            first = min(first, int(max(left, 0.0)) // TILE)
            end = max(end, int(min(right, tiles_x * TILE - 1.0)) // TILE + 1)
    return first, end


@njit(**OPTIONS)
def tile_spans(
    splats, rows, segments, offsets, tiles_x, tiles_y,
    row_starts, spans, pair_starts, counts, cursors, tile_starts, share,
):  # fmt: skip
    """The tiles that each candidate touches in any sub-frame, row by row, and how many touch each tile.

    Fills spans [rows, 2], from row_starts [D + 1] on: the first tile and the one after the last, both counted over all
    pictures with tiles_x + 1 to a row; pair_starts [D + 1], where the (Gaussian, tile) pairs of each candidate begin;
    tile_starts [pictures * tiles + 1], where the list of each tile begins, and cursors [SEGMENTS, pictures * tiles_y *
    (tiles_x + 1)], where in it each segment of the depth order does. counts [PIECES, *cursors.shape] must come as
    zeros.
    """
    n_pictures, pitch = offsets.shape[0] // CHUNKS, tiles_x + 1
    if share == ALL:
        spread(0, n_pictures * PIECES)
        pair_starts[0] = 0
        for i in range(pair_starts.shape[0] - 1):
            pair_starts[i + 1] += pair_starts[i]
        _sum_counts(counts, tiles_x, cursors, tile_starts)
        return
    picture, piece = share // PIECES, share % PIECES
    first_part = picture * CHUNKS + piece * CHUNKS // PIECES
    for i in range(offsets[first_part], offsets[first_part + CHUNKS // PIECES]):
        n, pairs = row_starts[i], 0
        for row in range(rows[i, 0], rows[i, 1]):
            first, end = _span(splats, i, row, tiles_x)
            end = max(first, end)
            base = (picture * tiles_y + row) * pitch
            spans[n, 0], spans[n, 1] = base + first, base + end
            n += 1
            pairs += end - first
            # Differences from one tile to the next.
            counts[piece, segments[i], base + first] += 1
            counts[piece, segments[i], base + end] -= 1
        pair_starts[i + 1] = pairs


@njit(**INLINE)
def _sum_counts(counts, tiles_x, cursors, tile_starts):
    """From how many of each piece touch one tile more than the one before it to where lists begin."""
    for segment in range(SEGMENTS):
        for tile in range(cursors.shape[1]):
            cursors[segment, tile] = counts[0, segment, tile]
        for piece in range(1, PIECES):
            for tile in range(cursors.shape[1]):
                cursors[segment, tile] += counts[piece, segment, tile]
    for segment in range(SEGMENTS):
        for tile in range(1, cursors.shape[1]):
            cursors[segment, tile] += cursors[segment, tile - 1]  # 0 from the end of one row to the next
    total, pitch = 0, tiles_x + 1
    for row in range(cursors.shape[1] // pitch):
        for x in range(tiles_x):
            tile_starts[row * tiles_x + x] = total
            for segment in range(SEGMENTS):
                count = cursors[segment, row * pitch + x]
                cursors[segment, row * pitch + x] = total
                total += count
    tile_starts[tile_starts.shape[0] - 1] = total


@njit(**OPTIONS)
def list_tiles(order, offsets, row_starts, spans, pair_starts, cursors, entries, share):
    """For each tile of each picture, its candidates front to back.

    Fills entries [pairs, 2]: the candidate, and the number of the pair where those of one candidate lie together.
    """
    if share == ALL:
        spread(0, offsets.shape[0] // CHUNKS * SEGMENTS)
        return
    picture, segment = share // SEGMENTS, share % SEGMENTS
    begin, end = _ranks(offsets[picture * CHUNKS], offsets[(picture + 1) * CHUNKS], segment)
    for rank in range(begin, end):
        i = order[rank]
        ahead, far_ahead = order[min(rank + AHEAD, end - 1)], order[min(rank + 2 * AHEAD, end - 1)]
        prefetch(spans, 2 * np.int64(row_starts[ahead]))
        prefetch(row_starts, np.int64(far_ahead))
        prefetch(pair_starts, np.int64(far_ahead))
        pair = pair_starts[i]
        for n in range(row_starts[i], row_starts[i + 1]):
            for tile in range(spans[n, 0], spans[n, 1]):
                place = cursors[segment, tile]
                entries[place, 0], entries[place, 1] = i, pair
                cursors[segment, tile] = place + 1
                pair += 1


def tile_lists(
    splats: np.ndarray, rows: np.ndarray, order: np.ndarray, segments: np.ndarray, offsets: np.ndarray,
    tiles_x: int, tiles_y: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """tile_starts, entries as in `list_tiles`, and pair_starts as in `tile_spans`.

    rows [D, 2] are the first tile row that a candidate touches in any sub-frame, and the one after the last; order and
    segments are those of `sort_by_depth`.
    """
    n, n_pictures = len(order), len(offsets) // CHUNKS
    row_starts, pair_starts = start_rows(rows), np.empty(n + 1, np.int32)
    spans = np.empty((row_starts[-1], 2), np.int32)
    cursors = np.empty((SEGMENTS, n_pictures * tiles_y * (tiles_x + 1)), np.int32)
    counts = np.zeros((PIECES, *cursors.shape), np.int32)
    tile_starts = np.empty(n_pictures * tiles_x * tiles_y + 1, np.int64)
    tile_spans(
        splats, rows, segments, offsets, tiles_x, tiles_y,
        row_starts, spans, pair_starts, counts, cursors, tile_starts, ALL,
    )  # fmt: skip
    entries = np.empty((tile_starts[-1], 2), np.int32)
    list_tiles(order, offsets, row_starts, spans, pair_starts, cursors, entries, ALL)
    return tile_starts, entries, pair_starts
