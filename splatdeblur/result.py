"""A finished training, read back from its run folder, and what can be made from it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from .capture.choices import Choices
from .config import Config, config_from_plain
from .errors import ConfigError, FormatError
from .evaluate import Scores, TrainedPhotos, evaluate, show_side_by_side
from .exposure import Exposure
from .geometry import Cameras, linear_from_srgb
from .optimize import checkpoint as checkpoints
from .poses.reconstruction import load_reconstruction
from .render import Rasterizer, RenderOptions, best_available
from .run import Run
from .scene import Gaussians

logger = logging.getLogger(__name__)

PATH_SAMPLES = 33  # instants at which blur paths are compared
READABLE_PX = 1.0  # photos that smear less hardly tell in which order their rows were read


@dataclass(frozen=True)
class BlurCauses:
    """How much each cause blurred a photo.

    Attributes:
        path_px: length of the camera's path in the picture.
        radius_px: mean radius of the disks that what is out of focus spreads over.
        moved: share of the light that kernels took from other pixels.
    """

    path_px: float
    radius_px: float
    moved: float


@dataclass(frozen=True, eq=False)
class Result:
    """Scene, exposures and cameras of a run, at training size, after `step` steps."""

    run: Run
    config: Config
    names: tuple[str, ...]
    cameras: Cameras
    scene: Gaussians
    exposure: Exposure
    rasterizer: Rasterizer
    step: int

    @property
    def options(self) -> RenderOptions:
        """How the scene was trained to be drawn."""
        return RenderOptions(is_antialiased=self.config.train.is_antialiased)

    @torch.no_grad()
    def photos(self) -> TrainedPhotos:
        """The photos' cameras and blur paths as learned."""
        frames = range(len(self.names))
        cameras = self.cameras.with_viewmats(torch.stack([self.exposure.sharp_viewmat(i) for i in frames]))
        if not self.exposure.has_motion:
            return TrainedPhotos(self.names, cameras)
        times = torch.linspace(0, 1, PATH_SAMPLES)
        paths = torch.stack([self.exposure.path(i, times) for i in frames])
        focal_px = self.cameras.Ks[:, 0, 0].mean().item()
        blur = torch.stack([self.exposure.blur_px(i, focal_px) for i in frames])
        return TrainedPhotos(self.names, cameras, paths, times, blur)

    def unused(self) -> tuple[tuple[str, ...], Cameras]:
        """Names of the photos with a firm pose that take no part in the training, and their cameras as found, at
        training size."""
        reconstruction = load_reconstruction(self.run)
        taken = {*self.names, *reconstruction.doubtful}
        rows = [i for i, name in enumerate(reconstruction.names) if name not in taken]
        cameras = reconstruction.cameras.to(dtype=torch.float32).scaled(1 / self.config.downscale)
        return tuple(reconstruction.names[i] for i in rows), cameras.at(rows)

    def readout(self) -> str | None:
        """A sentence on the read-out that was learned, and whether it can be believed; None for one that was given."""
        shutter, photos = self.exposure.shutter, self.photos()
        if not shutter.shutter.learns_readout or photos.blur_px is None:
            return None
        told = f"rolling shutter: reading takes {shutter.readout.item():.2f} of the exposure time"
        moving = photos.blur_px.median().item()
        if moving < READABLE_PX:
            return f"{told}, but half of the photos smear by less than {moving:.1f} px: too little to tell"
        return f"{told} (half of the photos smear by more than {moving:.1f} px)"

    @torch.no_grad()
    def blur(self) -> dict[str, BlurCauses]:
        """What blurred each photo, as learned; by name."""
        found = {}
        for i, name in enumerate(self.names):
            camera = self.cameras.at(i).to(self.rasterizer.device)
            radius = moved = 0.0
            if not self.exposure.lens.is_clear:
                viewmat = self.exposure.sharp_viewmat(i)[None]
                drawn = self.rasterizer.render(self.scene, camera.with_viewmats(viewmat), options=self.options)
                _, lens = self.exposure.through_lens(linear_from_srgb(drawn.rgb[0]), drawn.depth[0], i, camera)
                radius = 0.0 if lens.radius_px is None else lens.radius_px.mean().item()
                moved = 0.0 if lens.moved is None else lens.moved.mean().item()
            found[name] = BlurCauses(self.exposure.blur_px(i, camera.Ks[0, 0, 0].item()).item(), radius, moved)
        return found

    def show(self) -> Path | None:
        """Draws blurred photos beside sharp renders."""
        return show_side_by_side(
            self.run, scene=self.scene, rasterizer=self.rasterizer, photos=self.photos(), options=self.options,
            downscale=self.config.downscale,
        )  # fmt: skip

    def held_out(self) -> tuple[tuple[str, ...], Cameras] | None:
        """Names of the photos kept for testing and their cameras as found, at training size; None if there are none."""
        reconstruction = load_reconstruction(self.run)
        tests = Choices.load(self.run.choices).test
        seen = sorted(tests.intersection(self.names))
        if seen:
            logger.warning("not scored, as the scene has seen them: %s; train again first", ", ".join(seen))
        rows = [i for i, name in enumerate(reconstruction.names) if name in tests and name not in seen]
        if not rows:
            return None
        cameras = reconstruction.cameras.at(rows).scaled(1 / self.config.downscale)
        return tuple(reconstruction.names[i] for i in rows), cameras

    def evaluate(self, reference: Path | None, refine_steps: int, on_progress: Callable[[str, float], None]) -> Scores:
        """Scores against a reference folder, if there is one, and against photos kept for testing; written to the run.

        Raises:
            ConfigError: there is neither.
        """
        held_out = self.held_out()
        if reference is None and held_out is None:
            raise ConfigError(
                f"nothing to score {self.run.folder} against: give --reference with the truth, or keep photos for "
                "testing (in the viewer, or as `test` in photos.json) and train without them"
            )
        return evaluate(
            self.run, reference, scene=self.scene, rasterizer=self.rasterizer, photos=self.photos(),
            options=self.options, downscale=self.config.downscale, held_out=held_out, refine_steps=refine_steps,
            on_progress=on_progress,
        )  # fmt: skip


def load_result(run: Run, device: str = "auto") -> Result:
    """Reads a trained run.

    Raises:
        FormatError: nothing has been trained there, or the checkpoint is damaged or of another version.
    """
    checkpoint = checkpoints.load(run.require(run.checkpoint, "train"))
    try:
        config = config_from_plain(checkpoint.settings)
    except ConfigError as error:
        raise FormatError(
            f"{run.checkpoint} has settings of another version of this program ({error}); update the program, or train "
            "again"
        ) from error
    rasterizer = best_available(device)
    try:
        scene = checkpoint.scene().to(rasterizer.device).detached()
        exposure = checkpoint.exposure(config.train)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise FormatError(f"{run.checkpoint} is damaged ({error}); delete it and train again") from error
    if not all(value.isfinite().all() for value in scene.params.values()):
        raise FormatError(f"{run.checkpoint} holds Gaussians with NaN or infinity; delete it and train again")
    return Result(run, config, checkpoint.names, checkpoint.cameras, scene, exposure, rasterizer, checkpoint.step)
