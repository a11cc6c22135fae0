"""Blocks of Gaussians to screen ellipses and back: means, covariances, opacities; thick sub-frames included."""

import math

import numpy as np
from numba import njit

from ..rasterizer import ALPHA_MIN
from .lanes import INLINE, LANES, add_vector, along, dot, put_vector, scaled, vector, view_row
from .maths import log
from .splats import (
    DEPTH,
    HALF_HEIGHT,
    HALF_ROW,
    HALF_WIDTH,
    OPACITY,
    REACH_SLACK,
    SLOPE,
    TILE,
    XX,
    XY,
    YY,
    X,
    Y,
)

SIGMAS_MAX = 3.33  # a footprint never reaches further than this many standard deviations, as in gsplat
MARGIN = 0.3  # the Jacobian is frozen this many half-widths outside of the picture, as in gsplat
TWELFTH = 1 / 12  # variance of an even stroke of length 1

# Rows of a block. Of the scene: mean, quaternion, scales, opacity; of its shape the three axes, each a vector.
MEAN, QUAT, SCALE, FULL_OPACITY, AXES = 0, 3, 7, 10, 11
STROKE = 20  # on screen, of a thick sub-frame
# Forward: the splat, the half extents that say how large it is, and the rows of tiles that it touches in any sub-frame.
SPLAT, RADII, TILE_ROWS = 22, 38, 40
FORWARD_ROWS = 42
# Backward: what of the splat is needed again, the gradients that come, and those that go.
IS_DRAWN, V_SPLAT, V_STROKE, V_MEAN, V_AXES, V_OPACITY, V_QUAT, V_SCALE = 38, 39, 49, 51, 54, 63, 64, 68
V_VIEW = 71  # 12 rows, for the first three rows of a view matrix
BACKWARD_ROWS = 83


@njit(**INLINE)
def _unit_quaternion(block, lane):
    """The quaternion (wxyz) at length 1, and 1 / its own length."""
    w, x, y, z = block[QUAT, lane], block[QUAT + 1, lane], block[QUAT + 2, lane], block[QUAT + 3, lane]
    inverse_norm = 1.0 / math.sqrt(w * w + x * x + y * y + z * z)
    return w * inverse_norm, x * inverse_norm, y * inverse_norm, z * inverse_norm, inverse_norm


@njit(**INLINE)
def _columns(w, x, y, z):
    """Of the rotation matrix of a unit quaternion."""
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)),
        (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)),
        (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)),
    )


@njit(**INLINE)
def find_axes(block):
    """Fills the axes: the columns of R S."""
    for lane in range(LANES):
        w, x, y, z, _ = _unit_quaternion(block, lane)
        a, b, c = _columns(w, x, y, z)
        put_vector(block, AXES, lane, scaled(a, block[SCALE, lane]))
        put_vector(block, AXES + 3, lane, scaled(b, block[SCALE + 1, lane]))
        put_vector(block, AXES + 6, lane, scaled(c, block[SCALE + 2, lane]))


@njit(**INLINE)
def _clamped_ratio(ratio, focal, center, size):
    """The ratio x/z at which the Jacobian is taken."""
    margin = MARGIN * 0.5 * size
    return min(max(ratio, -(center + margin) / focal), (size - center + margin) / focal)


@njit(**INLINE)
def _camera(Ks, c):
    """Focal lengths and principal point in px."""
    return Ks[c, 0, 0], Ks[c, 1, 1], Ks[c, 0, 2], Ks[c, 1, 2]


@njit(**INLINE)
def _jacobian(x, y, rz, K, width, height):
    """Of the projection: its entries 00, 02, 11 and 12, and whether 02 and 12 are those at the point itself."""
    fx, fy, cx, cy = K
    ratio_x, ratio_y = x * rz, y * rz
    taken_x, taken_y = _clamped_ratio(ratio_x, fx, cx, width), _clamped_ratio(ratio_y, fy, cy, height)
    return fx * rz, -fx * rz * taken_x, fy * rz, -fy * rz * taken_y, taken_x == ratio_x, taken_y == ratio_y


@njit(**INLINE)
def find_strokes(slices, Ks, c, near, block):
    """Fills the screen displacement (px) of the means during the slice of camera c; 0 if they come too near.

    slices are [2 C, 4, 4]: the view at the start and the one at the end of each camera's slice, one after the other.
    """
    fx, fy, _, _ = _camera(Ks, c)
    x0, y0, z0 = view_row(slices, 2 * c, 0), view_row(slices, 2 * c, 1), view_row(slices, 2 * c, 2)
    x1, y1, z1 = view_row(slices, 2 * c + 1, 0), view_row(slices, 2 * c + 1, 1), view_row(slices, 2 * c + 1, 2)
    for lane in range(LANES):
        mean = vector(block, MEAN, lane)
        start, end = along(z0, mean), along(z1, mean)
        has_moved = (start > near) & (end > near)
        dx = fx * (along(x1, mean) / end - along(x0, mean) / start)
        dy = fy * (along(y1, mean) / end - along(y0, mean) / start)
        block[STROKE, lane] = dx if has_moved else 0.0
        block[STROKE + 1, lane] = dy if has_moved else 0.0


