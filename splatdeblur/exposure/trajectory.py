"""Where the camera was during a whole video: one smooth path, of which every frame sees its own stretch.

The path is a spline correction, `sum_j B_j(t) p_j` in the tangent space of SE(3), of the smooth path through the
poses that training starts from. So neighbours hold each other: what a frame's position says of its neighbours' speed,
their blur must agree with, and paths know from the start how fast and which way they run. Beyond a frame's exposure
the path goes on, which is where the rows of a rolling shutter are read. Control points count translation in scene
depths, as those of `motion` do.
"""

import logging
from dataclasses import dataclass
from math import log as ln
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..geometry import exp, inverse, log
from .motion import Span, path_length_px
from .splines import PosePath, cubic_b_spline

logger = logging.getLogger(__name__)

SHARES = (0.02, 1.0)  # of the time between two frames that the shutter can be open for
NEXT = 1.5  # frame intervals within which two frames count as neighbours in the video
LENGTH_SAMPLES = 9  # along a frame's path, for its length
SOON_S = 1e-6
MIN_STEPS = 5  # between frames, below which nobody can tell a jump from the usual


@dataclass(frozen=True)
class Trajectory:
    """One spline through all frames of a video.

    Attributes:
        knots: of the spline for each frame of the video, around the frames in use; 1 puts them at the frames.
        share: of the time between two frames that the shutter is open, where the video does not tell.
        learns_share: that share is learned from there, one for the video, if most frames in use are neighbours: only
            what one says of the other's speed tells how long each was exposed.
        cut_s: frames further apart than this, in seconds, are on paths of their own.
        cut_speed: so are two between which the camera would have moved so many times as fast as usual.
    """

    knots: int = 1
    share: float = 0.5
    learns_share: bool = True
    cut_s: float = 2.0
    cut_speed: float = 10.0
    controls: ClassVar[int] = 4  # that count at any instant


@dataclass(frozen=True)
class Timing:
    """When the photos of one video were taken.

    Attributes:
        times_s: of each photo, in seconds.
        interval_s: usual time between two frames of the video, whether they are in use or not.
        exposures_s: how long each photo's shutter was open; None where one is not known.
    """

    times_s: tuple[float, ...]
    interval_s: float
    exposures_s: tuple[float, ...] | None = None

    def at(self, frames: list[int]) -> "Timing":
        """Of some of the photos."""
        exposures = self.exposures_s and tuple(self.exposures_s[i] for i in frames)
        return Timing(tuple(self.times_s[i] for i in frames), self.interval_s, exposures)

    @property
    def is_dense(self) -> bool:
        """Whether most photos are neighbours in the video."""
        gaps = torch.tensor(sorted(self.times_s), dtype=torch.float64).diff()
        return len(gaps) > 0 and bool(gaps.median() <= NEXT * self.interval_s)


