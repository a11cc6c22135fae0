"""Front-to-back blending of a tile's Gaussians, and its gradient.

The loop over Gaussians is outside and a row of TILE pixels inside, so that LLVM turns the row into vector
instructions. Everything that a tile keeps lives in one small scratch array: rows of one base address, which the
vectoriser knows not to overlap. A pixel whose blending has stopped keeps its transmittance with a minus sign.
"""

import math

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic, overload

from ..rasterizer import ALPHA_MAX, ALPHA_MIN, TRANSMITTANCE_MIN
from .tiles import BLUE, DEPTH, GREEN, HALF_HEIGHT, OPACITY, RED, TILE, XX, XY, YY, X, Y

GRADIENTS = 10  # of x, y, xx, xy, yy, opacity, red, green, blue, depth
SHARES = 64  # tiles are dealt out to this many pieces of work, like cards

# No assumption that NaN and infinity never occur: a bad parameter must not become undefined behaviour.
MATHS = {"contract", "arcp", "nsz", "reassoc"}
OPTIONS = {"parallel": True, "cache": True, "nogil": True, "error_model": "numpy", "fastmath": MATHS}
INLINE = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": MATHS}


@intrinsic
def _float32_of_bits(typing_context, bits):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


def _exp(x):
    raise NotImplementedError("only inside compiled code")


@overload(_exp, inline="always")
def _exp_overload(x):
    """exp(x) for x <= 0: the C library's blocks vectorisation, a polynomial (float32) does not."""
    if x != types.float32:
        return lambda x: math.exp(x)

    log2e, half = np.float32(1.4426950408889634), np.float32(0.5)
    c1, c2, c3 = np.float32(0.6931471805599453), np.float32(0.2402265069591007), np.float32(0.05550410866482158)
    c4, c5, c6 = np.float32(0.009618129107628477), np.float32(0.0013333558146428443), np.float32(1.540353039338161e-4)
    one, lowest = np.float32(1), np.float32(-126)

    def polynomial(x):
        t = max(x * log2e, lowest)
        whole = np.int32(t - half)
        f = t - np.float32(whole)
        p = one + f * (c1 + f * (c2 + f * (c3 + f * (c4 + f * (c5 + f * c6)))))
        return p * _float32_of_bits((whole + np.int32(127)) << np.int32(23))

    return polynomial


@njit(**INLINE)
def _rows(row, top):
    """First and last row of a tile, counted from its top edge, that a footprint touches."""
    reach = row[HALF_HEIGHT]
    first = math.ceil(row[Y] - reach - 0.5 - top)
    last = math.floor(row[Y] + reach - 0.5 - top)
    return int(max(first, 0.0)), int(min(last, TILE - 1.0))


