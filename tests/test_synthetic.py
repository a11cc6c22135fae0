"""The truth that other tests lean on is itself checked: by reprojection, by light, and by what it writes."""

import json

import numpy as np
import pytest
from PIL import Image
from plyfile import PlyData
from synthetic import make_capture, make_scene, render


@pytest.fixture(scope="module")
def scene():
    return make_scene(3, bodies=5, texels=192)


@pytest.fixture(scope="module")
def capture(scene):
    return make_capture(scene, photos=4, size=(72, 48), blur_px=(0, 2, 5), tests=1, subframes=9)


def decoded(srgb):
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def detail(picture):
    return np.abs(np.diff(picture, axis=0)).mean() + np.abs(np.diff(picture, axis=1)).mean()


def test_photos_smear_as_far_as_asked(capture):
    np.testing.assert_allclose(capture.extent_px, [0, 2, 5, 0], rtol=0.05, atol=1e-9)


def test_more_blur_leaves_less_detail_and_no_blur_leaves_all(capture):
    kept = [detail(photo) / detail(sharp) for photo, sharp in zip(capture.photos, capture.sharp, strict=True)]
    assert kept[0] == pytest.approx(1, abs=0.06)
    assert kept[1] < 0.9
    assert kept[2] < 0.7


def test_shaking_moves_light_but_neither_adds_nor_takes_any(capture):
    inner = (slice(8, -8), slice(8, -8))
    for photo, sharp in zip(capture.photos, capture.sharp, strict=True):
        assert decoded(photo)[inner].mean() == pytest.approx(decoded(sharp)[inner].mean(), rel=0.05)


def test_the_photo_is_taken_in_the_middle_of_its_path(capture):
    np.testing.assert_allclose(capture.path_viewmats[:, 4], capture.viewmats, atol=1e-9)


def test_points_lie_where_every_photo_that_sees_them_says(capture):
    height, width = capture.depth.shape[1:]
    row, column = (x.ravel() for x in np.mgrid[:height, :width])
    pixels = np.stack([column + 0.5, row + 0.5, np.ones_like(row)], -1)
    errors = []
    for i, j in ((0, 1), (1, 2), (2, 3)):
        local = np.linalg.solve(capture.K, pixels.T).T * capture.depth[i].reshape(-1, 1)
        world = np.c_[local, np.ones(len(local))] @ np.linalg.inv(capture.viewmats[i]).T
        there = (world @ capture.viewmats[j].T)[:, :3]
        image = there @ capture.K.T
        x, y = (image[:, :2] / image[:, 2:]).T
        inside = (there[:, 2] > 0) & (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
        x, y, z = x[inside], y[inside], there[inside, 2]
        c, r = np.floor(x).astype(int), np.floor(y).astype(int)
        visible = abs(capture.depth[j][r, c] / z - 1) < 0.02
        assert visible.mean() > 0.3
        near = capture.sharp[i].reshape(-1, 3)[inside][visible]
        errors.append(abs(near - capture.sharp[j][r, c][visible]).mean())
    # Half a pixel off on textures this fine gives about 0.07; a wrong convention gives 0.2.
    assert max(errors) < 0.1


def test_the_same_seed_takes_the_same_photos_and_another_does_not(scene):
    def take(seed):
        return make_capture(scene, photos=2, size=(24, 16), tests=1, subframes=4, seed=seed).photos

    assert np.array_equal(take(1), take(1))
    assert not np.array_equal(take(1), take(2))


def test_gain_white_balance_and_noise_do_what_they_say(scene):
    plain, bright, tinted, noisy = (
        make_capture(scene, photos=2, size=(48, 32), blur_px=0, tests=1, subframes=2, **kind)
        for kind in ({}, {"gain_stops": 1.0}, {"tint_stops": 0.5}, {"noise": 0.1})
    )
    dim = (plain.sharp[0] * 2 < 0.9).all(-1)
    ratio = decoded(bright.photos[0])[dim].mean() / decoded(bright.sharp[0])[dim].mean()
    assert ratio == pytest.approx(bright.gains[0], rel=0.05)
    ratios = decoded(tinted.photos[0])[dim].mean(0) / decoded(tinted.sharp[0])[dim].mean(0)
    assert ratios == pytest.approx(tinted.tints[0], rel=0.05) and np.ptp(tinted.tints[0]) > 0.1
    difference = decoded(noisy.photos[0])[dim] - decoded(noisy.sharp[0])[dim]
    assert difference.std() == pytest.approx(0.1 * np.sqrt(decoded(noisy.sharp[0])[dim].mean()), rel=0.2)


def test_a_saved_capture_has_the_files_and_keys_of_a_capture_with_truth(capture, tmp_path):
    capture.save(tmp_path, with_points=True)
    transforms = json.loads((tmp_path / "transforms.json").read_text())
    assert [f["split"] for f in transforms["frames"]] == ["train"] * 4 + ["test"]
    assert transforms["train_filenames"] == [f"images/{i:03d}.png" for i in range(4)]
    for frame in transforms["frames"]:
        picture = np.asarray(Image.open(tmp_path / frame["file_path"]))
        assert picture.shape == (48, 72, 3)
    opengl = np.array(transforms["frames"][2]["transform_matrix"])
    opencv = opengl @ np.diag([1, -1, -1, 1])
    np.testing.assert_allclose(np.linalg.inv(opencv), capture.viewmats[2], atol=1e-9)
    truth = np.load(tmp_path / "trajectories.npz")
    shapes = {key: truth[key].shape for key in truth}
    assert shapes == {
        "c2w": (4, 9, 4, 4), "times": (9,), "gains": (4,), "tints": (4, 3), "readout": (), "extent_px": (4,),
        "target": (4,), "aperture": (4,), "focus": (4,), "row_weights": (48, 9),
    }  # fmt: skip
    np.testing.assert_allclose(truth["c2w"][2, 4], opengl, atol=1e-9)
    points = PlyData.read(str(tmp_path / transforms["ply_file_path"]))["vertex"]
    np.testing.assert_allclose(np.stack([points[axis] for axis in "xyz"], 1), capture.points, atol=1e-5)
    assert abs(points["green"] / 255 - capture.point_colors[:, 1]).max() <= 0.51 / 255


def test_a_rolling_shutter_reads_each_row_during_its_own_part_of_the_path(scene):
    rolled = make_capture(scene, photos=1, size=(48, 36), blur_px=6, tests=1, subframes=12, readout=2.0, samples=6)
    poses, times = np.linalg.inv(rolled.path_viewmats[0]), rolled.times * (1 + rolled.readout)
    for row in (0, 18, 35):
        start = rolled.readout * (row + 0.5) / 36
        seen = (times > start) & (times < start + 1)
        window = render(scene, poses[seen], rolled.K, (48, 36), samples=18, rng=np.random.default_rng(0))
        other = render(scene, poses[~seen], rolled.K, (48, 36), samples=9, rng=np.random.default_rng(0))
        mine, wrong = (abs(decoded(rolled.photos[0])[row] - np.clip(x, 0, 1)[row]).mean() for x in (window, other))
        assert mine < 0.03 and mine < 0.5 * wrong


def test_lamps_are_brighter_than_white_and_change_nothing_else():
    dark, lit = (make_scene(3, bodies=5, texels=192, lamps=lamps) for lamps in ((), (6.0,)))
    assert lit.bodies[1].mips[0].mean() == pytest.approx(6.0)
    assert np.array_equal(lit.bodies[2].mips[0], dark.bodies[2].mips[0])
