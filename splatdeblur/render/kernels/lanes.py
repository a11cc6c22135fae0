"""Gaussians side by side in blocks, so that LLVM makes vector instructions of what is worked out of each.

A block is a small array [rows, LANES] of float64, whatever the scene's precision: this is a small part of the time, and
small determinants matter. What is needed of a Gaussian is copied into its lane first; loops over lanes then read and
write this one array alone, which the vectoriser knows not to overlap with others, and choose instead of branching.
"""

import numpy as np
from numba import njit

from .maths import FASTMATH
from .splats import INLINE as PLAIN_INLINE
from .splats import OPTIONS as PLAIN_OPTIONS

LANES = 16
OPTIONS = {**PLAIN_OPTIONS, "fastmath": FASTMATH}
INLINE = {**PLAIN_INLINE, "fastmath": FASTMATH}


@njit(**INLINE)
def new_block(rows):
    """A block of zeros."""
    return np.zeros((rows, LANES))


@njit(**INLINE)
def fill(block, first, end, value):
    """Sets the rows from `first` up to, but without, `end`; compiled far sooner than an assignment to a slice."""
    for row in range(first, end):
        for lane in range(LANES):
            block[row, lane] = value


@njit(**INLINE)
def vector(block, row, lane):
    """Three rows, one after another, of a lane."""
    return block[row, lane], block[row + 1, lane], block[row + 2, lane]


@njit(**INLINE)
def put_vector(block, row, lane, values):
    block[row, lane], block[row + 1, lane], block[row + 2, lane] = values


@njit(**INLINE)
def add_vector(block, row, lane, values):
    for k in range(3):
        block[row + k, lane] += values[k]


@njit(**INLINE)
def scaled(a, factor):
    return a[0] * factor, a[1] * factor, a[2] * factor


@njit(**INLINE)
def view_row(views, c, row):
    """A row of a view matrix: dot(row, point) turns, along(row, point) turns and shifts."""
    return views[c, row, 0], views[c, row, 1], views[c, row, 2], views[c, row, 3]


@njit(**INLINE)
def dot(a, b):
    """Of the first three entries."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(**INLINE)
def along(row, point):
    return row[0] * point[0] + row[1] * point[1] + row[2] * point[2] + row[3]
