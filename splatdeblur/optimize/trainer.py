"""The optimisation: one photo, one render call, one loss, one step."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf, isfinite, log10
from typing import Any

import torch
from torch import Tensor

from ..exposure import Exposure, LensBlur, Motion, Photo, RenderFn, SeenAs, Window, as_it_is
from ..geometry import Cameras
from ..render import Burst, Rasterizer, Render, RenderOptions
from ..scene import Gaussians
from .averaging import SceneMean
from .causes import JUDGE_AT, Cause
from .config import TrainConfig
from .density import DensityControl
from .initial import scene_depths, scene_scale
from .judging import can_judge
from .losses import photometric, scene_prior, temporal
from .noise import NoiseLevel
from .occasions import attend, passed_before
from .optimizers import learning_rates, make_optimizers
from .photos import SHARP, PhotoSet
from .readout import READOUT_AT
from .refits import can_refit
from .schedules import geometric, ramp
from .state import restore, state_of
from .watch import Watch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainEvent:
    """What a step did.

    Attributes:
        psnr: of the predicted blurry photo against the photo, in dB.
        seconds: of training so far, earlier sessions included; seconds_left: an estimate.
    """

    step: int
    progress: float
    photo: str
    loss: float
    psnr: float
    num_gaussians: int
    num_subframes: int
    seconds: float
    seconds_left: float
    note: str = ""


class Trainer:
    """Owns the scene, the exposures and their optimizers; knows nothing of files, screens or people."""

    def __init__(self, photos: PhotoSet, scene: Gaussians, config: TrainConfig, rasterizer: Rasterizer) -> None:
        self.config = config = replace(config, steps=config.length(len(photos)))
        self.rasterizer = rasterizer
        device = rasterizer.device
        self.photos = photos.to(device)
        self.scene = scene.to(device)
        self.generator = torch.Generator().manual_seed(config.seed)
        cameras = photos.cameras[-1]
        depths = scene_depths(cameras, scene.means.detach().to(cameras.viewmats))
        self.scene_scale = scene_scale(cameras, depths)
        self.exposure = Exposure(
            cameras.viewmats, depths, motion=config.motion, shutter=config.shutter, tone=config.tone,
            lens=config.lens, sight=config.sight, noise=config.noise, generator=self.generator, timing=photos.timing,
        ).to(device)  # fmt: skip
        self.noise = [
            NoiseLevel.of(pictures, keeps) if config.loss.noise_from < 1 else None
            for pictures, keeps in zip(photos.pictures, photos.keeps, strict=True)
        ]
        is_ours = config.looks_back and config.max_path > 0
        loss = config.loss.for_sharp() if is_ours and photos.are_sharp else config.loss
        self.charges = [loss if noise is None else noise.heard_by(loss) for noise in self.noise]
        self.judges = is_ours and can_judge(self.exposure)
        self.refits_paths = is_ours and can_refit(self)
        if self.exposure.lens.focus is not None:
            self._guess_focus()
        if isinstance(self.exposure.motion, Motion):  # the path of a video tells velocities by itself
            for frame, velocity in enumerate(photos.velocities):
                if velocity is not None:
                    self.exposure.motion.go(frame, velocity, self.exposure.span.item())
        self.optimizers = make_optimizers(self.scene, self.exposure, config.rates)
        self.density = DensityControl(
            config.density,
            budget=config.budget(len(photos), photos.mean_pixels),
            scene_scale=self.scene_scale, steps=config.steps,
        )  # fmt: skip
        self.step_number = 0
        self.seconds = 0.0
        self.watch = Watch()
        self.mean = SceneMean()
        self.queue: list[int] = []
        self.subframes = [1] * len(photos)
        self.done = passed_before(0.0)  # moments of each occasion that lie behind
        self.causes = [Cause.UNKNOWN] * len(photos)

    def _guess_focus(self) -> None:
        """Starts each photo's disks at a part of what half of the photo shows: those of a sharp one, or of one that is
        blurred by motion, at so little that they stay in focus. What the most blurred parts show is no start: a plain
        door looks like the largest of disks."""
        for frame, looks in enumerate(self.photos.looks):
            if isfinite(looks.blur_px):
                focal = self.photos.cameras[-1].Ks[frame, 0, 0].item()
                self.exposure.lens.focus.start(frame, looks.disks * looks.blur_px / 4 / focal)

    @property
    def progress(self) -> float:
        """Of the training, in [0, 1]: by steps, or by the clock where that is further."""
        by_steps = self.step_number / self.config.steps
        by_time = self.seconds / self.config.time_limit if self.config.time_limit else 0.0
        return min(max(by_steps, by_time), 1.0)

    def learning_rates(self, progress: float) -> dict[str, float]:
        """Of every optimizer by name."""
        rates = learning_rates(self.config.rates, progress, self.scene_scale)
        if self.config.looks_back and self.exposure.motion.is_reversible:
            # Not before looking back has found it: small steps follow poses that turned to make up for a wrong one.
            rates["readout"] *= ramp(progress, *READOUT_AT)
        return {name: rate * self.watch.rate_factor for name, rate in rates.items()}

    def _next_photo(self) -> int:
        if not self.queue:
            self.queue = torch.randperm(len(self.photos), generator=self.generator).tolist()
        return self.queue.pop()

    def _window(self, level: int, frame: int) -> tuple[Cameras, Tensor, Tensor | None, Window]:
        """The camera, the picture and the pixels that count of a photo, or of a random window of it if it is large;
        and which part of the photo that is."""
        camera, photo = self.photos.cameras[level].at(frame), self.photos.pictures[level][frame]
        keep = self.photos.keeps[level][frame]
        share = (self.config.crop_pixels or inf) / (camera.width * camera.height)
        if share >= 1:
            return camera, photo, keep, Window.whole(camera.width, camera.height)
        width, height = round(camera.width * share**0.5), round(camera.height * share**0.5)
        free = torch.tensor([camera.width - width + 1, camera.height - height + 1])
        left, top = (torch.rand(2, generator=self.generator) * free).long().tolist()
        part = slice(top, top + height), slice(left, left + width)
        window = Window(left, top, width, height, camera.width, camera.height)
        return camera.cropped(left, top, width, height), photo[part], None if keep is None else keep[part], window

    def render_fn(self, camera: Cameras, background: tuple[float, ...] = (0.0, 0.0, 0.0)) -> RenderFn:
        """Draws the scene as the training stands, through one photo's lens."""
        degree = min(self.config.sh_degree, int(self.progress * 2 * (self.config.sh_degree + 1)))
        options = RenderOptions(
            self.config.is_antialiased, sh_degree=degree, background=background,
            keeps_magnitudes=self.density.needs_magnitudes(self.progress),
        )  # fmt: skip

        def render(viewmats: Tensor, burst: Burst | None, seen: SeenAs = as_it_is) -> Render:
            views = camera.with_viewmats(viewmats)
            return self.rasterizer.render(seen(self.scene), views, options=options, burst=burst)

        return render

    def _background(self) -> tuple[float, ...]:
        """Behind the scene at the next step."""
        if not self.config.random_background:
            return 0.0, 0.0, 0.0
        return tuple(torch.rand(3, generator=self.generator).tolist())

    def step(self) -> TrainEvent:
        """One photo seen and learned from.

        Raises:
            TrainingError: the scene has left the realm of numbers for the fourth time.
        """
        began = time.perf_counter()
        progress = self.progress
        level = self.config.resolution.level(progress)
        cameras = self.photos.cameras[level]
        if not self.queue:
            self.subframes = self.exposure.subframe_counts(cameras.Ks[0, 0, 0].item(), progress)
        frame = self._next_photo()
        is_warm = progress >= self.config.rates.camera_start
        num_subframes = self.subframes[frame] if is_warm else 1
        for told in attend(self):
            logger.info(told)
        camera, photo, keep, window = self._window(level, frame)

        predicted = self.exposure(
            self.render_fn(camera, self._background()), frame, num_subframes, camera=camera, level=level, window=window
        )
        charges, noise = self.charges[level], self.noise[level]
        if noise is not None and noise.is_loud(charges):
            error = noise.loss(predicted.srgb, photo, frame, charges, keep)
        else:
            error = charges.of_photo(predicted.srgb, photo, keep)
        loss = self._charged(error, frame, predicted, level, num_subframes)

        note = ""
        if self.watch.is_lost(error.item()):
            note = self.watch.recover(self)
        else:
            self._learn(loss, predicted.render, progress)
            self._hold_blur(frame, camera, predicted.blur)
            if self.watch.finds_nonsense(self):
                note = self.watch.recover(self)
        self.step_number += 1
        self.seconds += time.perf_counter() - began
        with torch.no_grad():
            squares = (predicted.srgb.clamp(0, 1) - photo).square()
            mse = (squares if keep is None or not keep.any() else squares[keep]).mean().item()
        after = self.progress
        self._average(after)
        return TrainEvent(
            step=self.step_number, progress=after, photo=self.photos.names[frame], loss=loss.item(),
            psnr=-10 * log10(max(mse, 1e-10)) if isfinite(mse) else 0.0, num_gaussians=len(self.scene),
            num_subframes=num_subframes, seconds=self.seconds,
            seconds_left=self.seconds / max(after, 1e-6) * (1 - after), note=note,
        )  # fmt: skip

    def _charged(self, error: Tensor, frame: int, predicted: Photo, level: int, num_subframes: int) -> Tensor:
        """What a photo leaves unexplained, and what its explanation is charged for."""
        charges, weights, progress, loss = self.charges[level], self.config.loss, self.progress, error
        if charges.opacity or charges.scale:
            loss = loss + scene_prior(self.scene, charges, self.scene_scale, predicted.render.info.is_drawn)
        if weights.temporal and predicted.render.subframes is not None:
            loss = loss + geometric(1, 0.01, progress) * weights.temporal * temporal(predicted.render.subframes)
        if weights.path:
            focal, finest = (self.photos.cameras[of].Ks[frame, 0, 0].item() for of in (level, -1))
            free_px = weights.path_free * (self._moved_px(frame) * focal / finest)
            too_long = (self.exposure.blur_px(frame, focal) - free_px).clamp(min=0)
            loss = loss + weights.path * ramp(progress, *weights.path_ramp) * too_long
        for share in (predicted.blur.gate, predicted.weighed):
            if share is not None:
                loss = loss + weights.kernels * share.mean()
        if self.exposure.motion.bends:
            loss = loss + weights.bend * self.exposure.strain(frame, num_subframes)
        if self.exposure.tone.shared_parameters():
            loss = loss + weights.response * self.exposure.tone.strain()
        if weights.pose_anchor:
            loss = loss + weights.pose_anchor * self.exposure.motion.pose_delta(frame).square().sum()
        return loss

    def predict(self, level: int, frame: int, num_subframes: int = 1) -> Tensor:
        """A whole photo as the training stands, before black."""
        camera = self.photos.cameras[level].at(frame)
        return self.exposure(self.render_fn(camera), frame, num_subframes, camera=camera, level=level).srgb

    def _learn(self, loss: Tensor, render: Render, progress: float) -> None:
        rates = self.learning_rates(progress)
        for name, optimizer in self.optimizers.items():
            optimizer.zero_grad(set_to_none=True)
            optimizer.param_groups[0]["lr"] = rates[name]
        self.density.before_backward(render)
        loss.backward()
        for optimizer in self.optimizers.values():
            optimizer.step()
        self.density.after_backward(
            self.scene, self.optimizers, render, step=self.step_number, progress=progress,
            means_lr=rates["means"], generator=self.generator,
        )  # fmt: skip
        self.watch.keep(self)

    def _average(self, progress: float) -> None:
        """Near the end, counts the scene in; at the end, leaves the mean in its place."""
        if progress > 1 - self.config.average:
            self.mean.add(self.scene)
        elif self.mean.count:  # the training was taken back
            self.mean = SceneMean()
        if progress >= 1:
            self.mean.give(self.scene)

    def _moved_px(self, frame: int) -> float:
        """How much of the blur that shows in a photo may be motion, in px of the finest level. Before photos are judged
        for the last time, a verdict may be wrong, and is not to prove itself right."""
        is_still = self.causes[frame] == Cause.FOCUS and self.done["judgements"] == len(JUDGE_AT)
        return 0.0 if is_still else self.photos.looks[frame].blur_px

    def _hold_blur(self, frame: int, seen: Cameras, blur: LensBlur) -> None:
        """Shortens a photo's blur path, and its disks out of focus, to the longest that the photo's looks allow."""
        if not self.config.max_path:
            return
        camera = self.photos.cameras[-1].at(frame)
        focal = camera.Ks[0, 0, 0].item()
        looks, sharp_px = self.photos.looks[frame], SHARP * camera.width
        longest = self.config.max_path * self._moved_px(frame) + sharp_px
        largest = self.config.max_path / 2 * looks.most_px + sharp_px
        if self.causes[frame] == Cause.SHARP:
            longest = largest = 0.0
        self.exposure.shorten(frame, longest, focal)
        if blur.radius_px is not None:
            disk = 2 * blur.radius_px.mean().item() * focal / seen.Ks[0, 0, 0].item()
            if disk > largest:
                self.exposure.lens.focus.narrow(frame, largest / disk)

    def run(self) -> Iterator[TrainEvent]:
        """Steps until the end, whichever of steps and time limit comes first."""
        while self.progress < 1:
            yield self.step()

    @torch.no_grad()
    def residual(self, frame: int) -> float:
        """What scene and exposure, as the training stands, leave unexplained of a photo at full training size; 0 is
        nothing. Asking changes nothing, and gives the same again."""
        count = self.exposure.subframe_counts(self.photos.cameras[-1].Ks[frame, 0, 0].item())[frame]
        photo, keep = self.photos.pictures[-1][frame], self.photos.keeps[-1][frame]
        return photometric(self.predict(-1, frame, count), photo, self.config.loss.dssim, keep).item()

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on, see `state_of`."""
        return state_of(self)

    def load_state(self, state: dict[str, Any]) -> None:
        """Continues from `state()`, bit for bit on a CPU."""
        restore(self, state)
