"""Whether a browser draws splats fast enough to be left with them: found by trying, as none says if it has a GPU."""

import time
from dataclasses import replace
from math import inf

import numpy as np
import viser

from .display import Splats

MOST_SPLATS = 5000
FAINT = 0.02  # opacity of the splats tried: their drawing costs as much, and nobody sees them
PICTURE = (48, 64)  # height and width in px; a browser draws its whole window all the same
SLOW_S = 0.4  # a GPU takes a small part of that; software rendering took 1.3 s for a window of 1280x720
PATIENCE_S = 20.0


def some_of(splats: Splats) -> Splats:
    """At most MOST_SPLATS of them, from all over the scene, and hardly to be seen."""
    kept = np.unique(np.linspace(0, len(splats.centers) - 1, MOST_SPLATS).astype(int))
    rgbs, opacities = splats.rgbs[kept], np.full((len(kept), 1), FAINT, np.float32)
    return replace(
        splats, centers=splats.centers[kept], covariances=splats.covariances[kept], rgbs=rgbs, opacities=opacities
    )


def seconds_per_picture(client: viser.ClientHandle, splats: Splats) -> float:
    """How long a browser takes for a picture with a few thousand splats; infinite if it never answers.

    Waits for it, so not to be called where others wait.
    """
    few = some_of(splats)
    handle = client.scene.add_gaussian_splats("/trial", few.centers, few.covariances, few.rgbs, few.opacities)
    seconds = []
    try:
        for _ in range(3):  # the first one has to load and to compile
            began = time.perf_counter()
            client.get_render(*PICTURE, timeout=PATIENCE_S)
            seconds.append(time.perf_counter() - began)
    except (TimeoutError, RuntimeError):  # it hangs, or has left
        return inf
    finally:
        handle.remove()
    return min(seconds[1:])
