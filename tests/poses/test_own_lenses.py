import numpy as np
import pycolmap
import pytest
from ring import FOCAL, SIZE, ring

from splatdeblur.poses.adjust import adjusted
from splatdeblur.poses.evidence import centers_of
from splatdeblur.poses.own_lenses import sentence, typical, with_own_lenses


def differing(bend: float = 0.0) -> list[pycolmap.Camera]:
    """Lenses as ten photos of a phone have them that focuses and shifts its lens."""
    rng = np.random.default_rng(2)
    changes = 0.013 * FOCAL * rng.normal(size=(10, 3))
    changes -= changes.mean(0)
    params = np.array([FOCAL, SIZE[0] / 2, SIZE[1] / 2, bend]) + np.pad(changes, ((0, 0), (0, 1)))
    return [pycolmap.Camera(model="SIMPLE_RADIAL", width=SIZE[0], height=SIZE[1], params=p) for p in params]


def center_error(model: pycolmap.Reconstruction) -> float:
    """RMS distance of the cameras from the true ones after a similarity."""
    truth = centers_of(ring())
    names, points = list(truth), np.array(list(truth.values()))
    found = centers_of(model)
    tform = pycolmap.estimate_sim3d(np.array([found[name] for name in names]), points)
    moved = np.array([tform * found[name] for name in names])
    return float(np.sqrt(((moved - points) ** 2).sum(-1).mean()))


def own_in_order(model: pycolmap.Reconstruction) -> list[pycolmap.Camera]:
    return [model.cameras[image] for image in range(1, 11)]


@pytest.mark.parametrize("bend", [0.0, 0.1, -0.1])
def test_lenses_that_differ_are_found_and_cameras_stand_where_they_stood(bend):
    lenses = differing(bend)
    shared = adjusted(ring(bend, taken_with=lenses))
    own = with_own_lenses(shared)
    found, truth = (np.array([lens.params for lens in some]) for some in (own_in_order(own), lenses))
    assert abs(found.mean(0) - truth.mean(0))[:3].max() < 0.01 * FOCAL, "all together they stay where they were"
    off = abs((found - found.mean(0)) - (truth - truth.mean(0)))
    assert np.median(off[:, 0]) < 0.002 * FOCAL and np.median(off[:, 1:3]) < 0.003 * FOCAL
    assert np.ptp(found[:, 3]) == 0 and found[0, 3] == pytest.approx(bend, abs=0.02), "they bend alike"
    assert center_error(own) < center_error(shared) / 3
    assert own.compute_mean_reprojection_error() < 0.92 * shared.compute_mean_reprojection_error()
    assert "lenses differ" in sentence(shared, own)


def test_the_world_stays_the_same():
    shared = adjusted(ring(taken_with=differing()))
    theirs, ours = (
        np.array([centers_of(model)[f"{k}.png"] for k in range(1, 11)]) for model in (shared, with_own_lenses(shared))
    )
    extent = np.linalg.norm(theirs - theirs.mean(0), axis=1).max()
    assert np.linalg.norm(ours - theirs, axis=1).max() < 0.03 * extent


@pytest.mark.parametrize("moved_px", [0.0, 5.0])
def test_photos_of_one_lens_keep_it_and_so_do_features_that_blur_moved(moved_px):
    assert with_own_lenses(adjusted(ring(moved_px=moved_px))) is None


def test_a_lens_whose_axis_is_off_the_middle_is_still_one():
    off = pycolmap.Camera(
        model="SIMPLE_RADIAL", width=SIZE[0], height=SIZE[1], params=[FOCAL, SIZE[0] / 2 + 12, SIZE[1] / 2 - 5, 0.0]
    )
    assert with_own_lenses(adjusted(ring(taken_with=[off] * 10))) is None


def test_nothing_of_the_model_that_was_given_changes():
    shared = adjusted(ring(taken_with=differing()))
    before = pycolmap.Reconstruction(shared)
    own = with_own_lenses(shared)
    assert len(shared.cameras) == 1 and shared.cameras[1].params == pytest.approx(before.cameras[1].params)
    assert [p.xyz.tolist() for p in shared.points3D.values()] == [p.xyz.tolist() for p in before.points3D.values()]
    assert {i.name for i in own.images.values()} == {i.name for i in shared.images.values()}
    assert len(own.points3D) == len(shared.points3D)


def test_photos_without_a_say_stay_and_have_the_usual_lens():
    shared = adjusted(ring(-0.1, taken_with=differing(-0.1)), {"3.png", "4.png"})
    own = with_own_lenses(shared)
    usual = typical(shared, own)[1]
    for image in (3, 4):
        assert own.cameras[image].params == pytest.approx(usual.params)
        stays, stood = (m.images[image].cam_from_world().matrix() for m in (own, shared))
        np.testing.assert_allclose(stays, stood)
    assert own.cameras[1].params[:3] != pytest.approx(usual.params[:3]) and usual.params[3] == own.cameras[1].params[3]


def test_a_model_without_points_has_no_lenses_to_tell():
    assert with_own_lenses(pycolmap.Reconstruction()) is None