@njit(**INLINE)
def draw(viewmats, Ks, c, width, height, dilation, near, far, antialiased, real, tiles_y, block):
    """Fills the splats and their radii in camera c."""
    to_x, to_y, to_z = view_row(viewmats, c, 0), view_row(viewmats, c, 1), view_row(viewmats, c, 2)
    K = _camera(Ks, c)
    for lane in range(LANES):
        mean = vector(block, MEAN, lane)
        x, y, z = along(to_x, mean), along(to_y, mean), along(to_z, mean)
        rz = 1 / z
        j00, j02, j11, j12, _, _ = _jacobian(x, y, rz, K, width, height)
        xx, xy, yy = 0.0, 0.0, 0.0
        for k in range(3):
            axis = vector(block, AXES + 3 * k, lane)
            depth = dot(to_z, axis)
            across, down = j00 * dot(to_x, axis) + j02 * depth, j11 * dot(to_y, axis) + j12 * depth
            xx += across * across
            xy += across * down
            yy += down * down
        # Light is conserved: opacity falls as the determinant grows, from this one on.
        sharp = max(0.0, xx * yy - xy * xy)
        xx, yy = xx + dilation, yy + dilation
        conserved = sharp if antialiased else xx * yy - xy * xy
        dx, dy = block[STROKE, lane], block[STROKE + 1, lane]
        xx, xy, yy = xx + dx * dx * TWELFTH, xy + dx * dy * TWELFTH, yy + dy * dy * TWELFTH
        det = xx * yy - xy * xy
        inverse_det, inverse_yy = 1 / det, 1 / yy
        opacity = block[FULL_OPACITY, lane] * math.sqrt(conserved * inverse_det)
        # Written so that NaN is refused as well.
        is_drawn = (z >= near) & (z <= far) & (det > 0) & (det < 1e30) & (opacity >= ALPHA_MIN)
        u, v = j00 * x + K[2], j11 * y + K[3]
        # The footprint is d^T Q d <= reach^2.
        reach = math.sqrt(2.0 * max(log(real(opacity * (1 / ALPHA_MIN))), real(0)))
        sigma_x, sigma_y, extent = math.sqrt(xx), math.sqrt(yy), min(SIGMAS_MAX, reach)
        rx, ry = np.ceil(extent * sigma_x), np.ceil(extent * sigma_y)
        is_drawn &= (u + rx > 0) & (u - rx < width) & (v + ry > 0) & (v - ry < height)
        half_width = reach * sigma_x
        block[SPLAT + X, lane], block[SPLAT + Y, lane], block[SPLAT + DEPTH, lane] = u, v, z
        block[SPLAT + XX, lane], block[SPLAT + YY, lane] = yy * inverse_det, xx * inverse_det
        block[SPLAT + XY, lane] = -xy * inverse_det
        block[SPLAT + OPACITY, lane] = opacity if is_drawn else 0.0
        block[SPLAT + HALF_WIDTH, lane] = half_width + REACH_SLACK
        block[SPLAT + HALF_HEIGHT, lane] = reach * sigma_y + REACH_SLACK
        block[SPLAT + HALF_ROW, lane] = reach * math.sqrt(det * inverse_yy) + REACH_SLACK + 1e-6 * half_width
        block[SPLAT + SLOPE, lane] = xy * inverse_yy
        block[RADII, lane], block[RADII + 1, lane] = min(rx, 1e9), min(ry, 1e9)
        # Pixels have their centres at halves.
        half_height, last = reach * sigma_y + REACH_SLACK, tiles_y * TILE - 1.0
        first_row = np.floor(min(max(np.ceil(v - half_height - 0.5), 0.0), last) * (1 / TILE))
        last_row = np.floor(max(min(np.floor(v + half_height - 0.5), last), -1.0) * (1 / TILE))
        first, end = block[TILE_ROWS, lane], block[TILE_ROWS + 1, lane]
        block[TILE_ROWS, lane] = min(first, first_row) if is_drawn else first
        block[TILE_ROWS + 1, lane] = max(end, last_row + 1) if is_drawn else end


