"""The last bundle adjustment of a model, deaf to features that blur moved.

COLMAP's own counts squares, so the few features that err by pixels outvote the many that err by tenths: on blurred
photos it bends cameras and stretches the focal length to please them.
"""

from collections.abc import Collection, Mapping

import numpy as np
import pyceres
import pycolmap
from jaxtyping import Float

from .lenses import largest_shift_px

Expected = Mapping[int, tuple[Float[np.ndarray, "parameter"], Float[np.ndarray, "parameter"]]]
"""Camera -> what its lens's parameters probably are, and the standard deviation of each."""

NOTICEABLE_PX = 1.0  # anywhere in the photo
LEAST_ERROR_PX = 0.05  # no feature is found better than that
MAX_ERROR = 8.0  # times what is usual; a feature that errs more shows something else
BEHIND_PX = 1e6  # stands for the error of a point that lies behind the camera
MIN_GAIN = 0.01  # of the logarithm of how likely an observation is, on average, for a lens to be called bent
MAX_ITERATIONS, LEAST_GAIN = 60, 1e-6  # of a bundle adjustment; the gain relative, from one iteration to the next


def adjusted(model: pycolmap.Reconstruction, without: Collection[str] = ()) -> pycolmap.Reconstruction:
    """The model with cameras, lenses and points where most of its features would have them (Cauchy loss).

    Lenses that hardly bend anything, or whose bend explains next to nothing, are straight afterwards, the rest having
    been adjusted to that. Features that err many times as far as is usual no longer count as seen.

    Args:
        without: names of photos that have no say, and stay where they are.
    """
    result = pycolmap.Reconstruction(model)
    _drop(result, BEHIND_PX / 2, {image.image_id for image in result.images.values() if image.name in without})
    if not len(errors := errors_px(result)[1]):
        return result
    solve(result, usual(errors))
    usual_px = usual(errors_px(result)[1])  # which no longer holds what the moved features did
    solve(result, usual_px)
    result = straight_unless_bent(result, usual_px)
    _drop(result, MAX_ERROR * usual_px)
    result.update_point_3d_errors()
    return result


def _drop(model: pycolmap.Reconstruction, larger_px: float, images: Collection[int] = ()) -> None:
    """Forgets observations with a larger error, and all of some images."""
    for (image, feature), error in zip(*errors_px(model), strict=True):
        is_unwanted = error > larger_px or image in images
        if is_unwanted and model.images[image].points2D[feature].has_point3D():
            model.delete_observation(image, feature)


def straight_unless_bent(
    model: pycolmap.Reconstruction, usual_px: float, expected: Expected | None = None
) -> pycolmap.Reconstruction:
    """The model itself, or adjusted to straight lenses where their bend is small or explains next to nothing."""
    straight = pycolmap.Reconstruction(model)
    for lens in straight.cameras.values():
        straighten(lens)
    solve(straight, usual_px, bends=False, expected=expected)
    gain = np.mean(surprise(errors_px(straight)[1], usual_px) - surprise(errors_px(model)[1], usual_px))
    return straight if gain < MIN_GAIN or not any(map(bends_noticeably, model.cameras.values())) else model


def solve(
    model: pycolmap.Reconstruction, usual_px: float, bends: bool = True, expected: Expected | None = None
) -> None:
    """One bundle adjustment, in place; lenses keep their bend unless it `bends` them, too.

    Args:
        expected: what is known of the lenses, whose principal points move then, too.
    """
    options = pycolmap.BundleAdjustmentOptions(print_summary=False, refine_extra_params=bends)
    options.refine_principal_point = expected is not None
    options.ceres.loss_function_type = pycolmap.LossFunctionType.CAUCHY
    options.ceres.loss_function_scale = usual_px
    options.ceres.solver_options.max_num_iterations = MAX_ITERATIONS
    options.ceres.solver_options.function_tolerance = LEAST_GAIN
    config = pycolmap.BundleAdjustmentConfig()
    for image in model.images.values():
        if image.has_pose and image.num_points3D:
            config.add_image(image.image_id)
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    # `pycolmap.bundle_adjustment`, which would do all this, turns COLMAP's log on for good.
    adjuster = pycolmap.create_default_ceres_bundle_adjuster(options, config, model)
    problem, priors = adjuster.problem, []  # which must live until all is solved
    for camera, (params, deviations) in (expected or {}).items():
        # The adjustment counts in thirds of `usual_px` squared what `surprise` counts in ones.
        priors.append(pyceres.factors.NormalPrior(params, np.diag(deviations**2 * 3 / usual_px**2)))
        problem.add_residual_block(priors[-1], None, [model.cameras[camera].params])
    adjuster.solve()


def bends_noticeably(lens: pycolmap.Camera) -> bool:
    """Whether straight lines are so bent in its photos that resampling them is worth its price."""
    return largest_shift_px(lens) >= NOTICEABLE_PX


def straighten(lens: pycolmap.Camera) -> None:
    """Takes the bend out of a lens."""
    params = np.array(lens.params)
    params[lens.extra_params_idxs()] = 0
    lens.params = params


def surprise(errors_px: Float[np.ndarray, "observation"], usual_px: float) -> Float[np.ndarray, "observation"]:
    """Negative logarithm of how likely such errors are, but for a constant: Cauchy's in the plane."""
    return 1.5 * np.log1p((errors_px / usual_px) ** 2)


def usual(errors_px: Float[np.ndarray, "observation"]) -> float:
    return max(float(np.median(errors_px)), LEAST_ERROR_PX)


def errors_px(
    model: pycolmap.Reconstruction,
) -> tuple[list[tuple[int, int]], Float[np.ndarray, "observation"]]:
    """Image and index of the feature, and reprojection error, of every observation; `BEHIND_PX` for points behind the
    camera."""
    observations, errors = [], [np.zeros(0)]
    for image in model.images.values():
        indices = image.get_observation_point2D_idxs() if image.has_pose else []
        if not indices:
            continue
        seen = image.get_observation_points2D()
        local = image.cam_from_world() * np.array([model.points3D[p.point3D_id].xyz for p in seen])
        found = model.cameras[image.camera_id].img_from_cam(local)
        off = np.linalg.norm(found - np.array([p.xy for p in seen]), axis=1)
        errors.append(np.where((local[:, 2] > 0) & np.isfinite(off), off, BEHIND_PX))
        observations += [(image.image_id, index) for index in indices]
    return observations, np.concatenate(errors)
