from dataclasses import replace

import numpy as np
import pycolmap
import pytest

from splatdeblur.poses.evidence import Evidence, evidence_in, extent_of, with_jumps

LENS = pycolmap.Camera(model="PINHOLE", width=640, height=480, params=[500, 500, 320, 240], camera_id=1)


def a_model(points: np.ndarray, seen: dict[str, list[int]]) -> pycolmap.Reconstruction:
    """Cameras side by side that look along z; `seen` says which points each one sees."""
    model = pycolmap.Reconstruction()
    model.add_camera_with_trivial_rig(LENS)
    poses = {name: pycolmap.Rigid3d(pycolmap.Rotation3d(), [-0.3 * k, 0, 0]) for k, name in enumerate(seen)}
    for image_id, (name, pose) in enumerate(poses.items(), start=1):
        pixels = LENS.img_from_cam(pose * points[seen[name]])
        model.add_image_with_trivial_frame(
            pycolmap.Image(name=name, camera_id=1, image_id=image_id, keypoints=np.array(pixels)), pose
        )
    for index, point in enumerate(points):
        track = pycolmap.Track()
        for image_id, name in enumerate(seen, start=1):
            if index in seen[name]:
                track.add_element(image_id, seen[name].index(index))
        model.add_point3D(point, track, np.zeros(3, np.uint8))
    return model


@pytest.fixture(name="points")
def points_before_the_cameras() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform([-1.5, -1, 4], [2.5, 1, 7], (60, 3))


def test_slack_is_how_far_noise_in_the_features_moves_the_camera(points):
    seen = {"a": list(range(40)), "b": list(range(60)), "c": list(range(60))}
    model = a_model(points, seen)
    found = evidence_in(model, "plain", extent=100.0)["a"]
    rng, pose = np.random.default_rng(1), model.images[1].cam_from_world()
    pixels = np.array(LENS.img_from_cam(pose * points[:40]))
    moved = []
    for _ in range(60):
        noisy = pixels + rng.normal(size=pixels.shape) * 0.64  # a thousandth of the width, as evidence assumes
        solved = pycolmap.refine_absolute_pose(pose, noisy, points[:40], np.ones(40, bool), LENS)
        center = -solved["cam_from_world"].rotation.matrix().T @ solved["cam_from_world"].translation
        moved.append(np.linalg.norm(center) ** 2)
    assert found.slack * 100 == pytest.approx(np.sqrt(np.mean(moved)), rel=0.25)
    assert found.inliers == 40 and found.error_px < 1e-6 and found.found_by == "plain"


def test_few_points_in_a_corner_hold_a_camera_loosely(points):
    corner = [i for i, p in enumerate(points) if p[0] < 0 and p[1] < 0]
    model = a_model(points, {"all": list(range(60)), "corner": corner, "third": list(range(60))})
    found = evidence_in(model, "plain", extent=0.6)
    assert found["corner"].slack > 3 * found["all"].slack
    assert found["corner"].spread < found["all"].spread
    assert found["corner"].doubt and not found["all"].doubt


def test_all_photos_behind_a_weak_step_are_doubtful(points):
    few = list(range(18, 30))  # seen from both sides
    left, right = list(range(30)), list(range(30, 60)) + few
    model = a_model(points, {"a": left, "b": left, "c": left, "d": right, "e": right, "f": right})
    found = evidence_in(model, "plain", extent=1.5)
    weak = {name for name, evidence in found.items() if evidence.link == len(few)}
    assert weak == {"a", "b", "c"}
    assert all("connect" in replace(found[name], slack=0.0).doubt for name in weak)
    assert found["d"].link >= 42


def test_points_that_only_the_next_photo_sees_do_not_carry_the_scale(points):
    # Both groups hold together, and the last of one shares many points with the first of the other ...
    left, right, between = list(range(26)), list(range(26, 50)), list(range(50, 60))
    both = list(range(60, 90))
    more = np.concatenate([points, points[:30] + np.array([0, 0, 0.5])])
    seen = {"a": left, "b": left, "c": left + both, "d": both + right + between, "e": right + between}
    found = evidence_in(a_model(more, seen | {"f": right + between}), "plain", extent=1.5)
    # ... but nobody else of either sees those.
    assert {name for name, evidence in found.items() if evidence.link < 10} == {"a", "b", "c"}
    assert found["d"].link >= 30


def test_links_start_where_most_photos_are_reached(points):
    crowd, pair = list(range(28)), list(range(28, 60))  # the pair sees more, and little else sees that
    seen = {"a": crowd, "b": crowd, "c": crowd, "d": pair, "e": pair}
    found = evidence_in(a_model(points, seen), "plain", extent=1.0)
    assert [found[name].link for name in seen] == [28, 28, 28, 0, 0]


def test_a_camera_without_points_is_doubtful(points):
    model = a_model(points, {"a": list(range(60)), "b": list(range(60)), "none": []})
    assert "0 points" in evidence_in(model, "plain", extent=1.0)["none"].doubt


def test_a_camera_gone_astray_does_not_stretch_the_extent():
    row = {f"{i}": np.array([i, 0.0, 0.0]) for i in range(9)}
    assert extent_of(row) == pytest.approx(8)
    assert extent_of(row | {"astray": np.array([0, 1e4, 0])}) < 20


def test_a_frame_that_jumps_out_of_a_walk_is_doubtful():
    rng = np.random.default_rng(4)
    names = [f"{i:02d}" for i in range(20)]
    walk = {name: np.array([0.1 * i, 0, 0]) + rng.normal(size=3) * 0.002 for i, name in enumerate(names)}
    firm = dict.fromkeys(names, Evidence("plain", inliers=200, spread=1.0, error_px=0.5, slack=1e-4, link=80))
    assert not any(found.doubt for found in with_jumps(firm, walk, names).values())
    walk["07"] = walk["07"] + [0, 0.2, 0]
    judged = with_jumps(firm, walk, names)
    assert "jumped" in judged["07"].doubt
    assert {name for name, found in judged.items() if found.doubt} <= {"06", "07", "08"}
    del walk["12"]
    judged = with_jumps(firm, walk, names)
    assert judged["11"].jump is None and judged["14"].jump is not None


@pytest.mark.parametrize("part", ["inliers", "spread", "slack", "link", "jump", "shift"])
def test_firmness_falls_below_one_where_there_is_a_doubt(part):
    firm = Evidence("plain", inliers=24, spread=0.5, error_px=0.5, slack=0.0015, link=52, jump=5.0, shift=0.01)
    assert firm.firmness == 2 and not firm.doubt
    factor = 4.0 if part in ("slack", "jump", "shift") else 0.25
    weak = replace(firm, **{part: type(getattr(firm, part))(getattr(firm, part) * factor)})
    assert 0.49 < weak.firmness < 0.53 and weak.doubt


@pytest.mark.parametrize(
    ("residual", "of_unseen", "is_doubtful"),
    [(2.4, None, False), (2.6, None, True), (2.6, 0.9, False), (1.7, 3.0, False), (1.9, 1.1, True), (4.0, 0.9, True)],
)
def test_a_render_tells_by_photos_around_and_by_unseen_ones(residual, of_unseen, is_doubtful):
    doubt = Evidence.by_rendering(residual, of_unseen).doubt
    assert bool(doubt) == is_doubtful == (f"{residual} times as much unexplained" in doubt)
    assert ("has not seen" in doubt) == (is_doubtful and (of_unseen or 0) > 1)
