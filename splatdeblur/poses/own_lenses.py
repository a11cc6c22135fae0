"""A lens of its own for every photo, where the features ask for it.

A phone that focuses anew changes its focal length by a percent or two, and one that shifts its lens against shake
moves the principal point as much. Structure from motion gives all photos of a camera one lens, which is what keeps it
together; once it stands, lenses may differ. Features hardly tell a change of all lenses at once from cameras that
moved, so each lens is expected near the shared one.
"""

import math
from collections.abc import Collection

import numpy as np
import pycolmap

from .adjust import errors_px, solve, straight_unless_bent, surprise, usual

SPREAD = 0.015  # standard deviation of focal lengths and principal points, in focal lengths, as in a phone's photos
BEND_SPREAD = 0.1  # of a lens's bend, which lenses that differ distort where they are taken for one: hardly a bound
PARAMETERS = 3  # of a lens: focal length and principal point; its bend stays that of the camera
INLIER = 0.02  # of how far points lie apart: those that moved by less tell which world is which
WORTH = 2.0  # times the gain that the Bayesian information criterion asks for: neighbouring features err alike


def with_own_lenses(model: pycolmap.Reconstruction) -> pycolmap.Reconstruction | None:
    """The model, adjusted already, with a camera for each photo and everything adjusted to that; None where too little
    speaks for it.

    Cameras have the ids of their photos. The world stays the same; photos that see no points stay where they are, with
    their camera's `typical` lens.
    """
    seeing = {i.image_id: i.camera_id for i in model.images.values() if i.has_pose and i.num_points3D}
    if not seeing:
        return None
    usual_px = usual(errors_px(model)[1])
    likely = {camera: _expected(model.cameras[camera]) for camera in seeing.values()}
    shared = pycolmap.Reconstruction(model)
    solve(shared, usual_px, expected=likely)  # a lens whose axis is off the middle does not differ from photo to photo
    own, expected = _separated(model), {image: likely[camera] for image, camera in seeing.items()}
    solve(own, usual_px, expected=expected)
    lenses = typical(model, own)
    for image, camera in seeing.items():
        own.cameras[image].params = _with_bend(own.cameras[image], lenses[camera])
    solve(own, usual_px, bends=False, expected=expected)
    own = straight_unless_bent(own, usual_px, expected)
    together, apart = errors_px(shared)[1], errors_px(own)[1]
    gain = float(surprise(together, usual_px).sum() - surprise(apart, usual_px).sum())
    if gain < WORTH * PARAMETERS * len(seeing) * math.log(2 * len(together)) / 2:
        return None
    return _brought_back(own, model, set(seeing))


def typical(model: pycolmap.Reconstruction, own: pycolmap.Reconstruction) -> dict[int, pycolmap.Camera]:
    """The lens between those that the photos of each of the model's cameras have in `own`; without any, the model's."""
    lenses = {}
    for number, camera in model.cameras.items():
        mine = [i.image_id for i in model.images.values() if i.has_pose and i.num_points3D and i.camera_id == number]
        lenses[number] = _copy(camera, number)
        if mine:
            lenses[number].params = np.median([own.cameras[image].params for image in mine], axis=0)
    return lenses


def _expected(shared: pycolmap.Camera) -> tuple[np.ndarray, np.ndarray]:
    """What a lens's parameters probably are, and how far off, given the one that all photos were said to share."""
    deviations = np.full(len(shared.params), SPREAD * shared.mean_focal_length())
    deviations[shared.extra_params_idxs()] = BEND_SPREAD
    return np.array(shared.params), deviations


def _with_bend(lens: pycolmap.Camera, bent: pycolmap.Camera) -> np.ndarray:
    """A lens's parameters with the bend of another."""
    params, bend = np.array(lens.params), lens.extra_params_idxs()
    params[bend] = np.array(bent.params)[bend]
    return params


def _brought_back(
    own: pycolmap.Reconstruction, model: pycolmap.Reconstruction, seeing: Collection[int]
) -> pycolmap.Reconstruction | None:
    """`own` in the model's world, which the adjustment let go of; photos that are not `seeing` as they were there.
    None where the two worlds have little in common."""
    theirs, ours = (np.array([m.points3D[number].xyz for number in sorted(m.points3D)]) for m in (model, own))
    options = pycolmap.RANSACOptions(random_seed=0)
    options.max_error = INLIER * float(np.median(np.linalg.norm(theirs - np.median(theirs, axis=0), axis=1)))
    found = pycolmap.estimate_sim3d_robust(ours, theirs, options)
    if found is None:
        return None
    own.transform(found["tgt_from_src"])
    lenses = typical(model, own)
    for number in set(own.images) - set(seeing):
        image = model.images[number]
        own.images[number].frame.set_cam_from_world(number, image.cam_from_world())
        own.cameras[number].params = lenses[image.camera_id].params
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


def _separated(model: pycolmap.Reconstruction) -> pycolmap.Reconstruction:
    """The posed photos and the points of a model, each photo with a camera of its own; points in order of number."""
    result = pycolmap.Reconstruction()
    for image in (image for image in model.images.values() if image.has_pose):
        result.add_camera_with_trivial_rig(_copy(model.cameras[image.camera_id], image.image_id))
        pixels = np.array([point.xy for point in image.points2D]).reshape(-1, 2)
        copy = pycolmap.Image(name=image.name, camera_id=image.image_id, image_id=image.image_id, keypoints=pixels)
        result.add_image_with_trivial_frame(copy, image.cam_from_world())
    for _, point in sorted(model.points3D.items()):
        result.add_point3D(point.xyz, point.track, point.color)
    return result


def _copy(lens: pycolmap.Camera, number: int) -> pycolmap.Camera:
    return pycolmap.Camera(model=lens.model, width=lens.width, height=lens.height, params=lens.params, camera_id=number)
