"""The command line: each command is a call, and the only place that prints."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

# Before torch and numba make their thread pools: two pools whose idle workers spin would slow each other down.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import tyro
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from . import __version__, pipeline, renders, showing
from .capture import Capture
from .config import DEFAULT_PRESET, Config, checked, load_preset, with_settings
from .doctor import examine
from .errors import SplatDeblurError
from .export import FORMATS
from .export import export as export_run
from .optimize import TrainEvent
from .poses import Reconstruction, load_reconstruction
from .renders import RenderSettings
from .result import Result
from .run import Run
from .view.frames import PictureFormat

# File names are no markup, and paths stay whole when the output is a file: `[red].jpg` is printed as it is called.
console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

Input = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(help="photos, a video, or a folder with known poses")]
RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(help="a run folder")]
RunOrScene = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(help="a run, or a .ply, .spz, .splat or .sog file")]
Out = Annotated[Path, tyro.conf.arg(help="where to write")]
Preset = Annotated[str, tyro.conf.arg(help="named settings, or a YAML file of one's own")]
Downscale = Annotated[float, tyro.conf.arg(help="train on photos reduced by this factor; 0 chooses")]
RenderDownscale = Annotated[float, tyro.conf.arg(help="photos' own size divided by this; 0: as trained")]
Steps = Annotated[int | None, tyro.conf.arg(help="training steps; the preset says how many otherwise")]
Seed = Annotated[int, tyro.conf.arg(help="of every random choice")]
Device = Annotated[str, tyro.conf.arg(help="auto, cpu or cuda")]
TimeLimit = Annotated[float, tyro.conf.arg(help="seconds of training; schedules are squeezed to end by then; 0: none")]
Settings = Annotated[
    tuple[str, ...],
    tyro.conf.UseAppendAction,
    tyro.conf.arg(name="set", help="any setting, as train.loss.dssim=0.3; may be given several times"),
]


def _config(
    preset: str = DEFAULT_PRESET,
    downscale: float = 0,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    time_limit: float = 0,
    settings: tuple[str, ...] = (),
) -> Config:
    config = load_preset(preset)
    train = replace(config.train, seed=seed, steps=config.train.steps if steps is None else steps)
    train = replace(train, time_limit=time_limit or train.time_limit)
    config = replace(config, downscale=downscale or config.downscale, device=device, train=train)
    return checked(with_settings(config, settings))


@contextmanager
def _bar() -> Iterator[tuple[Callable[[float | None, str], None], Callable[[TrainEvent], None]]]:
    """A progress bar, fed by stages with a fraction and a message, or by training events."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=not console.is_terminal) as progress:
        task = progress.add_task("", total=1.0)
        said = [""]

        def show(fraction: float | None, message: str) -> None:
            progress.update(task, completed=fraction, total=None if fraction is None else 1.0, description=message)
            kind = message.rstrip("0123456789 of/.")
            if not console.is_terminal and kind != said[0]:  # a log file gets a line for each new kind of work
                said[0] = kind
                console.print(message)

        def show_event(event: TrainEvent) -> None:
            left = f"{event.seconds_left / 60:.1f} min left"
            line = f"step {event.step}, {event.num_gaussians} Gaussians, photos at {event.psnr:.1f} dB, {left}"
            progress.update(task, completed=event.progress, total=1.0, description=line)
            if event.note or (not console.is_terminal and event.step % 500 == 0):
                console.print(event.note or line)

        yield show, show_event


def doctor(input: Input):
    """Judges photos or a video before anything long starts, and says what to shoot differently."""
    with _bar() as (show, _):
        findings = examine(input, show)
    for finding in findings:
        console.print(f"{finding.level}: {finding.what}")
        if finding.why:
            console.print(f"    because {finding.why}")
        if finding.advice:
            console.print(f"    better: {finding.advice}")


def prepare(input: Input, *, out: Out, downscale: Downscale = 0, preset: Preset = DEFAULT_PRESET, set: Settings = ()):
    """Photos or a video into a run folder."""
    with _bar() as (show, _):
        capture = pipeline.prepare(input, Run(out), _config(preset, downscale, settings=set), show)
    _tell_capture(capture)


