"""Photos that are left out or kept for testing: the file, and what it says will happen."""

import re

import pytest

from splatdeblur.capture.choices import Choices, Use
from splatdeblur.errors import CaptureError


def test_choices_come_back_from_their_file(tmp_path):
    choices = Choices().with_use("a.png", Use.LEFT_OUT).with_use("b.png", Use.TEST).with_use("c.png", Use.TEST)
    choices = choices.with_use("c.png", Use.TRAIN)
    choices.save(tmp_path / "photos.json")
    assert Choices.load(tmp_path / "photos.json") == choices
    assert [choices.use(f"{x}.png") for x in "abcd"] == [Use.LEFT_OUT, Use.TEST, Use.TRAIN, Use.TRAIN]


def test_without_a_file_every_photo_is_trained_on(tmp_path):
    assert Choices.load(tmp_path / "photos.json") == Choices()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[", "repair it"),
        ("{}", "repair it"),
        ("[]", "repair it"),
        ('{"version": 9, "left_out": [], "test": []}', "version 9"),
        ('{"version": 1, "left_out": "a.png", "test": []}', "names must be in lists"),
        ('{"version": 1, "left_out": [1], "test": []}', "names must be in lists"),
    ],
)
def test_a_file_that_is_no_list_of_choices_is_an_error(content, says, tmp_path):
    (tmp_path / "photos.json").write_text(content)
    with pytest.raises(CaptureError, match=says):
        Choices.load(tmp_path / "photos.json")


@pytest.mark.parametrize(
    ("use", "seen", "says"),
    [
        (Use.LEFT_OUT, True, "goes on without a.png"),
        (Use.TEST, True, "has seen a.png"),
        (Use.TRAIN, False, "anew with a.png"),
        (Use.TRAIN, True, "^$"),
        (Use.LEFT_OUT, False, "^$"),
        (Use.TEST, False, "evaluate` compares this scene with a.png"),
    ],
)
def test_the_plan_says_what_goes_on_and_what_starts_anew(use, seen, says):
    names = {"a.png"}
    plan = Choices().with_use("a.png", use).plan(names if seen else (), () if seen else names)
    assert re.search(says, plan)
