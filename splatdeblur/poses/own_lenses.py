"""A lens of its own for every photo, where the features ask for it.

A phone that focuses anew changes its focal length by a percent or two, and one that shifts its lens against shake
moves the principal point as much. Structure from motion gives all photos of a camera one lens, which is what keeps it
together; once it stands, lenses may differ. Features hardly tell a change of all lenses at once from cameras that
moved, so each lens is expected near the shared one.
"""

import math

import numpy as np
import pycolmap

from .adjust import errors_px, solve, surprise, usual

SPREAD = 0.015  # standard deviation of focal lengths and principal points, in focal lengths, as in a phone's photos
PARAMETERS = 3  # of a lens: focal length and principal point; its bend stays that of the camera
WORTH = 2.0  # times the gain that the Bayesian information criterion asks for: neighbouring features err alike


def with_own_lenses(model: pycolmap.Reconstruction) -> pycolmap.Reconstruction | None:
    """The model, adjusted already, with a camera for each photo and everything adjusted to that; None where too little
    speaks for it. Cameras have the ids of their photos; points keep their order."""
    together = errors_px(model)[1]
    if not len(together):
        return None
    usual_px = usual(together)
    own = _separated(model)
    solve(own, usual_px, bends=False, lens_spread=SPREAD)
    gain = float(surprise(together, usual_px).sum() - surprise(errors_px(own)[1], usual_px).sum())
    price = PARAMETERS * len(_with_points(own)) * math.log(2 * len(together)) / 2
    if gain < WORTH * price:
        return None
    own.update_point_3d_errors()
    return own


def sentence(model: pycolmap.Reconstruction, own: pycolmap.Reconstruction) -> str:
    """What having a lens for each photo came to."""
    before, after = (float(np.median(errors_px(m)[1])) for m in (model, own))
    pairs = [(own.cameras[i.image_id], model.cameras[i.camera_id]) for i in model.images.values() if i.has_pose]
    focal = np.std([lens.mean_focal_length() / shared.mean_focal_length() for lens, shared in pairs])
    across = np.std([lens.principal_point_x - shared.principal_point_x for lens, shared in pairs])
    down = np.std([lens.principal_point_y - shared.principal_point_y for lens, shared in pairs])
    return (
        f"lenses differ from photo to photo: focal lengths by {focal:.1%}, principal points by "
        f"{math.hypot(across, down):.1f} px; with a lens for each the median error is {after:.2f} instead of "
        f"{before:.2f} px"
    )


def _with_points(model: pycolmap.Reconstruction) -> list[pycolmap.Image]:
    return [image for image in model.images.values() if image.has_pose and image.num_points3D]


def _separated(model: pycolmap.Reconstruction) -> pycolmap.Reconstruction:
    """The posed photos and the points of a model, each photo with a camera of its own."""
    result = pycolmap.Reconstruction()
    for image in (image for image in model.images.values() if image.has_pose):
        shared = model.cameras[image.camera_id]
        camera = pycolmap.Camera(
            model=shared.model, width=shared.width, height=shared.height, params=shared.params,
            camera_id=image.image_id,
        )  # fmt: skip
        result.add_camera_with_trivial_rig(camera)
        pixels = np.array([point.xy for point in image.points2D]).reshape(-1, 2)
        copy = pycolmap.Image(name=image.name, camera_id=image.image_id, image_id=image.image_id, keypoints=pixels)
        result.add_image_with_trivial_frame(copy, image.cam_from_world())
    for point in model.points3D.values():
        result.add_point3D(point.xyz, point.track, point.color)
    return result
