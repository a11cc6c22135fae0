"""At which times of the exposure the scene is rendered, what stretch of it each render stands for, and for which rows.

Shutter time runs over [0, 1]. For a global shutter that is the exposure. A rolling shutter reads row after row: its
time covers exposure and read-out, each row is exposed during its own window of it, and 0.5 is the middle of the
exposure of the middle row. Source of the model: Liang et al. 2008.
"""

from dataclasses import dataclass, field
from math import ceil, log
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .weights import EvenWeights, PixelWeights

ROW_PARTS = 3  # sub-frames that a row's window is to have: with fewer, the row weights alone blur
ROLLING_SPACING_PX = 1.0  # but it is split no finer than this for that
FINER = 5 / 3  # times as many sub-frames, where a read-out is told: thickness is right for the rows' mean alone
SMALLEST_PART = 0.01  # of the largest read-out: where its sigmoid still has a slope
PROBE_ROWS = 32  # at which the spread of the sub-frames' times is compared with the window's


@dataclass(frozen=True)
class Shutter:
    """Sub-frames of a global or a rolling shutter.

    Attributes:
        sampling: "middles" divides the exposure into equal slices and renders the middle of each; "ends" renders
            from the first instant to the last, both included, as the field does.
        is_thick: widen each Gaussian by its own motion during its slice, so that few sub-frames look like many;
            only with "middles".
        max_subframes: most sub-frames that a photo may use; more by the read-out's share with a rolling shutter.
        spacing_px: a photo uses one sub-frame per so many px of its blur path, and FINER times as many with a read-out
            that is told; 0 uses the most always.
        fine_from: share of the training (2 for never) after which a photo uses twice as many: by then, what few
            sub-frames get wrong is more than what is left to learn.
        learns_times: the speed along the path may vary freely between sub-frames (DeblurGS's time alignment).
        is_linear: average in linear light; False averages display values, as most of the field does.
        weights: how much sub-frames count, the same at every pixel or as a network finds.
        readout: seconds from the first row's exposure to the last row's, over the exposure time; 0 is a global
            shutter. Rows are those of the upright photo, from its top: a phone held upright reads along columns
            instead, which this does not model. (Read from the bottom it is the same photo with time reversed.)
        learns_readout: that share is learned, one for all photos, starting from `readout`, or from a quarter of the
            largest if that is 0.
        max_readout: the largest share that can be learned.
    """

    sampling: Literal["middles", "ends"] = "middles"
    is_thick: bool = True
    max_subframes: int = 12
    spacing_px: float = 2.5
    fine_from: float = 0.5
    learns_times: bool = False
    is_linear: bool = True
    weights: EvenWeights | PixelWeights = field(default_factory=EvenWeights)
    readout: float = 0.0
    learns_readout: bool = False
    max_readout: float = 2.0

    @property
    def can_roll(self) -> bool:
        """Whether rows can be read one after the other: not with instants or weights of another method's."""
        return self.sampling == "middles" and isinstance(self.weights, EvenWeights)

    @property
    def is_rolling(self) -> bool:
        return self.learns_readout or self.readout > 0