@njit(**INLINE)
def _pull_inverse(q, v):
    """From the gradient by an inverse covariance (xx, xy, yy) to that by the covariance: -Q V Q."""
    # V is symmetric, with half of the xy gradient on each side.
    half = 0.5 * v[1]
    xx, xy = v[0] * q[0] + half * q[1], v[0] * q[1] + half * q[2]
    yx, yy = half * q[0] + v[2] * q[1], half * q[1] + v[2] * q[2]
    return -(q[0] * xx + q[1] * yx), -2 * (q[0] * xy + q[1] * yy), -(q[1] * xy + q[2] * yy)


@njit(**INLINE)
def _plus_log_det(v, weight, inverse):
    """Adds to the gradient by a covariance that of weight * log det: d log det = tr(inverse dCov)."""
    return v[0] + weight * inverse[0], v[1] + 2 * weight * inverse[1], v[2] + weight * inverse[2]


@njit(**INLINE)
def _or_zero(is_good, values):
    return values[0] if is_good else 0.0, values[1] if is_good else 0.0, values[2] if is_good else 0.0


@njit(**INLINE)
def _sum3(weights, a, b, c):
    """The sum of three vectors with those weights."""
    return (
        weights[0] * a[0] + weights[1] * b[0] + weights[2] * c[0],
        weights[0] * a[1] + weights[1] * b[1] + weights[2] * c[1],
        weights[0] * a[2] + weights[1] * b[2] + weights[2] * c[2],
    )


@njit(**INLINE)
def _put_view(block, lane, row, v_point, mean, v_turn):
    """Writes the gradient of a view's row: by the coordinate that it gives the mean, and by its turning alone."""
    for k in range(3):
        block[V_VIEW + 4 * row + k, lane] = v_point * mean[k] + v_turn[k]
    block[V_VIEW + 4 * row + 3, lane] = v_point


@njit(**INLINE)
def pull_splats(viewmats, Ks, c, width, height, dilation, antialiased, is_thick, block):
    """From the gradients of the splats in camera c to those of its view (filled) and of the Gaussians (added)."""
    to_x, to_y, to_z = view_row(viewmats, c, 0), view_row(viewmats, c, 1), view_row(viewmats, c, 2)
    K = _camera(Ks, c)
    for lane in range(LANES):
        # A Gaussian that is not drawn here has gradients of 0; all that they are multiplied with must be finite.
        is_drawn = block[IS_DRAWN, lane] != 0
        mean, a = _or_zero(is_drawn, vector(block, MEAN, lane)), _or_zero(is_drawn, vector(block, AXES, lane))
        b, c = _or_zero(is_drawn, vector(block, AXES + 3, lane)), _or_zero(is_drawn, vector(block, AXES + 6, lane))
        x, y, z = along(to_x, mean), along(to_y, mean), along(to_z, mean)
        rz = 1 / (z if is_drawn else 1.0)
        j00, j02, j11, j12, is_free_x, is_free_y = _jacobian(x, y, rz, K, width, height)
        # In the camera's axes.
        ax, bx, cx = dot(to_x, a), dot(to_x, b), dot(to_x, c)
        ay, by, cy = dot(to_y, a), dot(to_y, b), dot(to_y, c)
        depths = dot(to_z, a), dot(to_z, b), dot(to_z, c)
        across = j00 * ax + j02 * depths[0], j00 * bx + j02 * depths[1], j00 * cx + j02 * depths[2]
        down = j11 * ay + j12 * depths[0], j11 * by + j12 * depths[1], j11 * cy + j12 * depths[2]
        q = block[SPLAT + XX, lane], block[SPLAT + XY, lane], block[SPLAT + YY, lane]
        v = _pull_inverse(q, (block[V_SPLAT + XX, lane], block[V_SPLAT + XY, lane], block[V_SPLAT + YY, lane]))
        # Opacity on screen: opacity * sqrt(conserved determinant / determinant of the final covariance).
        v_log = block[V_SPLAT + OPACITY, lane] * block[SPLAT + OPACITY, lane]
        block[V_OPACITY, lane] += v_log
        v_log = v_log if antialiased | is_thick else 0.0
        v = _plus_log_det(v, -0.5 * v_log, q)
        dx, dy = block[STROKE, lane], block[STROKE + 1, lane]
        block[V_STROKE, lane] = (2 * v[0] * dx + v[1] * dy) * TWELFTH
        block[V_STROKE + 1, lane] = (2 * v[2] * dy + v[1] * dx) * TWELFTH
        grown = 0.0 if antialiased else dilation
        xx, xy, yy = dot(across, across) + grown, dot(across, down), dot(down, down) + grown
        v = _plus_log_det(v, 0.5 * v_log / max(xx * yy - xy * xy, 1e-12), (yy, -xy, xx))
        # Covariance = B B^T, where the rows of B are across and down.
        v_across = _sum3((2 * v[0], v[1], 0.0), across, down, down)
        v_down = _sum3((2 * v[2], v[1], 0.0), down, across, across)
        v_j00, v_j02 = dot(v_across, (ax, bx, cx)), dot(v_across, depths)
        v_j11, v_j12 = dot(v_down, (ay, by, cy)), dot(v_down, depths)
        v_x, v_y = scaled(v_across, j00), scaled(v_down, j11)
        v_z = _sum3((j02, j12, 0.0), v_across, v_down, v_down)
        # Point: through its picture position, its depth, and the Jacobian taken there.
        v_u, v_v = block[V_SPLAT + X, lane], block[V_SPLAT + Y, lane]
        point_x, point_y = j00 * v_u, j11 * v_v
        point_z = block[V_SPLAT + DEPTH, lane] - rz * (x * point_x + y * point_y + j00 * v_j00 + j11 * v_j11)
        point_x -= j00 * rz * v_j02 if is_free_x else 0.0
        point_y -= j11 * rz * v_j12 if is_free_y else 0.0
        point_z -= rz * ((2.0 if is_free_x else 1.0) * j02 * v_j02 + (2.0 if is_free_y else 1.0) * j12 * v_j12)
        add_vector(block, V_MEAN, lane, _sum3((point_x, point_y, point_z), to_x, to_y, to_z))
        for k in range(3):
            add_vector(block, V_AXES + 3 * k, lane, _sum3((v_x[k], v_y[k], v_z[k]), to_x, to_y, to_z))
        _put_view(block, lane, 0, point_x, mean, _sum3(v_x, a, b, c))
        _put_view(block, lane, 1, point_y, mean, _sum3(v_y, a, b, c))
        _put_view(block, lane, 2, point_z, mean, _sum3(v_z, a, b, c))


