"""The loops of `spread` on a CPU: planar light [3, height, width], everything else [height, width].

`reach[y]` is the largest edge in a row plus a half: taps beyond it are skipped for the whole row. Rows are shared
between threads, and each writes to rows of its own.
"""

import math

import numpy as np
from numba import njit, prange

OPTIONS = {
    "parallel": True, "cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "reassoc"},
}  # fmt: skip


@njit(**OPTIONS)
def areas(edge, reach, area, growth):
    """Fills in how many pixels each disk covers, and how that grows with its edge."""
    height, width = edge.shape
    half, zero, one = edge.dtype.type(0.5), edge.dtype.type(0), edge.dtype.type(1)
    for y in prange(height):
        area[y], growth[y] = 0, 0
        n = math.ceil(reach[y])
        for dy in range(-n, n + 1):
            for dx in range(-n, n + 1):
                distance = edge.dtype.type(math.sqrt(dy * dy + dx * dx))
                if distance >= reach[y]:
                    continue
                for x in range(width):
                    cover = edge[y, x] + half - distance
                    area[y, x] += min(max(cover, zero), one)
                    growth[y, x] += one if (cover > zero) & (cover < one) else zero


@njit(**OPTIONS)
def gather(light, edge, nearness, inverse_area, reach, mean, weights):
    """Fills `mean`, what each pixel gets, and `weights`, the sum that it was divided by."""
    height, width = edge.shape
    half, zero, one = edge.dtype.type(0.5), edge.dtype.type(0), edge.dtype.type(1)
    n = math.ceil(reach.max())
    for row in prange(height):
        y = np.int64(row)  # prange counts without sign
        weights[y] = 0
        mean[:, y] = 0
        for dy in range(max(-n, -y), min(n, height - 1 - y) + 1):
            z = y + dy
            for dx in range(-n, n + 1):
                distance = edge.dtype.type(math.sqrt(dy * dy + dx * dx))
                if distance >= reach[z]:
                    continue
                # p takes from q; rows are cut to where both are in the picture, as plain loops over rows are fast.
                at, to, count = max(0, -dx), max(0, dx), width - abs(dx)
                edge_p, edge_q = edge[y, at : at + count], edge[z, to : to + count]
                near_p, near_q = nearness[y, at : at + count], nearness[z, to : to + count]
                area_p, area_q = inverse_area[y, at : at + count], inverse_area[z, to : to + count]
                red, green, blue = (
                    light[0, z, to : to + count], light[1, z, to : to + count], light[2, z, to : to + count]
                )  # fmt: skip
                total, mean_r, mean_g, mean_b = (
                    weights[y, at : at + count], mean[0, y, at : at + count], mean[1, y, at : at + count],
                    mean[2, y, at : at + count],
                )  # fmt: skip
                for i in range(count):
                    is_own = (near_q[i] < near_p[i]) & (edge_p[i] < edge_q[i])
                    rim = edge_p[i] if is_own else edge_q[i]
                    share = area_p[i] if is_own else area_q[i]
                    weight = min(max(rim + half - distance, zero), one) * share
                    total[i] += weight
                    mean_r[i] += weight * red[i]
                    mean_g[i] += weight * green[i]
                    mean_b[i] += weight * blue[i]
        for x in range(width):
            share = one / weights[y, x]
            for c in range(3):
                mean[c, y, x] *= share


