"""Numbers as colours that the eye can order."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

# From dark to pale; brightness rises evenly, so that it reads in grey as well.
_MAP = np.array(
    [[8, 6, 30], [50, 22, 90], [116, 42, 130], [190, 70, 116], [240, 128, 88], [253, 196, 104], [252, 246, 190]]
)


def colored(values: Float[Tensor, "height width"], low: float, high: float) -> Float[Tensor, "height width 3"]:
    """Values between `low` and `high` as sRGB colours from dark to pale, on the CPU."""
    share = ((values.cpu() - low) / max(high - low, 1e-12)).clamp(0, 1).numpy()
    anchors = np.linspace(0, 1, len(_MAP))
    colors = np.stack([np.interp(share, anchors, channel / 255) for channel in _MAP.T], axis=-1)
    return torch.from_numpy(colors).float()