@njit(**INLINE)
def pull_strokes(slices, Ks, c, end, near, block):
    """From the gradients of the strokes of camera c to those of its slice's view at one end and of the means."""
    fx, fy, _, _ = _camera(Ks, c)
    view, other = 2 * c + end, 2 * c + 1 - end
    to_x, to_y, to_z = view_row(slices, view, 0), view_row(slices, view, 1), view_row(slices, view, 2)
    to_other_z, sign, none = view_row(slices, other, 2), 2.0 * end - 1.0, (0.0, 0.0, 0.0)
    for lane in range(LANES):
        mean = vector(block, MEAN, lane)
        x, y, z = along(to_x, mean), along(to_y, mean), along(to_z, mean)
        has_moved = (block[IS_DRAWN, lane] != 0) & (z > near) & (along(to_other_z, mean) > near)
        v_x, v_y = sign * fx / z * block[V_STROKE, lane], sign * fy / z * block[V_STROKE + 1, lane]
        v_point = _or_zero(has_moved, (v_x, v_y, -(x * v_x + y * v_y) / z))
        mean = _or_zero(has_moved, mean)
        add_vector(block, V_MEAN, lane, _or_zero(has_moved, _sum3(v_point, to_x, to_y, to_z)))
        for row in range(3):
            _put_view(block, lane, row, v_point[row], mean, none)


@njit(**INLINE)
def pull_axes(block):
    """From the gradients of the axes, the columns of R S, to those of scales and quaternions."""
    for lane in range(LANES):
        w, x, y, z, inverse_norm = _unit_quaternion(block, lane)
        columns = _columns(w, x, y, z)
        for k in range(3):
            block[V_SCALE + k, lane] = dot(vector(block, V_AXES + 3 * k, lane), columns[k])
        # The gradient of R, by columns.
        a = scaled(vector(block, V_AXES, lane), block[SCALE, lane])
        b = scaled(vector(block, V_AXES + 3, lane), block[SCALE + 1, lane])
        c = scaled(vector(block, V_AXES + 6, lane), block[SCALE + 2, lane])
        xy, xz, yz = a[1] + b[0], a[2] + c[0], b[2] + c[1]
        gw = 2 * (x * (b[2] - c[1]) + y * (c[0] - a[2]) + z * (a[1] - b[0]))
        gx = 2 * (-2 * x * (b[1] + c[2]) + y * xy + z * xz + w * (b[2] - c[1]))
        gy = 2 * (x * xy - 2 * y * (a[0] + c[2]) + z * yz + w * (c[0] - a[2]))
        gz = 2 * (x * xz + y * yz - 2 * z * (a[0] + b[1]) + w * (a[1] - b[0]))
        # Through the normalisation.
        along_q = gw * w + gx * x + gy * y + gz * z
        block[V_QUAT, lane] = (gw - along_q * w) * inverse_norm
        put_vector(
            block, V_QUAT + 1, lane,
            ((gx - along_q * x) * inverse_norm, (gy - along_q * y) * inverse_norm, (gz - along_q * z) * inverse_norm),
        )  # fmt: skip
