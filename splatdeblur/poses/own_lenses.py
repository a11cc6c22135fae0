"""A lens of its own for every photo, where the features ask for it.

A phone that focuses anew changes its focal length by a percent or two, and one that shifts its lens against shake
moves the principal point as much. Structure from motion gives all photos of a camera one lens, which is what keeps it
together; once it stands, lenses may differ. Features hardly tell a change of all lenses at once from cameras that
moved, so each lens is expected near the shared one.
"""

import math

import numpy as np
import pycolmap

from .adjust import errors_px, solve, straight_unless_bent, surprise, usual

SPREAD = 0.015  # standard deviation of focal lengths and principal points, in focal lengths, as in a phone's photos
BEND_SPREAD = 0.1  # of a lens's bend, which lenses that differ distort where they are taken for one: hardly a bound
PARAMETERS = 3  # of a lens: focal length and principal point; its bend stays that of the camera
WORTH = 2.0  # times the gain that the Bayesian information criterion asks for: neighbouring features err alike


def with_own_lenses(model: pycolmap.Reconstruction) -> pycolmap.Reconstruction | None:
    """The model, adjusted already, with a camera for each photo and everything adjusted to that; None where too little
    speaks for it. Cameras have the ids of their photos; points keep their order."""
    together = errors_px(model)[1]
    if not len(together):
        return None
    usual_px = usual(together)
    own, seeing = _separated(model), [i for i in model.images.values() if i.has_pose and i.num_points3D]
    expected = {image.image_id: _expected(model.cameras[image.camera_id]) for image in seeing}
    solve(own, usual_px, expected=expected)
    for shared in model.cameras:
        _bend_alike([own.cameras[i.image_id] for i in model.images.values() if i.has_pose and i.camera_id == shared])
    solve(own, usual_px, bends=False, expected=expected)
    own = straight_unless_bent(own, usual_px, expected)
    gain = float(surprise(together, usual_px).sum() - surprise(errors_px(own)[1], usual_px).sum())
    if gain < WORTH * PARAMETERS * len(seeing) * math.log(2 * len(together)) / 2:
        return None
    own.update_point_3d_errors()
    return own


def _expected(shared: pycolmap.Camera) -> tuple[np.ndarray, np.ndarray]:
    """What a lens's parameters probably are, and how far off, given the one that all photos were said to share."""
    deviations = np.full(len(shared.params), SPREAD * shared.mean_focal_length())
    deviations[shared.extra_params_idxs()] = BEND_SPREAD
    return np.array(shared.params), deviations


def _bend_alike(lenses: list[pycolmap.Camera]) -> None:
    """Gives all lenses the bend that half of them exceed."""
    all_params = np.array([lens.params for lens in lenses])
    for lens, params in zip(lenses, all_params, strict=True):
        bend = lens.extra_params_idxs()
        params[bend] = np.median(all_params[:, bend], axis=0)
        lens.params = params


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
