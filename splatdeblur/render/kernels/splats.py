"""What the kernels know of a Gaussian on screen, and how it lies in memory.

It lies together, in a row of `splats` [S, D, COLUMNS]: D are the candidates that culling has left, in the order of the
scene, and S the sub-frames of a picture.
"""

from .shares import COMMON

TILE = 32  # px
CHUNKS = 64  # shares of the scene, each with sums of its own for the gradients of the cameras

# Columns of a splat. The first GRADIENTS of them have gradients: position in px, inverse screen covariance in px^-2,
# opacity, colour, z-depth. The others bound the footprint, as drawn down to ALPHA_MIN: half extents of its box, half
# the length of its middle row, and how far rows shift to the right from one to the next.
X, Y, XX, XY, YY, OPACITY, RED, GREEN, BLUE, DEPTH, HALF_WIDTH, HALF_HEIGHT, HALF_ROW, SLOPE = range(14)
GRADIENTS = 10
# What the backward pass sums for each (Gaussian, tile) pair: those gradients and, after them, the magnitudes of what
# each pixel adds to those of the position.
ABS_X, ABS_Y = 10, 11
SUMS = 12
COLUMNS = 16  # one cache line in single precision
REACH_SLACK = 1e-3  # px; footprints are a hair larger than the ellipse, so that rounding never cuts a pixel

OPTIONS = {**COMMON, "cache": True}  # called from Python
INLINE = {**COMMON, "no_cpython_wrapper": True, "forceinline": True}  # parts of those
