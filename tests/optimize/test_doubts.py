"""Blur that is shared out wrongly has a number that shows it, and what is right raises no doubt."""

import pytest

from splatdeblur.optimize import Looks
from splatdeblur.optimize.doubts import Explained, doubts


def explained(path_px=0.0, radius_px=0.0, moved=0.0, shows_px=0.0):
    return Explained(float(path_px), float(radius_px), moved, Looks(float(shows_px), float(shows_px), 0.0))


SHARP = [explained()] * 4


@pytest.mark.parametrize(
    "photos",
    [
        [],
        SHARP,
        [*SHARP, *[explained(path_px=6, shows_px=6)] * 4],
        [*SHARP, *[explained(radius_px=3, shows_px=5)] * 4],
        [Explained(2.0, 0.0, 0.0, Looks())] * 4,  # nobody knows how blurred they look
    ],
)
def test_what_is_explained_raises_no_doubt(photos):
    assert doubts(photos) == []


@pytest.mark.parametrize(
    ("photos", "word"),
    [
        ([explained(path_px=6, shows_px=6)] * 8, "in common"),
        ([*SHARP, *[explained(path_px=1, shows_px=6)] * 4], "soft"),
        ([*SHARP, *[Explained(0.0, 0.0, 0.0, Looks(6.0, 6.0), is_clear=True)] * 4], "more detail than the scene"),
        ([*SHARP, *[explained(path_px=16, shows_px=6)] * 4], "sharper than it should be"),
        ([*SHARP, *[explained(path_px=1, moved=0.5, shows_px=6)] * 4], "kernels"),
    ],
)
def test_each_fault_is_named(photos, word):
    (sentence,) = doubts(photos)
    assert word in sentence
