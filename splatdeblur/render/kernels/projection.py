"""Gaussians to screen ellipses and back: means, covariances and opacities; thick sub-frames included.

What the other kernels read of a Gaussian lies together, in a row of `splats` [S, D, COLUMNS]: D are the candidates
that culling has left, in the order of the scene, and S the sub-frames of a picture.
Scalars are float64 whatever the arrays' precision: this is a small part of the time, and small determinants matter.
Functions are handed arrays and indices, not parts of arrays: numba counts references to those, one by one, atomically.
"""

import math

import numpy as np
from numba import njit

from ..rasterizer import ALPHA_MIN
from .shares import ALL, COMMON, spread

SIGMAS_MAX = 3.33  # a footprint never reaches further than this many standard deviations, as in gsplat
MARGIN = 0.3  # the Jacobian is frozen this many half-widths outside of the picture, as in gsplat
CHUNKS = 64  # shares of the scene, each with sums of its own for the gradients of the cameras

# Columns of a splat. The first GRADIENTS of them have gradients: position in px, inverse screen covariance in px^-2,
# opacity, colour, z-depth. The others bound the footprint, as drawn down to ALPHA_MIN: half extents of its box, half
# the length of its middle row, and how far rows shift to the right from one to the next.
X, Y, XX, XY, YY, OPACITY, RED, GREEN, BLUE, DEPTH, HALF_WIDTH, HALF_HEIGHT, HALF_ROW, SLOPE = range(14)
GRADIENTS = 10
COLUMNS = 16  # one cache line in single precision
TWELFTH = 1 / 12  # variance of an even stroke of length 1
REACH_SLACK = 1e-3  # px; footprints are a hair larger than the ellipse, so that rounding never cuts a pixel

OPTIONS = {**COMMON, "cache": True}  # called from Python
INLINE = {**COMMON, "no_cpython_wrapper": True, "forceinline": True}  # parts of those


@njit(**INLINE)
def _unit_quaternion(quats, g):
    """Quaternion g (wxyz) at length 1, and 1 / its own length."""
    w, x, y, z = quats[g, 0], quats[g, 1], quats[g, 2], quats[g, 3]
    inverse_norm = 1.0 / math.sqrt(w * w + x * x + y * y + z * z)
    return w * inverse_norm, x * inverse_norm, y * inverse_norm, z * inverse_norm, inverse_norm


@njit(**INLINE)
def _rotation(quats, g, out):
    """Writes the rotation matrix of quaternion g to `out`."""
    w, x, y, z, _ = _unit_quaternion(quats, g)
    out[0, 0] = 1 - 2 * (y * y + z * z)
    out[0, 1] = 2 * (x * y - w * z)
    out[0, 2] = 2 * (x * z + w * y)
    out[1, 0] = 2 * (x * y + w * z)
    out[1, 1] = 1 - 2 * (x * x + z * z)
    out[1, 2] = 2 * (y * z - w * x)
    out[2, 0] = 2 * (x * z - w * y)
    out[2, 1] = 2 * (y * z + w * x)
    out[2, 2] = 1 - 2 * (x * x + y * y)


@njit(**INLINE)
def transformed(views, c, means, g, row):
    """One coordinate of mean g in the axes of view c."""
    return (
        views[c, row, 0] * means[g, 0] + views[c, row, 1] * means[g, 1] + views[c, row, 2] * means[g, 2]
        + views[c, row, 3]
    )  # fmt: skip


@njit(**INLINE)
def _clamped_ratio(ratio, focal, center, size):
    """The ratio x/z at which the Jacobian is taken, and whether it is the true one."""
    margin, inverse_focal = MARGIN * 0.5 * size, 1.0 / focal
    high = (size - center + margin) * inverse_focal
    low = -(center + margin) * inverse_focal
    if ratio > high:
        return high, False
    if ratio < low:
        return low, False
    return ratio, True


