"""What other programs get: models that open, files that our own importers read back, poses in exposure time."""

import json
from dataclasses import replace

import numpy as np
import pycolmap
import pytest
import torch

from splatdeblur.errors import FormatError
from splatdeblur.geometry import Cameras, exp, inverse
from splatdeblur.poses.exports import Trajectories, save_cameras, write_colmap, write_trajectories, write_transforms
from splatdeblur.poses.imports import load_cameras
from splatdeblur.poses.reconstruction import Reconstruction

NAMES = ("a.png", "b.png", "c.png")


@pytest.fixture(params=["one lens", "a lens each"])
def reconstruction(request):
    g = torch.Generator().manual_seed(0)
    K = torch.tensor([[60.0, 0, 33], [0, 62, 25], [0, 0, 1]], dtype=torch.float64).repeat(3, 1, 1)
    if request.param == "a lens each":
        K[:, 0, 0] += torch.arange(3)
    viewmats = exp(torch.randn(3, 6, generator=g, dtype=torch.float64))
    points = torch.randn(9, 3, generator=g, dtype=torch.float64)
    return Reconstruction(NAMES, Cameras(viewmats, K, 64, 48), points, points.sigmoid(), {}, None, ())


@pytest.mark.parametrize("part", ["sparse", "sparse_text"])
def test_both_colmap_models_open_with_the_same_cameras(reconstruction, tmp_path, part):
    write_colmap(reconstruction, tmp_path)
    suffix = ".txt" if part == "sparse_text" else ".bin"
    assert {p.suffix for p in (tmp_path / part / "0").iterdir()} == {suffix}
    model = pycolmap.Reconstruction(tmp_path / part / "0")
    for name, viewmat, K in zip(NAMES, reconstruction.cameras.viewmats, reconstruction.cameras.Ks, strict=True):
        image = model.find_image_with_name(name)
        np.testing.assert_allclose(image.cam_from_world().matrix(), viewmat[:3], atol=1e-9)
        np.testing.assert_allclose(model.cameras[image.camera_id].calibration_matrix(), K)
    assert len(model.points3D) == 9


def test_transforms_are_read_back(reconstruction, tmp_path):
    write_transforms(reconstruction, tmp_path)
    names, cameras = load_cameras(tmp_path / "transforms.json")
    assert names == tuple(f"images/{name}" for name in NAMES)
    torch.testing.assert_close(cameras.viewmats, reconstruction.cameras.viewmats)
    torch.testing.assert_close(cameras.Ks, reconstruction.cameras.Ks)
    assert (cameras.width, cameras.height) == (64, 48)


def test_transforms_keep_the_size_of_each_photo(reconstruction, tmp_path):
    sizes = ((64, 48), (48, 64), (64, 48))
    cameras = Cameras.of_sizes(reconstruction.cameras.viewmats, reconstruction.cameras.Ks, sizes)
    write_transforms(replace(reconstruction, cameras=cameras), tmp_path)
    assert not {"w", "h"} & json.loads((tmp_path / "transforms.json").read_text()).keys()  # nerfstudio would take them
    assert load_cameras(tmp_path / "transforms.json")[1].own_sizes == sizes


def test_cameras_without_photos_are_read_back(reconstruction, tmp_path):
    save_cameras(tmp_path / "paths" / "path-1.json", NAMES, reconstruction.cameras.to(dtype=torch.float32))
    names, found = load_cameras(tmp_path / "paths" / "path-1.json")
    assert names == NAMES and (found.width, found.height) == (64, 48)
    torch.testing.assert_close(found.viewmats, reconstruction.cameras.viewmats, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.Ks, reconstruction.cameras.Ks)


def test_transforms_have_opengl_axes_and_the_points(reconstruction, tmp_path):
    write_transforms(reconstruction, tmp_path)
    frame = json.loads((tmp_path / "transforms.json").read_text())["frames"][1]
    pose = inverse(reconstruction.cameras.viewmats)[1].numpy()
    np.testing.assert_allclose(frame["transform_matrix"], pose * [1, -1, -1, 1], atol=1e-12)
    from plyfile import PlyData

    points = PlyData.read(tmp_path / "points.ply")["vertex"]
    np.testing.assert_allclose(points["y"], reconstruction.points[:, 1], rtol=1e-6)
    np.testing.assert_allclose(points["green"] / 255, reconstruction.colors[:, 1], atol=0.003)


def trajectories(taken=(2.0, 1.0), exposures=(0.1, None)):
    g = torch.Generator().manual_seed(1)
    viewmats = exp(torch.randn(2, 3, 6, generator=g))
    return Trajectories(("a.jpg", "b.jpg"), viewmats, torch.tensor([0.0, 0.5, 1.0]), taken, exposures)


def test_trajectories_say_where_each_camera_was_at_each_instant(tmp_path):
    given = trajectories()
    write_trajectories(given, tmp_path / "paths.json")
    photos = json.loads((tmp_path / "paths.json").read_text())["photos"]
    assert [p["name"] for p in photos] == ["a.jpg", "b.jpg"]
    assert (photos[0]["taken_at_s"], photos[0]["exposure_s"], photos[1]["exposure_s"]) == (2.0, 0.1, None)
    poses = torch.tensor([p["world_from_camera"] for p in photos])
    torch.testing.assert_close(poses @ given.viewmats, torch.eye(4).expand(2, 3, 4, 4), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["paths.tum", "paths"])
def test_trajectories_need_the_name_of_a_json_file(tmp_path, name):
    with pytest.raises(FormatError, match=r"must end in \.json"):
        write_trajectories(trajectories(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_tum_text_is_in_order_of_time_with_quaternions_xyzw(tmp_path):
    given = trajectories()
    rows = np.loadtxt(write_trajectories(given, tmp_path / "paths.json"))
    # b, whose exposure is not known, fills half the gap of a second; then a.
    np.testing.assert_allclose(rows[:, 0], [0.75, 1.0, 1.25, 1.95, 2.0, 2.05])
    poses = inverse(given.viewmats[[1, 0]].double()).flatten(0, 1)
    for row, pose in zip(rows, poses, strict=True):
        matrix = pycolmap.Rigid3d(pycolmap.Rotation3d(row[4:]), row[1:4]).matrix()
        np.testing.assert_allclose(matrix, pose[:3], atol=1e-5)


def test_photos_without_times_are_a_second_apart(tmp_path):
    rows = np.loadtxt(write_trajectories(trajectories((None, None), (None, None)), tmp_path / "paths.json"))
    np.testing.assert_allclose(rows[:, 0], [0.25, 0.5, 0.75, 1.25, 1.5, 1.75])
