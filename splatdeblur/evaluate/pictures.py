"""Pictures for people: the blurred photo beside the sharp render, and beside the truth where there is one."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..capture.pixels import eight_bit, write_picture

PANEL_PX = 480  # smaller panels are enlarged to at least this width
GAP_PX = 6
LABEL_PX = 22
PAPER = (255, 255, 255)
INK = (30, 30, 30)


@dataclass(frozen=True, eq=False)
class Comparison:
    """One row of the sheet.

    Attributes:
        name: of the photo.
        photo: as it was taken.
        render: the scene from where the camera stood at mid-exposure.
        truth: the sharp photo that the camera did not take; None if unknown.
        note: a few words after the name.
    """

    name: str
    photo: Float[Tensor, "height width 3"]
    render: Float[Tensor, "height width 3"]
    truth: Float[Tensor, "truth_height truth_width 3"] | None = None
    note: str = ""


def telling_photos(blur: Float[Tensor, "photo"], count: int = 3) -> list[int]:
    """Indices of `count` photos from the most blurred to the sharpest, evenly spaced in rank."""
    order = blur.argsort(descending=True, stable=True)
    ranks = torch.linspace(0, len(blur) - 1, min(count, len(blur))).round().long()
    return order[ranks].tolist()


def unsharpness(photos: Iterable[Float[Tensor, "_ _ 3"]]) -> Float[Tensor, "photo"]:
    """A rank of photos by blur where nothing better is known: minus their share of contrast in the finest detail."""
    greys = [photo.mean(-1) for photo in photos]
    fine = torch.stack([(grey[1:, 1:] - grey[:-1, :-1]).square().mean() for grey in greys])
    return -fine / torch.stack([grey.var() for grey in greys]).clamp(min=1e-8)


def _panel(picture: Tensor, width: int) -> Image.Image:
    image = Image.fromarray(eight_bit(picture))
    if image.width == width:
        return image
    return image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)


def _row(row: Comparison, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> Image.Image:
    note = f" ({row.note})" if row.note else ""
    titled = [(f"photo {row.name}{note}", row.photo), ("sharp render", row.render)]
    if row.truth is not None:
        titled.append(("truth", row.truth))
    panels = [(title, _panel(picture, width)) for title, picture in titled]
    height = LABEL_PX + max(panel.height for _, panel in panels)
    sheet = Image.new("RGB", (len(panels) * (width + GAP_PX) - GAP_PX, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for k, (title, panel) in enumerate(panels):
        draw.text((k * (width + GAP_PX) + 2, 3), title, fill=INK, font=font)
        sheet.paste(panel, (k * (width + GAP_PX), LABEL_PX))
    return sheet


def write_side_by_side(path: Path, rows: list[Comparison]) -> None:
    """One PNG: a row per photo, photo | sharp render | truth, with labels."""
    font = ImageFont.load_default(size=14)
    width = max(row.photo.shape[1] for row in rows)
    width *= -(-PANEL_PX // width)
    drawn = [_row(row, width, font) for row in rows]
    size = (max(r.width for r in drawn), sum(r.height + GAP_PX for r in drawn) - GAP_PX)
    sheet = Image.new("RGB", size, PAPER)
    top = 0
    for image in drawn:
        sheet.paste(image, (0, top))
        top += image.height + GAP_PX
    write_picture(path, torch.from_numpy(np.array(sheet)).float() / 255)
