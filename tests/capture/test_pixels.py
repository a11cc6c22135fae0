"""Photos are read at a reduced size as light on larger sensor pixels."""

import pytest
import torch
from PIL import Image

from splatdeblur.capture.pixels import read_photo, reduced_size, resize_area, resize_photo, write_picture
from splatdeblur.errors import CaptureError
from splatdeblur.geometry import Cameras, linear_from_srgb


def random_picture(height: int, width: int) -> torch.Tensor:
    return torch.rand(height, width, 3, generator=torch.Generator().manual_seed(0))


def test_a_written_picture_is_read_back_to_half_a_grey_level(tmp_path):
    picture = random_picture(5, 7) * 1.2 - 0.1
    write_picture(tmp_path / "new" / "a.png", picture)
    error = read_photo(tmp_path / "new" / "a.png") - picture.clamp(0, 1)
    assert error.abs().max() <= 0.5 / 255 + 1e-6


def test_reduction_conserves_light(tmp_path):
    checker = (torch.arange(8)[:, None] + torch.arange(8)) % 2
    write_picture(tmp_path / "a.png", checker[..., None].expand(8, 8, 3).float())
    half = read_photo(tmp_path / "a.png", 2.0)
    assert half.shape == (4, 4, 3)
    assert torch.allclose(linear_from_srgb(half), torch.tensor(0.5), atol=1e-5)


@pytest.mark.parametrize("downscale", [2.0, 2.7])
def test_a_photo_is_read_as_if_reduced_after_it_was_read(downscale, tmp_path):
    write_picture(tmp_path / "a.png", random_picture(41, 60))
    whole, small = read_photo(tmp_path / "a.png"), read_photo(tmp_path / "a.png", downscale)
    torch.testing.assert_close(small, resize_photo(whole, small.shape[1], small.shape[0]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("downscale", [1.0, 1.5, 2.0, 2.7, 3.0])
@pytest.mark.parametrize("size", [(48, 32), (47, 31), (50, 33)])
def test_the_size_is_that_of_scaled_cameras(size, downscale):
    cameras = Cameras(torch.eye(4)[None], torch.eye(3)[None], *size).scaled(1 / downscale)
    assert reduced_size(*size, downscale) == (cameras.width, cameras.height)


def test_area_means_are_exact_for_sizes_that_do_not_divide():
    picture = random_picture(6, 10).double()
    fine = picture.repeat_interleave(4, 0).repeat_interleave(3, 1)  # 24 x 30, which 4 x 6 divides
    assert torch.allclose(resize_area(picture, 6, 4), resize_area(fine, 6, 4))
    assert torch.allclose(resize_area(picture, 6, 4).mean((0, 1)), picture.mean((0, 1)))


def test_a_truncated_file_is_a_clear_error(tmp_path):
    Image.new("RGB", (64, 64), (200, 30, 90)).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CaptureError, match=r"a\.jpg"):
        read_photo(tmp_path / "a.jpg")
    with pytest.raises(CaptureError, match=r"b\.jpg"):
        read_photo(tmp_path / "b.jpg")