def pose(run: RunFolder, *, seed: Seed = 0, preset: Preset = DEFAULT_PRESET, set: Settings = ()):
    """Camera poses of a run's photos."""
    with _bar() as (show, _):
        found = pipeline.pose(Run(run), _config(preset, seed=seed, settings=set), show)
    _tell_lost(found)
    firm = len(found.names) - len(found.doubtful)
    console.print(
        f"{firm} photos have a pose, {len(found.doubtful)} a doubtful one, {len(found.missing)} none: "
        f"{run / 'poses/poses.json'}"
    )


def train(
    run: RunFolder, *, preset: Preset = DEFAULT_PRESET, downscale: Downscale = 0, steps: Steps = None,
    seed: Seed = 0, device: Device = "auto", time_limit: TimeLimit = 0, set: Settings = (),
):  # fmt: skip
    """A sharp scene from a run's photos and poses; continues where it was interrupted."""
    with _bar() as (_, show_event):
        result = pipeline.train(
            Run(run), _config(preset, downscale, steps, seed, device, time_limit, set), show_event
        )
    _tell_result(result)


def reconstruct(
    input: Input, *, out: Out, preset: Preset = DEFAULT_PRESET, downscale: Downscale = 0, steps: Steps = None,
    seed: Seed = 0, device: Device = "auto", time_limit: TimeLimit = 0, set: Settings = (),
):  # fmt: skip
    """Everything: prepare, pose and train."""
    config = _config(preset, downscale, steps, seed, device, time_limit, set)
    with _bar() as (show, show_event):
        result = pipeline.reconstruct(input, Run(out), config, show, show_event)
    _tell_capture(Capture.load(result.run.capture))
    _tell_result(result)


def evaluate(
    run: RunFolder, *, device: Device = "auto",
    reference: Annotated[Path | None, tyro.conf.arg(help="folder with the truth, if there is one")] = None,
):  # fmt: skip
    """Scores of a run against the truth, and against photos that were kept for testing."""
    with _bar() as (show, _):
        scores = pipeline.evaluate(Run(run), reference, device, lambda message, fraction: show(fraction, message))
    novel = scores.novel_view
    if novel:
        console.print(
            f"held-out views: PSNR {novel.aligned.psnr.mean:.2f} dB, SSIM {novel.aligned.ssim.mean:.3f} "
            f"(before their poses were refined: {novel.unaligned.psnr.mean:.2f} dB; "
            f"each in its own brightness: {novel.exposed.psnr.mean:.2f} dB)"
        )
    if scores.held_out and scores.held_out.scores.psnr.per_image:
        psnr, ssim = scores.held_out.scores.psnr, scores.held_out.scores.ssim
        for name, value in psnr.per_image.items():
            console.print(f"{name}: {value:.2f} dB; the photo looks blurred by {scores.held_out.blur_px[name]:.1f} px")
        console.print(
            f"photos kept for testing: PSNR {psnr.mean:.2f} dB, SSIM {ssim.mean:.3f} (each pose refined, brightness "
            "fitted; blurred photos score low against a sharp render)"
        )
    for part, reason in scores.missing.items():
        console.print(f"no {part}: {reason}")
    console.print(f"scores: {run / 'scores.json'}; pictures: {run / 'evaluation'}")


def render(
    run: RunOrScene, *,
    out: Annotated[Path, tyro.conf.arg(help="a folder, or NAME.mp4 for a video")], device: Device = "auto",
    cameras: Annotated[Path | None, tyro.conf.arg(help="a transforms.json or COLMAP model")] = None,
    path: Annotated[str | None, tyro.conf.arg(help="inputs, through, orbit or spiral")] = None,
    frames: Annotated[int, tyro.conf.arg(help="views along the path; 0 chooses")] = 0,
    format: Annotated[PictureFormat, tyro.conf.arg(help="png16: 16 bits; exr: linear light")] = "png",
    depth: Annotated[bool, tyro.conf.arg(help="depth as 16-bit and coloured pictures, too")] = False,
    shutter: Annotated[float, tyro.conf.arg(help="0: sharp; 1: photos blurred as learned; 2: twice as long")] = 0.0,
    downscale: RenderDownscale = 0.0,
    fps: Annotated[float, tyro.conf.arg(help="frames per second of a video")] = 30.0,
    quality: Annotated[float, tyro.conf.arg(help="of a video, 0 to 100")] = 75.0,
):  # fmt: skip
    """Pictures or a video of a trained scene, or of a scene file; goes on where it was interrupted."""
    settings = RenderSettings(cameras, path, frames, format, depth, shutter, downscale, fps, quality)
    with _bar() as (show, _):
        drawn, views = renders.render(run, out, settings, device, show)
    kept = f", {len(views) - drawn} of them from before" if drawn < len(views) else ""
    size = f"of {views.width}x{views.height}" if views.sizes is None else "of the photos' sizes"
    console.print(f"{len(views)} pictures {size}{kept}: {out}")


