"""An exposure is a function that is handed a renderer and a frame number and returns the photograph."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..geometry import Cameras, exp, inverse, linear_from_srgb, log
from ..render import Burst, Render
from .lens import Lens, LensBlur, LensParts
from .motion import Motion, MotionModel
from .shutter import Shutter, ShutterTimes
from .tone import Tone, ToneCurve

RenderFn = Callable[[Tensor, Burst | None], Render]
"""Draws the scene from view matrices [S, 4, 4], averaged if a Burst says how."""


@dataclass(frozen=True, eq=False)
class Photo:
    """A predicted photo.

    Attributes:
        srgb: display values, not clipped.
        render: what it was made from.
        blur: what the lens did.
    """

    srgb: Float[Tensor, "height width 3"]
    render: Render
    blur: LensBlur = field(default_factory=LensBlur)


class Exposure(nn.Module):
    """photo = tone(lens(weighted mean over the shutter of decode(render(viewmats)))); light is added in linear RGB."""

    def __init__(
        self,
        viewmats: Float[Tensor, "frame 4 4"],
        depths: Float[Tensor, "frame"],
        *,
        motion: MotionModel,
        shutter: Shutter,
        tone: Tone,
        lens: Lens = Lens(),
        noise: float = 3e-4,
        generator: torch.Generator,
    ) -> None:
        """For photos with mid-exposure poses `viewmats` and the scene at about z-depth `depths`.

        `noise` is the std of the initial control points in radians: zero would be a saddle, as a path and its
        reverse give the same photo.
        """
        super().__init__()
        self.motion = Motion(motion, viewmats, depths, noise=noise, generator=generator)
        self.shutter = ShutterTimes(shutter, len(viewmats)).to(viewmats.dtype)
        self.lens = LensParts(lens, depths, generator)
        self.tone = ToneCurve(tone, len(viewmats))

    @property
    def has_motion(self) -> bool:
        return self.motion.model.controls > 0

    def path(self, frame: int, times: Float[Tensor, "time"], open_for: float | int = 1) -> Float[Tensor, "time 4 4"]:
        """Poses of photo `frame` at shutter times, had the shutter been open `open_for` times as long.

        A shorter exposure is the middle of the path. What the camera did beyond it nobody saw: for a longer one the
        path is taken larger about its middle, as if the camera had moved so much faster.
        """
        viewmats = self.motion(frame, 0.5 + (times - 0.5) * min(open_for, 1))
        if open_for <= 1:
            return viewmats
        middle = self.motion(frame, times.new_tensor([0.5]))
        return exp(open_for * log(viewmats @ inverse(middle))) @ middle

    def forward(
        self,
        render: RenderFn,
        frame: int,
        num_subframes: int,
        *,
        camera: Cameras,
        level: int = -1,
        open_for: float | int = 1,
    ) -> Photo:
        """Photo `frame`, averaged from `num_subframes` renders made in one call.

        Args:
            camera: that `render` looks through, the photo's or a window of it; its pose is not used.
            level: stage of the resolution, which kernels depend on; -1 is the last.
            open_for: as in `path`.
        """
        settings = self.shutter.shutter
        viewmats = self.path(frame, self.shutter.render_times(frame, num_subframes), open_for)
        burst = None
        if self.has_motion:
            slices = None
            if settings.is_thick:
                edges = self.path(frame, self.shutter.slice_edges(frame, num_subframes), open_for)
                slices = torch.stack([edges[:-1], edges[1:]], dim=1)
            weights = viewmats.new_full((num_subframes,), 1 / num_subframes)
            burst = Burst(weights=weights, slices=slices, is_linear=settings.is_linear)
        drawn = render(viewmats, burst)
        if self.lens.is_clear:
            return Photo(srgb=self.tone(drawn.rgb[0], frame, drawn.is_linear), render=drawn)
        light = drawn.rgb[0] if drawn.is_linear else linear_from_srgb(drawn.rgb[0])
        light, blur = self.lens(light, drawn.depth[0], frame, camera, level)
        return Photo(srgb=self.tone(light, frame, is_linear=True), render=drawn, blur=blur)

    def sharp_viewmat(self, frame: int, time: float = 0.5) -> Float[Tensor, "4 4"]:
        """The pose of photo `frame` at one instant of its exposure."""
        return self.motion(frame, self.motion.units.new_tensor([time]))[0]

    def subframe_counts(self, focal_px: float, progress: float = 1.0) -> list[int]:
        """How many sub-frames each photo needs by now, from the length of its blur path."""
        settings = self.shutter.shutter
        if not self.has_motion:
            return [1] * len(self.motion.poses)
        if settings.spacing_px == 0:
            return [settings.max_subframes] * len(self.motion.poses)
        paths = self.motion.path_px(focal_px).tolist()
        is_fine = progress >= settings.fine_from
        spacing_px = settings.spacing_px / 2 if is_fine else settings.spacing_px
        most = settings.max_subframes if is_fine else ceil(settings.max_subframes / 2)
        return [min(max(1, ceil(path / spacing_px)), most) for path in paths]
