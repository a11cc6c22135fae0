"""A page of small pictures: the frames that were kept, and beside each the blurriest that it stands for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .choose import FrameChoice

THUMBNAIL_PX = 200
DETAIL_PX = 96
COLUMNS = 4
MARGIN_PX = 10
BARS_PX = 36
TEXT_PX = 30
CELL_PX = (THUMBNAIL_PX + DETAIL_PX + 2 * MARGIN_PX, THUMBNAIL_PX + BARS_PX + TEXT_PX + 3 * MARGIN_PX)
KEPT, DROPPED, WORST, PAPER, INK = "#2e8b57", "#b0b0b0", "#d2691e", "#ffffff", "#202020"


@dataclass(frozen=True, eq=False)
class Glimpse:
    """What the page needs of a frame: all of it small, and its middle pixel by pixel, where blur can be seen."""

    thumbnail: Image.Image
    detail: Image.Image

    @classmethod
    def at(cls, frame: Image.Image) -> "Glimpse":
        """Both from a whole frame."""
        thumbnail = frame.copy()
        thumbnail.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
        left, top = (max(0, (side - DETAIL_PX) // 2) for side in frame.size)
        return cls(thumbnail, frame.crop((left, top, min(left + DETAIL_PX, frame.width),
                                          min(top + DETAIL_PX, frame.height))))  # fmt: skip


def contact_sheet(glimpses: Sequence[Glimpse], times_s: Sequence[float], choice: FrameChoice) -> Image.Image:
    """One cell a stretch: the kept frame, its middle above that of the blurriest, the blur of all, and the reason.

    Args:
        glimpses: of all frames, kept or not.
    """
    rows = -(-len(choice.kept) // COLUMNS)
    title_px = 2 * TEXT_PX
    page = Image.new("RGB", (COLUMNS * CELL_PX[0] + MARGIN_PX, rows * CELL_PX[1] + title_px), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN_PX, MARGIN_PX), _title(choice), fill=INK, font=_font(15))
    for number, frame in enumerate(choice.kept):
        x = MARGIN_PX + number % COLUMNS * CELL_PX[0]
        y = title_px + number // COLUMNS * CELL_PX[1]
        members = choice.members(frame)
        worst = int(members[np.argmax(np.nan_to_num(choice.strengths_px[members], nan=-1))])
        _framed(page, glimpses[frame].thumbnail, (x, y), KEPT)
        right = x + THUMBNAIL_PX + MARGIN_PX // 2
        _framed(page, glimpses[frame].detail, (right, y), KEPT)
        if worst != frame:
            _framed(page, glimpses[worst].detail, (right, y + DETAIL_PX + 8), WORST)
        _bars(draw, (x, y + THUMBNAIL_PX + MARGIN_PX), choice, frame)
        where = (x, y + THUMBNAIL_PX + BARS_PX + MARGIN_PX + 2)
        draw.text(where, f"frame {frame}, {times_s[frame]:.2f} s\n{choice.reason(frame)}", fill=INK, font=_font(11))
    return page


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def _title(choice: FrameChoice) -> str:
    return (
        f"{len(choice.kept)} of {len(choice.strengths_px)} frames are kept: the sharpest of each stretch of movement. "
        f"Neighbours share at least {max(0.0, 1 - choice.longest_gap):.0%} of the picture.\n"
        "Right: the middle of the kept frame (green) and of the blurriest that it stands for (orange). "
        "Bars: blur of all frames of the stretch."
    )


def _framed(page: Image.Image, picture: Image.Image, corner: tuple[int, int], color: str) -> None:
    page.paste(picture, corner)
    edges = (corner[0] - 2, corner[1] - 2, corner[0] + picture.width + 1, corner[1] + picture.height + 1)
    ImageDraw.Draw(page).rectangle(edges, outline=color, width=2)


def _bars(draw: ImageDraw.ImageDraw, corner: tuple[int, int], choice: FrameChoice, kept: int) -> None:
    finite = choice.strengths_px[np.isfinite(choice.strengths_px)]
    tallest = max(float(finite.max(initial=0)), 4.0)
    members = choice.members(kept)
    step = min(12.0, (CELL_PX[0] - 2 * MARGIN_PX) / len(members))
    bottom = corner[1] + BARS_PX - 4
    for place, frame in enumerate(members):
        # A root, so that small differences show beside large ones.
        tall = max(1.0, (np.nan_to_num(choice.strengths_px[frame]) / tallest) ** 0.5 * (BARS_PX - 6))
        left = corner[0] + place * step
        color = KEPT if frame == kept else DROPPED
        draw.rectangle((left, bottom - tall, left + max(1.0, step - 2), bottom), fill=color)
