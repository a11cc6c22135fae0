import numpy as np
import pytest

from splatdeblur.blur.choose import FEWEST_FRAMES, LONGEST_MOVE, choose_frames


def walk(count: int, fps: float = 10, move: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """Times and moves of an even walk."""
    return np.arange(count) / fps, np.full(count, move)


def test_the_sharpest_of_each_stretch_is_kept():
    times, moves = walk(150)  # five frames to a stretch, by time and by movement
    strengths = np.full(150, 9.0)
    sharp = np.arange(150).reshape(30, 5)[np.arange(30), np.arange(30) % 5]
    strengths[sharp] = 2.0
    choice = choose_frames(times, strengths, moves, max_frames=100)
    assert choice.kept == tuple(sharp)


def test_a_stretch_that_is_all_blurred_keeps_its_least_blurred():
    times, moves = walk(150)
    strengths = np.full(150, 2.0)
    strengths[50:70] = 30.0
    strengths[57] = 25.0
    choice = choose_frames(times, strengths, moves, max_frames=100)
    inside = [frame for frame in choice.kept if 50 <= frame < 70]
    assert len(inside) == 4 and 57 in inside
    assert "25.0 px; the other 4 of its stretch 30.0 to 30.0 px" in choice.reason(57)


@pytest.mark.parametrize("seed", range(20))
def test_overlap_holds_wherever_the_sharp_frames_lie(seed):
    rng = np.random.default_rng(seed)
    moves = rng.uniform(0, 0.03, 300)
    times = np.cumsum(rng.uniform(0.01, 0.1, 300))
    choice = choose_frames(times, rng.uniform(0, 30, 300), moves, max_frames=300)
    gaps = np.diff(np.cumsum(moves)[list(choice.kept)])
    assert choice.longest_gap == pytest.approx(gaps.max())
    assert gaps.max() <= 2 * LONGEST_MOVE
    assert np.diff(times[list(choice.kept)]).max() <= 2 * 0.5 + 0.1


def test_a_standing_camera_gives_two_frames_a_second_and_a_turning_one_more():
    times = np.arange(400) / 10
    moves = np.where(times < 20, 0.0, 0.04)
    choice = choose_frames(times, np.ones(400), moves, max_frames=400)
    kept = times[list(choice.kept)]
    assert (kept < 20).sum() == pytest.approx(40, abs=2)
    assert (kept >= 20).sum() == pytest.approx(20 * 10 * 0.04 / LONGEST_MOVE, abs=2)


def test_never_more_than_asked_for_and_still_the_whole_way():
    times, moves = walk(600)
    choice = choose_frames(times, np.random.default_rng(0).uniform(0, 9, 600), moves, max_frames=12)
    assert len(choice.kept) == 12
    np.testing.assert_array_equal(choice.stretch[list(choice.kept)], np.arange(12))
    assert times[choice.kept[0]] < 5 and times[choice.kept[-1]] > 55


def test_a_short_video_gives_frames_enough():
    times, moves = walk(30, move=0.001)
    assert len(choose_frames(times, np.ones(30), moves, max_frames=150).kept) == FEWEST_FRAMES
    assert choose_frames(times[:4], np.ones(4), moves[:4], max_frames=150).kept == (0, 1, 2, 3)


def test_of_frames_equally_sharp_the_first_is_kept_so_that_they_stay_even():
    times, moves = walk(150)
    strengths = 5 + 0.2 * np.random.default_rng(0).random(150)
    assert choose_frames(times, strengths, moves, max_frames=100).kept == tuple(range(0, 150, 5))


def test_frames_without_an_answer_lose_but_may_stand_alone():
    times, moves = walk(150)
    strengths = np.full(150, 20.0)
    strengths[[0, 1]] = np.nan
    strengths[10:15] = np.nan
    choice = choose_frames(times, strengths, moves, max_frames=100)
    assert choice.kept[0] == 2 and choice.kept[2] == 10
    assert "no texture" in choice.reason(0) and "frame 2 shows the same" in choice.reason(0)


def test_unknown_movement_counts_as_fast():
    times, moves = walk(150, move=0.001)
    fast = np.arange(1, 150) % 7 == 0
    moves[1:][fast] = 0.15
    moves[60:80] = np.nan
    choice = choose_frames(times, np.ones(150), moves, max_frames=150)
    assert sum(60 <= f < 80 for f in choice.kept) == 20
    alone = choose_frames(times, np.ones(150), np.full(150, np.nan), max_frames=150)
    assert len(alone.kept) == 150


@pytest.mark.parametrize("times", [np.zeros(0), np.array([1.0, 0.0])], ids=["none", "backwards"])
def test_nonsense_is_refused(times):
    with pytest.raises(ValueError, match="ascending"):
        choose_frames(times, np.ones(len(times)), np.zeros(len(times)), max_frames=5)
