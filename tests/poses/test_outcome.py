from itertools import pairwise

import numpy as np
import pycolmap
import pytest

from splatdeblur.poses.attempts import LADDER, Attempt, Features, Mapping
from splatdeblur.poses.evidence import Evidence, extent_of
from splatdeblur.poses.outcome import Outcome, guesses, judged, most_confirmed, shifts_between

CENTERS = {f"{i}.png": center for i, center in enumerate(np.random.default_rng(2).normal(size=(8, 3)))}
SIDE = np.array([0, 0.1 * extent_of(CENTERS), 0])
FIRM = Evidence("plain", inliers=200, spread=1.0, error_px=0.5, slack=1e-4, link=80)


def outcome(centers: dict[str, np.ndarray], name: str, count: int, way: str = "") -> Outcome:
    """An attempt with features of its own that put cameras there, all looking along z."""
    model = pycolmap.Reconstruction()
    model.add_camera_with_trivial_rig(
        pycolmap.Camera(model="PINHOLE", width=64, height=48, params=[50, 50, 32, 24], camera_id=1)
    )
    for image_id, (photo, center) in enumerate(centers.items(), start=1):
        pose = pycolmap.Rigid3d(pycolmap.Rotation3d(), -np.asarray(center))
        model.add_image_with_trivial_frame(pycolmap.Image(name=photo, camera_id=1, image_id=image_id), pose)
    features = Features(max_count=count)
    return Outcome(Attempt(name, "", features, Mapping()), features, (model,), 1.0, dict.fromkeys(centers, FIRM), way)


def elsewhere(centers: dict[str, np.ndarray], *wrong: str) -> dict[str, np.ndarray]:
    """The same cameras in another world, some of them a tenth of the extent further."""
    return {name: 2.5 * (center + SIDE * (name in wrong)) + [1, 2, 3] for name, center in centers.items()}


def test_shifts_tell_the_camera_that_two_models_see_elsewhere():
    shifts = shifts_between(CENTERS, elsewhere(CENTERS, "3.png"))
    assert shifts["3.png"] == pytest.approx(0.1, abs=0.01)
    assert max(shift for name, shift in shifts.items() if name != "3.png") < 0.01


def test_models_that_share_too_few_cameras_say_nothing():
    few = {name: CENTERS[name] for name in list(CENTERS)[:4]}
    assert shifts_between(few, CENTERS) == {}


def test_a_camera_is_doubtful_where_most_other_attempts_contradict():
    ours, theirs = outcome(CENTERS, "a", 1), outcome(elsewhere(CENTERS, "3.png", "5.png"), "b", 2)
    doubts = {name: found.doubt for name, found in judged(ours, [ours, theirs]).items()}
    assert [name for name, doubt in doubts.items() if doubt] == ["3.png", "5.png"]
    assert "other attempts" in doubts["3.png"] and "10.0 %" in doubts["3.png"]
    third = outcome(elsewhere(CENTERS, "3.png"), "c", 3)
    found = judged(ours, [ours, theirs, third, outcome(CENTERS, "d", 4)])
    assert [name for name, evidence in found.items() if evidence.doubt] == ["3.png"]


def test_the_same_matches_solved_the_same_way_are_no_second_opinion():
    ours, again = outcome(CENTERS, "a", 1), outcome(elsewhere(CENTERS, "3.png"), "again", 1)
    assert all(found.shift is None for found in judged(ours, [ours, again]).values())
    at_once = outcome(elsewhere(CENTERS, "3.png"), "at once", 1, "all at once")
    assert judged(ours, [ours, at_once])["3.png"].doubt


def test_the_attempt_that_others_confirm_is_believed_before_one_with_more_photos():
    right = {name: CENTERS[name] for name in list(CENTERS)[:7]}
    rng = np.random.default_rng(5)
    wild = {name: center + rng.normal(size=3) for name, center in CENTERS.items()}
    outcomes = [outcome(wild, "wild", 1), outcome(right, "a", 2), outcome(elsewhere(right), "b", 3)]
    assert most_confirmed(outcomes[0], outcomes).attempt.name in ("a", "b")
    assert most_confirmed(outcomes[0], outcomes[:1]) is outcomes[0]
    # ... but only among those with enough photos: what is believed must still be a reconstruction of the capture.
    assert most_confirmed(outcomes[0], outcomes, least=8) is outcomes[0]
    assert most_confirmed(outcomes[0], outcomes, least=9) is None and most_confirmed(None, []) is None


def test_other_attempts_give_guesses_in_our_world():
    ours, theirs = outcome(CENTERS, "a", 1), outcome(elsewhere(CENTERS, "3.png"), "b", 2)
    (guess,) = guesses(ours, [ours, theirs])["3.png"]
    center = -guess[:3, :3].T @ guess[:3, 3]
    np.testing.assert_allclose(center, CENTERS["3.png"] + SIDE, atol=0.02 * extent_of(CENTERS))


def test_every_second_opinion_follows_an_attempt_with_matches():
    assert not LADDER[0].again
    assert all(not before.again for before, rung in pairwise(LADDER) if rung.again)
