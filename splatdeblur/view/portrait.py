"""A photo beside what the scene makes of it: the pictures under the viewer's controls."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8

from ..capture.pixels import eight_bit
from .pictures import draw, predicted, residual
from .stage import Stage

PICTURES = ("photo", "predicted photo", "sharp render", "residual x4")


@dataclass(frozen=True, eq=False)
class Portrait:
    """Pictures of one photo, in the order of PICTURES, and a few words about them."""

    pictures: tuple[UInt8[np.ndarray, "_ _ 3"], ...]
    about: str


def portrait(stage: Stage, index: int) -> Portrait:
    """The pictures of a photo as counted in `all_names`; one that training does not use is compared sharp.

    Raises:
        CaptureError: the photo cannot be read.
    """
    camera, is_used = stage.camera(index), index < len(stage.names)
    photo = stage.read_photo(stage.all_names[index])
    sharp = torch.from_numpy(draw(stage, camera, index)).float() / 255
    prediction = predicted(stage, index, camera)[0].cpu().clamp(0, 1) if is_used else sharp
    psnr = -10 * (photo - prediction).square().mean().clamp(min=1e-10).log10().item()
    what = "predicted photo" if is_used else "not trained on; sharp render from where it was placed"
    shown = (photo, prediction, sharp, residual(photo, prediction))
    return Portrait(tuple(map(eight_bit, shown)), f"{what}: {psnr:.1f} dB")
