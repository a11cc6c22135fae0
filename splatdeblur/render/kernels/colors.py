"""Spherical harmonics of degree 0 to 3: the colour of each Gaussian as each camera sees it, and back.

Real harmonics with gsplat's signs and order. Source: Sloan 2013, "Efficient spherical harmonic evaluation".
"""

import math

import numpy as np
from numba import njit

from .shares import ALL, spread
from .splats import CHUNKS, INLINE, OPACITY, OPTIONS, RED

CONSTANT = 0.28209479177387814  # the harmonic of degree 0, 1 / (2 sqrt(pi))


@njit(**INLINE)
def _basis(x, y, z, degree, out):
    """Values of the (degree + 1)^2 harmonics at a unit direction, but for the first, which is CONSTANT."""
    if degree >= 1:
        out[1] = -0.4886025119029199 * y
        out[2] = 0.4886025119029199 * z
        out[3] = -0.4886025119029199 * x
    if degree >= 2:
        out[4] = 1.0925484305920792 * x * y
        out[5] = -1.0925484305920792 * y * z
        out[6] = 0.31539156525252005 * (3 * z * z - 1)
        out[7] = -1.0925484305920792 * x * z
        out[8] = 0.5462742152960396 * (x * x - y * y)
    if degree >= 3:
        out[9] = -0.5900435899266435 * y * (3 * x * x - y * y)
        out[10] = 2.890611442640554 * x * y * z
        out[11] = -0.4570457994644658 * y * (5 * z * z - 1)
        out[12] = 0.3731763325901154 * z * (5 * z * z - 3)
        out[13] = -0.4570457994644658 * x * (5 * z * z - 1)
        out[14] = 1.445305721320277 * z * (x * x - y * y)
        out[15] = -0.5900435899266435 * x * (x * x - 3 * y * y)


@njit(**INLINE)
def _basis_slope(x, y, z, degree, v, out):
    """Writes sum_k v[k] * d basis_k / d(x, y, z) to `out`, for the polynomials as written above."""
    gx, gy, gz = 0.0, 0.0, 0.0
    if degree >= 1:
        gy -= 0.4886025119029199 * v[1]
        gz += 0.4886025119029199 * v[2]
        gx -= 0.4886025119029199 * v[3]
    if degree >= 2:
        gx += 1.0925484305920792 * (y * v[4] - z * v[7] + x * v[8])
        gy += 1.0925484305920792 * (x * v[4] - z * v[5] - y * v[8])
        gz += 1.0925484305920792 * (-y * v[5] - x * v[7]) + 1.8923493915151202 * z * v[6]
    if degree >= 3:
        gx += -3.540261539559861 * x * y * v[9] + 2.890611442640554 * y * z * v[10]
        gx += -0.4570457994644658 * (5 * z * z - 1) * v[13] + 2.890611442640554 * z * x * v[14]
        gx += -1.7701307697799304 * (x * x - y * y) * v[15]
        gy += -1.7701307697799304 * (x * x - y * y) * v[9] + 2.890611442640554 * x * z * v[10]
        gy += -0.4570457994644658 * (5 * z * z - 1) * v[11] - 2.890611442640554 * z * y * v[14]
        gy += 3.540261539559861 * x * y * v[15]
        gz += 2.890611442640554 * x * y * v[10] - 4.570457994644658 * y * z * v[11]
        gz += 0.3731763325901154 * (15 * z * z - 3) * v[12] - 4.570457994644658 * x * z * v[13]
        gz += 1.445305721320277 * (x * x - y * y) * v[14]
    out[0], out[1], out[2] = gx, gy, gz


@njit(**INLINE)
def _camera_centers(viewmats):
    """Where the cameras are in the world, [C, 3]."""
    centers = np.zeros((viewmats.shape[0], 3))
    for c in range(viewmats.shape[0]):
        for i in range(3):
            for row in range(3):
                centers[c, i] -= viewmats[c, row, i] * viewmats[c, row, 3]
    return centers