class ShutterTimes(nn.Module):
    """Slice boundaries and render times of every photo; a monotone map from uniform to learned time if asked for.

    Parameters:
        log_durations: [max_subframes] for each photo (none if nothing is learned): log of each stretch's share of
            the exposure, up to a constant.
        readout_logits: one scalar if the read-out is learned; its sigmoid is the share of `max_readout`.
    """

    def __init__(self, shutter: Shutter, num_frames: int) -> None:
        super().__init__()
        self.shutter = shutter
        learned = num_frames if shutter.learns_times else 0
        self.log_durations = nn.ParameterList(nn.Parameter(torch.zeros(shutter.max_subframes)) for _ in range(learned))
        if shutter.learns_readout:
            self.readout_logits = nn.Parameter(torch.zeros(1))
            self.set_readout(shutter.readout or 0.25 * shutter.max_readout)
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

    def _middles(self, num_subframes: int) -> Float[Tensor, "subframe"]:
        return (torch.arange(num_subframes).to(self.origin) + 0.5) / num_subframes

    def render_times(self, frame: int, num_subframes: int) -> Float[Tensor, "subframe"]:
        """The instants to render, in [0, 1]."""
        if self.shutter.sampling == "middles" or num_subframes == 1:
            times = self._middles(num_subframes)
        else:
            times = torch.linspace(0, 1, num_subframes).to(self.origin)
        return self._learned(frame, times)

    def slices(self, frame: int, num_subframes: int) -> Float[Tensor, "edge subframe"]:
        """Start and end of the stretch that each sub-frame is smeared over."""
        edges = torch.linspace(0, 1, num_subframes + 1).to(self.origin)
        if not self.shutter.is_rolling or num_subframes == 1:
            edges = self._learned(frame, edges)
            return torch.stack([edges[:-1], edges[1:]])
        half = self.thickness(num_subframes) / (2 * num_subframes)
        middles = self._middles(num_subframes)
        return self._learned(frame, torch.cat([middles - half, middles + half])).view(2, -1)

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those of the camera, for all photos."""
        return [self.readout_logits] if self.shutter.learns_readout else []

    @property
    def readout(self) -> Float[Tensor, ""]:
        """Read-out time over exposure time."""
        if not self.shutter.learns_readout:
            return self.origin.new_tensor(self.shutter.readout)
        return self.shutter.max_readout * self.readout_logits.sigmoid()[0]

    @torch.no_grad()
    def set_readout(self, share: float) -> None:
        """Makes a learned read-out so long, as far as its bounds allow."""
        part = min(max(share / self.shutter.max_readout, SMALLEST_PART), 1 - SMALLEST_PART)
        self.readout_logits.fill_(log(part / (1 - part)))

    def exposure_share(self) -> float:
        """How much of shutter time one row is exposed for."""
        return 1 / (1 + self.readout.item()) if self.shutter.is_rolling else 1.0

    def row_weights(self, rows: Float[Tensor, "row"], num_subframes: int) -> Float[Tensor, "subframe row"]:
        """How much each sub-frame counts in rows at places `rows` of the photo (0 its top, 1 its bottom edge).

        A row's window cuts through the first and the last slice it meets. What it has of a slice stands off the
        slice's middle: a part of its weight goes to the neighbour on that side, so that the mean time of every row
        is right to the last digit, and straight lines bend where they should.
        """
        readout = self.readout
        start = rows * readout / (1 + readout)
        end = start + 1 / (1 + readout)
        edges = torch.linspace(0, 1, num_subframes + 1).to(rows)[:, None]
        low, high = torch.maximum(start, edges[:-1]), torch.minimum(end, edges[1:])
        shares = (high - low).clamp(min=0) * (1 + readout)
        off = ((low + high) / 2 - (edges[:-1] + edges[1:]) / 2) * num_subframes
        later, earlier = shares * off.clamp(0, 1), shares * (-off).clamp(0, 1)
        later, earlier = later[:-1], earlier[1:]  # beyond the first and the last there is nobody
        weights = shares
        weights = weights - torch.cat([later, later.new_zeros(1, len(rows))])
        weights = weights - torch.cat([earlier.new_zeros(1, len(rows)), earlier])
        weights = weights + torch.cat([later.new_zeros(1, len(rows)), later])
        return weights + torch.cat([earlier, earlier.new_zeros(1, len(rows))])

    @torch.no_grad()
    def thickness(self, num_subframes: int) -> float:
        """Length of the stretch that a sub-frame is smeared over, in slices.

        1 for a global shutter. Where windows cut through slices, the weights alone spread a row's light in time;
        smearing adds only what is missing to the variance of the window, as a mean over the rows.
        """
        rows = (torch.arange(PROBE_ROWS).to(self.origin) + 0.5) / PROBE_ROWS
        weights, times = self.row_weights(rows, num_subframes), self._middles(num_subframes)[:, None]
        spread = (weights * times**2).sum(0) - (weights * times).sum(0) ** 2
        missing = self.exposure_share() ** 2 / 12 - spread.mean().item()
        return min(max(12 * missing, 0.0) ** 0.5 * num_subframes, 1.0)

    def needed(self, path_px: float, progress: float = 1.0) -> int:
        """How many sub-frames a path of so many px during [0, 1] needs at a progress of the training."""
        finer = 2 if progress >= self.shutter.fine_from else 1
        if self.shutter.is_rolling and not self.shutter.learns_readout:
            finer *= FINER
        by_length = ceil(finer * path_px / (self.shutter.spacing_px or 1.0))
        if not self.shutter.is_rolling:
            return max(1, by_length)
        parts = ceil(ROW_PARTS / self.exposure_share())
        return max(1, by_length, min(parts, ceil(path_px / ROLLING_SPACING_PX)))

    def count(self, path_px: float, progress: float = 1.0) -> int:
        """How many sub-frames a photo with such a path is given."""
        most = ceil(self.shutter.max_subframes / self.exposure_share())
        if not self.shutter.spacing_px:
            return most
        return min(self.needed(path_px, progress), most if progress >= self.shutter.fine_from else ceil(most / 2))
