"""What an evaluation looks at: the trained scene, what draws it, the photos and their cameras."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ..capture.pixels import read_photo
from ..errors import CaptureError
from ..geometry import Cameras
from ..poses.reconstruction import photo_path
from ..render import Rasterizer, RenderOptions
from ..run import Run
from ..scene import Gaussians
from .pictures import Comparison, telling_photos, unsharpness, write_side_by_side
from .refine import batches, median_depths, refine_poses

SIDE_BY_SIDE = "side_by_side.png"


@dataclass(frozen=True, eq=False)
class TrainedPhotos:
    """Where training left the photos' cameras.

    Attributes:
        names: file names of the photos.
        cameras: their mid-exposure poses as trained, pinhole, at training size.
        paths: viewmats across the exposure; None if the training knew no motion.
        times: shutter times of the paths' samples, rising; None with `paths`.
        blur_px: length of each photo's blur path as learned, in px at training size; None with `paths`.
    """

    names: tuple[str, ...]
    cameras: Cameras
    paths: Float[Tensor, "photo time 4 4"] | None = None
    times: Float[Tensor, "time"] | None = None
    blur_px: Float[Tensor, "photo"] | None = None


@dataclass(frozen=True, eq=False)
class Studio:
    """The scene and what draws it."""

    scene: Gaussians
    rasterizer: Rasterizer
    options: RenderOptions

    def render(
        self, cameras: Cameras
    ) -> tuple[Float[Tensor, "camera height width 3"], Float[Tensor, "camera height width"]]:
        """Pictures, not clipped, and depths, on the CPU."""
        device = self.rasterizer.device
        rgb, depth = [], []
        with torch.no_grad():
            for part in batches(cameras):
                drawn = self.rasterizer.render(self.scene, cameras.at(part).to(device), options=self.options)
                rgb.append(drawn.rgb.float().cpu())
                depth.append(drawn.depth.float().cpu())
        return torch.cat(rgb), torch.cat(depth)

    def refined(
        self, cameras: Cameras, truths: Tensor, depth: Tensor, steps: int, on_progress: Callable[[float], None]
    ) -> Cameras:
        """The cameras where each sees its picture best, on the CPU."""
        device = self.rasterizer.device
        moved = refine_poses(
            self.scene,
            self.rasterizer,
            cameras.to(device),
            truths.to(device),
            depths=median_depths(depth).to(device),
            options=self.options,
            steps=steps,
            on_progress=on_progress,
        )
        return moved.cameras.to("cpu")


def read_photos(
    run: Run, names: tuple[str, ...], downscale: float, cameras: Cameras
) -> tuple[Float[Tensor, "_ _ 3"], ...] | None:
    """The run's blurred photos at training size; None if a file is gone or has another size than the cameras."""
    try:
        photos = tuple(read_photo(photo_path(run, name), downscale) for name in names)
    except CaptureError:
        return None
    sizes = tuple((photo.shape[1], photo.shape[0]) for photo in photos)
    return photos if sizes == cameras.own_sizes else None


def show_side_by_side(
    run: Run,
    *,
    scene: Gaussians,
    rasterizer: Rasterizer,
    photos: TrainedPhotos,
    options: RenderOptions,
    downscale: float,
) -> Path | None:
    """Draws RUN/evaluation/side_by_side.png for a run without a reference: three photos, from blurred to sharp by
    what training has learned of them, else by how they look.

    None if the run's photos are gone or of another size.
    """
    cameras = photos.cameras.to("cpu")
    taken = read_photos(run, photos.names, downscale, cameras)
    if taken is None:
        return None
    blur = photos.blur_px
    chosen = telling_photos(unsharpness(taken) if blur is None else blur.cpu())
    studio = Studio(scene.detached(), rasterizer, options)
    pictures, _ = studio.render(cameras.at(chosen).to(dtype=torch.float32))
    notes = {i: "" if blur is None else f"blurred by about {blur[i]:.1f} px" for i in chosen}
    rows = [
        Comparison(photos.names[i], taken[i], picture[: taken[i].shape[0], : taken[i].shape[1]], note=notes[i])
        for i, picture in zip(chosen, pictures, strict=True)
    ]
    path = run.evaluation / SIDE_BY_SIDE
    write_side_by_side(path, rows)
    return path
