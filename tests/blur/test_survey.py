import numpy as np
import pytest
import torch
from blurring import shapes, streaked
from PIL import Image

from splatdeblur.blur import FrameSurvey
from splatdeblur.blur.sheet import CELL_PX, COLUMNS, KEPT, WORST

SHARP = set(range(3, 95, 5))


def frame_of(picture: torch.Tensor) -> Image.Image:
    return Image.fromarray((picture.numpy() * 255).round().astype(np.uint8))


@pytest.fixture(scope="module")
def surveyed() -> FrameSurvey:
    """A slow pan at 10 frames a second; of every five frames one is sharp, but for the last five."""
    scene = shapes(112, 260, seed=2)
    survey = FrameSurvey()
    for index in range(100):
        length = 0.0 if index in SHARP else 10.0
        view = scene[:, index : index + 160]
        survey.add(index / 10, frame_of(streaked(view, length, 20)))
    return survey


def test_the_sharp_frames_of_a_pan_are_kept_and_a_blurred_end_too(surveyed):
    choice = surveyed.choose(max_frames=60)
    assert set(choice.kept) >= SHARP
    assert len(choice.kept) <= 24 and choice.kept[-1] >= 95
    assert np.median(surveyed.moves[1:]) == pytest.approx(1 / 160, abs=0.002)
    assert choice.longest_gap < 0.2


def test_the_contact_sheet_shows_the_kept_frames_and_what_they_stand_for(surveyed):
    choice = surveyed.choose(max_frames=60)
    page = surveyed.contact_sheet(choice)
    assert page.width >= COLUMNS * CELL_PX[0] and page.height >= 5 * CELL_PX[1]
    pixels = np.asarray(page).reshape(-1, 3)
    for color in (KEPT, WORST):
        shown = (pixels == [int(color[i : i + 2], 16) for i in (1, 3, 5)]).all(axis=1).sum()
        assert shown > 19 * 300
