import math
import time

import pytest
import torch
from blurring import defocused, shapes, streaked

from splatdeblur.blur import BlurKind, assess_blur
from splatdeblur.blur.features import LEVEL_WIDTH, measure, mirrored
from splatdeblur.blur.patches import cut, luma


@pytest.fixture(scope="module")
def scene() -> torch.Tensor:
    return shapes(240, 320, seed=3)


def apart(one_deg: float, other_deg: float) -> float:
    return abs((one_deg - other_deg + 90) % 180 - 90)


def test_a_sharp_photo_is_called_sharp(scene):
    found = assess_blur(streaked(scene, 0, 0))
    assert found.kind is BlurKind.SHARP and found.strength_px < 2 and math.isnan(found.direction_deg)
    assert (found.map.kind == BlurKind.SHARP).float().mean() > 0.8


@pytest.mark.parametrize("direction", [0, 25, 50, 75, 90, 120, 150, 175])
def test_a_streak_has_its_length_and_direction(scene, direction):
    found = assess_blur(streaked(scene, 10, direction))
    assert found.kind is BlurKind.MOTION
    assert 7 < found.strength_px < 15
    assert apart(found.direction_deg, direction) < 8
    answers = found.map.direction_deg[found.map.kind == BlurKind.MOTION]
    assert torch.tensor([apart(d, direction) for d in answers.tolist()]).median() < 10


def test_longer_streaks_are_stronger_far_beyond_a_patch():
    wide = shapes(320, 480, seed=4)
    found = [assess_blur(streaked(wide, length, 30)).strength_px for length in (0, 3, 6, 12, 24, 48)]
    assert found == sorted(found)
    assert 32 < found[-1] < 72


def test_a_lens_out_of_focus_is_told_from_motion(scene):
    found = [assess_blur(defocused(scene, diameter)) for diameter in (4, 8, 14)]
    assert [f.kind for f in found] == [BlurKind.DEFOCUS] * 3
    assert [f.strength_px for f in found] == sorted(f.strength_px for f in found)
    assert all(math.isnan(f.direction_deg) for f in found)


def test_half_a_blurred_photo_shows_in_the_map(scene):
    mixed = torch.cat([streaked(scene, 0, 0)[:, :160], streaked(scene, 14, 60)[:, 160:]], dim=1)
    map = assess_blur(mixed).map
    left, right = map.centers[..., 0] < 120, map.centers[..., 0] > 200
    assert map.strength_px[left].median() < 2 and map.strength_px[right].median() > 8
    assert (map.kind[right] == BlurKind.MOTION).float().mean() > 0.7


def test_nothing_to_see_gives_no_answer():
    ramp = torch.linspace(0.3, 0.34, 200).expand(150, 200)[..., None].expand(-1, -1, 3)
    for blank in (torch.full((150, 200, 3), 0.5), ramp):
        found = assess_blur(blank)
        assert found.kind is BlurKind.TEXTURELESS and math.isnan(found.strength_px) and found.answered == 0
        assert (found.map.kind == BlurKind.TEXTURELESS).all() and (found.map.confidence == 0).all()


def test_half_the_brightness_leaves_the_order(scene):
    strengths = [assess_blur(streaked(scene, length, 40) * gain).strength_px for length, gain in
                 ((2, 1.0), (6, 0.5), (12, 1.0), (20, 0.5))]  # fmt: skip
    assert strengths == sorted(strengths)


def test_strength_is_in_pixels_of_the_photo_that_was_given():
    large = streaked(shapes(200, 800, seed=5).repeat_interleave(2, 0).repeat_interleave(2, 1), 24, 20)
    found = assess_blur(large, stride_px=64)
    assert 14 < found.strength_px < 36 and apart(found.direction_deg, 20) < 10
    assert found.map.centers[-1, -1, 0] > 1500 and found.map.centers[-1, -1, 1] > 350


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (63, 64), (65, 200)])
def test_any_size_is_looked_at(size):
    assert assess_blur(shapes(*size, seed=0)).map.kind.numel() >= 1


def test_a_quarter_turn_turns_the_direction_and_nothing_else(scene):
    photo = streaked(scene[:, :240], 9, 35)
    one, other = assess_blur(photo), assess_blur(torch.rot90(photo, 1, (0, 1)))
    assert other.strength_px == pytest.approx(one.strength_px, rel=0.15)
    assert apart(other.direction_deg, one.direction_deg - 90) < 4


def test_mirrored_features_are_those_of_the_mirror_image(scene):
    square = luma(streaked(scene, 9, 70))[:64, :64]
    one, other = measure(cut(square)), measure(cut(square.flip(1)))
    assert apart(one.reference_deg.item(), -other.reference_deg.item()) < 1e-3
    spectra = LEVEL_WIDTH - 9  # slopes are read at every second pixel, which the mirror shifts
    torch.testing.assert_close(mirrored(one.values)[:, :spectra], other.values[:, :spectra], atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(mirrored(one.values), other.values, atol=0.3, rtol=0)


def test_a_photo_of_1000_px_takes_well_under_a_second():
    photo = shapes(188, 250, seed=0).repeat(4, 4, 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assess_blur(photo)
        start = time.process_time()
        assess_blur(photo)
        assert time.process_time() - start < 1
    finally:
        torch.set_num_threads(threads)
