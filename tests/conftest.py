"""Set before torch and numba load their thread pools: workers that wait must sleep, not spin."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
