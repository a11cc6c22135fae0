"""The CPU renderer's inner loops: plain arrays in, plain arrays out, compiled by numba at first use and cached.

Forward and backward stand side by side in each file. Loops that run in parallel write to places of their own and sums
are taken in a fixed order, so results do not depend on the number of threads.
"""