@njit(**INLINE)
def displacement(slices, Ks, c, means, g, near, ends):
    """Screen displacement (px) of mean g during the slice of camera c; `ends` receives its camera points.

    slices are [2 C, 4, 4]: the view at the start and the one at the end of each camera's slice, one after the other.
    """
    for end in range(2):
        for row in range(3):
            ends[end, row] = transformed(slices, 2 * c + end, means, g, row)
    if not (ends[0, 2] > near and ends[1, 2] > near):
        return 0.0, 0.0, False
    first_rz, last_rz = 1.0 / ends[0, 2], 1.0 / ends[1, 2]
    dx = Ks[c, 0, 0] * (ends[1, 0] * last_rz - ends[0, 0] * first_rz)
    dy = Ks[c, 1, 1] * (ends[1, 1] * last_rz - ends[0, 1] * first_rz)
    return dx, dy, True


@njit(**INLINE)
def _screen_axes(viewmats, Ks, c, width, height, point, rz, M, A, B):
    """A = R M and B = J A, so that the screen covariance is B B^T. Returns J's last column and the clamping flags."""
    for i in range(3):
        for j in range(3):
            A[i, j] = viewmats[c, i, 0] * M[0, j] + viewmats[c, i, 1] * M[1, j] + viewmats[c, i, 2] * M[2, j]
    fx, fy = Ks[c, 0, 0], Ks[c, 1, 1]
    ratio_x, free_x = _clamped_ratio(point[0] * rz, fx, Ks[c, 0, 2], width)
    ratio_y, free_y = _clamped_ratio(point[1] * rz, fy, Ks[c, 1, 2], height)
    j02 = -fx * ratio_x * rz
    j12 = -fy * ratio_y * rz
    for j in range(3):
        B[0, j] = fx * rz * A[0, j] + j02 * A[2, j]
        B[1, j] = fy * rz * A[1, j] + j12 * A[2, j]
    return j02, j12, free_x, free_y


