"""A photo beside what the scene makes of it: the pictures under the viewer's controls."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8

from ..capture.pixels import eight_bit
from ..exposure import LensBlur
from .pictures import draw, lens_map, predicted, residual
from .stage import Stage

PICTURES = ("photo", "predicted photo", "sharp render", "residual x4", "lens blur (dark: none)")


@dataclass(frozen=True, eq=False)
class Portrait:
    """Pictures of one photo, in the order of PICTURES, None where there is nothing to show, and a few words on them."""

    pictures: tuple[UInt8[np.ndarray, "_ _ 3"] | None, ...]
    about: str


def portrait(stage: Stage, index: int) -> Portrait:
    """The pictures of a photo as counted in `all_names`; one that training does not use is compared sharp.

    Raises:
        CaptureError: the photo cannot be read.
    """
    camera, is_used = stage.camera(index), index < len(stage.names)
    photo = stage.read_photo(stage.all_names[index])
    sharp = torch.from_numpy(draw(stage, camera, index)).float() / 255
    made = predicted(stage, index, camera) if is_used else None
    prediction = sharp if made is None else made.srgb.cpu().clamp(0, 1)
    blur = LensBlur() if made is None else made.blur
    psnr = -10 * (photo - prediction).square().mean().clamp(min=1e-10).log10().item()
    what = "predicted photo" if is_used else "not trained on; sharp render from where it was placed"
    lens = None if blur.radius_px is None and blur.moved is None else lens_map(blur, *photo.shape[:2])
    shown = (photo, prediction if is_used else None, sharp, residual(photo, prediction), lens)
    pictures = tuple(None if picture is None else eight_bit(picture) for picture in shown)
    return Portrait(pictures, f"{what}: {psnr:.1f} dB{_of_lens(blur)}")


def _of_lens(blur: LensBlur) -> str:
    """What the lens did, in a few words."""
    disks = "" if blur.radius_px is None else f", out of focus by {blur.radius_px.mean():.1f} px"
    return disks + ("" if blur.moved is None else f", kernels move {blur.moved.mean():.0%} of the light")
