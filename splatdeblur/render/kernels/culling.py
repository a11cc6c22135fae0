"""Which Gaussians can touch the picture at all: a cheap test, so that only those are projected in full."""

import numpy as np
from numba import njit

from ..rasterizer import ALPHA_MIN
from .ellipses import MARGIN, SIGMAS_MAX
from .lanes import along, view_row
from .shares import ALL, spread
from .splats import CHUNKS, INLINE, OPTIONS

SLACK = 1.01  # the test must never refuse what the full projection would draw


@njit(**INLINE)
def _largest_slope(focal, center, size):
    """Bound of |x / z| where the projection's Jacobian is taken."""
    return max(center, size - center) / focal + MARGIN * 0.5 * size / focal


@njit(**INLINE)
def _reaches(u, size, variance):
    """Whether a footprint of that variance around u may reach into [0, size]."""
    missing = max(-u, u - size) - 1
    reach = SLACK * SIGMAS_MAX
    return (missing < 0) | (missing * missing < reach * reach * variance)


@njit(**INLINE)
def _mark(means, scales, c, viewmats, Ks, slices, width, height, dilation, near, far, begin, seen):
    """Sets in `seen` which Gaussians, from `begin` on, have a ball around them that reaches the picture of camera c.

    Without branches, and with all of the camera in variables, so that LLVM makes vector instructions of the loop.
    """
    fx, cx, fy, cy = Ks[c, 0, 0], Ks[c, 0, 2], Ks[c, 1, 1], Ks[c, 1, 2]
    # No row of the Jacobian times the Gaussian's axes is longer than the row times the longest axis.
    wide, high = 1 + _largest_slope(fx, cx, width) ** 2, 1 + _largest_slope(fy, cy, height) ** 2
    to_x, to_y, to_z = view_row(viewmats, c, 0), view_row(viewmats, c, 1), view_row(viewmats, c, 2)
    is_thick = slices.shape[0] > 0
    # Rows that give x, y and z at both ends of the slice; of no use, but there, where sub-frames are instants.
    first, last = (2 * c, 2 * c + 1) if is_thick else (0, 0)
    views = slices if is_thick else viewmats
    x0, y0, z0 = view_row(views, first, 0), view_row(views, first, 1), view_row(views, first, 2)
    x1, y1, z1 = view_row(views, last, 0), view_row(views, last, 1), view_row(views, last, 2)
    for i in range(seen.shape[0]):
        g = begin + i
        mean = float(means[g, 0]), float(means[g, 1]), float(means[g, 2])
        depth = along(to_z, mean)
        rz = 1 / depth
        u, v = fx * rz * along(to_x, mean) + cx, fy * rz * along(to_y, mean) + cy
        size = rz * max(scales[g, 0], scales[g, 1], scales[g, 2])
        xx, yy = (fx * size) ** 2 * wide + dilation, (fy * size) ** 2 * high + dilation
        if is_thick:
            start, end = along(z0, mean), along(z1, mean)
            has_moved = (start > near) & (end > near)
            # As `ellipses.find_strokes`.
            dx = fx * (along(x1, mean) / end - along(x0, mean) / start)
            dy = fy * (along(y1, mean) / end - along(y0, mean) / start)
            xx += dx * dx / 12 if has_moved else 0.0
            yy += dy * dy / 12 if has_moved else 0.0
        # Written so that NaN is refused.
        seen[i] |= (depth >= near) & (depth <= far) & _reaches(u, width, xx) & _reaches(v, height, yy)


@njit(**OPTIONS)
def cull(
    means, scales, opacities, viewmats, Ks, slices, num_subframes, width, height, dilation, near, far,
    candidates, offsets, share,
):  # fmt: skip
    """Indices of the Gaussians that a picture's sub-frames may show, in ascending order, one picture after another.

    Cameras [C] are pictures times sub-frames. Fills candidates [pictures * N] from its beginning, and with offsets
    [pictures * CHUNKS + 1] where those of each picture and of each of its CHUNKS equal parts of the scene begin.
    """
    n_pictures, n = viewmats.shape[0] // num_subframes, means.shape[0]
    if share == ALL:
        offsets[0] = 0
        spread(0, n_pictures * CHUNKS)
        for part in range(n_pictures * CHUNKS):
            found = part // CHUNKS * n + part % CHUNKS * n // CHUNKS
            for i in range(offsets[part + 1]):
                candidates[offsets[part] + i] = candidates[found + i]
            offsets[part + 1] += offsets[part]
        return
    picture, chunk = share // CHUNKS, share % CHUNKS
    begin, count = chunk * n // CHUNKS, 0
    seen = np.zeros((chunk + 1) * n // CHUNKS - begin, np.bool_)
    for c in range(picture * num_subframes, (picture + 1) * num_subframes):
        _mark(means, scales, c, viewmats, Ks, slices, width, height, dilation, near, far, begin, seen)
    for i in range(seen.shape[0]):
        if seen[i] and opacities[begin + i] >= ALPHA_MIN:
            candidates[picture * n + begin + count] = begin + i
            count += 1
    offsets[share + 1] = count
