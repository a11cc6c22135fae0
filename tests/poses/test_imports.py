import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch
from PIL import Image
from plyfile import PlyData, PlyElement

from splatdeblur.capture import Capture, PrepareConfig, prepare
from splatdeblur.errors import PoseError
from splatdeblur.geometry import inverse, look_at
from splatdeblur.poses import find_poses, load_cameras, load_reconstruction, photo_path, read_poses
from splatdeblur.poses.reconstruction import mask_path
from splatdeblur.run import Run

WIDTH, HEIGHT, FOCAL = 48, 32, 40.0
FLIP = torch.diag(torch.tensor([1.0, -1, -1, 1], dtype=torch.float64))


def ring_viewmats(count: int = 5) -> torch.Tensor:
    angle = torch.arange(count, dtype=torch.float64)
    eye = torch.stack([3 * angle.cos(), 3 * angle.sin(), 1 + 0.1 * angle], dim=-1)
    return look_at(eye, torch.zeros_like(eye), torch.tensor([0.0, 0, 1], dtype=torch.float64))


def write_photos(folder: Path, count: int = 5, size=(WIDTH, HEIGHT)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        pixels = np.random.default_rng(index).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")


def write_transforms(folder: Path, viewmats: torch.Tensor, per_frame: list[dict] | None = None, **fields) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    matrices = (inverse(viewmats) @ FLIP).tolist()
    frames = [{"file_path": f"images/{i}.png", "transform_matrix": m} for i, m in enumerate(matrices)]
    if per_frame:
        frames = [{**f, **extra} for f, extra in zip(frames, per_frame, strict=True)]
    path = folder / "transforms.json"
    path.write_text(json.dumps({**fields, "frames": frames}))
    return path


def imported(folder: Path, run: Run, **options):
    return find_poses(run, prepare(folder, run, **options))


def test_poses_go_from_transforms_to_disk_and_back_unchanged(tmp_path):
    run, viewmats = Run(tmp_path / "run"), ring_viewmats()
    write_photos(tmp_path / "in/images")
    write_transforms(tmp_path / "in", viewmats, fl_x=FOCAL, fl_y=41.0, cx=23.0, cy=17.0, w=WIDTH, h=HEIGHT)
    found = imported(tmp_path / "in", run)
    for poses in (found, load_reconstruction(run)):
        assert poses.names == tuple(f"{i}.png" for i in range(5)) and poses.missing == {}
        torch.testing.assert_close(poses.cameras.viewmats, viewmats, atol=1e-12, rtol=0)
        expected = torch.tensor([[FOCAL, 0, 23], [0, 41, 17], [0, 0, 1]], dtype=torch.float64)
        torch.testing.assert_close(poses.cameras.Ks, expected.expand(5, 3, 3))
        assert (poses.cameras.width, poses.cameras.height) == (WIDTH, HEIGHT)
        assert poses.points.shape == (0, 3) and poses.reprojection_px is None
    assert photo_path(run, "0.png") == run.images / "0.png"


def test_opengl_axes_look_along_minus_z_with_y_up(tmp_path):
    write_transforms(tmp_path, FLIP.repeat(3, 1, 1), fl_x=1.0, w=2, h=2)  # an identity transform_matrix
    _, cameras = load_cameras(tmp_path)
    in_camera = cameras.viewmats[0] @ torch.tensor([0.1, 0.2, -1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(in_camera[:3], torch.tensor([0.1, -0.2, 1.0], dtype=torch.float64))


def test_reduced_photos_bring_their_intrinsics_along(tmp_path):
    write_photos(tmp_path / "in/images")
    write_transforms(tmp_path / "in", ring_viewmats(), fl_x=FOCAL, w=WIDTH, h=HEIGHT)
    poses = imported(tmp_path / "in", Run(tmp_path / "run"), limits=PrepareConfig(max_size=WIDTH // 2))
    assert poses.cameras.width == WIDTH // 2
    assert poses.cameras.Ks[0, 0, 0].item() == pytest.approx(FOCAL / 2)
    assert poses.cameras.Ks[0, 0, 2].item() == pytest.approx(WIDTH / 4)


def test_a_field_of_view_alone_is_enough(tmp_path):
    write_photos(tmp_path / "images")
    write_transforms(tmp_path, ring_viewmats(), camera_angle_x=np.pi / 2)
    _, cameras = load_cameras(tmp_path)
    assert (cameras.width, cameras.height) == (WIDTH, HEIGHT)
    expected = torch.tensor([[24.0, 0, 24], [0, 24, 16], [0, 0, 1]], dtype=torch.float64)
    torch.testing.assert_close(cameras.Ks[0], expected)


def test_a_frame_may_have_its_own_lens(tmp_path):
    own = [{"fl_x": 30.0 + i} for i in range(5)]
    write_transforms(tmp_path, ring_viewmats(), own, fl_x=FOCAL, w=WIDTH, h=HEIGHT)
    assert load_cameras(tmp_path)[1].Ks[:, 0, 0].tolist() == [30, 31, 32, 33, 34]


@pytest.mark.parametrize(
    "fields",
    [
        {"camera_angle_x": 2 * np.arctan(24 / 40)},  # synthetic NeRF scenes
        {"camera_angle_x": 2 * np.arctan(24 / 40), "camera_angle_y": 2 * np.arctan(16 / 40), "w": 48.0, "h": 32.0},
        {"x_fov": np.degrees(2 * np.arctan(24 / 40)), "aabb_scale": 16, "scale": 0.5, "offset": [0, 0, 0]},
        {"fl_x": 40.0, "k1": 0.0, "k2": 0.0, "p1": 0.0, "p2": 0.0, "is_fisheye": False, "aabb_scale": 4},
        {"fl_x": 80.0, "fl_y": 80.0, "cx": 48.0, "cy": 32.0, "w": 96, "h": 64},  # photos were reduced since
    ],
)
def test_the_ways_in_which_files_tell_the_focal_length(tmp_path, fields):
    write_photos(tmp_path / "in/images")
    path = write_transforms(tmp_path / "in", ring_viewmats(), **fields)
    content = json.loads(path.read_text())
    for frame in content["frames"]:
        frame["file_path"] = "./" + frame["file_path"].removesuffix(".png")  # as instant-ngp may have it
        frame["sharpness"] = 31.4
    path.write_text(json.dumps(content))
    cameras = imported(tmp_path / "in", Run(tmp_path / "run")).cameras
    expected = torch.tensor([[FOCAL, 0, 24], [0, FOCAL, 16], [0, 0, 1]], dtype=torch.float64)
    torch.testing.assert_close(cameras.Ks, expected.expand(5, 3, 3))
    assert (cameras.width, cameras.height) == (WIDTH, HEIGHT)


def test_a_frames_own_angle_goes_before_the_files_focal_length(tmp_path):
    own = [{"camera_angle_x": 2 * np.arctan(24 / 30)}, {}, {}, {}, {}]
    write_transforms(tmp_path, ring_viewmats(), own, fl_x=FOCAL, w=WIDTH, h=HEIGHT)
    assert load_cameras(tmp_path)[1].Ks[:, 0, 0].tolist() == pytest.approx([30, 40, 40, 40, 40])


def test_photos_of_several_sizes_keep_the_lenses_that_came_along(tmp_path):
    write_photos(tmp_path / "in/images")
    write_photos(tmp_path / "tall", size=(HEIGHT, WIDTH))
    sizes = [{"w": WIDTH, "h": HEIGHT}] * 5
    for index in (1, 4):
        (tmp_path / "tall" / f"{index}.png").rename(tmp_path / "in/images" / f"{index}.png")
        sizes[index] = {"w": 2 * HEIGHT, "h": 2 * WIDTH, "fl_x": 2 * FOCAL, "cx": HEIGHT + 2.0}
    write_transforms(tmp_path / "in", ring_viewmats(), sizes, fl_x=FOCAL)
    run = Run(tmp_path / "run")
    found = imported(tmp_path / "in", run)
    for cameras in (found.cameras, load_reconstruction(run).cameras):
        assert cameras.own_sizes == tuple((HEIGHT, WIDTH) if i in (1, 4) else (WIDTH, HEIGHT) for i in range(5))
        assert cameras.Ks[:, 0, 0].tolist() == pytest.approx([FOCAL] * 5)
        assert cameras.Ks[:, 0, 2].tolist() == pytest.approx([24, HEIGHT / 2 + 1, 24, 24, HEIGHT / 2 + 1])
    assert len(pycolmap.Reconstruction(run.poses / "sparse").cameras) == 2


def test_points_masks_and_depth_that_nerfstudio_names_are_used_or_named(tmp_path):
    write_photos(tmp_path / "in/images")
    write_photos(tmp_path / "in/seen", count=1)
    Image.fromarray(np.eye(HEIGHT, WIDTH, dtype=np.uint8)).save(tmp_path / "in/seen/0.png")
    points = np.random.default_rng(0).normal(size=(150, 3))
    rows = [(*p, 255, 0, 51) for p in points] + [(np.nan, 0, 0, 1, 2, 3)]
    kinds = [(k, "f8") for k in "xyz"] + [(k, "u1") for k in ("red", "green", "blue")]
    PlyData([PlyElement.describe(np.array(rows, dtype=kinds), "vertex")]).write(tmp_path / "in/points.ply")
    extra = [{"mask_path": "seen/0.png"}, {"depth_file_path": "depth/1.png"}, {}, {}, {}]
    write_transforms(
        tmp_path / "in", ring_viewmats(), extra, fl_x=FOCAL, w=WIDTH, h=HEIGHT, ply_file_path="points.ply"
    )
    run = Run(tmp_path / "run")
    capture = prepare(tmp_path / "in", run)
    assert [f.has_mask for f in capture.frames] == [True, False, False, False, False]
    assert any("depth pictures; they are not used" in note for note in capture.notes)
    poses = find_poses(run, capture)
    assert len(poses.points) == 150
    torch.testing.assert_close(poses.points, torch.from_numpy(points))
    torch.testing.assert_close(poses.colors[0], torch.tensor([1.0, 0.0, 0.2], dtype=torch.float64))


@pytest.mark.parametrize("name", ["gone.ply", "../outside.ply", "images/0.png"])
def test_points_that_cannot_be_read_are_named_and_left(tmp_path, name, caplog):
    write_photos(tmp_path / "images")
    path = write_transforms(tmp_path, ring_viewmats(), fl_x=FOCAL, w=WIDTH, h=HEIGHT, ply_file_path=name)
    assert len(read_poses(path).points) == 0 and "are not used" in caplog.text


def test_masks_are_straightened_with_their_photos(tmp_path):
    write_photos(tmp_path / "in/images")
    (tmp_path / "in/masks").mkdir()
    keep = np.full((HEIGHT, WIDTH), 255, np.uint8)
    keep[10:20, 10:30] = 0
    Image.fromarray(keep).save(tmp_path / "in/masks/2.png")
    write_transforms(tmp_path / "in", ring_viewmats(), fl_x=FOCAL, w=WIDTH, h=HEIGHT, k1=-0.2)
    run = Run(tmp_path / "run")
    cameras = imported(tmp_path / "in", run).cameras
    assert mask_path(run, "1.png") is None
    mask = np.asarray(Image.open(mask_path(run, "2.png")))
    assert mask.shape == (cameras.height, cameras.width) and not mask[13:17, 14:26].any()
    assert mask[:5].all() and mask[:, 40:].all()


def test_a_split_chooses_its_frames(tmp_path):
    splits = [{"split": "test" if i > 2 else "train"} for i in range(5)]
    path = write_transforms(tmp_path, ring_viewmats(), splits, fl_x=FOCAL, w=WIDTH, h=HEIGHT)
    assert load_cameras(path, "test")[0] == ("images/3.png", "images/4.png")
    assert len(load_cameras(path, "train")[0]) == 3 and len(load_cameras(path)[0]) == 5
    with pytest.raises(PoseError, match="val"):
        load_cameras(path, "val")


@pytest.mark.parametrize(
    "broken",
    [
        {"transform_matrix": [[1, 2], [3, 4]]},
        {"transform_matrix": "no"},
        {"transform_matrix": np.full((4, 4), np.nan).tolist()},
        {"transform_matrix": np.diag([1.0, 1, -1, 1]).tolist()},
        {"transform_matrix": np.zeros((4, 4)).tolist()},
        {"fl_x": "wide"},
        {"fl_x": -3.0},
        {"w": 0},
        {"camera_angle_x": 0.0},
        {"x_fov": 200},
        {"camera_model": "EQUIRECTANGULAR"},
        {"camera_model": "VR180_L"},
        {"is_fisheye": True, "ftheta_p0": 1.5},
    ],
)
def test_nonsense_in_a_frame_is_an_error_that_names_the_file(tmp_path, broken):
    path = write_transforms(tmp_path, ring_viewmats(), [broken, {}, {}, {}, {}], fl_x=FOCAL, w=WIDTH, h=HEIGHT)
    with pytest.raises(PoseError, match=r"transforms\.json"):
        read_poses(path)


def test_photos_of_another_shape_than_their_poses_are_an_error(tmp_path):
    write_photos(tmp_path / "in/images", size=(40, 40))
    write_transforms(tmp_path / "in", ring_viewmats(), fl_x=FOCAL, w=WIDTH, h=HEIGHT)
    with pytest.raises(PoseError, match="not the same shape"):
        imported(tmp_path / "in", Run(tmp_path / "run"))


def write_colmap(folder: Path, viewmats: torch.Tensor, lens: pycolmap.Camera) -> pycolmap.Reconstruction:
    folder.mkdir(parents=True, exist_ok=True)
    model, lens.camera_id = pycolmap.Reconstruction(), 1
    model.add_camera_with_trivial_rig(lens)
    for index, viewmat in enumerate(viewmats.numpy()):
        image = pycolmap.Image(name=f"{index}.png", camera_id=1, image_id=index + 1)
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(viewmat[:3]))
    model.add_point3D(np.array([0.1, 0.2, 0.3]), pycolmap.Track(), np.array([255, 0, 51], dtype=np.uint8))
    model.write(folder)
    return model


@pytest.mark.parametrize("place", ["sparse/0", "sparse", "."])
def test_a_colmap_folder_brings_poses_and_points(tmp_path, place):
    run, viewmats = Run(tmp_path / "run"), ring_viewmats()
    write_photos(tmp_path / "in/images", count=6)
    lens = pycolmap.Camera(model="SIMPLE_PINHOLE", width=WIDTH, height=HEIGHT, params=[FOCAL, 24, 16])
    write_colmap(tmp_path / "in" / place, viewmats, lens)
    imported(tmp_path / "in", run)
    poses = load_reconstruction(run)
    torch.testing.assert_close(poses.cameras.viewmats, viewmats, atol=1e-12, rtol=0)
    torch.testing.assert_close(poses.points, torch.tensor([[0.1, 0.2, 0.3]], dtype=torch.float64))
    torch.testing.assert_close(poses.colors, torch.tensor([[1.0, 0.0, 0.2]], dtype=torch.float64))
    assert set(poses.missing) == {"5.png"} and "no pose" in poses.missing["5.png"]


def test_llff_rows_are_down_right_back(tmp_path):
    viewmats = ring_viewmats()
    write_photos(tmp_path / "images")
    world_from_camera = inverse(viewmats).numpy()
    rows = []
    for pose in world_from_camera:
        right, down, forward, center = pose[:3].T
        size = np.array([HEIGHT, WIDTH, FOCAL])
        rows.append(np.concatenate([np.stack([down, right, -forward, center, size], axis=1).ravel(), [1.0, 9.0]]))
    np.save(tmp_path / "poses_bounds.npy", np.array(rows))
    names, cameras = load_cameras(tmp_path)
    assert names == tuple(f"{i}.png" for i in range(5))
    torch.testing.assert_close(cameras.viewmats, viewmats, atol=1e-12, rtol=0)
    assert cameras.Ks[0, 0, 0].item() == pytest.approx(FOCAL) and cameras.width == WIDTH
    np.save(tmp_path / "poses_bounds.npy", np.array(rows[:-1]))
    with pytest.raises(PoseError, match="4 poses for 5 photos"):
        load_cameras(tmp_path)


def test_a_pickled_poses_bounds_is_refused(tmp_path):
    write_photos(tmp_path / "images")
    np.save(tmp_path / "poses_bounds.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(PoseError, match="cannot be read"):
        load_cameras(tmp_path)


def test_finding_poses_again_returns_what_is_there(tmp_path, caplog):
    caplog.set_level("INFO")
    run = Run(tmp_path / "run")
    write_photos(tmp_path / "in/images")
    write_transforms(tmp_path / "in", ring_viewmats(), fl_x=FOCAL, w=WIDTH, h=HEIGHT)
    capture = prepare(tmp_path / "in", run)
    find_poses(run, capture)
    stamp = (run.poses / "poses.json").stat().st_mtime_ns
    find_poses(run, capture)
    assert (run.poses / "poses.json").stat().st_mtime_ns == stamp and "already" in caplog.text
    find_poses(run, replace(capture, fingerprint="other"))
    assert (run.poses / "poses.json").stat().st_mtime_ns != stamp


def test_damaged_poses_are_an_error_that_says_what_to_do(tmp_path):
    run = Run(tmp_path / "run")
    write_photos(tmp_path / "in/images")
    write_transforms(tmp_path / "in", ring_viewmats(), fl_x=FOCAL, w=WIDTH, h=HEIGHT)
    imported(tmp_path / "in", run)
    for path in (run.poses / "sparse").iterdir():
        path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(PoseError, match="run `splatdeblur pose` again"):
        load_reconstruction(run)


def test_an_interrupted_import_leaves_the_old_poses(tmp_path):
    run = Run(tmp_path / "run")
    write_photos(tmp_path / "in/images")
    write_transforms(tmp_path / "in", ring_viewmats(), fl_x=FOCAL, w=WIDTH, h=HEIGHT, k1=-0.2)
    capture: Capture = prepare(tmp_path / "in", run)
    find_poses(run, capture)

    def stop(fraction, message):
        if fraction and fraction > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_poses(run, capture, seed=1, on_progress=stop)
    assert len(load_reconstruction(run).names) == 5
    assert {p.name for p in run.folder.iterdir()} == {"capture.json", "images", "poses"}


def test_velocities_and_times_that_a_phone_recorded_are_those_of_one_exposure(tmp_path):
    run, moved = Run(tmp_path / "run"), {"camera_linear_velocity": [1, 2, 3], "camera_angular_velocity": [4, 5, 6]}
    turned = {"camera_angular_velocity": [0, 1, 0], "exposure_time": 0.02}
    write_photos(tmp_path / "in/images")
    write_transforms(
        tmp_path / "in", ring_viewmats(), [moved, {}, turned, {}, {}],
        fl_x=FOCAL, w=WIDTH, h=HEIGHT, exposure_time=0.01, rolling_shutter_time=0.015,
    )  # fmt: skip
    for poses in (imported(tmp_path / "in", run), load_reconstruction(run)):
        assert {name: velocity.tolist() for name, velocity in poses.velocities.items()} == {
            "0.png": pytest.approx([0.01, -0.02, -0.03, 0.04, -0.05, -0.06]),
            "2.png": pytest.approx([0, 0, 0, 0, -0.02, 0]),
        }
        assert poses.readout == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ({"camera_linear_velocity": [1, 2]}, "velocities must be three"),
        ({"camera_angular_velocity": "fast"}, "velocities must be three"),
        ({"camera_linear_velocity": [1, 2, float("nan")]}, "three finite"),
        ({"exposure_time": -0.01}, "exposure_time is -0.01"),
        ({"rolling_shutter_time": "short"}, "rolling_shutter_time is 'short'"),
    ],
)
def test_nonsense_about_movement_is_an_error_that_names_it(tmp_path, told, named):
    path = write_transforms(
        tmp_path, ring_viewmats(), [told] + 4 * [{}], fl_x=FOCAL, w=WIDTH, h=HEIGHT, **{"exposure_time": 0.01}
    )
    with pytest.raises(PoseError, match=named):
        read_poses(path)
