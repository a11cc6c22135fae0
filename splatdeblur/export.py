"""A trained run as files for other programs: the scene, the sharp photos with their cameras, the camera's motion."""

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from .capture import Capture
from .errors import ConfigError, FormatError
from .poses.exports import (
    COLMAP_FILES,
    TRANSFORMS_FILES,
    Trajectories,
    write_colmap,
    write_trajectories,
    write_transforms,
)
from .poses.reconstruction import Reconstruction, load_reconstruction
from .render.bake import baked
from .render.enlarge import TrainingWidth
from .renders import RenderSettings, identity
from .result import load_result
from .run import Run
from .scene import SCENE_FORMATS, Gaussians, save_scene
from .scene.gaussians import SH_C0
from .subject import Subject, load_subject, require_drawable
from .view.frames import FrameFiles, write_frames

logger = logging.getLogger(__name__)

Progress = Callable[[float, str], None]
CAMERA_FORMATS = {"colmap": (write_colmap, COLMAP_FILES), "transforms": (write_transforms, TRANSFORMS_FILES)}
FORMATS = (*SCENE_FORMATS, *CAMERA_FORMATS, "trajectories")
MAX_POINTS = 100_000  # of a scene that has no sparse points to hand on
TRAJECTORY_SAMPLES = 17  # instants of each exposure


def export(
    run: Run, format: str, out: Path, downscale: float, device: str, on_progress: Progress, enlargement: float = 1.0
) -> list[Path]:
    """Writes `out` and returns what was written.

    Args:
        format: one of FORMATS. Scenes are one file. `colmap` and `transforms` are a folder with the cameras at
            mid-exposure and, in images/, what they see, sharp. `trajectories` is a JSON file with a TUM file beside.
        downscale: of those images, from the photos' own size; 0 for the size of the training.
        enlargement: of a scene's pictures elsewhere over those of the training; 1 leaves the Gaussians as trained.

    Raises:
        ConfigError: no such format.
        FormatError: nothing is trained, or the output would replace something else.
    """
    if format not in FORMATS:
        raise ConfigError(f'no export format "{format}"; there are {", ".join(FORMATS)}')
    if not out.name:
        raise FormatError("--out needs a name")
    run.require_apart(out)
    settings = RenderSettings(downscale=downscale)
    if not 1 <= enlargement < math.inf:
        raise ConfigError(f"--enlargement is {enlargement:g}; it must be 1 or more")
    if format in SCENE_FORMATS:
        result = load_result(run, "cpu")
        if result.options.is_antialiased:
            logger.info("trained antialiased: opacities are lowered to look the same in viewers that are not")
        cameras = result.photos().cameras
        width = TrainingWidth.of(result.scene, cameras, result.options)
        scene = width.enlarged(result.scene, enlargement)
        save_scene(baked(scene, cameras, result.options), out, format)
        return [out]
    if format == "trajectories":
        return [out, write_trajectories(trajectories(run), out)]
    if out.exists() and not out.is_dir():
        raise FormatError(f"{out} is a file; --format {format} writes a folder")
    subject = load_subject(run.folder, device, downscale)
    require_drawable(subject.cameras)
    write_cameras, beside = CAMERA_FORMATS[format]
    write_frames(
        subject.names, lambda index: subject.sharp(subject.cameras.at(index)), out, FrameFiles(folder="images"),
        made_from=identity(subject, subject.cameras, settings), on_progress=on_progress,
        beside=beside,
    )  # fmt: skip
    write_cameras(refined(run, subject), out)
    return [out]


def refined(run: Run, subject: Subject) -> Reconstruction:
    """The run's reconstruction with the cameras as training left them, and sharp PNG pictures as its photos."""
    before = load_reconstruction(run)
    points, colors = before.points, before.colors
    if len(points) == 0:  # other programs want some to start from
        points, colors = _scene_points(subject.scene)
    names = tuple(f"{name}.png" for name in subject.names)
    return replace(
        before, names=names, cameras=subject.cameras.to(dtype=torch.float64), points=points, colors=colors
    )


def _scene_points(scene: Gaussians) -> tuple[torch.Tensor, torch.Tensor]:
    """Means and colours of the most opaque Gaussians."""
    chosen = scene.opacities.argsort(descending=True)[:MAX_POINTS].cpu()
    colors = (scene.sh[:, 0].cpu()[chosen] * SH_C0 + 0.5).clamp(0, 1)
    return scene.means.cpu()[chosen].double(), colors.double()


@torch.no_grad()
def trajectories(run: Run) -> Trajectories:
    """How each photo's camera moved, as learned."""
    result = load_result(run, "cpu")
    frames = {frame.name: frame for frame in Capture.load(run.require(run.capture, "prepare")).frames}
    known = [frames[name] for name in result.names]
    times = torch.linspace(0, 1, TRAJECTORY_SAMPLES)
    viewmats = torch.stack([result.exposure.path(i, times) for i in range(len(known))])
    longer = 1 / result.exposure.shutter.exposure_share()
    exposures_s = [result.exposure.exposure_s(i) or f.exposure_s for i, f in enumerate(known)]
    covered_s = tuple(s and s * longer for s in exposures_s)
    return Trajectories(result.names, viewmats, times, tuple(f.time_s for f in known), covered_s)
