import numpy as np
import pycolmap
import pytest
from ring import FOCAL, SIZE, ring

from splatdeblur.poses.adjust import adjusted, bends_noticeably, straighten


def test_features_that_blur_moved_do_not_move_the_focal_length():
    model = ring(moved_px=5.0)
    by_squares = pycolmap.Reconstruction(model)
    pycolmap.bundle_adjustment(by_squares, pycolmap.BundleAdjustmentOptions(print_summary=False))
    found = adjusted(by_squares)
    error, error_by_squares = (abs(m.cameras[1].focal_length / FOCAL - 1) for m in (found, by_squares))
    assert error < 0.003 and error < error_by_squares / 2
    dropped = 1 - found.compute_num_observations() / model.compute_num_observations()
    assert 0.05 < dropped < 0.15, "features that lie far off are no longer observations"
    assert found.compute_mean_reprojection_error() < 0.4


def test_a_lens_that_bends_noticeably_keeps_its_bend():
    found = adjusted(ring(bend=0.08)).cameras[1]
    assert bends_noticeably(found) and found.params[3] == pytest.approx(0.08, rel=0.1)
    assert found.focal_length == pytest.approx(FOCAL, rel=0.01)
    straighten(found)
    assert found.params[3] == 0 and not bends_noticeably(found)


@pytest.mark.parametrize("bend", [1e-4, 0.008], ids=["next to none", "one that noise may have made"])
def test_a_lens_whose_bend_explains_nothing_is_straight(bend):
    model = ring()
    model.cameras[1].params = [FOCAL, SIZE[0] / 2, SIZE[1] / 2, bend]
    found = adjusted(model).cameras[1]
    assert found.params[3] == 0 and found.focal_length == pytest.approx(FOCAL, rel=0.003)


def test_the_model_that_was_given_stays_and_one_without_points_comes_back():
    model = ring(moved_px=5.0)
    before = model.cameras[1].params.copy()
    adjusted(model)
    np.testing.assert_array_equal(model.cameras[1].params, before)
    assert adjusted(pycolmap.Reconstruction()).num_reg_images() == 0


def test_a_point_behind_a_camera_is_dropped_and_spoils_nothing():
    model = ring()
    behind = model.images[1].cam_from_world().inverse() * np.array([0.1, 0.1, -2.0])
    model.points3D[1].xyz = behind
    found = adjusted(model)
    assert found.cameras[1].focal_length == pytest.approx(FOCAL, rel=0.003)
    assert not any(e.image_id == 1 for e in found.points3D[1].track.elements) if 1 in found.points3D else True


def test_photos_that_are_doubted_have_no_say_and_stay():
    model, doubted = ring(moved_px=5.0), {"3.png", "4.png"}
    found = adjusted(model, doubted)
    for image in found.images.values():
        assert (image.num_points3D == 0) == (image.name in doubted)
    stays, stood = (m.images[4].cam_from_world().matrix() for m in (found, model))
    np.testing.assert_allclose(stays, stood)
    assert found.cameras[1].focal_length == pytest.approx(FOCAL, rel=0.01)
