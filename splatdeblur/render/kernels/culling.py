"""Which Gaussians can touch the picture at all: a cheap test, so that only those are projected in full."""

import numpy as np
from numba import njit, prange

from ..rasterizer import ALPHA_MIN
from .projection import CHUNKS, INLINE, MARGIN, OPTIONS, SIGMAS_MAX, displacement, transformed

SLACK = 1.01  # the test must never refuse what the full projection would draw


@njit(**INLINE)
def _largest_slope(focal, center, size):
    """Bound of |x / z| where the projection's Jacobian is taken."""
    return max(center, size - center) / focal + MARGIN * 0.5 * size / focal


@njit(**INLINE)
def _reaches(u, size, variance):
    """Whether a footprint of that variance around u may reach into [0, size]."""
    missing = max(-u, u - size) - 1
    return missing < 0 or missing * missing < (SLACK * SIGMAS_MAX) ** 2 * variance


@njit(**INLINE)
def _may_touch(means, g, largest_scale, c, viewmats, Ks, slices, width, height, dilation, near, far, ends):
    """Whether a ball around the Gaussian reaches the picture of camera c."""
    z = transformed(viewmats, c, means, g, 2)
    if not (z >= near and z <= far):  # written so that NaN is refused as well
        return False
    rz, fx, fy = 1 / z, Ks[c, 0, 0], Ks[c, 1, 1]
    u = fx * rz * transformed(viewmats, c, means, g, 0) + Ks[c, 0, 2]
    v = fy * rz * transformed(viewmats, c, means, g, 1) + Ks[c, 1, 2]
    # No row of the Jacobian times the Gaussian's axes is longer than the row times the longest axis.
    size_x, size_y = fx * rz * largest_scale, fy * rz * largest_scale
    slope_x, slope_y = _largest_slope(fx, Ks[c, 0, 2], width), _largest_slope(fy, Ks[c, 1, 2], height)
    xx = size_x * size_x * (1 + slope_x * slope_x) + dilation
    yy = size_y * size_y * (1 + slope_y * slope_y) + dilation
    if slices.shape[0] > 0:
        dx, dy, _ = displacement(slices, Ks, c, means, g, near, ends)
        xx += dx * dx / 12
        yy += dy * dy / 12
    return _reaches(u, width, xx) and _reaches(v, height, yy)


@njit(**OPTIONS)
def cull(means, scales, opacities, viewmats, Ks, slices, num_subframes, width, height, dilation, near, far):
    """Indices of the Gaussians that a picture's sub-frames may show, in ascending order, one picture after another.

    Cameras [C] are pictures times sub-frames. Returns the indices, and where those of each picture and of each of its
    CHUNKS equal parts of the scene begin, [pictures * CHUNKS + 1].
    """
    n_pictures, n = viewmats.shape[0] // num_subframes, means.shape[0]
    found = np.empty((n_pictures, n), np.int32)
    counts = np.empty(n_pictures * CHUNKS, np.int64)
    for work in prange(n_pictures * CHUNKS):
        picture, chunk = work // CHUNKS, work % CHUNKS
        ends = np.empty((2, 3))
        begin = chunk * n // CHUNKS
        count = 0
        for g in range(begin, (chunk + 1) * n // CHUNKS):
            if not opacities[g] >= ALPHA_MIN:
                continue
            largest_scale = float(max(scales[g, 0], scales[g, 1], scales[g, 2]))
            for c in range(picture * num_subframes, (picture + 1) * num_subframes):
                if _may_touch(
                    means, g, largest_scale, c, viewmats, Ks, slices, width, height, dilation, near, far, ends
                ):  # fmt: skip
                    found[picture, begin + count] = g
                    count += 1
                    break
        counts[work] = count
    offsets = np.empty(n_pictures * CHUNKS + 1, np.int64)
    offsets[0] = 0
    for work in range(n_pictures * CHUNKS):
        offsets[work + 1] = offsets[work] + counts[work]
    candidates = np.empty(offsets[-1], np.int32)
    for work in range(n_pictures * CHUNKS):
        begin = work % CHUNKS * n // CHUNKS
        for i in range(counts[work]):
            candidates[offsets[work] + i] = found[work // CHUNKS, begin + i]
    return candidates, offsets
