"""Photos or a video into the folders of a run that is being prepared: `images/`, and `masks/` where there are any."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from ..blur import FrameSurvey
from ..errors import CaptureError
from ..run import Run
from .capture import MIN_PHOTOS, Capture, Frame
from .listing import Listing
from .masks import decode_mask
from .names import shown, unique_stems
from .photos import (
    PHOTO_SUFFIXES,
    PhotoHeader,
    Progress,
    UnreadablePhoto,
    fitted_size,
    read_header,
    save_picture,
    store_photo,
)
from .video import read_video

MAX_NOTES = 20  # of one kind; more help nobody
MOST_MOVE = 0.5  # of the picture's width between neighbours that are to be matched


@dataclass(frozen=True)
class PrepareConfig:
    """Photos and videos in.

    Attributes:
        max_size: longer photos are reduced to this many px; poses are found at this size.
        max_frames: at most so many frames of a video, the sharpest of as many stretches of movement.
        max_photos: at most so many photos of a folder, evenly spaced in their order.
    """

    max_size: int = 1600
    max_frames: int = 150
    max_photos: int = 300


def require_enough(usable: int, input: Path, skipped: dict[str, str]) -> None:
    """Raises a CaptureError with the reasons if there are too few photos."""
    if usable >= MIN_PHOTOS:
        return
    reasons = "; ".join(f"{name}: {reason}" for name, reason in list(skipped.items())[:5])
    found = f"{usable} usable photo{'' if usable == 1 else 's'}" if usable or skipped else "no photos"
    tail = f". Left out {len(skipped)}: {reasons}" if skipped else ""
    raise CaptureError(
        f"{input} has {found}, need at least {MIN_PHOTOS} of the same place from different positions "
        f"({', '.join(sorted(PHOTO_SUFFIXES))}){tail}"
    )


def evenly(photos: tuple[Path, ...], most: int) -> tuple[Path, ...]:
    """At most `most` of them, first and last among them, evenly spaced in order."""
    if len(photos) <= most:
        return photos
    return tuple(photos[round(i * (len(photos) - 1) / (most - 1))] for i in range(most))


def _read_headers(photos: tuple[Path, ...], skipped: dict[str, str]) -> dict[Path, PhotoHeader]:
    headers = {}
    for path in photos:
        try:
            headers[path] = read_header(path)
        except UnreadablePhoto as error:
            skipped[shown(path.name)] = shown(str(error))
    return headers


def _mask(
    listing: Listing, photo: Path, size: tuple[int, int], header: PhotoHeader, trouble: list[str]
) -> Image.Image | None:
    """The mask of a photo; None, and a sentence in `trouble`, if it cannot be used.

    Raises:
        UnreadablePhoto: nothing of the photo counts.
    """
    if photo not in listing.masks:
        return None
    try:
        keep = decode_mask(listing.masks[photo], size, header.exif.orientation)
    except UnreadablePhoto as error:
        trouble.append(f"{shown(str(error))}; all of the photo is used")
        return None
    if not keep.getbbox():
        raise UnreadablePhoto("its mask leaves nothing of it")
    return keep


def store_photos(input: Path, listing: Listing, draft: Run, limits: PrepareConfig, report: Progress) -> Capture:
    """Photos and masks, one at a time, each at its own size.

    Raises:
        CaptureError: fewer than 3 can be used.
    """
    skipped = dict(listing.skipped)
    report(0.0, "looking at the photos")
    headers = _read_headers(evenly(listing.photos, limits.max_photos), skipped)
    root = (input if input.is_dir() else input.parent).resolve()
    stems = dict(zip(headers, unique_stems((p.parent.resolve() / p.name for p in headers), root), strict=True))
    frames, dates, mask_trouble = [], [], []
    remarks: dict[str, list[str]] = {}
    for done, (path, header) in enumerate(headers.items()):
        report(done / len(headers), f"photo {done + 1} of {len(headers)}")
        size = fitted_size(header.width, header.height, limits.max_size)
        try:
            keep = _mask(listing, path, size, header, mask_trouble)
            name = store_photo(path, header, size, draft.images, stems[path])
        except UnreadablePhoto as error:
            skipped[shown(path.name)] = shown(str(error))
            continue
        if keep is not None:
            draft.masks.mkdir(exist_ok=True)
            keep.save(draft.masks / f"{name}.png", "PNG")
        if header.note:
            remarks.setdefault(header.note, []).append(shown(path.name))
        dates.append(header.exif.taken_s)
        exif = {"exposure_s": header.exif.exposure_s, "iso": header.exif.iso, "focal_35mm": header.exif.focal_35mm}
        frames.append(Frame(name=name, source=str(path), has_mask=keep is not None, size=size, **exif))
    require_enough(len(frames), input, skipped)
    report(1.0, f"{len(frames)} photos")
    usual = Counter(frame.size for frame in frames).most_common(1)[0][0]
    return Capture(
        tuple(replace(f, size=None if f.size == usual else f.size) for f in _dated(frames, dates)),
        *usual,
        skipped,
        known_poses=None if listing.known_poses is None else str(listing.known_poses.resolve()),
        held_out=listing.held_out,
        notes=(*listing.notes, *_notes(frames, len(listing.photos), limits, remarks), *mask_trouble[:MAX_NOTES]),
    )


def _notes(frames: list[Frame], listed: int, limits: PrepareConfig, remarks: dict[str, list[str]]) -> Iterator[str]:
    """What there is to tell of photos as a whole; `remarks` are those on single ones, with their names."""
    if listed > limits.max_photos:
        yield (
            f"{listed} photos: {limits.max_photos} of them are used, evenly spaced in order, which bounds memory and "
            "time; --set prepare.max_photos=N takes more"
        )
    sizes = Counter(frame.size for frame in frames).most_common()
    if len(sizes) > 1:
        groups = ", ".join(f"{n} of {w}x{h}" for (w, h), n in sizes[:MAX_NOTES])
        yield f"the photos have {len(sizes)} sizes ({groups}): each size has a camera of its own"
    if any(frame.has_mask for frame in frames):
        yield f"{sum(f.has_mask for f in frames)} of {len(frames)} photos have a mask; black pixels are ignored"
    for remark, names in remarks.items():
        yield f"{names[0] if len(names) == 1 else f'{len(names)} photos'}: {remark}"


def _dated(frames: list[Frame], dates: list[float | None]) -> list[Frame]:
    """The frames with their times and the gaps between them, as far as EXIF's dates tell photos apart."""
    known = {date for date in dates if date is not None}
    if len(known) < 2:
        return frames
    start = min(known)
    following = (*dates[1:], None)
    gaps = [b - a if a is not None and b is not None and b > a else None for a, b in zip(dates, following, strict=True)]
    return [
        replace(frame, time_s=None if date is None else round(date - start, 6), interval_s=gap and round(gap, 6))
        for frame, date, gap in zip(frames, dates, gaps, strict=True)
    ]


