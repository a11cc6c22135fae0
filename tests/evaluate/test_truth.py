"""A reference folder is read as far as it goes: lenses, sizes, paths."""

import json

import numpy as np
import pycolmap
import pytest
import torch

from splatdeblur.capture.pixels import read_photo, write_picture
from splatdeblur.errors import FormatError
from splatdeblur.evaluate.truth import load_truth


def test_pictures_and_names_of_a_plain_reference(world, reference):
    truth = load_truth(reference)
    assert truth.photos.names[2] == "images/002.png"
    assert torch.allclose(truth.photos.cameras.viewmats, world.cameras.viewmats, atol=1e-9)
    assert torch.allclose(truth.paths.viewmats, world.paths, atol=1e-9)
    assert truth.missing == {}
    path = truth.sharp("somewhere/002.JPG")
    assert path == reference / "sharp" / "002.png"
    assert torch.equal(truth.photos.read(2, path, 2.0), read_photo(path, 2.0))
    assert truth.test_picture("test/001.png") == reference / "test" / "001.png"
    assert truth.test_picture("001.jpg") == reference / "test" / "001.png"
    assert truth.test_picture("test/017.png") is None


def test_a_picture_of_another_size_than_its_camera_is_a_clear_error(reference):
    truth = load_truth(reference)
    write_picture(reference / "sharp" / "000.png", torch.rand(20, 20, 3))
    with pytest.raises(FormatError, match="20x20 px, its camera 48x36"):
        truth.photos.read(0, reference / "sharp" / "000.png", 1.0)


def test_pictures_of_a_distorted_lens_are_straightened(reference):
    content = json.loads((reference / "transforms.json").read_text()) | {"camera_model": "OPENCV", "k1": 0.12}
    (reference / "transforms.json").write_text(json.dumps(content))
    views = load_truth(reference).photos

    def paint(rays: torch.Tensor) -> torch.Tensor:
        waves = torch.stack([rays[..., 0], rays[..., 1], rays.sum(-1)], -1)
        return (0.5 + 0.4 * (4 * waves).sin()).float()

    lens: pycolmap.Camera = views.posed.lenses[0]
    x, y = np.meshgrid(np.arange(48) + 0.5, np.arange(36) + 0.5)
    rays = np.asarray(lens.cam_from_img(np.stack([x.ravel(), y.ravel()], -1)))
    write_picture(reference / "sharp" / "000.png", paint(torch.from_numpy(rays[:, :2]).reshape(36, 48, 2)))

    width, height, K = views.cameras.width, views.cameras.height, views.cameras.Ks[0]
    u, v = torch.meshgrid(torch.arange(width) + 0.5, torch.arange(height) + 0.5, indexing="xy")
    straight = torch.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1]], -1)
    read = views.read(0, reference / "sharp" / "000.png", 1.0)
    assert read.shape == (height, width, 3)
    assert (read - paint(straight)).abs().max() < 0.02


def test_paths_of_another_capture_are_left_out_with_a_reason(world, reference):
    poses = np.tile(np.eye(4), (4, 9, 1, 1))
    np.savez(reference / "trajectories.npz", c2w=poses, times=world.times.numpy())
    truth = load_truth(reference)
    assert truth.paths is None
    assert "one for each training photo" in truth.missing["path_error_px"]
    (reference / "trajectories.npz").write_bytes(b"no archive")
    assert "holds no paths" in load_truth(reference).missing["path_error_px"]


def test_times_of_a_rolling_shutter_run_over_exposure_and_read_out(world, reference):
    with np.load(reference / "trajectories.npz") as file:
        c2w, times = file["c2w"], file["times"]
    np.savez(reference / "trajectories.npz", c2w=c2w, times=times * 1.5, readout=0.5)
    assert torch.allclose(load_truth(reference).paths.times, world.times)
