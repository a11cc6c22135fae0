"""The first stage: an input of the user's becomes `images/` and `capture.json` of a run folder."""

import hashlib
import json
import logging
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from PIL import Image

from ..errors import CaptureError
from ..run import Run
from .capture import Capture, Frame
from .listing import Listing, list_photos
from .photos import (
    PHOTO_SUFFIXES,
    PhotoHeader,
    Progress,
    UnreadablePhoto,
    read_header,
    reduced_size,
    save_picture,
    store_photo,
)
from .video import VIDEO_SUFFIXES, read_video

logger = logging.getLogger(__name__)

MIN_PHOTOS = 3
MAX_ODD_FRACTION = 0.2  # photos of another size are left out below this fraction, and an error from it on
FORMAT_VERSION = 1


def prepare(
    input: Path,
    run: Run,
    *,
    downscale: float = 1.0,
    max_size: int = 1600,
    max_frames: int = 150,
    on_progress: Progress | None = None,
) -> Capture:
    """Copies the photos of `input` into the run, upright, 8-bit RGB, of one size; never writes to `input`.

    A run that was prepared from the same files already is returned as it is.

    Args:
        input: a folder of photos, a video, a `transforms.json` or its folder, a COLMAP folder with `images/`,
            or an LLFF folder with `poses_bounds.npy` and `images/`.
        downscale: kept for training, which reads the photos reduced by this factor.
        max_size: longer photos are reduced to this length in px; intrinsics of given poses are scaled along.
        max_frames: at most so many frames of a video, evenly spaced.
        on_progress: called with the finished fraction and a message.

    Raises:
        CaptureError: `input` has fewer than 3 usable photos of one size, or names files outside its folder.
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
    mark = _fingerprint(input, listing, (max_size, max_frames if is_video else None))
    if (same := _already_prepared(run, mark)) is not None:
        logger.info("%s was prepared from the same %d photos already", run.folder, len(same.frames))
        if same.downscale != downscale:
            same = replace(same, downscale=downscale)
            same.save(run.capture)
        return same
    _require_own_images(run, listing)
    with _fresh_images(run) as folder:
        if is_video:
            capture = _store_video(input, folder, max_size, max_frames, report)
        else:
            capture = _store_photos(input, listing, folder, max_size, report)
    capture = replace(capture, downscale=downscale, fingerprint=mark)
    capture.save(run.capture)
    for name, reason in capture.skipped.items():
        logger.warning("left out %s: %s", name, reason)
    if capture.held_out:
        logger.info("%d photos are set aside for testing by %s", capture.held_out, capture.known_poses)
    return capture


def _fingerprint(input: Path, listing: Listing, settings: tuple) -> str:
    files = [*listing.photos]
    if listing.known_poses is not None:
        files += (
            [listing.known_poses]
            if listing.known_poses.is_file()
            else sorted(listing.known_poses.glob("*.*"))
        )
    facts = [(str(f), s.st_size, s.st_mtime_ns) for f in files for s in [f.stat()]]
    raw = json.dumps([FORMAT_VERSION, str(input.resolve()), facts, settings, listing.skipped])
    return hashlib.sha256(raw.encode()).hexdigest()[:16]


def _already_prepared(run: Run, mark: str) -> Capture | None:
    if not run.capture.exists():
        return None
    try:
        capture = Capture.load(run.capture)
    except CaptureError:
        return None
    is_whole = all((run.images / frame.name).is_file() for frame in capture.frames)
    return capture if capture.fingerprint == mark and is_whole else None


def _require_own_images(run: Run, listing: Listing) -> None:
    """Makes sure that `images/`, which is replaced as a whole, holds nothing of the user's."""
    images = run.images.resolve()
    is_input = any(photo.resolve().is_relative_to(images) for photo in listing.photos)
    if is_input or (run.images.exists() and not run.capture.exists()):
        raise CaptureError(
            f"{run.images} holds files that this program did not put there; choose another folder for the run"
        )


@contextmanager
def _fresh_images(run: Run) -> Iterator[Path]:
    """A folder that becomes the run's `images/` at the end; on failure it vanishes, and `images/` stays."""
    run.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=run.folder, prefix=".images."))
    try:
        yield folder
        run.capture.unlink(
            missing_ok=True
        )  # from here until capture.json is written, the run counts as unprepared
        if run.images.exists():
            shutil.rmtree(run.images)
        folder.chmod(0o755)
        folder.rename(run.images)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unique_stems(photos: Iterable[Path], root: Path) -> list[str]:
    """A file name without suffix for each photo: its own if no other has the same, else its path with `_`."""
    paths = [p.relative_to(root) if p.is_relative_to(root) else p for p in photos]
    counts = Counter(p.stem.lower() for p in paths)
    stems, taken = [], set()
    for path in paths:
        stem = path.stem if counts[path.stem.lower()] == 1 else "_".join((*path.with_suffix("").parts,))
        stem = (
            re.sub(r"[^\w.()+-]+", "_", stem).lstrip(".") or "photo"
        )  # COLMAP's lists end a name at a space
        candidate, number = stem, 2
        while candidate.lower() in taken:  # such as a.jpg beside a.png
            candidate, number = f"{stem}_{number}", number + 1
        taken.add(candidate.lower())
        stems.append(candidate)
    return stems


