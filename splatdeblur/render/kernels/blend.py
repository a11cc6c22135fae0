"""Front-to-back blending of a tile's Gaussians, and its gradient.

The loop over Gaussians is outside and a block of 4 x 4 pixels inside, so that LLVM turns the block into vector
instructions. Everything that a tile keeps lives in one small scratch array, block by block: rows of one base address,
which the vectoriser knows not to overlap. A pixel whose blending has stopped keeps its transmittance with a minus
sign; blocks where all have stopped are left out. Sub-frames are blended one after another from the same list, each in
all tiles before the next, so that caches have one sub-frame's Gaussians to hold.

Forward takes Gaussians in batches. For a whole batch it is first settled which blocks each of them covers, so that the
processor, which works ahead, never waits for one Gaussian's pixels to learn where the next one's are.
"""

import math

import numpy as np
from numba import njit

from ..rasterizer import ALPHA_MAX, ALPHA_MIN, TRANSMITTANCE_MIN
from .average import light
from .maths import FASTMATH, exp, lowest_bit, prefetch
from .shares import ALL, spread
from .splats import (
    ABS_X,
    ABS_Y,
    BLUE,
    CHUNKS,
    COLUMNS,
    DEPTH,
    GRADIENTS,
    GREEN,
    HALF_HEIGHT,
    HALF_ROW,
    HALF_WIDTH,
    OPACITY,
    RED,
    SLOPE,
    SUMS,
    TILE,
    XX,
    XY,
    YY,
    X,
    Y,
)
from .splats import INLINE as PLAIN_INLINE
from .splats import OPTIONS as PLAIN_OPTIONS

BLOCK = 4  # px; a block's pixels are neighbours in memory
PIXELS = BLOCK * BLOCK
ACROSS = TILE // BLOCK  # blocks in a tile's row
# Length of a row of scratch: were it a multiple of 4 KiB, processors would take a pixel's entries for one another.
PITCH = TILE * TILE + 3 * PIXELS
BATCH = 32  # Gaussians; blocks that a batch finishes are left out from the next one on
AHEAD = 8  # Gaussians; so long before it is needed, what the backward pass reads is asked for
SHARES = 64  # tiles are dealt out to this many pieces of work, like cards ...
STRIDE = 39  # ... so many places apart; has no divisor in common with them

OPTIONS = {**PLAIN_OPTIONS, "fastmath": FASTMATH}
INLINE = {**PLAIN_INLINE, "fastmath": FASTMATH}


@njit(**INLINE)
def _first_tile(piece):
    """The first of the tiles that a piece of work holds; SHARES later comes the next one.

    A thread does neighbouring pieces. Strides of the golden section spread neighbours evenly, so that the few tiles of
    a small picture, too, are shared out fairly; in plain order the last threads would have none.
    """
    return piece * STRIDE % SHARES


