"""A page of small pictures: the frames that were kept, each beside the blurriest that it stands for."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .choose import FrameChoice

THUMBNAIL_PX = 200
COLUMNS = 4
MARGIN_PX = 8
BARS_PX = 36
TEXT_PX = 30
KEPT, DROPPED, WORST, PAPER, INK = "#2e8b57", "#b0b0b0", "#d2691e", "#ffffff", "#202020"


def contact_sheet(thumbnails: Sequence[Image.Image], times_s: Sequence[float], choice: FrameChoice) -> Image.Image:
    """One cell a stretch: left the kept frame, right the blurriest, below the blur of all its frames and the reason.

    Args:
        thumbnails: of all frames, kept or not, of one size.
    """
    width, height = thumbnails[0].size
    cell = (width + width // 2 + 2 * MARGIN_PX, height + BARS_PX + TEXT_PX + 3 * MARGIN_PX)
    rows = -(-len(choice.kept) // COLUMNS)
    title_px = 2 * TEXT_PX
    page = Image.new("RGB", (COLUMNS * cell[0] + MARGIN_PX, rows * cell[1] + title_px + MARGIN_PX), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN_PX, MARGIN_PX), _title(choice), fill=INK, font=_font(16))
    finite = choice.strengths_px[np.isfinite(choice.strengths_px)]
    tallest = max(float(finite.max(initial=0)), 4.0)
    for number, frame in enumerate(choice.kept):
        x = MARGIN_PX + number % COLUMNS * cell[0]
        y = title_px + number // COLUMNS * cell[1]
        members = choice.members(frame)
        page.paste(thumbnails[frame], (x, y))
        draw.rectangle((x - 2, y - 2, x + width + 1, y + height + 1), outline=KEPT, width=3)
        worst = int(members[np.argmax(np.nan_to_num(choice.strengths_px[members], nan=-1))])
        if worst != frame:
            small = thumbnails[worst].resize((width // 2, height // 2))
            page.paste(small, (x + width + MARGIN_PX // 2, y))
            draw.text((x + width + MARGIN_PX // 2, y + height // 2), "not kept", fill=WORST, font=_font(11))
        _bars(draw, (x, y + height + MARGIN_PX), cell[0] - 2 * MARGIN_PX, choice, frame, tallest)
        where = (x, y + height + BARS_PX + MARGIN_PX + 2)
        draw.text(where, f"frame {frame}, {times_s[frame]:.2f} s\n{choice.reason(frame)}", fill=INK, font=_font(11))
    return page


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def _title(choice: FrameChoice) -> str:
    total = len(choice.strengths_px)
    return (
        f"{len(choice.kept)} of {total} frames kept: the sharpest of each stretch of movement. Neighbours that are "
        f"kept share at least {max(0.0, 1 - choice.longest_gap):.0%} of the picture.\n"
        "Bars: blur of each frame of the stretch, in px; green is kept."
    )


def _bars(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], width: int, choice: FrameChoice, kept: int, tallest: float
) -> None:
    members = choice.members(kept)
    step = min(12.0, width / len(members))
    bottom = corner[1] + BARS_PX - 4
    for place, frame in enumerate(members):
        strength = np.nan_to_num(choice.strengths_px[frame])
        # A root, so that small differences show beside large ones.
        tall = max(1.0, (strength / tallest) ** 0.5 * (BARS_PX - 6))
        left = corner[0] + place * step
        color = KEPT if frame == kept else DROPPED
        draw.rectangle((left, bottom - tall, left + max(1.0, step - 2), bottom), fill=color)