@njit(**INLINE)
def _mean_axes(viewmats, n_subframes):
    """Of each picture the mean of its cameras' third rows, so that axis . (mean, 1) is a Gaussian's mean z-depth."""
    axes = np.zeros((viewmats.shape[0] // n_subframes, 4))
    for c in range(viewmats.shape[0]):
        for k in range(4):
            axes[c // n_subframes, k] += viewmats[c, 2, k] / n_subframes
    return axes


@njit(**OPTIONS)
def project(
    means, quats, scales, opacities, viewmats, Ks, slices, width, height, dilation, near, far, antialiased,
    candidates, offsets, splats, depths, means2d, radii, share,
):  # fmt: skip
    """Fills the geometry of `splats`, and of each candidate the mean z-depth over its sub-frames (never below 0).

    Writes means2d and radii [C, N, 2], which must come as zeros, where a Gaussian is drawn; where it is not, its
    splat has opacity 0 and a footprint without rows.
    """
    if share == ALL:
        spread(0, CHUNKS)
        return
    n_pictures, n_subframes = offsets.shape[0] // CHUNKS, splats.shape[0]
    axes = _mean_axes(viewmats, n_subframes)
    rotation, M = np.empty((3, 3)), np.empty((3, 3))
    A, B = np.empty((3, 3)), np.empty((2, 3))
    point, ends = np.empty(3), np.empty((2, 3))
    for part in range(share, n_pictures * CHUNKS, CHUNKS):
        picture = part // CHUNKS
        for i in range(offsets[part], offsets[part + 1]):
            g = candidates[i]
            depth = axes[picture, 3]
            for k in range(3):
                depth += axes[picture, k] * means[g, k]
            depths[i] = depth if depth > 0 else 0.0
            _rotation(quats, g, rotation)
            for k in range(3):
                for j in range(3):
                    M[k, j] = rotation[k, j] * scales[g, j]
            for s in range(n_subframes):
                c = picture * n_subframes + s
                for column in range(COLUMNS):
                    splats[s, i, column] = 0
                splats[s, i, HALF_HEIGHT] = -1
                for k in range(3):
                    point[k] = transformed(viewmats, c, means, g, k)
                z = point[2]
                if not (z >= near and z <= far):  # written so that NaN is refused as well
                    continue
                rz = 1 / z
                _screen_axes(viewmats, Ks, c, width, height, point, rz, M, A, B)
                xx = B[0, 0] * B[0, 0] + B[0, 1] * B[0, 1] + B[0, 2] * B[0, 2]
                xy = B[0, 0] * B[1, 0] + B[0, 1] * B[1, 1] + B[0, 2] * B[1, 2]
                yy = B[1, 0] * B[1, 0] + B[1, 1] * B[1, 1] + B[1, 2] * B[1, 2]
                # Light is conserved: opacity falls as the determinant grows, from this one on.
                conserved = max(0.0, xx * yy - xy * xy)
                xx += dilation
                yy += dilation
                det = xx * yy - xy * xy
                if not antialiased:
                    conserved = det
                if slices.shape[0] > 0:
                    dx, dy, moved = displacement(slices, Ks, c, means, g, near, ends)
                    if moved:
                        xx += dx * dx * TWELFTH
                        xy += dx * dy * TWELFTH
                        yy += dy * dy * TWELFTH
                        det = xx * yy - xy * xy
                inverse_det = 1 / det
                opacity = opacities[g] * math.sqrt(conserved * inverse_det)
                u = Ks[c, 0, 0] * (point[0] * rz) + Ks[c, 0, 2]
                v = Ks[c, 1, 1] * (point[1] * rz) + Ks[c, 1, 2]
                if not (det > 0 and det < 1e30 and opacity >= ALPHA_MIN):
                    continue
                reach = math.sqrt(2 * math.log(opacity / ALPHA_MIN))  # the footprint is d^T Q d <= reach^2
                sigma_x, sigma_y, inverse_yy = math.sqrt(xx), math.sqrt(yy), 1 / yy
                extent = min(SIGMAS_MAX, reach)
                rx, ry = math.ceil(extent * sigma_x), math.ceil(extent * sigma_y)
                if not (u + rx > 0 and u - rx < width and v + ry > 0 and v - ry < height):
                    continue
                radii[c, g, 0] = min(rx, 1e9)
                radii[c, g, 1] = min(ry, 1e9)
                means2d[c, g, 0], means2d[c, g, 1] = u, v
                splats[s, i, X], splats[s, i, Y], splats[s, i, OPACITY], splats[s, i, DEPTH] = u, v, opacity, z
                splats[s, i, XX], splats[s, i, YY] = yy * inverse_det, xx * inverse_det
                splats[s, i, XY] = -xy * inverse_det
                half_width = reach * sigma_x
                splats[s, i, HALF_WIDTH] = half_width + REACH_SLACK
                splats[s, i, HALF_HEIGHT] = reach * sigma_y + REACH_SLACK
                splats[s, i, HALF_ROW] = reach * math.sqrt(det * inverse_yy) + REACH_SLACK + 1e-6 * half_width
                splats[s, i, SLOPE] = xy * inverse_yy


@njit(**INLINE)
def _pull_point(views, c, means, g, v_point, v_views, share, v_mean):
    """Adds the gradient of a camera point to its view matrix and its mean."""
    for i in range(3):
        for j in range(3):
            v_views[share, c, i, j] += v_point[i] * means[g, j]
            v_mean[j] += views[c, i, j] * v_point[i]
        v_views[share, c, i, 3] += v_point[i]


@njit(**INLINE)
def _pull_rotation(quats, g, v, v_quats):
    """Adds the gradient `v` of the rotation matrix of quaternion g to `v_quats`, through the normalisation."""
    w, x, y, z, inverse_norm = _unit_quaternion(quats, g)
    gw = 2 * (x * (v[2, 1] - v[1, 2]) + y * (v[0, 2] - v[2, 0]) + z * (v[1, 0] - v[0, 1]))
    xy, xz, yz = v[0, 1] + v[1, 0], v[0, 2] + v[2, 0], v[1, 2] + v[2, 1]
    gx = 2 * (-2 * x * (v[1, 1] + v[2, 2]) + y * xy + z * xz + w * (v[2, 1] - v[1, 2]))
    gy = 2 * (x * xy - 2 * y * (v[0, 0] + v[2, 2]) + z * yz + w * (v[0, 2] - v[2, 0]))
    gz = 2 * (x * xz + y * yz - 2 * z * (v[0, 0] + v[1, 1]) + w * (v[1, 0] - v[0, 1]))
    dot = gw * w + gx * x + gy * y + gz * z
    v_quats[g, 0] += (gw - dot * w) * inverse_norm
    v_quats[g, 1] += (gx - dot * x) * inverse_norm
    v_quats[g, 2] += (gy - dot * y) * inverse_norm
    v_quats[g, 3] += (gz - dot * z) * inverse_norm


@njit(**INLINE)
def has_gradient(v_splats, s, i):
    """Whether anything depends on a splat: not on one hidden behind others."""
    total = False
    for column in range(GRADIENTS):
        total |= v_splats[s, i, column] != 0
    return total


@njit(**OPTIONS)
def project_backward(
    means, quats, scales, opacities, viewmats, Ks, slices, width, height, dilation, near, antialiased,
    candidates, offsets, splats, v_splats, v_means2d,
    v_means, v_quats, v_scales, v_opacities, v_viewmats, v_slices, share,
):  # fmt: skip
    """Adds to the last six arrays; v_viewmats [CHUNKS, C, 4, 4] and v_slices [CHUNKS, 2 C, 4, 4] are then to be summed
    over the first axis.

    The gradient of the position is taken from v_means2d [C, N, 2], all others from v_splats.
    """
    if share == ALL:
        spread(0, CHUNKS)
        return
    n_pictures, n_subframes = offsets.shape[0] // CHUNKS, splats.shape[0]
    is_thick = slices.shape[0] > 0
    rotation, M, A, B = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3)), np.empty((2, 3))
    v_A, v_B, v_M = np.empty((3, 3)), np.empty((2, 3)), np.empty((3, 3))
    point, ends, v_point = np.empty(3), np.empty((2, 3)), np.empty(3)
    v_mean = np.empty(3)
    for part in range(share, n_pictures * CHUNKS, CHUNKS):
        first_camera = part // CHUNKS * n_subframes
        for i in range(offsets[part], offsets[part + 1]):
            g = candidates[i]
            _rotation(quats, g, rotation)
            for k in range(3):
                v_mean[k] = 0.0
                for j in range(3):
                    M[k, j] = rotation[k, j] * scales[g, j]
                    v_M[k, j] = 0.0
            v_opacity = 0.0
            is_seen = False
            for s in range(n_subframes):
                c = first_camera + s
                has_moved = v_means2d[c, g, 0] != 0 or v_means2d[c, g, 1] != 0
                if splats[s, i, OPACITY] == 0 or not (has_moved or has_gradient(v_splats, s, i)):
                    continue
                is_seen = True
                for k in range(3):
                    point[k] = transformed(viewmats, c, means, g, k)
                rz, fx, fy = 1.0 / point[2], Ks[c, 0, 0], Ks[c, 1, 1]
                j02, j12, free_x, free_y = _screen_axes(viewmats, Ks, c, width, height, point, rz, M, A, B)
                # Inverse covariance Q to covariance: -Q V Q, V symmetric with half of the xy gradient on each side.
                qxx, qxy, qyy = float(splats[s, i, XX]), float(splats[s, i, XY]), float(splats[s, i, YY])
                gxx, gxy, gyy = float(v_splats[s, i, XX]), 0.5 * v_splats[s, i, XY], float(v_splats[s, i, YY])
                txx, txy = gxx * qxx + gxy * qxy, gxx * qxy + gxy * qyy
                tyx, tyy = gxy * qxx + gyy * qxy, gxy * qxy + gyy * qyy
                v_xx = -(qxx * txx + qxy * tyx)
                v_xy = -2 * (qxx * txy + qxy * tyy)
                v_yy = -(qxy * txy + qyy * tyy)
                # Opacity on screen: opacity * sqrt(numerator / det of the final covariance).
                v_log = float(v_splats[s, i, OPACITY]) * splats[s, i, OPACITY]
                v_opacity += v_log
                sharp_xx = B[0, 0] * B[0, 0] + B[0, 1] * B[0, 1] + B[0, 2] * B[0, 2]
                sharp_xy = B[0, 0] * B[1, 0] + B[0, 1] * B[1, 1] + B[0, 2] * B[1, 2]
                sharp_yy = B[1, 0] * B[1, 0] + B[1, 1] * B[1, 1] + B[1, 2] * B[1, 2]
                if antialiased or is_thick:
                    # d log det = tr(Q dCov) for the final covariance.
                    v_xx -= 0.5 * v_log * qxx
                    v_xy -= v_log * qxy
                    v_yy -= 0.5 * v_log * qyy
                dx, dy, moved = 0.0, 0.0, False
                if is_thick:
                    dx, dy, moved = displacement(slices, Ks, c, means, g, near, ends)
                v_dx = (2 * v_xx * dx + v_xy * dy) * TWELFTH
                v_dy = (2 * v_yy * dy + v_xy * dx) * TWELFTH
                if antialiased:
                    v_log_det = v_log / max(sharp_xx * sharp_yy - sharp_xy * sharp_xy, 1e-12)
                    v_xx += 0.5 * v_log_det * sharp_yy
                    v_xy -= v_log_det * sharp_xy
                    v_yy += 0.5 * v_log_det * sharp_xx
                elif is_thick:
                    xx, yy = sharp_xx + dilation, sharp_yy + dilation
                    v_log_det = v_log / (xx * yy - sharp_xy * sharp_xy)
                    v_xx += 0.5 * v_log_det * yy
                    v_xy -= v_log_det * sharp_xy
                    v_yy += 0.5 * v_log_det * xx
                # Covariance = B B^T, B = J A, A = R M.
                v_j00, v_j02, v_j11, v_j12 = 0.0, 0.0, 0.0, 0.0
                for j in range(3):
                    v_B[0, j] = 2 * v_xx * B[0, j] + v_xy * B[1, j]
                    v_B[1, j] = 2 * v_yy * B[1, j] + v_xy * B[0, j]
                    v_j00 += v_B[0, j] * A[0, j]
                    v_j02 += v_B[0, j] * A[2, j]
                    v_j11 += v_B[1, j] * A[1, j]
                    v_j12 += v_B[1, j] * A[2, j]
                    v_A[0, j] = fx * rz * v_B[0, j]
                    v_A[1, j] = fy * rz * v_B[1, j]
                    v_A[2, j] = j02 * v_B[0, j] + j12 * v_B[1, j]
                # Point: through its picture position, its depth, and the Jacobian taken there.
                v_u, v_v = float(v_means2d[c, g, 0]), float(v_means2d[c, g, 1])
                v_point[0] = fx * rz * v_u
                v_point[1] = fy * rz * v_v
                v_point[2] = v_splats[s, i, DEPTH] - rz * rz * (fx * point[0] * v_u + fy * point[1] * v_v)
                v_point[2] -= rz * rz * (fx * v_j00 + fy * v_j11)
                if free_x:
                    v_point[0] -= fx * rz * rz * v_j02
                    v_point[2] -= 2 * rz * j02 * v_j02
                else:
                    v_point[2] -= rz * j02 * v_j02
                if free_y:
                    v_point[1] -= fy * rz * rz * v_j12
                    v_point[2] -= 2 * rz * j12 * v_j12
                else:
                    v_point[2] -= rz * j12 * v_j12
                _pull_point(viewmats, c, means, g, v_point, v_viewmats, share, v_mean)
                for k in range(3):
                    for j in range(3):
                        pulled, v_view = 0.0, 0.0
                        for row in range(3):
                            pulled += viewmats[c, row, k] * v_A[row, j]
                            v_view += v_A[k, row] * M[j, row]
                        v_M[k, j] += pulled
                        v_viewmats[share, c, k, j] += v_view
                if moved:
                    for end in range(2):
                        sign = 2.0 * end - 1.0
                        rz = 1.0 / ends[end, 2]
                        v_point[0] = sign * fx * rz * v_dx
                        v_point[1] = sign * fy * rz * v_dy
                        v_point[2] = -rz * (ends[end, 0] * v_point[0] + ends[end, 1] * v_point[1])
                        _pull_point(slices, 2 * c + end, means, g, v_point, v_slices, share, v_mean)
            if not is_seen:
                continue
            for j in range(3):
                v_scale = 0.0
                for k in range(3):
                    v_scale += v_M[k, j] * rotation[k, j]
                    v_M[k, j] *= scales[g, j]
                v_scales[g, j] += v_scale
                v_means[g, j] += v_mean[j]
            _pull_rotation(quats, g, v_M, v_quats)
            v_opacities[g] += v_opacity / opacities[g]
