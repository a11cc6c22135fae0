"""Findings on paper cases, and on a small capture."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from splatdeblur.blur import BlurKind
from splatdeblur.capture import Capture, Frame
from splatdeblur.doctor import Measured, examine, judge
from splatdeblur.errors import CaptureError

COUNT = 30


def capture(**fields) -> Capture:
    return Capture(tuple(Frame(f"{i}.jpg", "", **fields) for i in range(COUNT)), 640, 480, {})


def chain(matches: int = 80) -> dict[tuple[int, int], int]:
    return {(i, i + 1): matches for i in range(COUNT - 1)}


GOOD = Measured(
    capture(exposure_s=1 / 200, iso=100.0), blur=((BlurKind.SHARP, 0.002),) * COUNT, brightness=(0.2,) * COUNT,
    links=chain(), moves=(0.1,) * (COUNT - 1),
)  # fmt: skip


def findings(seen: Measured) -> dict[str, str]:
    """What was found, by level, worst last; each with its reason unless it is fine."""
    found: dict[str, str] = {}
    for finding in judge(seen):
        assert finding.level == "fine" or (finding.what and finding.why)
        found[finding.level] = found.get(finding.level, "") + finding.what + " | " + finding.advice + "\n"
    return found


def test_a_good_capture_is_fine():
    assert set(findings(GOOD)) == {"fine"}


def test_few_photos_and_left_out_files_are_named():
    few = replace(GOOD.capture, frames=GOOD.capture.frames[:6], skipped={"a.gif": "it is a GIF"})
    seen = replace(GOOD, capture=few, links={(i, i + 1): 80 for i in range(5)}, moves=(0.1,) * 5)
    found = findings(seen)
    assert "6 photos" in found["doubt"] and "a.gif: it is a GIF" in found["doubt"] and "trouble" not in found


@pytest.mark.parametrize("kind, advice", [(BlurKind.MOTION, "more light"), (BlurKind.DEFOCUS, "focus")])
def test_strong_blur_is_told_by_kind(kind, advice):
    found = findings(replace(GOOD, blur=((kind, 0.04),) * 20 + ((BlurKind.SHARP, 0.001),) * 10))
    assert advice in found["doubt"].split("smear by more")[1]
    assert set(findings(replace(GOOD, blur=((kind, 0.04),) * 10 + ((BlurKind.SHARP, 0.001),) * 20))) == {"fine"}


def test_plain_walls_are_trouble():
    plain = replace(GOOD, blur=((BlurKind.TEXTURELESS, float("nan")),) * 25 + ((BlurKind.SHARP, 0.001),) * 5)
    assert "25 of 30 photos show hardly any texture" in findings(plain)["trouble"]


def test_photos_that_do_not_hang_together_with_the_rest_are_named():
    links = {**chain(), (9, 10): 3}
    found = findings(replace(GOOD, links=links))
    assert "only 20 of 30 hang together" in found["doubt"] and "stand 0.jpg, 1.jpg, 2.jpg" in found["doubt"]
    assert "20" not in findings(replace(GOOD, links={**links, (0, 20): 50})).get("doubt", "")  # a loop closes it
    assert "hang together" in findings(replace(GOOD, links=chain(10)))["trouble"]


def test_poses_that_came_along_need_no_overlap():
    posed = replace(GOOD, capture=replace(GOOD.capture, known_poses="transforms.json"), links={})
    assert set(findings(posed)) == {"fine"}


def test_turning_on_the_spot_is_suspected_where_turns_explain_the_pairs():
    assert "only turned" in findings(replace(GOOD, still_links=28))["trouble"]
    assert "trouble" not in findings(replace(GOOD, still_links=15))


def test_jumps_of_exposure_and_long_shutter_times_are_told():
    frames = tuple(
        replace(f, exposure_s=1 / 25, iso=100.0 if i < 15 else 800.0) for i, f in enumerate(GOOD.capture.frames)
    )
    seen = replace(GOOD, capture=replace(GOOD.capture, frames=frames), brightness=(0.1,) * 15 + (0.5,) * 15)
    found = findings(seen)["doubt"]
    frames = tuple(replace(f, exposure_s=2.5) for f in GOOD.capture.frames)
    assert "open for 2.5 s" in findings(replace(GOOD, capture=replace(GOOD.capture, frames=frames)))["doubt"]
    assert "1/25 s" in found and "differ by 3.0 stops" in found and "jumps by more than a stop 1 times" in found


@pytest.mark.parametrize("smear, is_told", [(0.05, True), (0.021, False)])
def test_frames_that_smear_further_than_the_picture_moves_are_called_stabilised(smear, is_told):
    frames = tuple(
        replace(f, exposure_s=None, time_s=i * 0.5, interval_s=1 / 30) for i, f in enumerate(GOOD.capture.frames)
    )
    video = replace(GOOD.capture, frames=frames, is_video=True)
    # A fifth of the width in half a second: 1.3 % from frame to frame.
    seen = replace(GOOD, capture=video, blur=((BlurKind.MOTION, smear),) * COUNT, moves=(0.2,) * (COUNT - 1))
    assert ("stabilisation" in findings(seen)["doubt"]) == is_told


def test_a_folder_is_looked_at_and_stays_as_it_was(tmp_path):
    rng = np.random.default_rng(0)
    wide = Image.fromarray(rng.integers(0, 255, (60, 200, 3), dtype=np.uint8)).resize((800, 240))
    for index in range(5):  # a window that slides along a flat picture
        wide.crop((60 * index, 0, 60 * index + 320, 240)).save(tmp_path / f"{index}.png")
    Image.new("P", (8, 8)).save(tmp_path / "x.gif")
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    found = examine(tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before
    told = " ".join(finding.what for finding in found)
    assert "5 photos" in told and "x.gif" in told and "scene were flat" in told and "all 5 hang together" in told
    assert [f.level for f in found] == sorted((f.level for f in found), key=("trouble", "doubt", "fine").index)


def test_nothing_to_look_at_is_an_error(tmp_path):
    with pytest.raises(CaptureError, match="no photos"):
        examine(tmp_path)