def unbroken(
    viewmats: Float[Tensor, "frame 4 4"], times: Float[Tensor, "frame"], model: Trajectory
) -> list[list[int]]:
    """Frame numbers of each stretch without a cut, in order of time."""
    order = times.argsort(stable=True)
    gaps = times[order].diff()
    world_from_camera = inverse(viewmats[order].double())
    steps = log(inverse(world_from_camera[:-1]) @ world_from_camera[1:])
    rates = torch.stack([steps[:, :3].norm(dim=-1), steps[:, 3:].norm(dim=-1)]) / gaps.clamp(min=1e-9)
    cut = gaps > model.cut_s
    if len(gaps) >= MIN_STEPS:
        usual = rates.median(dim=1, keepdim=True).values
        cut = cut | (rates > model.cut_speed * usual.clamp(min=1e-9)).any(0)
    ends = [*(cut.nonzero()[:, 0] + 1).tolist(), len(order)]
    return [order[start:end].tolist() for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def pose_at(
    viewmats: Float[Tensor, "frame 4 4"], times: Float[Tensor, "frame"], time: float
) -> Float[Tensor, "4 4"] | None:
    """Where the path through some frames of a video was at another time; None before, after, and in a cut."""
    for frames in unbroken(viewmats, times, Trajectory()):
        if times[frames[0]] <= time <= times[frames[-1]]:
            return PosePath(viewmats[frames], times[frames])(times.new_tensor([time]))[0]
    return None


def knots_around(times: Float[Tensor, "frame"], interval_s: float, per_interval: int) -> Float[Tensor, "knot"]:
    """Knots of a cubic spline: as dense as asked for from one interval before each frame to one after it, none in
    between, where nobody saw the camera; three more beyond each end."""
    spacing = interval_s / per_interval
    around = torch.arange(-per_interval, per_interval + 1, dtype=torch.float64) * spacing
    knots: list[float] = []
    # Those at frames come first; another's neighbourhood adds only what stands free.
    for time in [*times.tolist(), *(times[:, None] + around).flatten().tolist()]:
        if all(abs(time - knot) > 0.6 * spacing for knot in knots):
            knots.append(time)
    knots.sort()
    beyond = [spacing * (i + 1) for i in range(3)]
    padded = [*(knots[0] - b for b in reversed(beyond)), *knots, *(knots[-1] + b for b in beyond)]
    return torch.tensor(padded, dtype=torch.float64)


class VideoMotion(nn.Module):
    """The path of a video's camera, in stretches between cuts.

    Parameters:
        control_points: [6] each, those of one stretch after those of the other, in radians and scene depths. A photo
            moves the four or five around it, and each is moved by as many photos: one tensor each, so that an
            optimizer leaves those of other photos at rest.
        share_logits: one scalar if the share is learned; its sigmoid lies between the smallest and the largest share.
    """

    is_reversible: ClassVar[bool] = False  # which way a frame ran, its neighbours know
    bends: ClassVar[bool] = False
    grows: ClassVar[bool] = False

    def __init__(
        self,
        model: Trajectory,
        viewmats: Float[Tensor, "frame 4 4"],
        depths: Float[Tensor, "frame"],
        timing: Timing,
        *,
        noise: float,
        generator: torch.Generator,
    ) -> None:
        """`depths`: typical z-depth of the scene in each photo; `noise`: std of the initial control points."""
        super().__init__()
        self.model = model
        times = torch.tensor(timing.times_s, dtype=torch.float64)
        self.register_buffer("times", times)
        self.register_buffer("poses", viewmats.clone())
        self.register_buffer("units", viewmats.new_ones(len(viewmats), 6))
        self.units[:, :3] = depths.median()  # one for the path, which would bend where it changes
        self.stretches = unbroken(viewmats.cpu(), times, model)
        self.stretch_of = {frame: i for i, frames in enumerate(self.stretches) for frame in frames}
        self.starts = nn.ModuleList(PosePath(viewmats[frames].double(), times[frames]) for frames in self.stretches)
        self.first_control: list[int] = []
        count = 0
        for i, frames in enumerate(self.stretches):
            knots = knots_around(times[frames], timing.interval_s, model.knots)
            self.register_buffer(f"knots_{i}", knots)
            self.first_control.append(count)
            count += len(knots) - 4
        noises = noise * torch.randn((count, 6), generator=generator).to(viewmats)
        self.control_points = nn.ParameterList(nn.Parameter(point) for point in noises)
        self.interval_s = timing.interval_s
        self.exposures_s = timing.exposures_s
        self.learns_share = model.learns_share and timing.exposures_s is None and timing.is_dense
        if self.learns_share:
            low, high = SHARES
            start = min(max((model.share - low) / (high - low), 0.05), 0.95)
            self.share_logits = nn.Parameter(viewmats.new_tensor([ln(start / (1 - start))]))
        elif model.learns_share and timing.exposures_s is None:
            logger.info(
                "frames in use are too far apart to tell how long the shutter was open: taken as %g of the time "
                "between two frames (train.motion.share)", model.share,
            )  # fmt: skip

    @property
    def share(self) -> Float[Tensor, ""]:
        """Exposure time over the time between two frames; of known exposures their mean."""
        if self.exposures_s is not None:
            return self.units.new_tensor(self.exposures_s).mean() / self.interval_s
        if not self.learns_share:
            return self.units.new_tensor(self.model.share)
        low, high = SHARES
        return low + (high - low) * self.share_logits.sigmoid()[0]

    def exposure_s(self, frame: int) -> Float[Tensor, ""]:
        """How long a frame's shutter was open, in seconds."""
        if self.exposures_s is not None:
            return self.units.new_tensor(self.exposures_s[frame])
        return self.share * self.interval_s

    def of_photos(self) -> dict[str, list[nn.Parameter]]:
        """Parameters that move only when a photo they are about is seen, by the name of their learning rate."""
        return {"trajectory": list(self.control_points)}

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those of the camera, for all photos."""
        return [self.share_logits] if self.learns_share else []

    def forward(
        self, frame: int, times: Float[Tensor, "time"], span: Span = 1.0
    ) -> Float[Tensor, "time 4 4"]:
        """View matrices of photo `frame` at shutter times, of which [0, 1] covers `span` exposures."""
        since = (self.exposure_s(frame) * span * (times - 0.5)).double()
        return self.at(self.times[frame] + since, self.stretch_of[frame])

    def at(self, times_s: Float[Tensor, "time"], stretch: int) -> Float[Tensor, "time 4 4"]:
        """View matrices on one stretch, at times of the video."""
        delta = self._correction(times_s, stretch)
        return exp(delta * self.units[0]) @ self._start(times_s, stretch)

    def _start(self, times_s: Float[Tensor, "time"], stretch: int) -> Float[Tensor, "time 4 4"]:
        """The path that training starts from: constant but for the times, so its slope is all a gradient needs."""
        with torch.no_grad():
            if not times_s.requires_grad:
                return self.starts[stretch](times_s).to(self.poses)
            here, soon = self.starts[stretch](torch.cat([times_s, times_s + SOON_S])).chunk(2)
        return (here + (times_s - times_s.detach())[:, None, None] * ((soon - here) / SOON_S)).to(self.poses)

    def _correction(self, times_s: Float[Tensor, "time"], stretch: int) -> Float[Tensor, "time 6"]:
        first, weights = cubic_b_spline(times_s, getattr(self, f"knots_{stretch}"))
        low, high = first.min().item(), first.max().item() + 4
        offset = self.first_control[stretch]
        points = torch.stack([self.control_points[offset + i] for i in range(low, high)])
        columns = (first - low)[:, None] + torch.arange(4, device=first.device)
        return points.new_zeros(len(times_s), high - low).scatter(1, columns, weights.to(points)) @ points

    def bent(
        self, viewmats: Float[Tensor, "time 4 4"], frame: int, times: Float[Tensor, "time"], factor: float | int = 1
    ) -> Float[Tensor, "time 4 4"]:
        """As they are: space does not bend."""
        return viewmats

    def pose_delta(self, frame: int) -> Float[Tensor, "6"]:
        """By how much the middle of a photo's exposure has left the pose that training started from."""
        return self._correction(self.times[frame : frame + 1], self.stretch_of[frame])[0]

    def length_px(self, frame: int, focal_px: float, span: Span = 1.0) -> Float[Tensor, ""]:
        """As `motion.Motion.length_px`, of the stretch of the path that shutter time covers."""
        return self._length_px(self(frame, self._samples(), span), focal_px)

    def _samples(self) -> Float[Tensor, "time"]:
        return torch.linspace(0, 1, LENGTH_SAMPLES).to(self.units)

    def _length_px(self, viewmats: Float[Tensor, "time 4 4"], focal_px: float) -> Float[Tensor, ""]:
        moved = viewmats @ inverse(viewmats[LENGTH_SAMPLES // 2])
        shifts = moved[:, :3, 3] / self.units[0, :3]
        turns = (moved[:, (2, 0, 1), (1, 2, 0)] - moved[:, (1, 2, 0), (2, 0, 1)]) / 2  # to first order
        return path_length_px(torch.cat([shifts, turns], dim=1), focal_px)

    def shorten(self, frame: int, longest_px: float, focal_px: float, span: Span | None = None) -> None:
        """Leaves the path as it is: it belongs to the neighbours too, who hold it better than a bound would."""

    @torch.no_grad()
    def path_px(self, focal_px: float, span: Span = 1.0) -> Float[Tensor, "frame"]:
        """`length_px` of every photo."""
        since = (self._samples() - 0.5).double()
        lengths = self.units.new_zeros(len(self.units))
        for stretch, frames in enumerate(self.stretches):
            covered = torch.stack([self.exposure_s(frame) for frame in frames]).double() * span
            times_s = self.times[frames][:, None] + covered[:, None] * since
            paths = self.at(times_s.flatten(), stretch).unflatten(0, times_s.shape)
            lengths[frames] = torch.stack([self._length_px(path, focal_px) for path in paths])
        return lengths
