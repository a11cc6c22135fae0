import numpy as np
import pycolmap
import pytest
import torch

from splatdeblur.poses.lenses import (
    intrinsics,
    is_pinhole,
    largest_shift_px,
    straightened,
    undistort,
    undistort_mask,
    undistortion_grid,
)

LENSES = {
    "SIMPLE_RADIAL": [100.0, 62.0, 47.0, -0.12],
    "RADIAL": [100.0, 62.0, 47.0, -0.12, 0.02],
    "OPENCV": [100.0, 104.0, 62.0, 47.0, 0.08, -0.05, 0.002, -0.003],
    "OPENCV_FISHEYE": [100.0, 100.0, 62.0, 47.0, 0.02, 0.01, 0.0, 0.0],
}


def make_lens(model: str) -> pycolmap.Camera:
    return pycolmap.Camera(model=model, width=128, height=96, params=LENSES[model])


def dots(lens_points: np.ndarray, width: int, height: int) -> np.ndarray:
    """A picture with a round spot of radius 2 px at each point."""
    v, u = np.mgrid[:height, :width] + 0.5
    picture = np.zeros((height, width))
    for x, y in lens_points:
        picture += 250 * np.exp(-((u - x) ** 2 + (v - y) ** 2) / 8)
    return np.repeat(picture[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("model", LENSES)
def test_points_seen_through_the_lens_land_where_the_pinhole_sees_them(model):
    lens = make_lens(model)
    (K,), ((width, height),) = straightened([lens])
    x, y = np.meshgrid([-0.45, -0.15, 0.15, 0.45], [-0.3, 0.0, 0.3])
    points = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=-1)
    expected = (points @ K.numpy().T)[:, :2]
    for point, (u, v) in zip(points, expected, strict=True):
        seen = dots(lens.img_from_cam(point[None]), 128, 96)
        flat = undistort(seen, undistortion_grid(lens, K, width, height))[..., 0].astype(float)
        rows, columns = np.mgrid[:height, :width] + 0.5
        center = np.array([(flat * columns).sum(), (flat * rows).sum()]) / flat.sum()
        np.testing.assert_allclose(center, (u, v), atol=0.1)


@pytest.mark.parametrize("model", LENSES)
def test_every_pixel_of_the_straightened_photo_was_seen(model):
    lens = make_lens(model)
    (K,), ((width, height),) = straightened([lens])
    corners = np.array([[0.5, 0.5, 1], [width - 0.5, 0.5, 1], [0.5, height - 0.5, 1], [width - 0.5, height - 0.5, 1]])
    seen = lens.img_from_cam(corners @ np.linalg.inv(K.numpy()).T)
    assert (seen > -0.5).all() and (seen < np.array([128.5, 96.5])).all()


def test_a_lens_without_distortion_is_left_alone():
    lens = pycolmap.Camera(model="OPENCV", width=128, height=96, params=[100, 101, 63, 47, 0, 0, 0, 0])
    Ks, ((width, height), _) = straightened([lens, lens])
    assert is_pinhole(lens) and (width, height) == (128, 96) and largest_shift_px(lens) < 1e-9
    torch.testing.assert_close(Ks, intrinsics(lens).expand(2, 3, 3))
    photo = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    np.testing.assert_array_equal(undistort(photo, undistortion_grid(lens, Ks[0], 128, 96)), photo)


def test_different_lenses_give_pictures_of_one_size():
    lenses = [make_lens(m) for m in ("SIMPLE_RADIAL", "OPENCV")]
    Ks, ((width, height), other) = straightened(lenses)
    assert other == (width, height)
    for lens, K in zip(lenses, Ks, strict=True):
        alone, ((w, h),) = straightened([lens])
        assert w >= width and h >= height
        assert abs(K[0, 2] - width / 2 - (alone[0, 0, 2] - w / 2)) <= 0.5


def test_photos_of_other_sizes_keep_them():
    wide, tall = make_lens("OPENCV"), make_lens("OPENCV")
    tall.rescale(96, 128)
    Ks, sizes = straightened([wide, tall, wide])
    assert sizes[0] == sizes[2] != sizes[1] and sizes[1][0] < sizes[1][1]
    for K, size, lens in zip(Ks, sizes, (wide, tall, wide), strict=True):
        alone, own = straightened([lens])
        assert own == (size,)
        torch.testing.assert_close(K, alone[0])


def test_a_mask_is_straightened_with_its_photo_and_never_lets_through_what_it_hides():
    lens = make_lens("SIMPLE_RADIAL")
    (K,), (size,) = straightened([lens])
    grid = undistortion_grid(lens, K, *size)
    keep = np.ones((96, 128), bool)
    keep[40:50, 60:80] = False
    photo = np.zeros((96, 128, 3), np.uint8)
    photo[~keep] = 255
    straight, kept = undistort(photo, grid), undistort_mask(keep, grid)
    assert kept.shape == straight.shape[:2] and straight[kept].max() == 0
    assert 200 < (~kept).sum() < 450


def test_the_largest_shift_is_that_of_the_farthest_corner():
    lens = make_lens("SIMPLE_RADIAL")
    radius = np.hypot(128 - 62.0, 96 - 47.0) / 100
    farthest = max(np.hypot(x, y) for x in (62.0, 66.0) for y in (47.0, 49.0)) / 100
    assert farthest == radius
    assert largest_shift_px(lens) == pytest.approx(100 * 0.12 * radius**3, rel=1e-3)
