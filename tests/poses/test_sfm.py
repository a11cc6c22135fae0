import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch
from corner import FOCAL, HEIGHT, WIDTH, photograph_corner, texture, walk
from PIL import Image

from splatdeblur.capture import Capture, Frame, prepare
from splatdeblur.errors import PoseError
from splatdeblur.geometry import inverse
from splatdeblur.poses import find_poses, load_reconstruction, photo_path
from splatdeblur.poses.attempts import LADDER
from splatdeblur.poses.bench import (
    Bench,
    in_blocks,
    mapping_options,
    pairs_to_match,
    quiet_colmap,
)
from splatdeblur.poses.evidence import centers_of
from splatdeblur.poses.joining import join, neighbour_pairs
from splatdeblur.poses.lens_groups import initial_focal_px, lens_groups
from splatdeblur.poses.outcome import disagreement, shifts_between
from splatdeblur.run import Run


@pytest.fixture(scope="module", name="corner")
def corner_photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corner")
    for index, viewmat in enumerate(walk(8).numpy()):
        Image.fromarray(photograph_corner(viewmat)).save(folder / f"{index}.png")
    return folder


def test_cameras_of_a_textured_corner_are_found_where_they_were(corner, tmp_path):
    run, messages = Run(tmp_path / "run"), []
    capture = prepare(corner, run)
    poses = find_poses(run, capture, on_progress=lambda fraction, message: messages.append((fraction, message)))
    assert poses.names == tuple(f"{i}.png" for i in range(8)) and poses.missing == {}
    viewmats = walk(8)
    true = dict(zip(poses.names, (-viewmats[:, :3, :3].mT @ viewmats[:, :3, 3:])[..., 0].numpy(), strict=True))
    found = dict(zip(poses.names, poses.cameras.centers.numpy(), strict=True))
    assert disagreement(found, true) < 0.01
    assert poses.cameras.Ks[0, 0, 0].item() == pytest.approx(FOCAL, rel=0.03)
    assert len(poses.points) > 100 and poses.reprojection_px < 1 and poses.attempts[0].startswith("plain: 8 of 8")
    assert any("features" in m for _, m in messages) and any("matches" in m for _, m in messages)
    assert all(f is None or 0 <= f <= 1 for f, _ in messages)
    again = load_reconstruction(run)
    torch.testing.assert_close(again.cameras.viewmats, poses.cameras.viewmats)
    with Image.open(photo_path(run, "0.png")) as photo:
        assert photo.size == (again.cameras.width, again.cameras.height)


def test_three_photos_are_enough_if_they_match(corner, tmp_path):
    (tmp_path / "in").mkdir()
    for index in (3, 4, 5):
        shutil.copy(corner / f"{index}.png", tmp_path / "in")
    run = Run(tmp_path / "run")
    assert find_poses(run, prepare(tmp_path / "in", run)).names == ("3.png", "4.png", "5.png")