@njit(**INLINE)
def _index(y, x):
    """Where a tile keeps its pixel (y, x)."""
    return (y // BLOCK * ACROSS + x // BLOCK) * PIXELS + y % BLOCK * BLOCK + x % BLOCK


@njit(**INLINE)
def _covered_blocks(x, y, half_width, half_height, half_row, slope):
    """Bit mask of the blocks of a tile that a footprint may touch; (x, y) is its mean seen from the first pixel.

    The bounds are those of `tiles._extent`, for all rows of blocks at once.
    """
    real = type(x)
    zero, one, last_pixel, slack = real(0), real(1), real(TILE - 1), real(1e-2)
    inverse_height = one / half_height
    mask = np.uint64(0)
    for row in range(ACROSS):
        top = real(row * BLOCK) - y
        low, high = max(top, -half_height), min(top + real(BLOCK - 1), half_height)
        nearest = max(max(low, -high), zero) * inverse_height
        reach = half_row * math.sqrt(max(one - nearest * nearest, zero)) + slack
        a, b = slope * low, slope * high
        left = math.ceil(max(x + max(min(a, b) - reach, -half_width), zero))
        right = math.floor(min(x + min(max(a, b) + reach, half_width), last_pixel))
        is_touched = (low <= high) & (left <= right)
        first, last = np.uint64(np.int32(left) // BLOCK), np.uint64(np.int32(right) // BLOCK)
        bits = (np.uint64(2) << last) - (np.uint64(1) << first) if is_touched else np.uint64(0)
        mask |= bits << np.uint64(row * ACROSS)
    return mask


@njit(**INLINE)
def _prefetch(splats, subframe, g):
    """Asks for a Gaussian of which all is about to be read."""
    prefetch(splats, (subframe * splats.shape[1] + g) * COLUMNS)


@njit(**INLINE)
def _clear(s, rows, columns):
    """Sets a tile's scratch to 0, and the transmittance of its pixels inside the picture to 1."""
    s[:] = 0
    for y in range(rows):
        for x in range(columns):
            s[0, _index(y, x)] = 1


@njit(**INLINE)
def _living_blocks(s):
    """Bit mask of the blocks of a tile where blending has not stopped everywhere."""
    living = np.uint64(0)
    for block in range(ACROSS * ACROSS):
        is_alive = False
        for j in range(PIXELS):
            is_alive |= s[0, block * PIXELS + j] > 0
        living |= np.uint64(is_alive) << np.uint64(block)
    return living


@njit(**OPTIONS)
def blend(splats, entries, tile_starts, tiles_x, tiles_y, background, rgb, alpha, depth, blocks, share):
    """Fills rgb [C, H, 3 W] over the background, alpha [C, H, W] and the expected depth [C, H, W].

    Also fills blocks [S, pairs]: a bit mask of the blocks of its tile where each pair has left a trace.
    """
    if share == ALL:
        for subframe in range(splats.shape[0]):
            spread(subframe * SHARES, SHARES)
        return
    subframe, piece = share // SHARES, share % SHARES
    height, width, n_subframes = alpha.shape[1], alpha.shape[2], splats.shape[0]
    real = splats.dtype.type
    half, zero, one = real(0.5), real(0), real(1)
    alpha_min, alpha_max, stop = real(ALPHA_MIN), real(ALPHA_MAX), real(TRANSMITTANCE_MIN)
    s = np.empty((5, PITCH), splats.dtype)  # transmittance, red, green, blue, depth
    for tile in range(_first_tile(piece), tile_starts.shape[0] - 1, SHARES):
        c = tile // (tiles_x * tiles_y) * n_subframes + subframe
        top, left = (tile // tiles_x) % tiles_y * TILE, tile % tiles_x * TILE
        rows, columns = min(TILE, height - top), min(TILE, width - left)
        _clear(s, rows, columns)
        last = tile_starts[tile + 1] - 1
        for begin in range(tile_starts[tile], tile_starts[tile + 1], BATCH):
            end = min(begin + BATCH, tile_starts[tile + 1])
            living = _living_blocks(s)
            if living == 0:
                blocks[subframe, begin : tile_starts[tile + 1]] = 0
                break
            for entry in range(begin, end):
                g = entries[entry, 0]
                _prefetch(splats, subframe, entries[min(entry + BATCH, last), 0])
                blocks[subframe, entry] = living & _covered_blocks(
                    splats[subframe, g, X] - half - real(left), splats[subframe, g, Y] - half - real(top),
                    splats[subframe, g, HALF_WIDTH], splats[subframe, g, HALF_HEIGHT],
                    splats[subframe, g, HALF_ROW], splats[subframe, g, SLOPE],
                )  # fmt: skip
            for entry in range(begin, end):
                todo, touched, g = blocks[subframe, entry], np.uint64(0), entries[entry, 0]
                x0, y0 = splats[subframe, g, X] - half - real(left), splats[subframe, g, Y] - half - real(top)
                a, b = half * splats[subframe, g, XX], splats[subframe, g, XY]
                k, opacity = half * splats[subframe, g, YY], splats[subframe, g, OPACITY]
                red, green = splats[subframe, g, RED], splats[subframe, g, GREEN]
                blue, z = splats[subframe, g, BLUE], splats[subframe, g, DEPTH]
                while todo != 0:
                    block = np.int64(lowest_bit(todo))
                    todo &= todo - np.uint64(1)
                    base = np.uint64(block * PIXELS)
                    left_dx, top_dy = real(block % ACROSS * BLOCK) - x0, real(block // ACROSS * BLOCK) - y0
                    is_touched = False
                    for j in range(PIXELS):
                        i = base + np.uint64(j)
                        dx, dy = left_dx + real(j % BLOCK), top_dy + real(j // BLOCK)
                        sigma = dx * (a * dx + b * dy) + k * dy * dy
                        t = s[0, i]
                        cover = min(opacity * exp(-sigma), alpha_max)
                        cover = cover if (cover >= alpha_min) & (sigma >= zero) else zero
                        after = t * (one - cover)
                        goes_on = after > stop
                        weight = t * cover if goes_on else zero
                        left_over = after if goes_on else -abs(t)
                        s[0, i] = left_over
                        is_touched |= left_over != t
                        s[1, i] += weight * red
                        s[2, i] += weight * green
                        s[3, i] += weight * blue
                        s[4, i] += weight * z
                    touched |= np.uint64(is_touched) << np.uint64(block)
                blocks[subframe, entry] = touched
        for y in range(rows):
            for x in range(columns):
                i = _index(y, x)
                t = abs(s[0, i])
                for channel in range(3):
                    rgb[c, top + y, 3 * (left + x) + channel] = s[1 + channel, i] + t * background[channel]
                alpha[c, top + y, left + x] = one - t
                depth[c, top + y, left + x] = s[4, i] / (one - t) if t < one else zero


@njit(**INLINE)
def _pull_light(rgb, weight, is_linear, v_rgb, v_subframes, c, picture, y, left, columns, v_row):
    """Writes the gradient of a tile's row of camera c, from that of its picture, to `v_row`."""
    first = np.uint64(3 * left)  # without a sign: numba would look for negative indices, one by one
    if is_linear:
        for i in range(3 * columns):
            k = first + np.uint64(i)
            v_row[i] = weight * v_rgb[picture, y, k] * light(rgb[c, y, k])[1]
    else:
        for i in range(3 * columns):
            v_row[i] = weight * v_rgb[picture, y, first + np.uint64(i)]
    if v_subframes.shape[0] > 0:
        for i in range(3 * columns):
            v_row[i] += v_subframes[c, y, first + np.uint64(i)]


@njit(**INLINE)
def _pull_block(s, lanes, base, left_dx, top_dy, splat, keeps_magnitudes):
    """Draws a Gaussian over a block again, and adds what its pixels say to the sums of its gradients.

    A constant for the last argument leaves no branch in the loop.
    """
    a, b, k, opacity, red, green, blue, z = splat
    real = s.dtype.type
    zero, one, two = real(0), real(1), real(2)
    alpha_min, alpha_max, stop = real(ALPHA_MIN), real(ALPHA_MAX), real(TRANSMITTANCE_MIN)
    for j in range(PIXELS):
        i = base + np.uint64(j)
        dx, dy = left_dx + real(j % BLOCK), top_dy + real(j // BLOCK)
        sigma = dx * (a * dx + b * dy) + k * dy * dy
        t = s[0, i]
        free = opacity * exp(-sigma)
        cover = min(free, alpha_max)
        cover = cover if (cover >= alpha_min) & (sigma >= zero) else zero
        after = t * (one - cover)
        goes_on = after > stop
        weight = t * cover if goes_on else zero
        s[0, i] = after if goes_on else -abs(t)
        v_weight = red * s[2, i] + green * s[3, i] + blue * s[4, i] + z * s[5, i] + s[6, i]
        behind = s[1, i] - weight * v_weight
        s[1, i] = behind
        v_cover = t * v_weight - behind / (one - cover)
        v_sigma = -v_cover * cover if goes_on & (free <= alpha_max) else zero
        lanes[0, j] += v_sigma
        lanes[1, j] += v_sigma * dx
        lanes[2, j] += v_sigma * dy
        lanes[3, j] += v_sigma * dx * dx
        lanes[4, j] += v_sigma * dx * dy
        lanes[5, j] += v_sigma * dy * dy
        lanes[6, j] += weight * s[2, i]
        lanes[7, j] += weight * s[3, i]
        lanes[8, j] += weight * s[4, i]
        lanes[9, j] += weight * s[5, i]
        if keeps_magnitudes:
            lanes[10, j] += abs(v_sigma * (two * a * dx + b * dy))
            lanes[11, j] += abs(v_sigma * (b * dx + two * k * dy))


@njit(**INLINE)
def _gather(work, subframe, pair_starts, sums, candidates, offsets, v_splats, v_means2d, abs_means2d):
    """Adds up what was summed for each pair of one part's Gaussians."""
    c = work // CHUNKS * v_splats.shape[0] + subframe
    for i in range(offsets[work], offsets[work + 1]):
        for column in range(COLUMNS):
            v_splats[subframe, i, column] = 0
        for pair in range(pair_starts[i], pair_starts[i + 1]):
            for column in range(GRADIENTS):
                v_splats[subframe, i, column] += sums[pair, column]
            if abs_means2d.shape[0] > 0:
                abs_means2d[c, candidates[i], 0] += sums[pair, ABS_X]
                abs_means2d[c, candidates[i], 1] += sums[pair, ABS_Y]
        v_means2d[c, candidates[i], 0] = v_splats[subframe, i, X]
        v_means2d[c, candidates[i], 1] = v_splats[subframe, i, Y]


@njit(**OPTIONS)
def blend_backward(
    splats, entries, tile_starts, pair_starts, tiles_x, tiles_y, rgb, alpha, depth, blocks,
    weights, is_linear, v_rgb, v_alpha, v_depth, v_subframes, candidates, offsets, sums, v_splats, v_means2d,
    abs_means2d, share,
):  # fmt: skip
    """Fills v_splats [S, D, COLUMNS], and v_means2d [C, N, 2] where a Gaussian is drawn; adds to abs_means2d [C, N, 2]
    the magnitudes of what each pixel adds to that, unless it is empty.

    v_rgb [P, H, 3 W], v_alpha and v_depth [P, H, W] are gradients of each picture's mean of sub-frames, with weights
    [C, H], in linear light or not; v_subframes [C, H, 3 W] those of the sub-frames besides. The last three may be
    empty, for none. sums [pairs, SUMS] is scratch: what each (Gaussian, tile) pair adds to the gradient of its
    Gaussian, in one sub-frame after another.

    Goes front to back again. What lies behind a Gaussian at a pixel is the finished pixel less what lies in front,
    so nothing of the forward pass is kept but the picture, and which blocks to visit.
    """
    pieces = SHARES + offsets.shape[0] - 1
    if share == ALL:
        for subframe in range(splats.shape[0]):
            spread(subframe * pieces, SHARES)
            spread(subframe * pieces + SHARES, pieces - SHARES)
        return
    subframe, piece = share // pieces, share % pieces
    if piece >= SHARES:
        _gather(piece - SHARES, subframe, pair_starts, sums, candidates, offsets, v_splats, v_means2d, abs_means2d)
        return
    height, width, n_subframes = alpha.shape[1], alpha.shape[2], splats.shape[0]
    real = splats.dtype.type
    half, zero, two = real(0.5), real(0), real(2)
    keeps_magnitudes = abs_means2d.shape[0] > 0
    # transmittance; light still to come (times its gradient); gradients of red, green, blue, depth, alpha;
    s = np.empty((7, PITCH), splats.dtype)
    # for each pixel of a block, the sums over a Gaussian's blocks that make its ten gradients and two magnitudes
    lanes = np.zeros((SUMS, PIXELS), splats.dtype)
    v_row = np.empty(3 * TILE, splats.dtype)
    for tile in range(_first_tile(piece), tile_starts.shape[0] - 1, SHARES):
        picture = tile // (tiles_x * tiles_y)
        c = picture * n_subframes + subframe
        top, left = (tile // tiles_x) % tiles_y * TILE, tile % tiles_x * TILE
        rows, columns = min(TILE, height - top), min(TILE, width - left)
        _clear(s, rows, columns)
        for y in range(rows):
            py, weight = top + y, weights[c, top + y]
            _pull_light(rgb, weight, is_linear, v_rgb, v_subframes, c, picture, py, left, columns, v_row)
            for x in range(columns):
                i, px = _index(y, x), left + x
                for channel in range(3):
                    s[2 + channel, i] = v_row[3 * x + channel]
                    s[1, i] += rgb[c, py, 3 * px + channel] * v_row[3 * x + channel]
                if v_alpha.shape[0] > 0:
                    s[6, i] = weight * v_alpha[picture, py, px]
                    s[1, i] += alpha[c, py, px] * s[6, i]
                if v_depth.shape[0] > 0 and alpha[c, py, px] > 0:
                    s[5, i] = weight * v_depth[picture, py, px] / alpha[c, py, px]
                    s[6, i] -= depth[c, py, px] * s[5, i]
        last = tile_starts[tile + 1] - 1
        for entry in range(tile_starts[tile], tile_starts[tile + 1]):
            ahead = min(entry + AHEAD, last)
            _prefetch(splats, subframe, entries[ahead, 0])
            prefetch(sums, np.int64(entries[ahead, 1]) * SUMS)
            todo, g, slot = blocks[subframe, entry], entries[entry, 0], entries[entry, 1]
            if todo == 0:
                for column in range(SUMS):
                    sums[slot, column] = zero
                continue
            x0, y0 = splats[subframe, g, X] - half - real(left), splats[subframe, g, Y] - half - real(top)
            a, b = half * splats[subframe, g, XX], splats[subframe, g, XY]
            k, opacity = half * splats[subframe, g, YY], splats[subframe, g, OPACITY]
            red, green = splats[subframe, g, RED], splats[subframe, g, GREEN]
            blue, z = splats[subframe, g, BLUE], splats[subframe, g, DEPTH]
            while todo != 0:
                block = np.int64(lowest_bit(todo))
                todo &= todo - np.uint64(1)
                base = np.uint64(block * PIXELS)
                left_dx, top_dy = real(block % ACROSS * BLOCK) - x0, real(block // ACROSS * BLOCK) - y0
                splat = a, b, k, opacity, red, green, blue, z
                if keeps_magnitudes:
                    _pull_block(s, lanes, base, left_dx, top_dy, splat, True)
                else:
                    _pull_block(s, lanes, base, left_dx, top_dy, splat, False)
            m, mx, my, mxx, mxy, myy = zero, zero, zero, zero, zero, zero
            v_red, v_green, v_blue, v_z, abs_x, abs_y = zero, zero, zero, zero, zero, zero
            for j in range(PIXELS):
                m += lanes[0, j]
                mx += lanes[1, j]
                my += lanes[2, j]
                mxx += lanes[3, j]
                mxy += lanes[4, j]
                myy += lanes[5, j]
                v_red += lanes[6, j]
                v_green += lanes[7, j]
                v_blue += lanes[8, j]
                v_z += lanes[9, j]
                abs_x += lanes[10, j]
                abs_y += lanes[11, j]
                for column in range(SUMS):
                    lanes[column, j] = zero
            sums[slot, X], sums[slot, Y] = -(two * a * mx + b * my), -(b * mx + two * k * my)
            sums[slot, XX], sums[slot, XY], sums[slot, YY] = half * mxx, mxy, half * myy
            sums[slot, OPACITY] = -m / opacity
            sums[slot, RED], sums[slot, GREEN] = v_red, v_green
            sums[slot, BLUE], sums[slot, DEPTH] = v_blue, v_z
            sums[slot, ABS_X], sums[slot, ABS_Y] = abs_x, abs_y
