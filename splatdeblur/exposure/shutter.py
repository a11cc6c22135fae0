"""At which times of the exposure the scene is rendered, and what stretch of it each render stands for."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Shutter:
    """Sub-frames of a global shutter.

    Attributes:
        sampling: "middles" divides the exposure into equal slices and renders the middle of each; "ends" renders
            from the first instant to the last, both included, as the field does.
        is_thick: widen each Gaussian by its own motion during its slice, so that few sub-frames look like many;
            only with "middles".
        max_subframes: most sub-frames that a photo may use.
        spacing_px: a photo uses one sub-frame per so many px of its blur path; 0 uses the most always.
        fine_from: share of the training after which a photo uses twice as many: by then, what few sub-frames get
            wrong is more than what is left to learn.
        learns_times: the speed along the path may vary freely between sub-frames (DeblurGS's time alignment).
        is_linear: average in linear light; False averages display values, as most of the field does.
    """

    sampling: Literal["middles", "ends"] = "middles"
    is_thick: bool = True
    max_subframes: int = 12
    spacing_px: float = 2.5
    fine_from: float = 0.5
    learns_times: bool = False
    is_linear: bool = True


class ShutterTimes(nn.Module):
    """Slice boundaries and render times of every photo; a monotone map from uniform to learned time if asked for.

    Parameters:
        log_durations: [max_subframes] for each photo (none if nothing is learned): log of each stretch's share of
            the exposure, up to a constant.
    """

    def __init__(self, shutter: Shutter, num_frames: int) -> None:
        super().__init__()
        self.shutter = shutter
        learned = num_frames if shutter.learns_times else 0
        self.log_durations = nn.ParameterList(nn.Parameter(torch.zeros(shutter.max_subframes)) for _ in range(learned))
        self.register_buffer("origin", torch.zeros(1))

    def _learned(self, frame: int, times: Float[Tensor, "time"]) -> Float[Tensor, "time"]:
        """Uniform times mapped through the photo's piecewise linear, increasing time alignment."""
        if not self.shutter.learns_times:
            return times
        durations = self.log_durations[frame].softmax(0)
        edges = torch.cat([durations.new_zeros(1), durations.cumsum(0)])
        position = times * len(durations)
        stretch = position.long().clamp(max=len(durations) - 1)
        return edges[stretch] + (position - stretch) * durations[stretch]

    def render_times(self, frame: int, num_subframes: int) -> Float[Tensor, "subframe"]:
        """The instants to render, in [0, 1]."""
        if self.shutter.sampling == "middles" or num_subframes == 1:
            times = (torch.arange(num_subframes).to(self.origin) + 0.5) / num_subframes
        else:
            times = torch.linspace(0, 1, num_subframes).to(self.origin)
        return self._learned(frame, times)

    def slice_edges(self, frame: int, num_subframes: int) -> Float[Tensor, "edge"]:
        """Where the slices meet, from 0 to 1, one more than sub-frames."""
        return self._learned(frame, torch.linspace(0, 1, num_subframes + 1).to(self.origin))