@njit(**OPTIONS)
def gather_back(light, edge, nearness, inverse_area, growth, reach, v_total, v_weights, v_light, v_edge):
    """The gradients by light and edge, from those by the weighted sum and by the sum of weights."""
    height, width = edge.shape
    half, zero, one = edge.dtype.type(0.5), edge.dtype.type(0), edge.dtype.type(1)
    n = math.ceil(reach.max())
    for row in prange(height):
        y = np.int64(row)
        v_edge[y] = 0
        v_light[:, y] = 0
        for dy in range(max(-n, -y), min(n, height - 1 - y) + 1):
            z = y + dy
            for dx in range(-n, n + 1):
                distance = edge.dtype.type(math.sqrt(dy * dy + dx * dx))
                if distance >= reach[y]:
                    continue
                at, to, count = max(0, -dx), max(0, dx), width - abs(dx)
                edge_a, edge_b = edge[y, at : at + count], edge[z, to : to + count]
                near_a, near_b = nearness[y, at : at + count], nearness[z, to : to + count]
                area_a, area_b = inverse_area[y, at : at + count], inverse_area[z, to : to + count]
                grows = growth[y, at : at + count]
                weights_a, weights_b = v_weights[y, at : at + count], v_weights[z, to : to + count]
                red, green, blue = (
                    light[0, y, at : at + count], light[1, y, at : at + count], light[2, y, at : at + count]
                )  # fmt: skip
                red_b, green_b, blue_b = (
                    light[0, z, to : to + count], light[1, z, to : to + count], light[2, z, to : to + count]
                )  # fmt: skip
                taken_r, taken_g, taken_b = (
                    v_total[0, y, at : at + count], v_total[1, y, at : at + count], v_total[2, y, at : at + count]
                )  # fmt: skip
                given_r, given_g, given_b = (
                    v_total[0, z, to : to + count], v_total[1, z, to : to + count], v_total[2, z, to : to + count]
                )  # fmt: skip
                v_r, v_g, v_b = (
                    v_light[0, y, at : at + count], v_light[1, y, at : at + count], v_light[2, y, at : at + count]
                )  # fmt: skip
                v_rim = v_edge[y, at : at + count]
                for i in range(count):
                    # This pixel as the one that gives light to the other ...
                    is_cut = (near_a[i] < near_b[i]) & (edge_b[i] < edge_a[i])
                    rim = edge_b[i] if is_cut else edge_a[i]
                    share = area_b[i] if is_cut else area_a[i]
                    cover = rim + half - distance
                    weight = min(max(cover, zero), one) * share
                    v_r[i] += weight * given_r[i]
                    v_g[i] += weight * given_g[i]
                    v_b[i] += weight * given_b[i]
                    v = weights_b[i] + given_r[i] * red[i] + given_g[i] * green[i] + given_b[i] * blue[i]
                    at_rim = one if (cover > zero) & (cover < one) else zero
                    slope = v * (at_rim - weight * grows[i]) * share
                    # ... and as the one that takes it: where its own, smaller disk cuts the other's off.
                    own_cover = edge_a[i] + half - distance
                    own_weight = min(max(own_cover, zero), one) * area_a[i]
                    own_v = weights_a[i] + taken_r[i] * red_b[i] + taken_g[i] * green_b[i] + taken_b[i] * blue_b[i]
                    own_rim = one if (own_cover > zero) & (own_cover < one) else zero
                    own_slope = own_v * (own_rim - own_weight * grows[i]) * area_a[i]
                    cuts = (near_b[i] < near_a[i]) & (edge_a[i] < edge_b[i])
                    v_rim[i] += (zero if is_cut else slope) + (own_slope if cuts else zero)


def spread_forward(light: np.ndarray, edge: np.ndarray, nearness: np.ndarray) -> tuple[np.ndarray, tuple]:
    """What each pixel gets, and what the way back needs."""
    reach = edge.max(axis=1) + edge.dtype.type(0.5)
    area, growth, weights = np.empty_like(edge), np.empty_like(edge), np.empty_like(edge)
    areas(edge, reach, area, growth)
    inverse_area, mean = 1 / area, np.empty_like(light)
    gather(light, edge, nearness, inverse_area, reach, mean, weights)
    return mean, (light, edge, nearness, inverse_area, growth, reach, mean, weights)


def spread_backward(v_mean: np.ndarray, kept: tuple) -> tuple[np.ndarray, np.ndarray]:
    """The gradients by light and by edge."""
    light, edge, nearness, inverse_area, growth, reach, mean, weights = kept
    v_total = v_mean / weights
    v_weights = -(v_total * mean).sum(axis=0)
    v_light, v_edge = np.empty_like(light), np.empty_like(edge)
    gather_back(light, edge, nearness, inverse_area, growth, reach, v_total, v_weights, v_light, v_edge)
    return v_light, v_edge
