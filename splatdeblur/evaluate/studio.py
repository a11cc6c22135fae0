"""What an evaluation looks at: the trained scene, what draws it, the photos and their cameras."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..capture.pixels import read_mask, read_photo
from ..errors import CaptureError
from ..exposure.gains import fit_gains, with_gains
from ..geometry import Cameras
from ..poses.reconstruction import mask_path, photo_path
from ..render import Rasterizer, RenderOptions
from ..run import Run
from ..scene import Gaussians
from .pictures import Comparison, telling_photos, unsharpness, write_side_by_side
from .refine import batches, median_depths, refine_poses

SIDE_BY_SIDE = "side_by_side.png"

Pictures = tuple[Float[Tensor, "_ _ 3"], ...]
"""One for each camera, of its own size."""
Depths = tuple[Float[Tensor, "_ _"], ...]
Masks = tuple[Bool[Tensor, "_ _"] | None, ...]
"""The pixels of each picture that count; None where all do."""


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

    def render(self, cameras: Cameras) -> tuple[Pictures, Depths]:
        """Pictures, not clipped, and depths of the cameras' own sizes, on the CPU."""
        rgb: dict[int, Tensor] = {}
        depth: dict[int, Tensor] = {}
        with torch.no_grad():
            for group in _of_one_size(cameras):
                alike = cameras.at(group).to(self.rasterizer.device)
                for part in batches(alike):
                    drawn = self.rasterizer.render(self.scene, alike.at(part), options=self.options)
                    rgb |= zip(group[part], drawn.rgb.float().cpu(), strict=True)
                    depth |= zip(group[part], drawn.depth.float().cpu(), strict=True)
        each = range(len(cameras))
        return tuple(rgb[i] for i in each), tuple(depth[i] for i in each)

    def refined(
        self,
        cameras: Cameras,
        truths: Pictures,
        depths: Depths,
        steps: int,
        on_progress: Callable[[float], None],
        keeps: Masks | None = None,
    ) -> Cameras:
        """The cameras where each sees its picture best, on the CPU; `keeps` are the pixels that count."""
        device = self.rasterizer.device
        viewmats, done = cameras.viewmats.cpu().clone(), 0
        for group in _of_one_size(cameras):
            begun, share = done / len(cameras), len(group) / len(cameras)
            moved = refine_poses(
                self.scene,
                self.rasterizer,
                cameras.at(group).to(device),
                torch.stack([truths[i] for i in group]).to(device),
                depths=median_depths(torch.stack([depths[i] for i in group])).to(device),
                options=self.options,
                steps=steps,
                weights=_weights([keeps[i] for i in group], truths[group[0]]).to(device) if keeps else None,
                on_progress=lambda part, begun=begun, share=share: on_progress(begun + share * part),
            )
            viewmats[group] = moved.cameras.viewmats.to(viewmats)
            done += len(group)
        return cameras.to("cpu").with_viewmats(viewmats)


def _of_one_size(cameras: Cameras) -> list[list[int]]:
    """Indices of the cameras, those with pictures of one size together."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, size in enumerate(cameras.own_sizes):
        groups.setdefault(size, []).append(index)
    return list(groups.values())


def _weights(keeps: Sequence[Tensor | None], like: Tensor) -> Float[Tensor, "camera height width"]:
    """1 where a pixel counts, 0 where it does not."""
    return torch.stack([torch.ones_like(like[..., 0]) if keep is None else keep.to(like) for keep in keeps])


def read_masks(run: Run, names: tuple[str, ...], downscale: float) -> Masks:
    """The photos' masks at training size."""
    paths = (mask_path(run, name) for name in names)
    return tuple(None if path is None else read_mask(path, downscale) for path in paths)


def read_photos(run: Run, names: tuple[str, ...], downscale: float, cameras: Cameras) -> Pictures | None:
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
    what training has learned of them, else by how they look. Renders are as bright as the photos they stand beside.

    None if those photos are gone or of another size.
    """
    cameras, blur = photos.cameras.to("cpu"), photos.blur_px
    if blur is None:
        everything = read_photos(run, photos.names, downscale, cameras)
        if everything is None:
            return None
        chosen = telling_photos(unsharpness(everything))
    else:
        chosen = telling_photos(blur.cpu())
    taken = read_photos(run, tuple(photos.names[i] for i in chosen), downscale, cameras.at(chosen))
    if taken is None:
        return None
    studio = Studio(scene.detached(), rasterizer, options)
    pictures, _ = studio.render(cameras.at(chosen).to(dtype=torch.float32))
    notes = {i: "" if blur is None else f"blurred by about {blur[i]:.1f} px" for i in chosen}
    rows = [
        Comparison(photos.names[i], photo, with_gains(picture, fit_gains(picture, photo)), note=notes[i])
        for i, photo, picture in zip(chosen, taken, pictures, strict=True)
    ]
    path = run.evaluation / SIDE_BY_SIDE
    write_side_by_side(path, rows)
    return path
