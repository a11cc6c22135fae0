"""Photos kept for testing: the scene against photos that it was not trained on, where nobody knows the truth."""

from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..blur import assess_blur
from ..capture.pixels import read_photo, write_picture
from ..exposure.gains import fit_gains, with_gains
from ..geometry import Cameras
from ..poses.reconstruction import photo_path
from ..run import Run
from .metrics import find_lpips, score
from .pictures import Comparison, write_side_by_side
from .scores import HeldOutPhotos
from .studio import Studio, read_masks

SIDE_BY_SIDE = "held_out.png"


def fitted_tone(
    picture: Float[Tensor, "height width 3"],
    model: Float[Tensor, "height width 3"],
    keep: Bool[Tensor, "height width"] | None = None,
) -> Float[Tensor, "height width 3"]:
    """A picture in the brightness and white balance of another of the same view, clipped; see `fit_gains`."""
    return with_gains(picture, fit_gains(picture, model, keep)).clamp(0, 1)


def score_held_out(
    run: Run,
    names: tuple[str, ...],
    cameras: Cameras,
    studio: Studio,
    *,
    downscale: float,
    steps: int,
    on_progress: Callable[[float], None],
) -> HeldOutPhotos:
    """Sharp renders from where the test photos were taken, against the photos.

    Each pose is refined on its photo, as structure from motion knows nothing of what training moved since, and so
    are brightness and white balance. What masks hide does not count. Pictures go to RUN/evaluation.

    Args:
        names: of the test photos.
        cameras: as structure from motion placed them, at training size.
    Raises:
        CaptureError: a photo cannot be read.
    """
    photos = tuple(read_photo(photo_path(run, name), downscale) for name in names)
    keeps = read_masks(run, names, downscale)
    start = cameras.to("cpu", torch.float32)
    drawn, depths = studio.render(start)
    # In the light of the renders, or a brighter photo would pull its camera to where the scene is bright.
    relit = tuple(map(fitted_tone, photos, drawn, keeps))
    found = studio.refined(start, relit, depths, steps, on_progress, keeps)
    renders = tuple(map(fitted_tone, studio.render(found)[0], photos, keeps))
    for name, picture in zip(names, renders, strict=True):
        write_picture(run.evaluation / "held_out" / f"{Path(name).stem}.png", picture)
    blur = [assess_blur(photo).strength_px for photo in photos]
    rows = [
        Comparison(name, photo, render, note=f"looks blurred by {px:.1f} px")
        for name, photo, render, px in zip(names, photos, renders, blur, strict=True)
    ]
    write_side_by_side(run.evaluation / SIDE_BY_SIDE, rows)
    perceptual, about_lpips = find_lpips()
    return HeldOutPhotos(
        scores=score(names, renders, photos, keeps, perceptual=perceptual, without_perceptual=about_lpips),
        blur_px=dict(zip(names, blur, strict=True)),
        masked=[name for name, keep in zip(names, keeps, strict=True) if keep is not None],
    )
