"""The CPU renderer's inner loops: plain arrays in, plain arrays out, compiled by numba at first use and cached.

Forward and backward stand side by side in each file. The last argument of a kernel that runs on several threads is
the number of one share of its work, or `shares.ALL`. Shares write to places of their own and sums are taken in a fixed
order, so results do not depend on the number of threads.
"""

import numba

from .cache import cache_folder

# Only while these modules are imported, which is when numba decides where to cache them: others' functions are theirs.
_elsewhere, numba.config.CACHE_DIR = numba.config.CACHE_DIR, cache_folder()
try:
    from . import average, blend, culling, projection, tiles
finally:
    numba.config.CACHE_DIR = _elsewhere

__all__ = ["average", "blend", "culling", "projection", "tiles"]
