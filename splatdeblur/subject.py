"""What is drawn: a trained run, or the scene in a file, from any camera, sharp or as photos are taken."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from .capture.pixels import reduced_size
from .errors import ConfigError, FormatError, PoseError
from .exposure import Exposure, SeenAs, as_it_is
from .geometry import Cameras
from .poses.reconstruction import load_reconstruction
from .render import Burst, Rasterizer, Render, RenderOptions, best_available
from .render.enlarge import TrainingWidth
from .result import load_result
from .run import Run
from .scene import Gaussians, is_scene_file, load_scene
from .view.frames import Picture

MAX_SUBFRAMES = 64
MAX_PIXELS = 100_000_000  # of one picture: some 3 GB while it is drawn


@dataclass(frozen=True, eq=False)
class Subject:
    """What is drawn; of a scene without photos the last seven are empty.

    Attributes:
        names: of the photos, as the files of their renders are called, without suffix.
        cameras: of the photos, sharp, at the size asked for.
        focals_px: of the same photos at the size of the training.
        exposure: how the photos came to be, on the rasterizer's device.
        width: of the Gaussians as training drew them.
        other_names, other_cameras: of photos that have a pose and take no part in the training.
    """

    scene: Gaussians
    rasterizer: Rasterizer
    options: RenderOptions
    names: tuple[str, ...] = ()
    cameras: Cameras | None = None
    focals_px: torch.Tensor | None = None
    exposure: Exposure | None = None
    width: TrainingWidth | None = None
    other_names: tuple[str, ...] = ()
    other_cameras: Cameras | None = None

    def inputs(self) -> tuple[tuple[str, ...], Cameras]:
        """Names and cameras of all photos that have a pose, by name."""
        if not self.other_names:
            return self.names, self.cameras
        names, parts = self.names + self.other_names, (self.cameras, self.other_cameras)
        cameras = Cameras.of_sizes(
            torch.cat([part.viewmats for part in parts]), torch.cat([part.Ks for part in parts]),
            [size for part in parts for size in part.own_sizes],
        )  # fmt: skip
        order = sorted(range(len(names)), key=names.__getitem__)
        return tuple(names[i] for i in order), cameras.at(order)

    def seen_through(self, camera: Cameras) -> Gaussians:
        """The scene for a picture of any size."""
        return self.scene if self.width is None else self.width.seen_through(camera, self.scene)

    @torch.no_grad()
    def sharp(self, camera: Cameras) -> Picture:
        """The scene from one camera."""
        scene = self.seen_through(camera)
        drawn = self.rasterizer.render(scene, camera.to(self.rasterizer.device), options=self.options)
        return Picture(drawn.rgb[0], drawn.depth[0])

    @torch.no_grad()
    def blurred(self, camera: Cameras, frame: int, shutter: float) -> Picture:
        """Photo `frame` as it would be with its shutter open `shutter` times as long, in its own brightness."""
        exposure, lens, scene = self.exposure, camera.to(self.rasterizer.device), self.seen_through(camera)
        focal_px = camera.Ks[0, 0, 0].item()
        enlarged = focal_px / self.focals_px[frame].item()
        length_px = exposure.length_px(frame, focal_px).item() * shutter
        count = min(exposure.shutter.needed(length_px), MAX_SUBFRAMES)

        def render(viewmats: torch.Tensor, burst: Burst | None, seen: SeenAs = as_it_is) -> Render:
            views = lens.with_viewmats(viewmats)
            return self.rasterizer.render(seen(scene), views, options=self.options, burst=burst)

        photo = exposure(render, frame, count, camera=lens, open_for=shutter, enlarged=enlarged)
        return Picture(photo.srgb, photo.render.depth[0])


def load_subject(source: Path, device: str, downscale: float) -> Subject:
    """A run, or the scene in a file, ready to be drawn; photos at their own size divided by `downscale`.

    Raises:
        FormatError: it is neither; or photos have lost their poses since the training, and with them their sizes.
    """
    if is_scene_file(source) and not source.is_dir():
        rasterizer = best_available(device)
        return Subject(load_scene(source).to(rasterizer.device).detached(), rasterizer, RenderOptions())
    result = load_result(Run(source), device)
    cameras, (other_names, other_cameras) = result.photos().cameras, result.unused()
    width, focals_px = TrainingWidth.of(result.scene, cameras, result.options), cameras.Ks[:, 0, 0]
    if downscale:
        known = load_reconstruction(result.run)
        sizes = dict(zip(known.names, known.cameras.own_sizes, strict=True))
        if lost := sorted(set(result.names) - sizes.keys()):
            raise FormatError(f"{source} was trained on {lost[0]}, which has no pose any more; train again")
        cameras = reduced(cameras, [sizes[name] for name in result.names], downscale)
        if other_names:
            other_cameras = reduced(other_cameras, [sizes[name] for name in other_names], downscale)
    names = render_names(result.names + other_names)
    return Subject(
        result.scene, result.rasterizer, result.options, names[: len(cameras)], cameras, focals_px,
        result.exposure.to(result.rasterizer.device), width, names[len(cameras) :], other_cameras,
    )  # fmt: skip


def render_names(photos: tuple[str, ...]) -> tuple[str, ...]:
    """The photos' names without suffix, unless that makes two alike."""
    stems = [Path(name).stem for name in photos]
    twice = {stem for stem, count in Counter(stems).items() if count > 1}
    return tuple(name if stem in twice else stem for name, stem in zip(photos, stems, strict=True))


def require_drawable(views: Cameras) -> None:
    """Passes cameras whose pictures a computer can hold.

    Raises:
        ConfigError: a picture is too large.
        PoseError: a pose or a lens is beyond single precision.
    """
    width, height = max(views.own_sizes, key=lambda size: size[0] * size[1])
    if width * height > MAX_PIXELS:
        raise ConfigError(
            f"a picture would have {width}x{height} px; need {MAX_PIXELS / 1e6:.0f} million at most: give a larger "
            "--downscale"
        )
    if not (views.viewmats.isfinite().all() and views.Ks.isfinite().all()):
        raise PoseError("a camera stands farther away, or has a longer lens, than numbers reach; correct the cameras")


def reduced(cameras: Cameras, full: Sequence[tuple[int, int]], downscale: float) -> Cameras:
    """The same views on pictures of the sizes `full` (width, height) divided by `downscale`."""
    return cameras.resized_each([reduced_size(width, height, downscale) for width, height in full])