@njit(**INLINE)
def _direction(means, g, centers, c):
    """Unit direction from camera c to Gaussian g, and 1 / distance (0 at the camera itself)."""
    x, y, z = means[g, 0] - centers[c, 0], means[g, 1] - centers[c, 1], means[g, 2] - centers[c, 2]
    squared = x * x + y * y + z * z
    scale = 1.0 / math.sqrt(squared) if squared > 1e-24 else 0.0
    return x * scale, y * scale, z * scale, scale


@njit(**OPTIONS)
def shade(means, sh0, sh_rest, viewmats, degree, candidates, offsets, splats, share):
    """Fills the colours of `splats` with max(0, 0.5 + harmonics) where the Gaussian is drawn.

    sh0 [N, 1, 3] and sh_rest [N, K - 1, 3] are the coefficients; degrees above `degree` are left out.
    """
    if share == ALL:
        spread(0, CHUNKS)
        return
    n_pictures, n_subframes, n_basis = offsets.shape[0] // CHUNKS, splats.shape[0], (degree + 1) ** 2
    centers = _camera_centers(viewmats)
    basis = np.empty(16)
    for part in range(share, n_pictures * CHUNKS, CHUNKS):
        for i in range(offsets[part], offsets[part + 1]):
            g = candidates[i]
            for s in range(n_subframes):
                if splats[s, i, OPACITY] == 0:
                    continue
                if degree > 0:
                    x, y, z, _ = _direction(means, g, centers, part // CHUNKS * n_subframes + s)
                    _basis(x, y, z, degree, basis)
                for channel in range(3):
                    value = 0.5 + CONSTANT * sh0[g, 0, channel]
                    for k in range(1, n_basis):
                        value += basis[k] * sh_rest[g, k - 1, channel]
                    splats[s, i, RED + channel] = max(value, 0.0)


@njit(**OPTIONS)
def shade_backward(
    means, sh0, sh_rest, viewmats, degree, candidates, offsets, seen, counts, splats, v_splats,
    v_means, v_sh0, v_sh_rest, v_viewmats, share,
):  # fmt: skip
    """Adds to the last four arrays; v_viewmats is [CHUNKS, C, 4, 4], to be summed over the first axis."""
    if share == ALL:
        spread(0, CHUNKS)
        return
    n_pictures, n_subframes, n_basis = offsets.shape[0] // CHUNKS, splats.shape[0], (degree + 1) ** 2
    centers = _camera_centers(viewmats)
    basis = np.empty(16)
    v_basis, v_direction, v_centers = np.empty(16), np.empty(3), np.zeros((viewmats.shape[0], 3))
    for part in range(share, n_pictures * CHUNKS, CHUNKS):
        for k in range(offsets[part], offsets[part] + counts[part]):
            i = seen[k]
            g = candidates[i]
            for s in range(n_subframes):
                c = part // CHUNKS * n_subframes + s
                if splats[s, i, OPACITY] == 0:
                    continue
                x, y, z, scale = _direction(means, g, centers, c)
                _basis(x, y, z, degree, basis)
                for k in range(1, n_basis):
                    v_basis[k] = 0.0
                for channel in range(3):
                    if not splats[s, i, RED + channel] > 0:
                        continue
                    v = float(v_splats[s, i, RED + channel])
                    v_sh0[g, 0, channel] += CONSTANT * v
                    for k in range(1, n_basis):
                        v_sh_rest[g, k - 1, channel] += basis[k] * v
                        v_basis[k] += sh_rest[g, k - 1, channel] * v
                if degree == 0:
                    continue
                _basis_slope(x, y, z, degree, v_basis, v_direction)
                dot = v_direction[0] * x + v_direction[1] * y + v_direction[2] * z
                v_direction[0] -= dot * x
                v_direction[1] -= dot * y
                v_direction[2] -= dot * z
                for k in range(3):
                    v_means[g, k] += v_direction[k] * scale
                    v_centers[c, k] -= v_direction[k] * scale
    for c in range(viewmats.shape[0]):
        for i in range(3):
            for j in range(3):
                v_viewmats[share, c, i, j] -= viewmats[c, i, 3] * v_centers[c, j]
                v_viewmats[share, c, i, 3] -= viewmats[c, i, j] * v_centers[c, j]