def _read_headers(photos: tuple[Path, ...], skipped: dict[str, str]) -> dict[Path, PhotoHeader]:
    headers = {}
    for path in photos:
        try:
            headers[path] = read_header(path)
        except UnreadablePhoto as error:
            skipped[path.name] = str(error)
    return headers


def _leave_out_odd_sizes(headers: dict[Path, PhotoHeader], skipped: dict[str, str]) -> tuple[int, int]:
    """Takes photos of another size than most out of `headers`; returns the (width, height) of the others.

    Raises:
        CaptureError: they are too many to be an accident.
    """
    counts = Counter((h.width, h.height) for h in headers.values())
    (size, _), *others = counts.most_common()
    odd = [p for p, h in headers.items() if (h.width, h.height) != size]
    if len(odd) >= MAX_ODD_FRACTION * len(headers) and odd:
        groups = ", ".join(f"{n} of {w}x{h}" for (w, h), n in counts.most_common())
        names = ", ".join(p.name for p in odd[:10]) + (", ..." if len(odd) > 10 else "")
        raise CaptureError(
            f"the photos have {len(others) + 1} sizes: {groups}. All must have one size and orientation; "
            f"take out the smaller group ({names}), or resize it"
        )
    for path in odd:
        header = headers.pop(path)
        skipped[path.name] = (
            f"its size {header.width}x{header.height} differs from the others' {size[0]}x{size[1]}"
        )
    return size


def _require_enough(usable: int, input: Path, listing: Listing, skipped: dict[str, str]) -> None:
    if usable >= MIN_PHOTOS:
        return
    reasons = "; ".join(f"{name}: {reason}" for name, reason in list(skipped.items())[:5])
    found = f"{usable} usable photo{'' if usable == 1 else 's'}" if usable or skipped else "no photos"
    tail = f". Left out {len(skipped)}: {reasons}" if skipped else ""
    raise CaptureError(
        f"{input} has {found}, need at least {MIN_PHOTOS} of the same place from different positions "
        f"({', '.join(sorted(PHOTO_SUFFIXES))}){tail}"
    )


def _store_photos(input: Path, listing: Listing, folder: Path, max_size: int, report: Progress) -> Capture:
    skipped = dict(listing.skipped)
    report(0.0, "looking at the photos")
    headers = _read_headers(listing.photos, skipped)
    _require_enough(len(headers), input, listing, skipped)
    width, height = reduced_size(*_leave_out_odd_sizes(headers, skipped), max_size)
    root = (input if input.is_dir() else input.parent).resolve()
    stems = dict(zip(headers, _unique_stems((p.resolve() for p in headers), root), strict=True))
    frames = []
    for done, (path, header) in enumerate(headers.items()):
        report(done / len(headers), f"photo {done + 1} of {len(headers)}")
        try:
            name = store_photo(path, header, (width, height), folder, stems[path])
        except UnreadablePhoto as error:
            skipped[path.name] = str(error)
            continue
        facts = {"exposure_s": header.exposure_s, "iso": header.iso, "focal_35mm": header.focal_35mm}
        frames.append(Frame(name=name, source=str(path), **facts))
    _require_enough(len(frames), input, listing, skipped)
    report(1.0, f"{len(frames)} photos")
    poses = None if listing.known_poses is None else str(listing.known_poses.resolve())
    return Capture(tuple(frames), width, height, skipped, known_poses=poses, held_out=listing.held_out)


def _store_video(input: Path, folder: Path, max_size: int, max_frames: int, report: Progress) -> Capture:
    frames, size = [], (0, 0)
    for fraction, time_s, image in read_video(input, max_frames=max_frames):
        report(fraction, f"frame {len(frames) + 1}")
        if not frames:
            size = reduced_size(*image.size, max_size)
        # The video's own compression took more than this JPEG takes.
        name = f"{len(frames):05d}.jpg"
        save_picture(
            image if image.size == size else image.resize(size, Image.Resampling.LANCZOS), folder / name
        )
        frames.append(Frame(name=name, source=f"{input} at {time_s:.2f} s", time_s=time_s))
    _require_enough(len(frames), input, Listing(()), {})
    report(1.0, f"{len(frames)} frames")
    return Capture(tuple(frames), *size, skipped={})
