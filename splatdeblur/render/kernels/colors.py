"""Spherical harmonics of degree 0 to 3: the colour of each Gaussian as each camera sees it, and back.

Real harmonics with gsplat's signs and order. Source: Sloan 2013, "Efficient spherical harmonic evaluation".
"""

import math

from numba import njit

from .lanes import INLINE, LANES, add_vector, dot, put_vector, scaled, vector

CONSTANT = 0.28209479177387814  # the harmonic of degree 0, 1 / (2 sqrt(pi))

# Rows of a block: unit direction from the camera and 1 / distance; harmonics, but for the first, which is CONSTANT;
# coefficients, channel by channel within each harmonic; colour; and the gradients of all but 1 / distance.
MEAN, DIRECTION, INVERSE_DISTANCE, BASIS, COEFFICIENTS, COLOR = 0, 3, 6, 7, 23, 71
V_MEAN, V_DIRECTION, V_BASIS, V_COEFFICIENTS, V_COLOR = 74, 77, 80, 96, 144
FORWARD_ROWS, BACKWARD_ROWS = 74, 147


@njit(**INLINE)
def find_basis(centers, c, degree, block):
    """Fills directions (0 at the camera itself) and harmonics."""
    center = centers[c, 0], centers[c, 1], centers[c, 2]
    for lane in range(LANES):
        mean = vector(block, MEAN, lane)
        away = mean[0] - center[0], mean[1] - center[1], mean[2] - center[2]
        squared = dot(away, away)
        scale = 1.0 / math.sqrt(squared) if squared > 1e-24 else 0.0
        x, y, z = scaled(away, scale)
        put_vector(block, DIRECTION, lane, (x, y, z))
        block[INVERSE_DISTANCE, lane] = scale
        put_vector(block, BASIS + 1, lane, (-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x))
    if degree >= 2:
        for lane in range(LANES):
            x, y, z = vector(block, DIRECTION, lane)
            block[BASIS + 4, lane] = 1.0925484305920792 * x * y
            block[BASIS + 5, lane] = -1.0925484305920792 * y * z
            block[BASIS + 6, lane] = 0.31539156525252005 * (3 * z * z - 1)
            block[BASIS + 7, lane] = -1.0925484305920792 * x * z
            block[BASIS + 8, lane] = 0.5462742152960396 * (x * x - y * y)
    if degree >= 3:
        for lane in range(LANES):
            x, y, z = vector(block, DIRECTION, lane)
            block[BASIS + 9, lane] = -0.5900435899266435 * y * (3 * x * x - y * y)
            block[BASIS + 10, lane] = 2.890611442640554 * x * y * z
            block[BASIS + 11, lane] = -0.4570457994644658 * y * (5 * z * z - 1)
            block[BASIS + 12, lane] = 0.3731763325901154 * z * (5 * z * z - 3)
            block[BASIS + 13, lane] = -0.4570457994644658 * x * (5 * z * z - 1)
            block[BASIS + 14, lane] = 1.445305721320277 * z * (x * x - y * y)
            block[BASIS + 15, lane] = -0.5900435899266435 * x * (x * x - 3 * y * y)


@njit(**INLINE)
def pull_basis(degree, block):
    """Fills the gradients of the directions, sum_k v[k] * d basis_k / d(x, y, z), and adds those of the means."""
    for lane in range(LANES):
        v1, v2, v3 = vector(block, V_BASIS + 1, lane)
        put_vector(
            block, V_DIRECTION, lane, (-0.4886025119029199 * v3, -0.4886025119029199 * v1, 0.4886025119029199 * v2)
        )
    if degree >= 2:
        for lane in range(LANES):
            x, y, z = vector(block, DIRECTION, lane)
            (v4, v5, v6), v7, v8 = vector(block, V_BASIS + 4, lane), block[V_BASIS + 7, lane], block[V_BASIS + 8, lane]
            gx = 1.0925484305920792 * (y * v4 - z * v7 + x * v8)
            gy = 1.0925484305920792 * (x * v4 - z * v5 - y * v8)
            gz = 1.0925484305920792 * (-y * v5 - x * v7) + 1.8923493915151202 * z * v6
            add_vector(block, V_DIRECTION, lane, (gx, gy, gz))
    if degree >= 3:
        for lane in range(LANES):
            x, y, z = vector(block, DIRECTION, lane)
            (v9, v10, v11), v12 = vector(block, V_BASIS + 9, lane), block[V_BASIS + 12, lane]
            v13, v14, v15 = vector(block, V_BASIS + 13, lane)
            gx = -3.540261539559861 * x * y * v9 + 2.890611442640554 * y * z * v10
            gx += -0.4570457994644658 * (5 * z * z - 1) * v13 + 2.890611442640554 * z * x * v14
            gx += -1.7701307697799304 * (x * x - y * y) * v15
            gy = -1.7701307697799304 * (x * x - y * y) * v9 + 2.890611442640554 * x * z * v10
            gy += -0.4570457994644658 * (5 * z * z - 1) * v11 - 2.890611442640554 * z * y * v14
            gy += 3.540261539559861 * x * y * v15
            gz = 2.890611442640554 * x * y * v10 - 4.570457994644658 * y * z * v11
            gz += 0.3731763325901154 * (15 * z * z - 3) * v12 - 4.570457994644658 * x * z * v13
            gz += 1.445305721320277 * (x * x - y * y) * v14
            add_vector(block, V_DIRECTION, lane, (gx, gy, gz))
    for lane in range(LANES):
        direction, v = vector(block, DIRECTION, lane), vector(block, V_DIRECTION, lane)
        lost, scale = dot(v, direction), block[INVERSE_DISTANCE, lane]
        v = v[0] - lost * direction[0], v[1] - lost * direction[1], v[2] - lost * direction[2]
        put_vector(block, V_DIRECTION, lane, scaled(v, scale))
        add_vector(block, V_MEAN, lane, scaled(v, scale))


@njit(**INLINE)
def mix(n_basis, block):
    """Fills the colours from coefficients and harmonics."""
    for channel in range(3):
        for lane in range(LANES):
            block[COLOR + channel, lane] = 0.5 + CONSTANT * block[COEFFICIENTS + channel, lane]
        for k in range(1, n_basis):
            for lane in range(LANES):
                block[COLOR + channel, lane] += block[BASIS + k, lane] * block[COEFFICIENTS + 3 * k + channel, lane]


@njit(**INLINE)
def pull_mix(n_basis, block):
    """From the gradients of the colours to those of harmonics (filled) and coefficients (added)."""
    for lane in range(LANES):
        add_vector(block, V_COEFFICIENTS, lane, scaled(vector(block, V_COLOR, lane), CONSTANT))
    for k in range(1, n_basis):
        for lane in range(LANES):
            total = 0.0
            for channel in range(3):
                v = block[V_COLOR + channel, lane]
                block[V_COEFFICIENTS + 3 * k + channel, lane] += block[BASIS + k, lane] * v
                # A coefficient that is not finite has to do with the channels that are drawn alone.
                total += block[COEFFICIENTS + 3 * k + channel, lane] * v if v != 0 else 0.0
            block[V_BASIS + k, lane] = total