def test_photos_of_different_places_are_an_error_that_says_what_was_tried(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(5):
        Image.fromarray(texture(10 + index)[:96, :128]).save(folder / f"{index}.png")
    run = Run(tmp_path / "run")
    with pytest.raises(PoseError, match=r"registered 0 of 5 photos; need 3.*plain: .*faint: .*same place"):
        find_poses(run, prepare(folder, run))
    assert not run.poses.exists()


def test_ctrl_c_stops_the_search_and_leaves_no_poses(corner, tmp_path):
    run = Run(tmp_path / "run")
    capture = prepare(corner, run)

    def stop(fraction, message):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_poses(run, capture, on_progress=stop)
    assert {p.name for p in run.folder.iterdir()} == {"capture.json", "images"}


def test_the_time_limit_leaves_the_first_attempt_alone(corner, tmp_path):
    run = Run(tmp_path / "run")
    found = find_poses(run, prepare(corner, run), time_limit_s=0.0)
    assert len(found.names) >= 3
    assert found.attempts[0].startswith("plain: ")
    assert not any(sentence.startswith("shaped: ") and "photos" in sentence for sentence in found.attempts)


def capture_of(frames: list[Frame]) -> Capture:
    return Capture(tuple(frames), 1200, 900, {})


def test_the_focal_length_comes_from_exif_by_the_diagonal():
    frames = [Frame("a", "a", focal_35mm=f) for f in (26.0, 26.0, 50.0)]
    assert initial_focal_px(frames, (1200, 900)) == pytest.approx(26 / np.hypot(36, 24) * 1500)
    assert initial_focal_px([Frame("a", "a")], (1200, 900)) is None


def test_photos_share_a_camera_by_size_and_focal_length():
    frames = [
        Frame("wide", "", focal_35mm=13.0), Frame("a", "", focal_35mm=26.0), Frame("silent", ""),
        Frame("tall", "", focal_35mm=26.0, size=(900, 1200)), Frame("b", "", focal_35mm=26.5),
        Frame("silent tall", "", size=(900, 1200)), Frame("crop", "", size=(500, 500)),
    ]  # fmt: skip
    groups = lens_groups(capture_of([*frames, Frame("c", "", focal_35mm=26.0)]))
    assert len(set(groups.values())) == 4
    assert groups["a"] == groups["b"] == groups["c"] == groups["silent"] != groups["wide"]
    assert groups["tall"] == groups["silent tall"] != groups["crop"]


def test_portrait_and_landscape_have_a_camera_each(corner, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(8):
        with Image.open(corner / f"{index}.png") as photo:
            upright = photo.crop((50, 0, 190, 180)) if index in (2, 4, 5) else photo
            upright.save(folder / f"{index}.png")
    run = Run(tmp_path / "run")
    poses = find_poses(run, prepare(folder, run))
    assert poses.names == tuple(f"{i}.png" for i in range(8))
    viewmats = walk(8)
    true = dict(zip(poses.names, (-viewmats[:, :3, :3].mT @ viewmats[:, :3, 3:])[..., 0].numpy(), strict=True))
    assert disagreement(dict(zip(poses.names, poses.cameras.centers.numpy(), strict=True)), true) < 0.01
    again = load_reconstruction(run).cameras
    assert again.own_sizes == poses.cameras.own_sizes
    for index, (size, K) in enumerate(zip(again.own_sizes, again.Ks, strict=True)):
        assert (size[0] < size[1]) == (index in (2, 4, 5))
        assert K[0, 0].item() == pytest.approx(FOCAL, rel=0.05)
        with Image.open(photo_path(run, f"{index}.png")) as photo:
            assert photo.size == size


def test_photos_whose_lens_was_shifted_have_a_lens_each(corner, tmp_path):
    folder, rng = tmp_path / "in", np.random.default_rng(0)
    folder.mkdir()
    shifts = rng.integers(0, 13, (8, 2))
    for index, (across, down) in enumerate(shifts.tolist()):
        with Image.open(corner / f"{index}.png") as photo:
            part = photo.crop((across, down, across + WIDTH - 12, down + HEIGHT - 12))
            part.save(folder / f"{index}.png")
    poses = find_poses(Run(tmp_path / "run"), prepare(folder, Run(tmp_path / "run")))
    assert poses.names == tuple(f"{i}.png" for i in range(8)) and "lenses differ" in poses.attempts[-1]
    found, true = poses.cameras.Ks[:, :2, 2].numpy(), [WIDTH / 2, HEIGHT / 2] - shifts
    off = (found - found.mean(0)) - (true - true.mean(0))
    assert np.median(abs(off)) < 0.5, "px; they were shifted by 3.5 on average, across and down"
    viewmats = walk(8)
    centers = dict(zip(poses.names, (-viewmats[:, :3, :3].mT @ viewmats[:, :3, 3:])[..., 0].numpy(), strict=True))
    assert disagreement(dict(zip(poses.names, poses.cameras.centers.numpy(), strict=True)), centers) < 0.01


def test_masked_pixels_give_no_features(corner, tmp_path):
    folder, run = tmp_path / "in", Run(tmp_path / "run")
    shutil.copytree(corner, folder)
    (folder / "masks").mkdir()
    keep = np.zeros((HEIGHT, WIDTH), np.uint8)
    keep[:, WIDTH // 2 :] = 255
    Image.fromarray(keep).save(folder / "masks/3.png")
    capture = prepare(folder, run)
    bench = Bench(tmp_path, run.images, capture, seed=0, deadline=math.inf, masks=run.masks)
    with quiet_colmap():
        bench.extract(tmp_path / "a.db", LADDER[0].features, ["3.png", "4.png"], None, silent)
    database = pycolmap.Database.open(tmp_path / "a.db")
    columns = {i.name: database.read_keypoints(i.image_id)[:, 0] for i in database.read_all_images()}
    database.close()
    assert len(columns["3.png"]) > 20 and columns["3.png"].min() >= WIDTH // 2 - 1
    assert columns["4.png"].min() < WIDTH // 4


def test_every_pair_is_matched_once_and_videos_match_their_neighbours():
    photos = capture_of([Frame(str(i), "") for i in range(50)])
    pairs = pairs_to_match(photos)
    assert len(pairs) == len(set(pairs)) == 50 * 49 // 2
    assert sorted(p for block in in_blocks(pairs, 8) for p in block) == sorted(pairs)
    assert all(len({n for p in block for n in p}) <= 16 for block in in_blocks(pairs, 8))
    video = replace(capture_of([Frame(str(i), "", time_s=i / 2) for i in range(150)]), is_video=True)
    pairs = pairs_to_match(video)
    assert len(pairs) == len(set(pairs)) < 3000
    assert all((str(i), str(i + 1)) in pairs for i in range(149))


def test_models_that_differ_by_a_similarity_agree():
    rng = np.random.default_rng(0)
    ours = {str(i): c for i, c in enumerate(rng.normal(size=(9, 3)))}
    turn = pycolmap.Rotation3d(np.array([0.1, 0.7, 0.1, 0.7])).matrix()
    theirs = {n: 3 * turn @ c + 1 for n, c in ours.items()}
    assert disagreement(ours, theirs) < 1e-9
    assert disagreement(ours, {n: rng.normal(size=3) for n in ours}) > 0.05
    assert disagreement(ours, {"0": ours["0"]}) is None


def test_a_missing_photo_is_compared_with_its_likeliest_neighbours_and_they_with_each_other():
    names = [str(i) for i in range(12)]
    counts = {("0", "11"): 50, ("5", "9"): 40}
    pairs = neighbour_pairs(names, set(names) - {"0", "5"}, counts)
    assert ("0", "11") in pairs and ("5", "9") in pairs and ("4", "5") in pairs and ("5", "6") in pairs
    assert ("1", "2") in pairs and ("0", "5") not in pairs
    assert len(pairs) == len(set(pairs)) and all(int(a) < int(b) for a, b in pairs)


def test_all_photos_at_once_come_where_one_by_one_puts_them(corner, tmp_path):
    capture = prepare(corner, Run(tmp_path / "run"))
    names, database = [f.name for f in capture.frames], tmp_path / "plain.db"
    with quiet_colmap():
        bench = Bench(tmp_path, corner, capture, seed=0, deadline=math.inf)
        bench.extract(database, LADDER[0].features, names, None, silent)
        bench.match(database, LADDER[0].features, pairs_to_match(capture), silent)
        one_by_one = bench.map(database, mapping_options(LADDER[0].mapping, 0), None, silent)[0]
        at_once = bench.map_at_once(database, LADDER[0].mapping, silent)[0]
    shifts = shifts_between(centers_of(one_by_one), centers_of(at_once))
    assert len(shifts) == 8 and max(shifts.values()) < 0.01


@pytest.mark.parametrize("odd", [None, "2.png"])
def test_a_photo_that_joins_comes_where_it_was_and_moves_no_other(corner, tmp_path, odd):
    folder = tmp_path / "photos"
    shutil.copytree(corner, folder)
    capture = prepare(folder, Run(tmp_path / "run"))
    plain, shaped = LADDER[0], replace(LADDER[2], features=replace(LADDER[2].features, follows_shape=False))
    with quiet_colmap():
        bench = Bench(tmp_path, folder, capture, seed=0, deadline=math.inf)
        names = [f.name for f in capture.frames]
        bench.extract(tmp_path / "plain.db", plain.features, names, None, silent)
        bench.match(tmp_path / "plain.db", plain.features, pairs_to_match(capture), silent)
        whole = bench.map(tmp_path / "plain.db", mapping_options(plain.mapping, 0), None, silent)[0]
        lost = whole.find_image_with_name("4.png")
        truth = whole.images[lost.image_id].projection_center()
        whole.deregister_frame(lost.frame_id)
        if odd:  # a neighbour whose features match nothing must not stop the others
            Image.fromarray(texture(9)[:HEIGHT, :WIDTH]).save(folder / odd)
        joined, evidence = join(bench, shaped, whole, tmp_path / "plain.db", tmp_path / "join.db", silent)
    assert joined.names == ("4.png",) and len(joined.points) > 20
    assert evidence["4.png"].found_by == "shaped" and evidence["4.png"].inliers > 20 and not evidence["4.png"].doubt
    extent = np.ptp([i.projection_center() for i in whole.images.values() if i.has_pose], axis=0).max()
    assert np.linalg.norm(inverse(joined.viewmats)[0, :3, 3].numpy() - truth) < 0.02 * extent


def silent(fraction: float, message: str) -> None:
    """Progress that nobody watches."""
