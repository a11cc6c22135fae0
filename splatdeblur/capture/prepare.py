"""The first stage: an input of the user's becomes `images/` and `capture.json` of a run folder."""

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from ..errors import CaptureError
from ..run import Run
from .capture import MIN_PHOTOS, Capture
from .listing import Listing, list_photos
from .photos import PHOTO_SUFFIXES, Progress
from .store import PrepareConfig, store_photos, store_video
from .video import VIDEO_SUFFIXES

logger = logging.getLogger(__name__)

FORMAT_VERSION = 2


def prepare(
    input: Path,
    run: Run,
    *,
    downscale: float = 1.0,
    limits: PrepareConfig = PrepareConfig(),
    on_progress: Progress | None = None,
) -> Capture:
    """Copies the photos of `input` into the run, upright, 8-bit sRGB; never writes to `input`.

    A run that was prepared from the same files already is returned as it is.

    Args:
        input: a folder of photos, a video, a `transforms.json` or its folder, a COLMAP folder with `images/`,
            or an LLFF folder with `poses_bounds.npy` and `images/`.
        downscale: kept for training, which reads the photos reduced by this factor.
        limits: how much of it is taken; intrinsics of given poses are scaled along with photos.
        on_progress: called with the finished fraction and a message.

    Raises:
        CaptureError: `input` has fewer than 3 usable photos, or names files outside its folder, or the run's folder
            cannot be written.
    """
    report = on_progress or (lambda fraction, message: None)
    if not input.exists():
        raise CaptureError(f"{input} does not exist; give a folder of photos or a video")
    if run.folder.exists() and not run.folder.is_dir():
        raise CaptureError(f"{run.folder} is a file; --out needs a folder, new or of an earlier run")
    is_video = input.is_file() and input.suffix.lower() in VIDEO_SUFFIXES
    if input.is_file() and not is_video and input.suffix.lower() != ".json":
        raise CaptureError(
            f"{input} is a single file; need a folder with at least {MIN_PHOTOS} photos "
            f"({', '.join(sorted(PHOTO_SUFFIXES))}) or a video ({', '.join(sorted(VIDEO_SUFFIXES))})"
        )
    listing = Listing((input,)) if is_video else list_photos(input)
    fingerprint = _fingerprint(input, listing, (limits.max_size, limits.max_frames if is_video else limits.max_photos))
    if (same := _already_prepared(run, fingerprint)) is not None:
        logger.info("%s was prepared from the same %d photos already", run.folder, len(same.frames))
        if same.downscale != downscale:
            same = replace(same, downscale=downscale)
            same.save(run.capture)
        return same
    _require_own_images(run, listing)
    with _draft(run) as draft:
        if is_video:
            capture = store_video(input, draft, limits, report)
        else:
            capture = store_photos(input, listing, draft, limits, report)
    capture = replace(capture, downscale=downscale, fingerprint=fingerprint)
    capture.save(run.capture)
    for name, reason in capture.skipped.items():
        logger.warning("left out %s: %s", name, reason)
    for note in capture.notes:
        logger.info(note)
    if capture.held_out:
        logger.info("%d photos are set aside for testing by %s", capture.held_out, capture.known_poses)
    return capture


def _fingerprint(input: Path, listing: Listing, settings: tuple) -> str:
    files = [*listing.photos, *listing.masks.values()]
    if listing.known_poses is not None:
        files += [listing.known_poses] if listing.known_poses.is_file() else sorted(listing.known_poses.glob("*.*"))
    facts = [(str(f), s.st_size, s.st_mtime_ns) for f in files for s in [f.stat()]]
    raw = json.dumps([FORMAT_VERSION, str(input.resolve()), facts, settings, listing.skipped, listing.notes])
    return hashlib.sha256(raw.encode()).hexdigest()[:16]


def _already_prepared(run: Run, fingerprint: str) -> Capture | None:
    if not run.capture.exists():
        return None
    try:
        capture = Capture.load(run.capture)
    except CaptureError:
        return None
    is_whole = all((run.images / frame.name).is_file() for frame in capture.frames)
    return capture if capture.fingerprint == fingerprint and is_whole else None


def _require_own_images(run: Run, listing: Listing) -> None:
    """Makes sure that `images/` and `masks/`, which are replaced as a whole, hold nothing of the user's."""
    read = (*listing.photos, *listing.masks.values())
    made_masks = False
    if run.capture.exists():
        with suppress(CaptureError):
            made_masks = any(frame.has_mask for frame in Capture.load(run.capture).frames)
    for folder, is_ours in ((run.images, run.capture.exists()), (run.masks, made_masks)):
        is_input = any(path.resolve().is_relative_to(folder.resolve()) for path in read)
        if is_input or (folder.exists() and not is_ours):
            raise CaptureError(
                f"{folder} holds files that this program did not put there; choose another folder for the run"
            )


@contextmanager
def _draft(run: Run) -> Iterator[Run]:
    """A run whose files become those of `run` at the end; on failure it vanishes, and what was there stays."""
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        draft = Run(Path(tempfile.mkdtemp(dir=run.folder, prefix=".prepare.")))
    except OSError as error:
        raise CaptureError(
            f"{run.folder} cannot be written ({error.strerror or error}); give --out a folder that can be"
        ) from error
    try:
        draft.images.mkdir()
        yield draft
        run.capture.unlink(missing_ok=True)  # from here until capture.json is written, the run counts as unprepared
        for made, place in ((draft.images, run.images), (draft.masks, run.masks)):
            if place.exists():
                shutil.rmtree(place)
            if made.exists():
                made.rename(place)
        run.contact_sheet.unlink(missing_ok=True)  # of another input
        if draft.contact_sheet.exists():
            draft.contact_sheet.rename(run.contact_sheet)
    finally:
        shutil.rmtree(draft.folder, ignore_errors=True)