def store_video(input: Path, draft: Run, limits: PrepareConfig, report: Progress) -> Capture:
    """The sharpest frames of a video, one for each stretch of movement, and a page that shows the choice.

    Raises:
        CaptureError: it cannot be decoded, or holds fewer than 3 frames.
    """
    frames: list[Frame] = []
    notes: list[str] = []
    size = (0, 0)
    choice = _choose(input, draft, limits, notes, report)
    # The frames are decoded twice, since all of them in memory would be too much.
    for fraction, shot in read_video(input, max_frames=limits.max_frames, notes=[], wanted=set(choice)):
        report(0.7 + 0.3 * fraction, f"frame {len(frames) + 1}")
        image = shot.image
        if not frames:
            size = fitted_size(*image.size, limits.max_size)
        # The video's own compression took more than this JPEG takes.
        name = f"{len(frames):05d}.jpg"
        if image.size != size:
            image = image.resize(size, Image.Resampling.LANCZOS)
        save_picture(image, draft.images / name)
        source = f"{input} at {shot.time_s:.2f} s"
        gap = shot.interval_s and round(shot.interval_s, 6)
        frames.append(Frame(name, source, time_s=round(shot.time_s, 6), interval_s=gap))
    require_enough(len(frames), input, dict.fromkeys(notes, "as far as it could be decoded"))
    report(1.0, f"{len(frames)} frames")
    return Capture(tuple(frames), *size, skipped={}, is_video=True, notes=tuple(notes))


def _choose(input: Path, draft: Run, limits: PrepareConfig, notes: list[str], report: Progress) -> tuple[int, ...]:
    """Numbers of the frames to keep; writes the contact sheet."""
    survey = FrameSurvey()
    for fraction, shot in read_video(input, max_frames=limits.max_frames, notes=notes):
        report(0.7 * fraction, f"looking at frame {len(survey.times_s) + 1}")
        survey.add(shot.time_s, shot.image)
    choice = survey.choose(limits.max_frames)
    survey.contact_sheet(choice).save(draft.contact_sheet, "JPEG", quality=88)
    if choice.longest_gap > MOST_MOVE:
        notes.append(
            f"between two frames that are kept the picture moves by {choice.longest_gap:.0%} of its width: too little "
            "overlap to place them surely; move more slowly, or keep more with --set prepare.max_frames=N"
        )
    return choice.kept
