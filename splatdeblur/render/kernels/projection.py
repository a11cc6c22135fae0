"""Gaussians to splats and back: from the scene's arrays to the blocks that `ellipses` and `colors` deal with."""

import numpy as np
from numba import njit

from . import colors, ellipses
from .colors import COEFFICIENTS, COLOR, V_COEFFICIENTS, V_COLOR, V_DIRECTION
from .ellipses import (
    FULL_OPACITY,
    IS_DRAWN,
    MEAN,
    QUAT,
    RADII,
    SCALE,
    SPLAT,
    TILE_ROWS,
    V_MEAN,
    V_OPACITY,
    V_QUAT,
    V_SCALE,
    V_SPLAT,
    V_VIEW,
)
from .lanes import INLINE, LANES, OPTIONS, along, fill, new_block, vector, view_row
from .shares import ALL, spread
from .splats import CHUNKS, COLUMNS, DEPTH, GRADIENTS, HALF_HEIGHT, OPACITY, RED, TILE, XX, XY, YY, X, Y


@njit(**INLINE)
def _load_ellipse(means, quats, scales, opacities, g, block, lane):
    """Copies Gaussian g into a lane."""
    for k in range(3):
        block[MEAN + k, lane], block[SCALE + k, lane] = means[g, k], scales[g, k]
    for k in range(4):
        block[QUAT + k, lane] = quats[g, k]
    block[FULL_OPACITY, lane] = opacities[g]


@njit(**INLINE)
def _load_coefficients(means, sh0, sh_rest, n_basis, g, block, lane):
    """Copies mean and coefficients of Gaussian g into a lane."""
    for k in range(3):
        block[colors.MEAN + k, lane] = means[g, k]
        block[COEFFICIENTS + k, lane] = sh0[g, 0, k]
    for k in range(1, n_basis):
        for channel in range(3):
            block[COEFFICIENTS + 3 * k + channel, lane] = sh_rest[g, k - 1, channel]


