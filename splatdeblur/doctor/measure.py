"""The numbers that tell whether a capture will do, from small copies of its photos."""

import math
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from pathlib import Path

import pycolmap

from ..blur import BlurKind, assess_blur
from ..blur.movement import WIDTH_PX, movement
from ..capture import Capture, PrepareConfig, prepare
from ..capture.photos import Progress
from ..capture.pixels import read_photo, resize_photo
from ..geometry import linear_from_srgb
from ..poses.attempts import Features
from ..poses.bench import Bench, quiet_colmap
from ..run import Run

LOOK_PX = 640  # of the copies that are looked at: blur that does not show there does not matter to poses
MAX_BLUR_LOOKS = 40  # photos whose blur is assessed, evenly spaced
FEATURES = Features(max_photo_px=LOOK_PX, max_count=2000)
MAX_ALL_PAIRS = 40  # photos; of more, each is compared with REACH after it, and one in STRIDE with all of these
REACH, STRIDE = 4, 8
LINK = 15  # matches of one geometry that connect two photos; it is what the second rung for poses asks for


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        capture: the photos.
        blur: of the photos looked at: kind, and strength in parts of the photo's width.
        brightness: mean linear light of each photo.
        links: matches of one geometry between photos, by their numbers; pairs compared without success have 0.
        still_links: of the links, those that a turn on the spot, or a flat scene, explains as well.
        moves: how far the picture moved from each photo to the next, in parts of its width; NaN if it cannot be told.
    """

    capture: Capture
    blur: tuple[tuple[BlurKind, float], ...] = ()
    brightness: tuple[float, ...] = ()
    links: dict[tuple[int, int], int] = field(default_factory=dict)
    still_links: int = 0
    moves: tuple[float, ...] = ()


def measure(input: Path, on_progress: Progress | None = None) -> Measured:
    """Measures an input.

    Raises:
        CaptureError: it has no photos that can be used.
    """
    report = on_progress or (lambda fraction, message: None)
    with tempfile.TemporaryDirectory(prefix="splatdeblur-") as scratch:
        run = Run(Path(scratch) / "run")
        limits = replace(PrepareConfig(), max_size=LOOK_PX)
        capture = prepare(input, run, limits=limits, on_progress=report)
        step = max(1, math.ceil(len(capture.frames) / MAX_BLUR_LOOKS))
        blur, brightness, small = [], [], []
        for index, frame in enumerate(capture.frames):
            report(index / len(capture.frames), f"looking at photo {index + 1} of {len(capture.frames)}")
            photo = read_photo(run.images / frame.name)
            if index % step == 0:
                seen = assess_blur(photo)
                blur.append((seen.kind, seen.strength_px / photo.shape[1]))
            brightness.append(linear_from_srgb(photo).mean().item())
            small.append(resize_photo(photo, WIDTH_PX, max(16, WIDTH_PX * photo.shape[0] // photo.shape[1])).mean(-1))
        moves = tuple(movement(a, b) if a.shape == b.shape else math.nan for a, b in pairwise(small))
        links, still = _links(run, capture, report) if capture.known_poses is None else ({}, 0)
    return Measured(capture, tuple(blur), tuple(brightness), links, still, moves)


def _pairs(count: int) -> Iterator[tuple[int, int]]:
    if count <= MAX_ALL_PAIRS:
        yield from combinations(range(count), 2)
        return
    far = range(0, count, STRIDE)
    pairs = {(i, j) for i in range(count) for j in range(i + 1, min(i + REACH + 1, count))}
    yield from sorted(pairs | {(i, j) for i in far for j in far if i < j})


def _links(run: Run, capture: Capture, report: Progress) -> tuple[dict[tuple[int, int], int], int]:
    names = [frame.name for frame in capture.frames]
    pairs = list(_pairs(len(names)))
    still_kinds = {
        pycolmap.TwoViewGeometryConfiguration.PLANAR,
        pycolmap.TwoViewGeometryConfiguration.PANORAMIC,
        pycolmap.TwoViewGeometryConfiguration.PLANAR_OR_PANORAMIC,
    }
    masks = run.masks if run.masks.is_dir() else None
    with tempfile.TemporaryDirectory(dir=run.folder) as scratch, quiet_colmap():
        bench = Bench(Path(scratch), run.images, capture, 0, math.inf, masks)
        database = Path(scratch) / "features.db"
        bench.extract(database, FEATURES, names, None, report)
        bench.match(database, FEATURES, [(names[i], names[j]) for i, j in pairs], report)
        opened = pycolmap.Database.open(database)
        try:
            ids = {image.name: image.image_id for image in opened.read_all_images()}
            links, still = dict.fromkeys(pairs, 0), 0
            for i, j in pairs:
                with suppress(RuntimeError, ValueError):
                    geometry = opened.read_two_view_geometry(ids[names[i]], ids[names[j]])
                    links[i, j] = len(geometry.inlier_matches)
                    still += links[i, j] >= LINK and geometry.config in still_kinds
        finally:
            opened.close()
    return links, still
