"""Lenses with distortion: which pinhole camera stands in for them, and the photos resampled to it.

A lens is a `pycolmap.Camera`: it brings every distortion model and its pixel convention is ours.
"""

from collections.abc import Sequence

import numpy as np
import pycolmap
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor


def is_pinhole(lens: pycolmap.Camera) -> bool:
    """Whether straight lines stay straight in its photos."""
    return lens.model_name in ("PINHOLE", "SIMPLE_PINHOLE") or not np.any(
        np.asarray(lens.params)[lens.extra_params_idxs()]
    )


def intrinsics(lens: pycolmap.Camera) -> Float[Tensor, "3 3"]:
    """Its pinhole part, in px, float64."""
    K = torch.eye(3, dtype=torch.float64)
    K[0, 0], K[1, 1] = lens.focal_length_x, lens.focal_length_y
    K[0, 2], K[1, 2] = lens.principal_point_x, lens.principal_point_y
    return K


def pinhole_lens(K: Float[Tensor, "3 3"], width: int, height: int) -> pycolmap.Camera:
    """A lens without distortion."""
    params = [K[0, 0].item(), K[1, 1].item(), K[0, 2].item(), K[1, 2].item()]
    return pycolmap.Camera(model="PINHOLE", width=width, height=height, params=params)


def straightened(
    lenses: Sequence[pycolmap.Camera],
) -> tuple[Float[Tensor, "camera 3 3"], tuple[tuple[int, int], ...]]:
    """Pinhole intrinsics for photos of these lenses, and the size (width, height) of each straightened photo.

    Lenses without distortion stay as they are. With distortion the focal length stays about the same and the
    picture is cropped until every pixel sees something; photos that had one size are then cropped to the smallest
    of them, and keep one size.
    """
    pinholes = []
    for lens in lenses:
        if is_pinhole(lens):
            pinholes.append((intrinsics(lens), lens.width, lens.height))
        else:
            flat = pycolmap.undistort_camera(pycolmap.UndistortCameraOptions(blank_pixels=0.0), lens)
            pinholes.append((intrinsics(flat), flat.width, flat.height))
    smallest: dict[tuple[int, int], tuple[int, int]] = {}
    for lens, (_, w, h) in zip(lenses, pinholes, strict=True):
        width, height = smallest.get((lens.width, lens.height), (w, h))
        smallest[lens.width, lens.height] = min(width, w), min(height, h)
    sizes = tuple(smallest[lens.width, lens.height] for lens in lenses)
    Ks = torch.stack([K for K, _, _ in pinholes])
    cut = [((w - width) // 2, (h - height) // 2) for (_, w, h), (width, height) in zip(pinholes, sizes, strict=True)]
    Ks[:, :2, 2] -= torch.tensor(cut, dtype=torch.float64)
    return Ks, sizes


def undistortion_grid(
    lens: pycolmap.Camera, K: Float[Tensor, "3 3"], width: int, height: int
) -> Float[Tensor, "1 {height} {width} 2"]:
    """Where each pixel of a pinhole camera `K` of `width` x `height` px lies in the photo that `lens` took.

    In the terms of `grid_sample`: [-1, 1] runs from edge to edge, as pixels with centres at one half do.
    """
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x, y = (u - K[0, 2].item()) / K[0, 0].item(), (v - K[1, 2].item()) / K[1, 1].item()
    rays = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3)
    pixels = torch.from_numpy(lens.img_from_cam(rays)).reshape(1, height, width, 2)
    return (pixels / torch.tensor([lens.width, lens.height], dtype=pixels.dtype) * 2 - 1).float()


def undistort(
    picture: UInt8[np.ndarray, "height width 3"], grid: Float[Tensor, "1 new_height new_width 2"]
) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """The photo that the grid's pinhole camera would have taken.

    Bicubic, because every sharpness lost here is lost for good; pixels beyond the edge repeat the edge.
    """
    image = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
    warped = torch.nn.functional.grid_sample(image, grid, mode="bicubic", padding_mode="border", align_corners=False)
    return warped[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()


def undistort_mask(
    keep: Bool[np.ndarray, "height width"], grid: Float[Tensor, "1 new_height new_width 2"]
) -> Bool[np.ndarray, "new_height new_width"]:
    """Which pixels of the straightened photo count: those for which bicubic sampling meets none that does not."""
    ignored = torch.from_numpy(~keep)[None, None].float()
    reach = torch.nn.functional.max_pool2d(ignored, 3, stride=1, padding=1)
    warped = torch.nn.functional.grid_sample(reach, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return (warped[0, 0] == 0).numpy()


def largest_shift_px(lens: pycolmap.Camera) -> float:
    """How far its distortion moves a point of the picture at most, in px."""
    u, v = np.meshgrid(np.linspace(0, lens.width, 33), np.linspace(0, lens.height, 33))
    pixels = np.stack([u.ravel(), v.ravel(), np.ones(u.size)], axis=-1)
    rays = pixels @ np.linalg.inv(intrinsics(lens).numpy()).T
    return float(np.linalg.norm(lens.img_from_cam(rays) - pixels[:, :2], axis=-1).max())
