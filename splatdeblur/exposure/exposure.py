"""An exposure is a function that is handed a renderer and a frame number and returns the photograph."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..geometry import Cameras, exp, inverse, linear_from_srgb, log
from ..render import Burst, Render
from .lens import Lens, LensBlur, LensParts
from .motion import Motion, MotionModel, lasting
from .shutter import Shutter, ShutterTimes
from .sight import Unchanged, Widened, Widening
from .tone import Tone, ToneCurve
from .trajectory import Timing, Trajectory, VideoMotion
from .weights import PixelWeights, SubframeWeights
from .window import Window

RenderFn = Callable[..., Render]
"""Draws the scene from view matrices [S, 4, 4], averaged if a Burst (or None) says how; changed by a SeenAs if there
is a third argument."""


@dataclass(frozen=True, eq=False)
class Photo:
    """A predicted photo.

    Attributes:
        srgb: display values, not clipped.
        render: what it was made from; of moved copies of the scene, screen positions are those of the first.
        blur: what the lens did.
        weighed: share at each pixel of the sub-frames as a network weighs them; None if none does.
    """

    srgb: Float[Tensor, "height width 3"]
    render: Render
    blur: LensBlur = field(default_factory=LensBlur)
    weighed: Float[Tensor, "height width"] | None = None


class Exposure(nn.Module):
    """photo = tone(lens(weighted mean over the shutter of decode(render(viewmats)))); light is added in linear RGB.

    A method that blurs the scene instead of the picture changes the Gaussians that `render` draws (`sight`).
    """

    def __init__(
        self,
        viewmats: Float[Tensor, "frame 4 4"],
        depths: Float[Tensor, "frame"],
        *,
        motion: MotionModel | Trajectory,
        shutter: Shutter,
        tone: Tone,
        lens: Lens = Lens(),
        sight: Unchanged | Widened = Unchanged(),
        noise: float = 3e-4,
        generator: torch.Generator,
        timing: Timing | None = None,
    ) -> None:
        """For photos with mid-exposure poses `viewmats` and the scene at about z-depth `depths`.

        `noise` is the std of the initial control points in radians: zero would be a saddle, as a path and its
        reverse give the same photo. A `Trajectory` needs the photos' `timing`.
        """
        super().__init__()
        self.shutter = ShutterTimes(shutter, len(viewmats)).to(viewmats.dtype)
        if isinstance(motion, Trajectory):
            assert timing is not None
            self.motion = VideoMotion(motion, viewmats, depths, timing, noise=noise, generator=generator)
        else:
            reach = self.span.item() if shutter.learns_readout else None
            model = motion if shutter.learns_readout else lasting(motion, shutter.readout)
            self.motion = Motion(model, viewmats, depths, noise=noise, generator=generator, reach=reach)
        self.lens = LensParts(lens, depths, generator)
        self.tone = ToneCurve(tone, len(viewmats))
        self.sight = Widening(sight, viewmats, depths, generator) if isinstance(sight, Widened) else None
        weights = shutter.weights
        self.weights = SubframeWeights(weights, generator) if isinstance(weights, PixelWeights) else None

    def _load_from_state_dict(self, state_dict, prefix, *rest) -> None:
        """torch's own; to what runs of older versions saved, it adds that their curves covered all of the shutter."""
        logits = state_dict.get(prefix + "shutter.readout_logits")
        if isinstance(self.motion, Motion) and self.motion.is_elastic and logits is not None:
            covered = 1 + self.shutter.shutter.max_readout * logits.sigmoid()[0]
            state_dict.setdefault(prefix + "motion.reach", covered.to(self.motion.reach))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @property
    def has_motion(self) -> bool:
        return self.motion.model.controls > 0

    @property
    def span(self) -> Float[Tensor, ""]:
        """How many exposures shutter time covers: the exposure and the read-out."""
        return 1 + self.shutter.readout

    def networks(self) -> list[nn.Parameter]:
        """The parameters of networks that all photos have in common, but for the lens's."""
        return [p for part in (self.sight, self.weights) if part is not None for p in part.parameters()]

    def path(self, frame: int, times: Float[Tensor, "time"], open_for: float | int = 1) -> Float[Tensor, "time 4 4"]:
        """Poses of photo `frame` at shutter times, had the shutter been open `open_for` times as long.

        A shorter exposure is the middle of the path. What the camera did beyond it nobody saw, but in a video: for a
        longer one the path is taken larger about its middle, as if the camera had moved so much faster.
        """
        if isinstance(self.motion, VideoMotion):
            return self.motion(frame, times, self.span * open_for)
        viewmats = self.motion(frame, 0.5 + (times - 0.5) * min(open_for, 1), self.span)
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
        enlarged: float = 1.0,
        window: Window | None = None,
    ) -> Photo:
        """Photo `frame`, averaged from `num_subframes` renders made in one call.

        Args:
            camera: that `render` looks through, the photo's or a window of it; its pose is not used.
            level: stage of the resolution, which kernels depend on; -1 is the last.
            enlarged: how many times as large as in training the picture is: what the lens does is as much in
                proportion.
            open_for: as in `path`; a rolling shutter's read-out takes so many times as long, too.
            window: which part of the photo `camera` shows; None where it is the whole.
        """
        window = window or Window.whole(camera.width, camera.height)
        drawn, weighed = self.gathered(render, frame, num_subframes, window=window, open_for=open_for)
        if self.lens.is_clear:
            return Photo(self.tone(drawn.rgb[0], frame, drawn.is_linear, window), drawn, weighed=weighed)
        light = drawn.rgb[0] if drawn.is_linear else linear_from_srgb(drawn.rgb[0])
        light, blur = self.through_lens(light, drawn.depth[0], frame, camera, level=level, enlarged=enlarged)
        return Photo(self.tone(light, frame, True, window), drawn, blur, weighed)

    def gathered(
        self,
        render: RenderFn,
        frame: int,
        num_subframes: int,
        *,
        window: Window,
        open_for: float | int = 1,
    ) -> tuple[Render, Float[Tensor, "height width"] | None]:
        """What comes to the lens of photo `frame` while the shutter is open; and, where a network weighs sub-frames,
        their share at each pixel. Arguments as in `forward`."""
        settings = self.shutter.shutter
        viewmats, slices = self._instants(frame, num_subframes, open_for)
        burst = None
        if self.has_motion:
            if settings.is_rolling and num_subframes > 1:
                weights = self.shutter.row_weights(window.rows(viewmats), num_subframes)
            else:
                weights = viewmats.new_full((num_subframes,), 1 / num_subframes)
            burst = Burst(weights=weights, slices=slices, is_linear=settings.is_linear)
        drawn = render(viewmats, burst) if self.sight is None else self._copies(render, viewmats, burst)
        weighed = None
        if self.weights is not None and num_subframes > 1:
            rgb, weighed = self.weights(drawn.subframes, drawn.is_linear)
            drawn = replace(drawn, rgb=rgb)
        return drawn, weighed

    def _copies(self, render: RenderFn, viewmats: Float[Tensor, "subframe 4 4"], burst: Burst | None) -> Render:
        """The mean of the scene and its copies, as a photo from the middle of `viewmats` sees them."""
        drawn = [render(viewmats, burst, seen) for seen in self.sight.changes(viewmats[len(viewmats) // 2])]
        is_linear = self.shutter.shutter.is_linear or drawn[0].is_linear
        decode = linear_from_srgb if is_linear and not drawn[0].is_linear else (lambda rgb: rgb)
        rgb = torch.stack([decode(d.rgb) for d in drawn]).mean(0)
        return replace(drawn[0], rgb=rgb, is_linear=is_linear)

    def through_lens(
        self,
        light: Float[Tensor, "height width 3"],
        depth: Float[Tensor, "height width"],
        frame: int,
        camera: Cameras,
        *,
        level: int = -1,
        enlarged: float = 1.0,
    ) -> tuple[Float[Tensor, "height width 3"], LensBlur]:
        """What the lens makes of linear light from z-depths `depth`, and how; arguments as in `forward`."""
        unit = self.motion.units[frame, 0]
        return self.lens(light, depth, frame, camera, unit=unit, level=level, enlarged=enlarged)

    def _instants(
        self, frame: int, num_subframes: int, open_for: float | int
    ) -> tuple[Float[Tensor, "subframe 4 4"], Float[Tensor, "subframe 2 4 4"] | None]:
        """What is drawn, and the poses at the start and at the end of what each sub-frame stands for if it is thick."""
        times = self.shutter.render_times(frame, num_subframes)
        if not (self.has_motion and self.shutter.shutter.is_thick):
            return self.motion.bent(self.path(frame, times, open_for), frame, times, open_for), None
        starts, ends = self.shutter.slices(frame, num_subframes)
        if not self.shutter.shutter.is_rolling:
            ends = ends[-1:]  # one slice ends where the next begins
        poses = self.path(frame, torch.cat([times, starts, ends]), open_for)  # in one go, which is quicker
        middles, first, last = poses.split([num_subframes, num_subframes, len(ends)])
        last = last if len(last) == num_subframes else torch.cat([first[1:], last])
        return self.motion.bent(middles, frame, times, open_for), torch.stack([first, last], dim=1)

    def strain(self, frame: int, num_subframes: int) -> Float[Tensor, ""]:
        """How far the bending of space in a photo's sub-frames is from a rotation."""
        return self.motion.strain(frame, self.shutter.render_times(frame, num_subframes))

    def sharp_viewmat(self, frame: int, time: float = 0.5) -> Float[Tensor, "4 4"]:
        """The pose of photo `frame` at one instant of its exposure."""
        return self.path(frame, self.motion.units.new_tensor([time]))[0]

    def exposure_s(self, frame: int) -> float | None:
        """How long photo `frame` was exposed, in seconds, as far as training knows."""
        return self.motion.exposure_s(frame).item() if isinstance(self.motion, VideoMotion) else None

    def length_px(self, frame: int, focal_px: float) -> Float[Tensor, ""]:
        """About how long a photo's path is in the picture, exposure and read-out together; a charge on it does not
        make the read-out any shorter."""
        return self.motion.length_px(frame, focal_px, self.span.detach())

    def blur_px(self, frame: int, focal_px: float) -> Float[Tensor, ""]:
        """About how long a photo's blur is, in px: the part of its path that one row is exposed to."""
        return self.length_px(frame, focal_px) * self.shutter.exposure_share()

    def path_px(self, focal_px: float) -> Float[Tensor, "frame"]:
        """`length_px` of every photo."""
        return self.motion.path_px(focal_px, self.span.detach())

    def shorten(self, frame: int, longest_px: float, focal_px: float) -> None:
        """Scales a photo's path down until its blur is no longer than `longest_px`."""
        self.motion.shorten(frame, longest_px / self.shutter.exposure_share(), focal_px, self.span.detach())

    def subframe_counts(self, focal_px: float, progress: float = 1.0) -> list[int]:
        """How many sub-frames each photo needs by now, from the length of its path."""
        if not self.has_motion:
            return [1] * len(self.motion.poses)
        return [self.shutter.count(path, progress) for path in self.path_px(focal_px).tolist()]
