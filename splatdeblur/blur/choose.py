"""Which frames of a video to keep: a pure function of their times, their blur and the camera's movement."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

LONGEST_WAIT_S = 0.5  # a stretch lasts no longer
LONGEST_MOVE = 0.1  # nor moves the picture by more than this part of its width
FEWEST_FRAMES = 20  # shorter or slower videos are cut into shorter stretches
AS_SHARP_PX = 0.5  # differences of blur below this, or below a tenth of it, are none
AS_SHARP = 1.1


@dataclass(frozen=True, eq=False)
class FrameChoice:
    """The frames that are kept, and why each is or is not.

    Attributes:
        kept: their indices, ascending.
        stretch: which stretch each frame lies in, counted from 0.
        strengths_px: as given.
        longest_gap: how far the picture moves between two kept frames, at most, in parts of its width: overlap is one
            minus that.
    """

    kept: tuple[int, ...]
    stretch: Int[NDArray, "frame"]
    strengths_px: Float[NDArray, "frame"]
    longest_gap: float

    def members(self, frame: int) -> Int[NDArray, "member"]:
        """All frames of the stretch that `frame` lies in."""
        return np.flatnonzero(self.stretch == self.stretch[frame])

    def reason(self, frame: int) -> str:
        """Why the frame was kept or not, in a few words."""
        others = self.members(frame)
        own = _px(self.strengths_px[frame])
        if frame not in self.kept:
            best = next(i for i in self.kept if self.stretch[i] == self.stretch[frame])
            return f"{own}; frame {best} shows the same with {_px(self.strengths_px[best])}"
        if len(others) == 1:
            return f"{own}; the only frame of its stretch"
        rest = self.strengths_px[others[others != frame]]
        if np.isnan(rest).all():
            return f"{own}; the others of its stretch give no answer"
        low, high = np.nanmin(rest), np.nanmax(rest)
        return f"{own}; the other {len(rest)} of its stretch {low:.1f} to {high:.1f} px"


def choose_frames(
    times_s: Float[NDArray, "frame"], strengths_px: Float[NDArray, "frame"], moves: Float[NDArray, "frame"], *,
    max_frames: int,
) -> FrameChoice:  # fmt: skip
    """Cuts the video into stretches of equal movement and keeps the sharpest frame of each.

    Every frame lies in a stretch and every stretch keeps one, however blurred: what nothing else shows is not given
    up. Stretches are as short as `LONGEST_WAIT_S` and `LONGEST_MOVE` ask for, shorter where that makes too few of
    them, longer where it makes more than `max_frames`. Of frames equally sharp the first is kept.

    Args:
        times_s: ascending.
        strengths_px: blur; NaN (no answer) loses against any number.
        moves: how far the picture moved since the frame before, in parts of its width; the first is ignored, NaN
            (unknown) counts as the fastest tenth of the known ones, or as a whole stretch where none is known.

    Raises:
        ValueError: no frames, or times that go back.
    """
    count = len(times_s)
    if not count or (np.diff(times_s) < 0).any():
        raise ValueError(f"need the times of one frame at least, ascending; got {times_s}")
    steps = _filled(moves)
    pace = np.maximum(np.diff(times_s, prepend=times_s[0]) / LONGEST_WAIT_S, steps / LONGEST_MOVE)
    # In units of stretches; frames last until the next one, so the last one counts as well.
    way = np.cumsum(pace)
    length = way[-1] + (pace[1:].mean() if count > 1 else 1)
    wanted = min(max(math.ceil(length - 1e-6), min(FEWEST_FRAMES, count)), max_frames)
    stretch = np.unique(np.floor(way / length * wanted + 1e-6), return_inverse=True)[1]
    kept = tuple(_sharpest(strengths_px, np.flatnonzero(stretch == s)) for s in range(stretch[-1] + 1))
    travelled = np.cumsum(steps)[list(kept)]
    return FrameChoice(kept, stretch, strengths_px, float(np.diff(travelled).max(initial=0)))


def _filled(moves: Float[NDArray, "frame"]) -> Float[NDArray, "frame"]:
    known = moves[1:][~np.isnan(moves[1:])]
    unknown = np.quantile(known, 0.9) if len(known) else LONGEST_MOVE
    steps = np.where(np.isnan(moves), unknown, moves)
    steps[0] = 0
    return steps


def _sharpest(strengths_px: Float[NDArray, "frame"], members: Sequence[int] | NDArray) -> int:
    blur = np.nan_to_num(strengths_px[members], nan=np.inf)
    least = blur.min()
    return int(members[np.flatnonzero(blur <= max(least * AS_SHARP, least + AS_SHARP_PX))[0]])


def _px(strength: float) -> str:
    return "no texture" if np.isnan(strength) else f"{strength:.1f} px"
