"""The second stage: poses for a capture, imported where they came along, else found from the photos."""

import logging
from collections.abc import Callable
from pathlib import Path

from ..capture import Capture
from ..run import Run
from .imports import import_poses
from .reconstruction import Reconstruction, is_saved_from, load_reconstruction, save_posed
from .sfm import reconstruct
from .triangulate import MIN_POINTS, with_points

logger = logging.getLogger(__name__)


def find_poses(
    run: Run,
    capture: Capture,
    *,
    seed: int = 0,
    time_limit_s: float | None = None,
    on_progress: Callable[[float | None, str], None] | None = None,
) -> Reconstruction:
    """Poses, pinhole intrinsics and sparse points of the run's photos, saved under `poses/`.

    Poses that came along stay as they are; points are found in the photos if hardly any came with them.
    A run that has poses from the same photos and seed already keeps them.

    Args:
        seed: of the random choices in structure from motion.
        time_limit_s: after so many seconds nothing but the first attempt goes on; what was found counts.
        on_progress: called with the finished fraction of the current attempt and a message.

    Raises:
        PoseError: too few photos have a pose; the message says what was tried.
    """
    report = on_progress or (lambda fraction, message: None)
    masks = run.masks if any(frame.has_mask for frame in capture.frames) else None
    made_from = f"{capture.fingerprint} seed {seed}"
    if capture.fingerprint and is_saved_from(run, made_from):
        logger.info("%s has poses from the same photos already", run.folder)
        return load_reconstruction(run)
    if capture.known_poses is not None:
        posed = import_poses(Path(capture.known_poses), capture)
        if len(posed.points) < MIN_POINTS:
            posed = with_points(
                posed, run.images, capture, seed=seed, on_progress=report, time_limit_s=time_limit_s, masks=masks
            )
    else:
        posed = reconstruct(run.images, capture, seed=seed, on_progress=report, time_limit_s=time_limit_s, masks=masks)
    reconstruction = save_posed(posed, run, made_from=made_from, on_progress=report)
    report(1.0, f"{len(reconstruction.names)} of {len(capture.frames)} photos have a pose")
    for name, reason in reconstruction.missing.items():
        logger.warning("no pose for %s: %s", name, reason)
    return reconstruction