@njit(**OPTIONS)
def blend(packed, entries, offsets, tiles_x, tiles_y, rgb, alpha, depth):
    """Fills rgb [C, H, W, 3] (no background), alpha [C, H, W] and depth [C, H, W] (sum of weight times z)."""
    height, width = alpha.shape[1], alpha.shape[2]
    real = packed.dtype.type
    half, zero, one = real(0.5), real(0), real(1)
    alpha_min, alpha_max, stop = real(ALPHA_MIN), real(ALPHA_MAX), real(TRANSMITTANCE_MIN)
    for share in prange(SHARES):
        s = np.empty((6, TILE * TILE), packed.dtype)  # transmittance, red, green, blue, depth, alpha
        for tile in range(share, offsets.shape[0] - 1, SHARES):
            c = tile // (tiles_x * tiles_y)
            top, left = (tile // tiles_x) % tiles_y * TILE, tile % tiles_x * TILE
            s[0] = one
            s[1:] = zero
            for entry in range(offsets[tile], offsets[tile + 1]):
                row = packed[c, entries[entry]]
                a, b, k = half * row[XX], row[XY], half * row[YY]
                opacity, z = row[OPACITY], row[DEPTH]
                red, green, blue = row[RED], row[GREEN], row[BLUE]
                first_dx = real(left) + half - row[X]
                first, last = _rows(row, top)
                for y in range(first, last + 1):
                    dy = real(top + y) + half - row[Y]
                    kdy, bdy, base = k * dy * dy, b * dy, np.uint64(y * TILE)
                    for x in range(TILE):
                        i = base + np.uint64(x)
                        dx = first_dx + real(x)
                        sigma = kdy + dx * (bdy + a * dx)
                        t = s[0, i]
                        cover = min(opacity * _exp(-sigma), alpha_max)
                        is_hit = (cover >= alpha_min) & (sigma >= zero)
                        after = t * (one - cover)
                        goes_on = is_hit & (after > stop)
                        weight = t * cover if goes_on else zero
                        s[0, i] = after if goes_on else (-abs(t) if is_hit else t)
                        s[1, i] += weight * red
                        s[2, i] += weight * green
                        s[3, i] += weight * blue
                        s[4, i] += weight * z
                        s[5, i] += weight
                if (entry - offsets[tile]) % 16 == 15 and s[0].max() <= zero:
                    break
            for y in range(min(TILE, height - top)):
                for x in range(min(TILE, width - left)):
                    i = y * TILE + x
                    rgb[c, top + y, left + x, 0] = s[1, i]
                    rgb[c, top + y, left + x, 1] = s[2, i]
                    rgb[c, top + y, left + x, 2] = s[3, i]
                    depth[c, top + y, left + x] = s[4, i]
                    alpha[c, top + y, left + x] = s[5, i]


@njit(**OPTIONS)
def blend_backward(
    packed, entries, offsets, tiles_x, tiles_y, rgb, alpha, depth, v_rgb, v_alpha, v_depth, v_entries
):  # fmt: skip
    """Fills v_entries [pairs, GRADIENTS]: what each (Gaussian, tile) pair adds to the gradient of its Gaussian.

    Goes front to back again. What lies behind a Gaussian at a pixel is the finished pixel less what lies in front,
    so nothing of the forward pass is kept but the picture.
    """
    height, width = alpha.shape[1], alpha.shape[2]
    real = packed.dtype.type
    half, zero, one = real(0.5), real(0), real(1)
    alpha_min, alpha_max, stop = real(ALPHA_MIN), real(ALPHA_MAX), real(TRANSMITTANCE_MIN)
    for share in prange(SHARES):
        # transmittance, light still to come (times its gradient), gradients of red, green, blue, depth, alpha
        s = np.empty((7, TILE * TILE), packed.dtype)
        # for each column: sums over rows of d sigma, times dy, times dy^2; and of red, green, blue, depth
        lanes = np.empty((7, TILE), packed.dtype)
        for tile in range(share, offsets.shape[0] - 1, SHARES):
            if offsets[tile] == offsets[tile + 1]:
                continue
            c = tile // (tiles_x * tiles_y)
            top, left = (tile // tiles_x) % tiles_y * TILE, tile % tiles_x * TILE
            s[0] = one
            s[1:] = zero
            for y in range(min(TILE, height - top)):
                for x in range(min(TILE, width - left)):
                    i, py, px = y * TILE + x, top + y, left + x
                    s[2, i], s[3, i], s[4, i] = v_rgb[c, py, px, 0], v_rgb[c, py, px, 1], v_rgb[c, py, px, 2]
                    s[5, i], s[6, i] = v_depth[c, py, px], v_alpha[c, py, px]
                    s[1, i] = (
                        rgb[c, py, px, 0] * s[2, i] + rgb[c, py, px, 1] * s[3, i] + rgb[c, py, px, 2] * s[4, i]
                        + depth[c, py, px] * s[5, i] + alpha[c, py, px] * s[6, i]
                    )  # fmt: skip
            is_over = False
            for entry in range(offsets[tile], offsets[tile + 1]):
                if is_over:
                    v_entries[entry] = zero
                    continue
                row = packed[c, entries[entry]]
                a, b, k = half * row[XX], row[XY], half * row[YY]
                opacity, z = row[OPACITY], row[DEPTH]
                red, green, blue = row[RED], row[GREEN], row[BLUE]
                first_dx = real(left) + half - row[X]
                first, last = _rows(row, top)
                lanes[:] = zero
                for y in range(first, last + 1):
                    dy = real(top + y) + half - row[Y]
                    kdy, bdy, base = k * dy * dy, b * dy, np.uint64(y * TILE)
                    for x in range(TILE):
                        i = base + np.uint64(x)
                        dx = first_dx + real(x)
                        sigma = kdy + dx * (bdy + a * dx)
                        t = s[0, i]
                        free = opacity * _exp(-sigma)
                        cover = min(free, alpha_max)
                        is_hit = (cover >= alpha_min) & (sigma >= zero)
                        after = t * (one - cover)
                        goes_on = is_hit & (after > stop)
                        weight = t * cover if goes_on else zero
                        s[0, i] = after if goes_on else (-abs(t) if is_hit else t)
                        v_weight = red * s[2, i] + green * s[3, i] + blue * s[4, i] + z * s[5, i] + s[6, i]
                        behind = s[1, i] - weight * v_weight
                        s[1, i] = behind
                        v_cover = t * v_weight - behind / (one - cover)
                        v_sigma = -v_cover * cover if goes_on & (free <= alpha_max) else zero
                        lanes[0, x] += v_sigma
                        lanes[1, x] += v_sigma * dy
                        lanes[2, x] += v_sigma * dy * dy
                        lanes[3, x] += weight * s[2, i]
                        lanes[4, x] += weight * s[3, i]
                        lanes[5, x] += weight * s[4, i]
                        lanes[6, x] += weight * s[5, i]
                m, mx, mxx, my, mxy, myy = zero, zero, zero, zero, zero, zero
                v_red, v_green, v_blue, v_z = zero, zero, zero, zero
                for x in range(TILE):
                    dx = first_dx + real(x)
                    m += lanes[0, x]
                    mx += lanes[0, x] * dx
                    mxx += lanes[0, x] * dx * dx
                    my += lanes[1, x]
                    mxy += lanes[1, x] * dx
                    myy += lanes[2, x]
                    v_red += lanes[3, x]
                    v_green += lanes[4, x]
                    v_blue += lanes[5, x]
                    v_z += lanes[6, x]
                out = v_entries[entry]
                out[0] = -(row[XX] * mx + row[XY] * my)
                out[1] = -(row[XY] * mx + row[YY] * my)
                out[2], out[3], out[4] = half * mxx, mxy, half * myy
                out[5] = -m / opacity
                out[6], out[7], out[8], out[9] = v_red, v_green, v_blue, v_z
                if (entry - offsets[tile]) % 16 == 15:
                    is_over = s[0].max() <= zero


@njit(parallel=True, cache=True, nogil=True, error_model="numpy")
def gather(entries, offsets, tiles, drawn, v_entries, v_means2d, v_conics, v_opacities, v_colors, v_depths):
    """Sums the pairs' gradients over the tiles of each Gaussian, in a fixed order, into [C, N, ...] arrays."""
    for work in prange(drawn.shape[0] * 2):
        c, part = work // 2, work % 2
        for entry in range(offsets[c * tiles], offsets[(c + 1) * tiles]):
            g, v = drawn[c, entries[entry]], v_entries[entry]
            if part == 0:
                v_means2d[c, g, 0] += v[0]
                v_means2d[c, g, 1] += v[1]
                v_conics[c, g, 0] += v[2]
                v_conics[c, g, 1] += v[3]
                v_conics[c, g, 2] += v[4]
            else:
                v_opacities[c, g] += v[5]
                v_colors[c, g, 0] += v[6]
                v_colors[c, g, 1] += v[7]
                v_colors[c, g, 2] += v[8]
                v_depths[c, g] += v[9]
