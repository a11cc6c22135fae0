"""All that choosing among a video's frames needs to know of each, gathered one frame at a time."""

import numpy as np
import torch
from PIL import Image

from .assess import assess_blur
from .choose import FrameChoice, choose_frames
from .movement import WIDTH_PX, movement
from .sheet import Glimpse, contact_sheet

STRIDE_PX = 96  # coarser than for photos: a video has many frames, and they are only compared


class FrameSurvey:
    """Times, blur, movement and a glimpse of frames in order of time; the frames themselves are let go."""

    def __init__(self) -> None:
        self.times_s: list[float] = []
        self.strengths_px: list[float] = []
        self.moves: list[float] = []
        self.glimpses: list[Glimpse] = []
        self._before: torch.Tensor | None = None

    def add(self, time_s: float, frame: Image.Image) -> None:
        """Looks at one more frame, RGB."""
        pixels = torch.from_numpy(np.array(frame, dtype=np.float32) / 255)
        self.times_s.append(time_s)
        self.strengths_px.append(assess_blur(pixels, stride_px=STRIDE_PX).strength_px)
        height = max(16, round(WIDTH_PX * frame.height / frame.width))
        small = torch.from_numpy(np.array(frame.convert("L").resize((WIDTH_PX, height)), dtype=np.float32) / 255)
        self.moves.append(float("nan") if self._before is None else movement(self._before, small))
        self._before = small
        self.glimpses.append(Glimpse.at(frame))

    def choose(self, max_frames: int) -> FrameChoice:
        """The frames to keep, by `choose_frames`."""
        columns = (np.array(column, dtype=float) for column in (self.times_s, self.strengths_px, self.moves))
        return choose_frames(*columns, max_frames=max_frames)

    def contact_sheet(self, choice: FrameChoice) -> Image.Image:
        """A page that shows what was kept and why."""
        return contact_sheet(self.glimpses, self.times_s, choice)
