"""Pictures and films of a trained run, or of a scene that came as a file."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from .capture.names import unique_stems
from .capture.video import VIDEO_SUFFIXES
from .errors import ConfigError, FormatError
from .geometry import Cameras
from .optimize.initial import focus_point
from .poses.imports import load_cameras
from .run import Run
from .scene import Gaussians
from .subject import Subject, load_subject, reduced, require_drawable
from .view import camera_path
from .view.film import require_video, write_video
from .view.frames import FrameFiles, Picture, PictureFormat, write_frames
from .view.paths import around_scene


@dataclass(frozen=True)
class RenderSettings:
    """What to draw and how to write it.

    Attributes:
        cameras: a transforms.json (or COLMAP model) with the views; with `path`, the cameras that it is made from.
        path: inputs, through, orbit or spiral; None for the inputs, or for all views of `cameras`.
        frames: how many views along a path; 0 chooses.
        format: png, png16 or exr.
        has_depth: depth as 16-bit pictures and as colours, too.
        shutter: 0 for sharp renders; else the inputs as photos, blurred by so many times their exposure.
        downscale: size of the photos, or of the views of a scene file, divided by this; 0 for the size of the training.
        fps, quality: of a video, see `write_video`.

    Raises:
        ConfigError: a number makes no sense, or `shutter` does not go with the rest.
    """

    cameras: Path | None = None
    path: str | None = None
    frames: int = 0
    format: PictureFormat = "png"
    has_depth: bool = False
    shutter: float = 0.0
    downscale: float = 0.0
    fps: float = 30.0
    quality: float = 75.0

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("--shutter", self.shutter, 0, 100), ("--downscale", self.downscale, 0, 1000),
            ("--frames", self.frames, 0, 100_000),
        ):  # fmt: skip
            if not low <= value <= high:
                raise ConfigError(f"{name} is {value:g}; it must be {low} to {high}")
        if self.shutter and (self.cameras is not None or self.path not in (None, "inputs")):
            raise ConfigError("--shutter needs to know how the camera moved: it goes with --path inputs alone")


def render(
    source: Path, out: Path, settings: RenderSettings, device: str, on_progress: Callable[[float, str], None]
) -> tuple[int, Cameras]:
    """Draws views of a run folder or scene file into the folder `out`, or into the video `out` (NAME.mp4).

    An interrupted call, made again, goes on where it stopped. Returns how many views were drawn this time, and all of
    their cameras.

    Raises:
        ConfigError: the settings make no sense together.
        FormatError: the source cannot be read, or the output would replace something else.
    """
    _check(out, settings)
    Run(source).require_apart(out)
    subject = load_subject(source, device, settings.downscale)
    if settings.shutter and subject.exposure is None:
        raise ConfigError(f"{source} is a scene file, and does not say how photos were blurred; --shutter needs a run")
    names, views = views_of(subject, settings)
    require_drawable(views)
    is_video = out.suffix.lower() in VIDEO_SUFFIXES
    if is_video and views.sizes is not None:
        raise ConfigError(
            f"the views have {len(set(views.sizes))} sizes and a video has one: give --path through or orbit, "
            f"or a folder as --out instead of {out}"
        )
    if is_video and min(views.width, views.height) < 2:
        raise ConfigError(f"the pictures have {views.width}x{views.height} px; a video needs at least 2x2")
    folder = out.with_name(f".{out.name}.frames") if is_video else out
    files = FrameFiles(
        settings.format, farthest(subject.scene, views) if settings.has_depth else 0.0,
        known_light=0.0 if subject.exposure is None else subject.exposure.tone.recoverable(),
    )  # fmt: skip

    def draw(index: int) -> Picture:
        camera = views.at(index)
        return subject.blurred(camera, index, settings.shutter) if settings.shutter else subject.sharp(camera)

    drawn = write_frames(
        names, draw, folder, files, made_from=identity(subject, views, settings), on_progress=on_progress
    )
    if is_video:
        on_progress(1.0, f"writing {out.name}")
        write_video(out, _pictures(folder, names), settings.fps, settings.quality)
        shutil.rmtree(folder)
    return drawn, views


def views_of(subject: Subject, settings: RenderSettings) -> tuple[tuple[str, ...], Cameras]:
    """Names and cameras of what `settings` ask for.

    Raises:
        ConfigError: the subject has no photos to make the path from.
    """
    names, base = subject.names, subject.cameras
    if settings.cameras is not None:
        files, base = load_cameras(settings.cameras)
        names = tuple(unique_stems((Path(name.replace("\\", "/")) for name in files), Path()))
        base = base.to(dtype=torch.float32)
        if settings.downscale:
            base = reduced(base, base.own_sizes, settings.downscale)
    if base is None:
        if settings.path not in (None, "orbit"):
            raise ConfigError(f"a scene file has no photos for --path {settings.path}; give --cameras FILE, or orbit")
        base = around_scene(subject.scene, settings.frames).to("cpu")
        if settings.downscale:
            base = reduced(base, base.own_sizes, settings.downscale)
        return _numbered(len(base)), base
    if settings.path in (None, "inputs"):
        # A photo that was not trained on has no exposure to be blurred with.
        return (names, base) if settings.shutter or base is not subject.cameras else subject.inputs()
    views = camera_path(base, settings.path, focus_point(base), settings.frames)
    return _numbered(len(views)), views


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"{index:04d}" for index in range(count))


def farthest(scene: Gaussians, views: Cameras) -> float:
    """A z-depth in world units that hardly any Gaussian in the pictures exceeds."""
    depths = [torch.ones((), dtype=torch.float64)]
    for viewmat, K, (width, height) in zip(views.viewmats, views.Ks, views.own_sizes, strict=True):
        local = scene.means.cpu() @ viewmat[:3, :3].mT + viewmat[:3, 3]
        u, v, z = (local @ K.mT).unbind(-1)
        is_seen = (z > 0) & (u > 0) & (u < z * width) & (v > 0) & (v < z * height)
        if is_seen.any():
            depths.append(z[is_seen].double().quantile(0.995))
    return 1.05 * torch.stack(depths[1:] or depths).max().item()


def identity(subject: Subject, views: Cameras, settings: RenderSettings) -> str:
    """Stands for all that decides what the pictures look like."""
    chosen = {key: value for key, value in asdict(settings).items() if key in ("format", "has_depth", "shutter")}
    tensors = [*subject.scene.params.values(), views.viewmats, views.Ks]
    if settings.shutter and subject.exposure is not None:
        tensors += subject.exposure.state_dict().values()
    made = hashlib.sha256(repr((chosen, subject.options, views.own_sizes)).encode())
    for tensor in tensors:
        made.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return made.hexdigest()


def _pictures(folder: Path, names: tuple[str, ...]) -> Iterator[np.ndarray]:
    for name in names:
        with Image.open(folder / f"{name}.png") as image:
            yield np.asarray(image)


def _check(out: Path, settings: RenderSettings) -> None:
    if out.suffix.lower() in VIDEO_SUFFIXES:
        require_video(out, settings.fps, settings.quality)
        if settings.format != "png" or settings.has_depth:
            raise ConfigError(f"{out} is a video; --format and --depth need a folder as --out")
    elif out.exists() and not out.is_dir():
        raise FormatError(f"{out} is a file; give a folder for pictures, or NAME.mp4 for a video")
