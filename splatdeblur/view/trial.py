"""Whether a browser draws splats fast enough to be left with them: found by trying, as none says if it has a GPU."""

import time
from math import inf

import numpy as np
import viser

from .display import Splats

MOST_SPLATS = 20_000  # fewer pass for fast without a GPU, too
FAINT = 0.02  # opacity of the splats tried: their drawing costs as much, and nobody sees them
PICTURE = (48, 64)  # height and width in px; a browser draws its whole window all the same
SLOW_S = 0.15  # more than any GPU takes for so few splats; software rendering takes a second and more
PATIENCE_S = 20.0


def some_of(splats: Splats) -> Splats:
    """At most MOST_SPLATS of them, from all over the scene, and hardly to be seen."""
    kept = np.unique(np.linspace(0, len(splats.centers) - 1, MOST_SPLATS).astype(int))
    faint = np.full((len(kept), 1), FAINT, splats.opacities.dtype)
    return Splats(splats.centers[kept], splats.covariances[kept], splats.rgbs[kept], faint)


def seconds_for_splats(client: viser.ClientHandle, splats: Splats) -> float:
    """By how much longer a browser takes for a picture if some thousands of splats are in it; infinite if it never
    answers.

    Waits for the browser, so not to be called where others wait. Its distance, and what else it draws, do not count.
    """
    few = some_of(splats)
    try:
        without = _seconds_per_picture(client)
        handle = client.scene.add_gaussian_splats("/trial", few.centers, few.covariances, few.rgbs, few.opacities)
        try:
            return max(0.0, _seconds_per_picture(client) - without)
        finally:
            handle.remove()
    except (TimeoutError, RuntimeError):  # it hangs, or has left
        return inf


def _seconds_per_picture(client: viser.ClientHandle) -> float:
    seconds = []
    for _ in range(3):  # the first one has to load and to compile
        began = time.perf_counter()
        client.get_render(*PICTURE, timeout=PATIENCE_S)
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])