@njit(**INLINE)
def _mean_axes(viewmats, n_subframes):
    """Of each picture the mean of its cameras' third rows: along(axis, mean) is a Gaussian's mean z-depth."""
    axes = np.zeros((1, viewmats.shape[0] // n_subframes, 4))
    for c in range(viewmats.shape[0]):
        for k in range(4):
            axes[0, c // n_subframes, k] += viewmats[c, 2, k] / n_subframes
    return axes


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
def _store(ellipse, shade, lane, s, i, c, g, splats, means2d, radii):
    """Writes a lane's splat."""
    if ellipse[SPLAT + OPACITY, lane] > 0:
        for column in range(COLUMNS):
            splats[s, i, column] = ellipse[SPLAT + column, lane]
        for channel in range(3):
            splats[s, i, RED + channel] = max(shade[COLOR + channel, lane], 0.0)
        for k in range(2):
            means2d[c, g, k] = ellipse[SPLAT + X + k, lane]
            radii[c, g, k] = ellipse[RADII + k, lane]
    else:
        for column in range(COLUMNS):
            splats[s, i, column] = 0
        splats[s, i, HALF_HEIGHT] = -1


@njit(**OPTIONS)
def project(
    means, quats, scales, opacities, sh0, sh_rest, viewmats, Ks, slices, width, height, dilation, near, far,
    antialiased, degree, candidates, offsets, splats, depths, rows, means2d, radii, share,
):  # fmt: skip
    """Fills `splats`; of each candidate the mean z-depth over its sub-frames (never below 0), and rows [D, 2]: the
    first row of tiles that it touches in any of them, and the one after the last.

    sh0 [N, 1, 3] and sh_rest [N, K - 1, 3] are coefficients of harmonics; degrees above `degree` are left out. Writes
    means2d and radii [C, N, 2], which must come as zeros, where a Gaussian is drawn; where it is not, its splat has
    opacity 0 and a footprint without rows.
    """
    if share == ALL:
        spread(0, CHUNKS)
        return
    n_pictures, n_subframes, real = offsets.shape[0] // CHUNKS, splats.shape[0], splats.dtype.type
    tiles_y, n_basis = -(-height // TILE), (degree + 1) ** 2
    axes, centers = _mean_axes(viewmats, n_subframes), _camera_centers(viewmats)
    ellipse, shade = new_block(ellipses.FORWARD_ROWS), new_block(colors.FORWARD_ROWS)
    for part in range(share, n_pictures * CHUNKS, CHUNKS):
        picture = part // CHUNKS
        for begin in range(offsets[part], offsets[part + 1], LANES):
            count = min(LANES, offsets[part + 1] - begin)
            for lane in range(count):
                g = candidates[begin + lane]
                _load_ellipse(means, quats, scales, opacities, g, ellipse, lane)
                _load_coefficients(means, sh0, sh_rest, n_basis, g, shade, lane)
                depth = along(view_row(axes, 0, picture), vector(ellipse, MEAN, lane))
                depths[begin + lane] = depth if depth > 0 else 0.0
            ellipses.find_axes(ellipse)
            fill(ellipse, TILE_ROWS, TILE_ROWS + 1, tiles_y)
            fill(ellipse, TILE_ROWS + 1, TILE_ROWS + 2, 0)
            for s in range(n_subframes):
                c = picture * n_subframes + s
                if slices.shape[0] > 0:
                    ellipses.find_strokes(slices, Ks, c, near, ellipse)
                ellipses.draw(
                    viewmats, Ks, c, width, height, dilation, near, far, antialiased, real, tiles_y, ellipse
                )
                if degree > 0:
                    colors.find_basis(centers, c, degree, shade)
                colors.mix(n_basis, shade)
                for lane in range(count):
                    g = candidates[begin + lane]
                    _store(ellipse, shade, lane, s, begin + lane, c, g, splats, means2d, radii)
            for lane in range(count):
                for k in range(2):
                    rows[begin + lane, k] = ellipse[TILE_ROWS + k, lane]


@njit(**INLINE)
def _list_seen(splats, v_splats, v_means2d, candidates, part, begin, end, seen):
    """Writes which candidates anything depends on to `seen`: not those hidden behind others. Returns their number."""
    count, n_subframes = 0, splats.shape[0]
    for i in range(begin, end):
        is_seen = False
        for s in range(n_subframes):
            c = part // CHUNKS * n_subframes + s
            has_gradient = (v_means2d[c, candidates[i], 0] != 0) | (v_means2d[c, candidates[i], 1] != 0)
            for column in range(GRADIENTS):
                has_gradient |= v_splats[s, i, column] != 0
            is_seen |= has_gradient & (splats[s, i, OPACITY] != 0)
        seen[count] = i
        count += is_seen
    return count


@njit(**INLINE)
def _load_gradients(splats, v_splats, v_means2d, s, c, seen, begin, count, candidates, ellipse, shade):
    """Copies what the backward pass needs of the splats, and their gradients. Returns whether any of them is drawn."""
    fill(ellipse, IS_DRAWN, V_SPLAT + GRADIENTS, 0)
    fill(shade, V_COLOR, V_COLOR + 3, 0)
    is_any_drawn = False
    for lane in range(count):
        i = seen[begin + lane]
        if splats[s, i, OPACITY] == 0:
            continue
        is_any_drawn = True
        ellipse[IS_DRAWN, lane] = 1
        for column in (XX, XY, YY, OPACITY):
            ellipse[SPLAT + column, lane] = splats[s, i, column]
            ellipse[V_SPLAT + column, lane] = v_splats[s, i, column]
        ellipse[V_SPLAT + DEPTH, lane] = v_splats[s, i, DEPTH]
        ellipse[V_SPLAT + X, lane] = v_means2d[c, candidates[i], 0]
        ellipse[V_SPLAT + Y, lane] = v_means2d[c, candidates[i], 1]
        for channel in range(3):
            is_lit = splats[s, i, RED + channel] > 0
            shade[V_COLOR + channel, lane] = v_splats[s, i, RED + channel] if is_lit else 0.0
    return is_any_drawn


@njit(**INLINE)
def _add_view(block, share, c, v_views):
    """Adds what the lanes say to the gradient of view c."""
    for row in range(3):
        for column in range(4):
            total = 0.0
            for lane in range(LANES):
                total += block[V_VIEW + 4 * row + column, lane]
            v_views[share, c, row, column] += total


@njit(**INLINE)
def _add_centers(v_centers, viewmats, share, v_viewmats):
    """Adds what the gradients of the cameras' places say of the views."""
    for c in range(viewmats.shape[0]):
        for i in range(3):
            for j in range(3):
                v_viewmats[share, c, i, j] -= viewmats[c, i, 3] * v_centers[c, j]
                v_viewmats[share, c, i, 3] -= viewmats[c, i, j] * v_centers[c, j]


@njit(**OPTIONS)
def project_backward(
    means, quats, scales, opacities, sh0, sh_rest, viewmats, Ks, slices, width, height, dilation, near,
    antialiased, degree, candidates, offsets, splats, v_splats, v_means2d,
    v_means, v_quats, v_scales, v_opacities, v_sh0, v_sh_rest, v_viewmats, v_slices, share,
):  # fmt: skip
    """Adds to the last eight arrays; v_viewmats [CHUNKS, C, 4, 4] and v_slices [CHUNKS, 2 C, 4, 4] are then to be
    summed over the first axis.

    The gradient of the position is taken from v_means2d [C, N, 2], all others from v_splats.
    """
    if share == ALL:
        spread(0, CHUNKS)
        return
    n_pictures, n_subframes, n_basis = offsets.shape[0] // CHUNKS, splats.shape[0], (degree + 1) ** 2
    is_thick = slices.shape[0] > 0
    centers, v_centers = _camera_centers(viewmats), np.zeros((viewmats.shape[0], 3))
    ellipse, shade = new_block(ellipses.BACKWARD_ROWS), new_block(colors.BACKWARD_ROWS)
    seen = np.empty(means.shape[0] // CHUNKS + 1, np.int64)
    for part in range(share, n_pictures * CHUNKS, CHUNKS):
        end = _list_seen(
            splats, v_splats, v_means2d, candidates, part, offsets[part], offsets[part + 1], seen
        )
        for begin in range(0, end, LANES):
            count = min(LANES, end - begin)
            for lane in range(count):
                g = candidates[seen[begin + lane]]
                _load_ellipse(means, quats, scales, opacities, g, ellipse, lane)
                _load_coefficients(means, sh0, sh_rest, n_basis, g, shade, lane)
            ellipses.find_axes(ellipse)
            fill(ellipse, V_MEAN, V_OPACITY + 1, 0)
            fill(shade, colors.V_MEAN, colors.V_MEAN + 3, 0)
            fill(shade, V_COEFFICIENTS, V_COEFFICIENTS + 3 * n_basis, 0)
            for s in range(n_subframes):
                c = part // CHUNKS * n_subframes + s
                if not _load_gradients(
                    splats, v_splats, v_means2d, s, c, seen, begin, count, candidates, ellipse, shade
                ):
                    continue
                if is_thick:
                    ellipses.find_strokes(slices, Ks, c, near, ellipse)
                ellipses.pull_splats(viewmats, Ks, c, width, height, dilation, antialiased, is_thick, ellipse)
                _add_view(ellipse, share, c, v_viewmats)
                if is_thick:
                    for at_end in range(2):
                        ellipses.pull_strokes(slices, Ks, c, at_end, near, ellipse)
                        _add_view(ellipse, share, 2 * c + at_end, v_slices)
                if degree > 0:
                    colors.find_basis(centers, c, degree, shade)
                colors.pull_mix(n_basis, shade)
                if degree > 0:
                    colors.pull_basis(degree, shade)
                    for k in range(3):
                        total = 0.0
                        for lane in range(LANES):
                            total += shade[V_DIRECTION + k, lane]
                        v_centers[c, k] -= total
            ellipses.pull_axes(ellipse)
            for lane in range(count):
                g = candidates[seen[begin + lane]]
                for k in range(3):
                    v_means[g, k] += ellipse[V_MEAN + k, lane] + shade[colors.V_MEAN + k, lane]
                    v_scales[g, k] += ellipse[V_SCALE + k, lane]
                    v_sh0[g, 0, k] += shade[V_COEFFICIENTS + k, lane]
                for k in range(4):
                    v_quats[g, k] += ellipse[V_QUAT + k, lane]
                v_opacities[g] += ellipse[V_OPACITY, lane] / ellipse[FULL_OPACITY, lane]
                for k in range(1, n_basis):
                    for channel in range(3):
                        v_sh_rest[g, k - 1, channel] += shade[V_COEFFICIENTS + 3 * k + channel, lane]
    _add_centers(v_centers, viewmats, share, v_viewmats)
