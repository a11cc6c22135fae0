"""Sparse points for poses that came along without any: found in the photos, while poses and lenses stay.

Points tell training where surfaces are; starting from random ones costs it sharpness.
"""

import logging
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pycolmap
import torch
from jaxtyping import Float
from torch import Tensor

from ..capture import Capture
from ..geometry import inverse
from .attempts import LADDER, Features, Mapping
from .bench import Bench, OutOfTime, Pairs, Report, mapping_options, pairs_to_match, posed_model, quiet_colmap
from .reconstruction import Posed, posed_from_colmap

logger = logging.getLogger(__name__)

MIN_POINTS = 100  # fewer say too little about the scene
MAX_ERROR_PX = 4.0
MIN_ANGLE_DEG = 1.5
MIN_TRACK = 3  # photos: of points that only two see, which no third confirms, half are mismatches
MAX_PHOTOS_ALL_PAIRS = 20  # above, the poses tell which pairs are worth their time
PARTNERS = 12  # photos that each photo is compared with then

# Guided: along the epipolar lines a match needs less to stand out, which doubles the number of points. Its time
# grows with the square of the number of features.
KINDS: tuple[tuple[str, Features], ...] = (
    ("plain features", Features(max_photo_px=800, max_count=4096, is_guided=True)),
    ("features that follow the smear", next(a.features for a in LADDER if a.features.follows_shape)),
)
"""What is tried in order until there are enough points, each with its name."""


@dataclass(frozen=True, eq=False)
class Found:
    """Points that one kind of features gave.

    Attributes:
        error_px: mean reprojection error.
        track: mean number of photos that see a point.
    """

    kind: str
    model: pycolmap.Reconstruction
    error_px: float
    track: float

    def __len__(self) -> int:
        return self.model.num_points3D()


def with_points(
    posed: Posed,
    photos: Path,
    capture: Capture,
    *,
    seed: int,
    on_progress: Callable[[float | None, str], None],
    time_limit_s: float | None,
    masks: Path | None = None,
) -> Posed:
    """The same poses and lenses, with the points that could be triangulated added to those there are.

    Photos that give no points are no error: the log says so, and so does the last of `attempts`.

    Args:
        photos: the folder of the capture's photos.
        time_limit_s: after so many seconds, what was matched until then counts.
        masks: folder of NAME.png for photo NAME, black where nothing of the photo may be used.
    """
    started = time.monotonic()
    deadline = math.inf if time_limit_s is None else started + time_limit_s
    best, trouble = None, ""
    with tempfile.TemporaryDirectory(prefix="splatdeblur-") as scratch, quiet_colmap():
        bench = Bench(Path(scratch), photos, capture, seed, deadline, masks)
        for kind, features in KINDS:

            def report(fraction: float, what: str, kind: str = kind) -> None:
                on_progress(min(fraction / 0.7, 1.0), f"points, {kind}: {what}")

            try:
                found = _triangulate(bench, posed, kind, features, report)
            except OutOfTime:
                trouble = "stopped by the time limit"
                break
            except (RuntimeError, ValueError, IndexError) as error:
                trouble = f"COLMAP failed ({error})"
                continue
            best = found if best is None or len(found) > len(best) else best
            if len(best) >= MIN_POINTS:
                break
    seconds = time.monotonic() - started
    if best is None or len(best) == 0:
        why = trouble or "the photos are too plain, too blurred or too far apart to match"
        sentence = f"no points could be triangulated for these poses: {why}, {seconds:.0f} s"
        logger.warning(sentence)
        return replace(posed, attempts=(*posed.attempts, sentence))
    sentence = (
        f"triangulated {len(best)} points for these poses by {best.kind}: mean error {best.error_px:.2f} px, "
        f"seen in {best.track:.1f} photos on average, {seconds:.0f} s"
    )
    logger.info(sentence)
    points = posed_from_colmap(best.model)
    return replace(
        posed,
        points=torch.cat([posed.points, points.points]),
        colors=torch.cat([posed.colors, points.colors]),
        reprojection_px=best.error_px,
        attempts=(*posed.attempts, sentence),
    )


def _triangulate(bench: Bench, posed: Posed, kind: str, features: Features, report: Report) -> Found:
    """Everything for one kind of features.

    Raises:
        OutOfTime: the deadline passed before there were any matches.
    """
    database = bench.scratch / f"points-{features.follows_shape}.db"
    bench.extract(database, features, posed.names, posed.lenses, report)
    try:
        bench.match(database, features, _pairs(bench.capture, posed), report)
    except OutOfTime:
        bench = replace(bench, deadline=math.inf)  # seconds, compared with what the matches so far have cost
    report(0.7, "triangulating")
    poses = [pycolmap.Rigid3d(viewmat[:3].double().numpy()) for viewmat in posed.viewmats]
    start = posed_model(
        database,
        dict(zip(posed.names, poses, strict=True)),
        dict(zip(posed.names, posed.lenses, strict=True)),
    )
    options = mapping_options(Mapping(filter_max_error=MAX_ERROR_PX), bench.seed)
    options.mapper.filter_min_tri_angle = options.triangulation.min_angle = MIN_ANGLE_DEG
    model = bench.triangulate(database, start, options)
    for point in [number for number, p in model.points3D.items() if p.track.length() < MIN_TRACK]:
        model.delete_point3D(point)
    if model.num_points3D() == 0:
        return Found(kind, model, 0.0, 0.0)
    return Found(kind, model, model.compute_mean_reprojection_error(), model.compute_mean_track_length())


def _pairs(capture: Capture, posed: Posed) -> Pairs:
    if len(posed.names) > MAX_PHOTOS_ALL_PAIRS:
        return near_pairs(posed.names, posed.viewmats)
    names = set(posed.names)
    return [pair for pair in pairs_to_match(capture) if names.issuperset(pair)]


def near_pairs(names: tuple[str, ...], viewmats: Float[Tensor, "camera 4 4"], most: int = PARTNERS) -> Pairs:
    """For every photo: pairs with `most` of the photos that look most alike from where they are.

    Of many photos, such as a video's, not the very next ones alone: points need rays at an angle.
    """
    centers, ahead = inverse(viewmats)[:, :3, 3], viewmats[:, 2, :3]
    spread = (centers - centers.mean(0)).norm(dim=-1).median().clamp(min=1e-12)
    apart = torch.cdist(centers, centers) / spread + (ahead @ ahead.mT).clamp(-1, 1).acos()
    apart.fill_diagonal_(math.inf)
    step = max(1, len(names) // (4 * most))
    partners = apart.argsort(dim=1, stable=True)[:, :-1][:, ::step][:, :most]
    found = {(min(i, j), max(i, j)) for i, row in enumerate(partners.tolist()) for j in row}
    return [(names[i], names[j]) for i, j in sorted(found)]
