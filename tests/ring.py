"""A small COLMAP model with exact truth."""

from collections.abc import Sequence

import numpy as np
import pycolmap
import torch

from splatdeblur.geometry import look_at

FOCAL, SIZE = 400.0, (480, 320)


def ring(
    bend: float = 0.0, moved_px: float = 0.0, share: float = 0.1, taken_with: Sequence[pycolmap.Camera] | None = None
) -> pycolmap.Reconstruction:
    """Ten cameras on an arc around a cloud of points; a share of the features lies `moved_px` off to one side.

    Args:
        taken_with: the lens that took each photo; None for the one that the model has.
    """
    rng = np.random.default_rng(5)
    lens = pycolmap.Camera(
        model="SIMPLE_RADIAL", width=SIZE[0], height=SIZE[1], params=[FOCAL, SIZE[0] / 2, SIZE[1] / 2, bend],
        camera_id=1,
    )  # fmt: skip
    model = pycolmap.Reconstruction()
    model.add_camera_with_trivial_rig(lens)
    points = rng.normal(size=(160, 3)) * 0.5
    angle = torch.linspace(0, 1.5, 10, dtype=torch.float64)
    eyes = torch.stack([3 * angle.cos(), 3 * angle.sin(), 0.2 * (5 * angle).sin()], dim=-1)
    viewmats = look_at(eyes, torch.zeros_like(eyes), torch.tensor([0.0, 0, 1], dtype=torch.float64)).numpy()
    for image_id, viewmat in enumerate(viewmats, start=1):
        pose = pycolmap.Rigid3d(viewmat[:3])
        took = taken_with[image_id - 1] if taken_with else lens
        pixels = took.img_from_cam(pose * points) + 0.2 * rng.normal(size=(len(points), 2))
        # Blur moves features by much, and in one photo all the same way.
        pixels[rng.random(len(points)) < share] += moved_px * np.array([np.cos(image_id), np.sin(image_id)])
        image = pycolmap.Image(name=f"{image_id}.png", camera_id=1, image_id=image_id, keypoints=pixels)
        model.add_image_with_trivial_frame(image, pose)
    for index, point in enumerate(points):
        track = pycolmap.Track()
        for image_id in range(1, len(viewmats) + 1):
            track.add_element(image_id, index)
        model.add_point3D(point, track, np.zeros(3, np.uint8))
    return model