def export(
    run: RunFolder, *, format: Annotated[str, tyro.conf.arg(help=", ".join(FORMATS))] = "ply", out: Out,
    downscale: RenderDownscale = 0.0, device: Device = "auto",
    enlargement: Annotated[float, tyro.conf.arg(help="of a viewer's pictures over the training's, which widens thin "
                                                     "Gaussians; 1: as trained")] = 1.0,
):  # fmt: skip
    """A trained scene, or its sharp photos and cameras, as files for other programs."""
    with _bar() as (show, _):
        written = export_run(Run(run), format, out, downscale, device, show, enlargement)
    for path in written:
        console.print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)" if path.is_file() else str(path))


def view(
    run: RunOrScene, *, device: Device = "auto",
    host: Annotated[str, tyro.conf.arg(help="address to listen on; 0.0.0.0 lets other machines in")] = "127.0.0.1",
    port: Annotated[int, tyro.conf.arg(help="0: any that is free")] = 8080,
    exact: Annotated[bool, tyro.conf.arg(help="our own renders, however fast the browser is")] = False,
    page: Annotated[Path | None, tyro.conf.arg(help="write this HTML file, to share, instead of serving")] = None,
):  # fmt: skip
    """A run in the browser, during training and after; or a scene file."""
    if page is not None:
        showing.write_page(run, page, device)
        console.print(f"{page} ({page.stat().st_size / 1e6:.1f} MB): one colour for each Gaussian, as seen from where")
        console.print("it opens; opened as a file it is drawn in the order that is right from there")
        return
    viewer = showing.open_viewer(run, device, host, port, is_exact=exact)
    console.print(showing.invitation(viewer.host, viewer.port))
    signal.signal(signal.SIGTERM, lambda number, frame: viewer.stop())
    try:
        viewer.follow()
    except KeyboardInterrupt:
        viewer.stop()


def _tell_capture(capture: Capture) -> None:
    for name, reason in capture.skipped.items():
        console.print(f"left out {name}: {reason}")
    console.print(f"{len(capture.frames)} photos of {capture.width}x{capture.height}")


def _tell_lost(found: Reconstruction) -> None:
    for name, reason in found.missing.items():
        console.print(f"no pose for {name}: {reason}")
    for name, reason in found.doubtful.items():
        console.print(f"the pose of {name} is doubtful, and not trained on: {reason}")


def _tell_result(result: Result) -> None:
    _tell_lost(load_reconstruction(result.run))
    console.print(f"{len(result.scene)} Gaussians from {len(result.names)} photos: {result.run.checkpoint}")
    if told := result.readout():
        console.print(told)
    console.print(f"photos beside their sharp renders: {result.run.evaluation / 'side_by_side.png'}")


COMMANDS = {f.__name__: f for f in (reconstruct, doctor, prepare, pose, train, evaluate, render, export, view)}


def main() -> None:
    """Entry point: errors of the user's world are one sentence, interruption is no error."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        print(f"splatdeblur {__version__}")
        return
    handler = RichHandler(console=console, show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    logging.getLogger("splatdeblur").setLevel(logging.INFO)
    try:
        tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="splatdeblur", description=__doc__)
    except SplatDeblurError as error:
        console.print(f"error: {error}")
        sys.exit(2)
    except OSError as error:
        console.print(f"error: {error}. Nothing that was finished before is lost")
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("interrupted; what was done is saved, and the same command continues")
        sys.exit(130)


if __name__ == "__main__":
    main()
