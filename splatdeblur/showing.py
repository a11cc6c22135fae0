"""A run as the viewer shows it, while it trains and after."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from .capture.pixels import read_photo
from .config import Config
from .errors import BackendError, FormatError
from .exposure import Exposure, Shutter, Static, Tone
from .geometry import Cameras
from .optimize import initial_scene
from .optimize.initial import focus_point
from .poses.reconstruction import load_reconstruction, photo_path
from .render import Rasterizer, RenderOptions, best_available
from .result import load_result
from .run import Run
from .scene import Gaussians, is_scene_file, load_scene
from .starting import downscale_of
from .view import Stage
from .view.origin import is_loopback
from .view.paths import around_scene

EYES = 12  # views around a scene without photos, to begin from the first
UPS = ((0.0, -1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0))  # of COLMAP and phones, of Blender, of OpenGL
SPARSE_SCENE = 500  # Gaussians at random where there are no sparse points


def files_shown(source: Path) -> tuple[Path, ...]:
    """The files from which `stage` is made; when one changes, there is something new to show."""
    return (source,) if _is_scene(source) else (Run(source).checkpoint, Run(source).poses / "poses.json")


def _is_scene(source: Path) -> bool:
    return is_scene_file(source) and not source.is_dir()


def stage(source: Path, device: str = "auto") -> Stage:
    """A run's scene as trained so far; its sparse points before training has saved anything. Or a scene file.

    Raises:
        FormatError: it is no run and no scene, has no poses yet, or a file is damaged or of another version.
        PoseError: its poses are damaged.
    """
    if _is_scene(source):
        return _without_photos(load_scene(source).detached(), device)
    run = Run(source)
    return _trained(run, device) if run.checkpoint.exists() else _untrained(run, device)


def _without_photos(scene: Gaussians, device: str) -> Stage:
    rasterizer = best_available(device)
    views = _telling_views(scene.to(rasterizer.device), rasterizer)
    return Stage(
        names=(), cameras=views, scene=scene.to(rasterizer.device),
        exposure=_still(views).to(rasterizer.device), rasterizer=rasterizer, options=RenderOptions(),
        target=focus_point(views), read_photo=lambda name: read_photo(Path(name)), step=0,
        other_names=(), other_cameras=views,
    )  # fmt: skip


@torch.no_grad()
def _telling_views(scene: Gaussians, rasterizer: Rasterizer) -> Cameras:
    """Views around a scene, those first that show the most detail: a scene file does not say where up is, nor from
    where its photos were taken, and from elsewhere there is fog."""
    circles = [around_scene(scene, EYES, up).to("cpu") for up in UPS]
    detail = []
    for views in circles:
        small = views.scaled(0.1).to(rasterizer.device)
        grey = rasterizer.render(scene, small, options=RenderOptions()).rgb.clamp(0, 1).mean(-1)
        detail.append(grey.diff(dim=1).abs().mean((1, 2)) + grey.diff(dim=2).abs().mean((1, 2)))
    best = max(range(len(UPS)), key=lambda i: detail[i].max().item())
    return circles[best].at(detail[best].argsort(descending=True).tolist())


def _still(cameras: Cameras) -> Exposure:
    """Photos taken without any motion, in one light."""
    return Exposure(
        cameras.viewmats, torch.ones(len(cameras)), motion=Static(), shutter=Shutter(), tone=Tone(False, False),
        generator=torch.Generator(),
    )  # fmt: skip


def _trained(run: Run, device: str) -> Stage:
    result = load_result(run, device)
    photos = result.photos().cameras
    other_names, other_cameras = result.unused()
    return Stage(
        names=result.names, cameras=photos, scene=result.scene, exposure=result.exposure.to(result.rasterizer.device),
        rasterizer=result.rasterizer, options=result.options, target=focus_point(photos),
        read_photo=lambda name: read_photo(photo_path(run, name), result.config.downscale),
        step=result.step,
        other_names=other_names, other_cameras=other_cameras,
    )  # fmt: skip


def _untrained(run: Run, device: str) -> Stage:
    reconstruction = load_reconstruction(run)
    rasterizer = best_available(device)
    downscale = downscale_of(run, Config())
    cameras = reconstruction.cameras.to(dtype=torch.float32).scaled(1 / downscale)
    generator = torch.Generator().manual_seed(0)
    points = reconstruction.points.float()
    count = len(points) if len(points) > 1 else SPARSE_SCENE
    scene = initial_scene(
        cameras, points, reconstruction.colors.float(), count=count, sh_degree=0, generator=generator
    )
    return Stage(
        names=reconstruction.names, cameras=cameras, scene=scene.to(rasterizer.device).detached(),
        exposure=_still(cameras).to(rasterizer.device), rasterizer=rasterizer, options=RenderOptions(),
        target=focus_point(cameras), read_photo=lambda name: read_photo(photo_path(run, name), downscale), step=0,
        other_names=(), other_cameras=cameras.at([]),
    )  # fmt: skip


def open_viewer(source: Path, device: str, host: str, port: int, *, is_exact: bool = False) -> "Viewer":
    """A viewer that is being served; `is_exact` stays with our own renders, however fast a browser draws splats.

    Raises:
        SplatDeblurError: run or scene cannot be shown, the port is taken, or the extra `view` is not installed.
    """
    with _needing_the_extra():
        from .view.panel import EXACT
        from .view.viewer import Snapshots, Viewer
    snapshots = Snapshots(lambda: stage(source, device), files_shown(source))
    return Viewer(Run(source), snapshots, host=host, port=port, drawn_as=EXACT if is_exact else None)


def write_page(source: Path, path: Path, device: str = "auto") -> None:
    """The scene of a run, or in a file, as one HTML file.

    Raises:
        SplatDeblurError: nothing has been trained, the device cannot be had, or the extra `view` is not installed.
    """
    if not _is_scene(source):
        Run(source).require(Run(source).checkpoint, "train")
    if path.suffix.lower() not in (".html", ".htm"):
        raise FormatError(f"--page {path}: give a name that ends in .html")
    Run(source).require_apart(path)
    with _needing_the_extra():
        from .view import page
    page.write_page(stage(source, device), path)


@contextmanager
def _needing_the_extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise BackendError(f'the viewer needs {error.name}: pip install "splatdeblur[view]"') from error


def invitation(host: str, port: int) -> str:
    """Where to open the viewer, and who else could."""
    shown = f"[{host}]" if ":" in host else host
    if is_loopback(host):
        return f"open http://{shown}:{port} (only this machine can; --host 0.0.0.0 lets others in). Ctrl-C ends it"
    return (
        f"listening on {shown}:{port}: everyone who reaches this machine can open it, look, and change which photos "
        "are used. Ctrl-C ends it"
    )
