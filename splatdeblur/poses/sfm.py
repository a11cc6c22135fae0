"""Structure from motion through pycolmap: features, matches, mapping; up the ladder until every photo has a pose."""

import logging
import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillRunning
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TypeVar

import numpy as np
import pycolmap

from ..capture import Capture
from ..errors import PoseError
from .attempts import LADDER, Attempt, Features, Mapping
from .lenses import largest_shift_px
from .reconstruction import Posed, posed_from_colmap

logger = logging.getLogger(__name__)

T = TypeVar("T")
Progress = Callable[[float | None, str], None]

MIN_PHOTOS = 3
MIN_FRACTION = 0.25
MAX_EXHAUSTIVE = 200  # photos; above, and for videos, neighbours in time are matched
MAX_DISAGREEMENT = 0.03  # of the cameras' extent, between two models of the same photos
MIN_PHOTOS_FOR_LENS = 10
FULL_FRAME_DIAGONAL_MM = math.hypot(36, 24)


class OutOfTime(Exception):
    """The time limit came before this step was through."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one attempt gave.

    Attributes:
        model: its largest model; None if there is none.
        others: names of photos registered in its smaller models.
        error_px: the mean reprojection error.
    """

    attempt: Attempt
    model: pycolmap.Reconstruction | None
    others: frozenset[str]
    seconds: float

    @property
    def centers(self) -> dict[str, np.ndarray]:
        """Camera centres by photo name."""
        images = () if self.model is None else self.model.images.values()
        return {i.name: i.projection_center() for i in images if i.has_pose}

    @property
    def error_px(self) -> float:
        return math.inf if self.model is None else self.model.compute_mean_reprojection_error()

    def sentence(self, total: int) -> str:
        error = "" if self.model is None else f", mean error {self.error_px:.2f} px"
        return f"{self.attempt.name}: {len(self.centers)} of {total} photos{error}, {self.seconds:.0f} s ({self.attempt.reason})"


def reconstruct(
    photos: Path,
    capture: Capture,
    *,
    seed: int,
    on_progress: Progress,
    time_limit_s: float | None,
    ladder: tuple[Attempt, ...] = LADDER,
) -> Posed:
    """Poses from the photos alone.

    Raises:
        PoseError: too few photos fit together, even on the last rung.
    """
    names = [frame.name for frame in capture.frames]
    deadline = math.inf if time_limit_s is None else time.monotonic() + time_limit_s
    outcomes: list[Outcome] = []
    sentences: list[str] = []
    best: Outcome | None = None
    with tempfile.TemporaryDirectory(prefix="splatdeblur-") as scratch, _quiet_colmap():
        bench = _Bench(Path(scratch), photos, capture, seed, on_progress, deadline)
        for attempt in ladder:
            fraction = 0.0 if best is None else len(best.centers) / len(names)
            if fraction >= attempt.below:
                continue
            try:
                outcome = bench.run(attempt, best)
            except OutOfTime:
                sentences.append(f"{attempt.name}: stopped by the time limit")
                break
            outcomes.append(outcome)
            sentences.append(outcome.sentence(len(names)))
            best, remark = _better(best, outcome)
            if remark:
                sentences[-1] += f"; {remark}"
            logger.info(sentences[-1])
    if best is None or best.model is None or len(best.centers) < max(MIN_PHOTOS, MIN_FRACTION * len(names)):
        raise PoseError(_too_few(0 if best is None else len(best.centers), len(names), sentences))
    return replace(
        _posed(best.model, names),
        missing={n: _reason(n, best, outcomes) for n in names if n not in best.centers},
        reprojection_px=best.error_px,
        attempts=tuple(sentences),
    )


def _too_few(registered: int, total: int, sentences: list[str]) -> str:
    return (
        f"registered {registered} of {total} photos; need {max(MIN_PHOTOS, math.ceil(MIN_FRACTION * total))}. "
        f"Tried {'; '.join(sentences) or 'nothing'}. The photos must show the same place, neighbours sharing more "
        "than half of what they see, from positions that differ; add photos between them, leave out the most "
        "blurred ones, or supply poses in a transforms.json"
    )


def _reason(name: str, best: Outcome, outcomes: list[Outcome]) -> str:
    if name in best.others:
        return "it fits with some other photos, but that group does not connect with the largest one"
    elsewhere = [o.attempt.name for o in outcomes if o is not best and name in o.centers]
    if elsewhere:
        return f"registered by the attempt {' and '.join(elsewhere)} only, whose model was not taken"
    return "too few matches with the registered photos: too blurred, too plain, or too far from their views"


def _posed(model: pycolmap.Reconstruction, names: list[str]) -> Posed:
    """The model's poses in the capture's order; a distortion that moves nothing by a third of a pixel is dropped."""
    posed = posed_from_colmap(model)
    rows = [posed.names.index(n) for n in names if n in posed.names]
    lenses = [posed.lenses[row] for row in rows]
    for lens in {id(x): x for x in lenses}.values():
        if largest_shift_px(lens) < 1 / 3:
            params = np.array(lens.params)
            params[lens.extra_params_idxs()] = 0
            lens.params = params
    return replace(
        posed, names=tuple(posed.names[row] for row in rows), viewmats=posed.viewmats[rows], lenses=tuple(lenses)
    )


def disagreement(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> float | None:
    """Median distance between the same cameras of two models after a similarity, as a fraction of their extent;
    None if they share fewer than four, which any similarity nearly fits."""
    common = sorted(ours.keys() & theirs.keys())
    if len(common) < 4:
        return None
    a, b = (np.array([centers[n] for n in common]) for centers in (ours, theirs))
    estimate = pycolmap.estimate_sim3d(a, b)
    if estimate is None:
        return None
    aligned = np.array([estimate * point for point in a])
    return float(np.median(np.linalg.norm(aligned - b, axis=1)) / np.linalg.norm(np.ptp(b, axis=0)))


def _better(best: Outcome | None, new: Outcome) -> tuple[Outcome, str]:
    """The outcome to go on with, and a remark where that needs one.

    More photos win, for the same number the smaller error. But a rung further up trades exactness for photos: where
    it contradicts a model that holds most of them, the earlier one stays.
    """
    if best is None or best.model is None:
        return new, ""
    if new.model is None or len(new.centers) < len(best.centers):
        return best, f"kept {best.attempt.name}"
    if len(new.centers) == len(best.centers):
        return (new, "") if new.error_px < best.error_px else (best, f"kept {best.attempt.name}")
    apart = disagreement(best.centers, new.centers)
    is_trusted = len(best.centers) >= 0.5 * len(new.centers) and len(best.centers) >= 8
    if apart is not None and apart > MAX_DISAGREEMENT and is_trusted:
        return best, f"kept {best.attempt.name}, whose cameras it places {100 * apart:.0f} % of their extent elsewhere"
    return new, ""


def initial_focal_px(capture: Capture) -> float | None:
    """The focal length that most photos' EXIF tells, in px; None where EXIF is silent."""
    known = Counter(f.focal_35mm for f in capture.frames if f.focal_35mm)
    if not known:
        return None
    return known.most_common(1)[0][0] / FULL_FRAME_DIAGONAL_MM * math.hypot(capture.width, capture.height)


def pairs_to_match(capture: Capture) -> list[tuple[str, str]]:
    """Which photos are compared: all with all; in videos and large captures, neighbours near and, rarer, far."""
    names = [f.name for f in capture.frames]
    is_video = all(f.time_s is not None for f in capture.frames)
    if len(names) <= (60 if is_video else MAX_EXHAUSTIVE):
        return list(combinations(names, 2))
    near, far = 10, {2**k for k in range(4, 12)}
    steps = sorted({*range(1, near + 1), *far})
    pairs = [(names[i], names[i + s]) for i in range(len(names)) for s in steps if i + s < len(names)]
    # Every tenth photo with every tenth: closes the loop where a walk comes back to where it began.
    return list(dict.fromkeys([*pairs, *combinations(names[::10], 2)]))


def in_blocks(pairs: list[tuple[str, str]], photos: int = 24) -> list[list[tuple[str, str]]]:
    """The same pairs in groups that touch at most twice `photos` photos each.

    COLMAP builds a search index for every photo that a call touches, which costs as much as several pairs.
    """
    order = {name: index // photos for index, name in enumerate(dict.fromkeys(n for pair in pairs for n in pair))}
    blocks: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for a, b in pairs:
        blocks.setdefault((order[a], order[b]), []).append((a, b))
    return list(blocks.values())


@contextmanager
def _quiet_colmap() -> Iterator[None]:
    """COLMAP logs every step to stderr; progress and errors reach us otherwise."""
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = int(pycolmap.logging.Level.ERROR)
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before


def _knows_lens(best: Outcome | None) -> bool:
    """Whether an earlier attempt has enough photos to tell the distortion; sharp features tell it best, and later
    attempts, on features that blur moved, would bend the lens to fit them."""
    return best is not None and len(best.centers) >= MIN_PHOTOS_FOR_LENS


@dataclass(eq=False)
class _Bench:
    """One capture's scratch folder: a database per kind of features, shared by the attempts that use it."""

    scratch: Path
    photos: Path
    capture: Capture
    seed: int
    on_progress: Progress
    deadline: float

    def run(self, attempt: Attempt, best: Outcome | None) -> Outcome:
        """Everything for one rung.

        Raises:
            OutOfTime: the deadline passed first.
        """
        started = time.monotonic()

        def report(fraction: float, what: str) -> None:
            self.on_progress(fraction, f"poses, {attempt.name}: {what}")

        database = self._database(attempt.features)
        if not database.exists():
            partial = database.with_suffix(".partial")
            self._extract(partial, attempt.features, best, report)
            self._match(partial, attempt.features, report)
            partial.rename(database)
        start = None
        if attempt.continues and best is not None and best.attempt.features == attempt.features:
            start = best.model
        options = _pipeline_options(attempt.mapping, self.seed)
        if _knows_lens(best):
            options.ba_refine_extra_params = options.mapper.abs_pose_refine_extra_params = False
        models = self._map(database, options, start, report)
        if not models:
            return Outcome(attempt, None, frozenset(), time.monotonic() - started)
        others = {i.name for m in models[1:] for i in m.images.values() if i.has_pose}
        return Outcome(attempt, models[0], frozenset(others), time.monotonic() - started)

    def _database(self, features: Features) -> Path:
        return self.scratch / f"features-{abs(hash(features))}.db"

    def _interruptibly(self, work: Callable[[pycolmap.CancellationToken], T]) -> T:
        """Runs `work` in a thread, so that Ctrl-C and the deadline reach it while COLMAP computes."""
        token = pycolmap.CancellationToken()
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(work, token)
            try:
                while True:
                    try:
                        return future.result(timeout=0.2)
                    except StillRunning:
                        if future.done():
                            raise
                        if time.monotonic() > self.deadline:
                            token.cancel()
            except InterruptedError as error:
                raise OutOfTime from error
            finally:
                token.cancel()  # nothing to cancel after success; after Ctrl-C the pool waits for the thread to end

    def _extract(
        self, database: Path, features: Features, best: Outcome | None, report: Callable[[float, str], None]
    ) -> None:
        database.unlink(missing_ok=True)
        names = [f.name for f in self.capture.frames]
        reader = pycolmap.ImageReaderOptions()
        reader.camera_model = "SIMPLE_RADIAL"
        focal = initial_focal_px(self.capture)
        if _knows_lens(best):
            reader.camera_params = ",".join(map(str, next(iter(best.model.cameras.values())).params))
        elif focal is not None:
            reader.camera_params = f"{focal},{self.capture.width / 2},{self.capture.height / 2},0"
        # Entered in order first, so that ids do not depend on which thread finishes first.
        mode = pycolmap.CameraMode.SINGLE
        pycolmap.Database.open(database).close()
        pycolmap.import_images(database, self.photos, mode, names, reader)
        options = pycolmap.FeatureExtractionOptions()
        options.use_gpu = False
        options.max_image_size = features.max_photo_px
        options.sift.max_num_features = features.max_count
        options.sift.peak_threshold = features.peak_threshold
        options.sift.estimate_affine_shape = features.follows_shape
        options.sift.domain_size_pooling = features.follows_shape
        for done in range(0, len(names), 8):
            report(0.3 * done / len(names), f"features, photo {done + 1} of {len(names)}")
            some = names[done : done + 8]
            self._interruptibly(
                lambda token, some=some: pycolmap.extract_features(
                    database,
                    self.photos,
                    image_names=some,
                    camera_mode=mode,
                    reader_options=reader,
                    extraction_options=options,
                    device=pycolmap.Device.cpu,
                    cancellation_token=token,
                )
            )

    def _match(self, database: Path, features: Features, report: Callable[[float, str], None]) -> None:
        pairs = pairs_to_match(self.capture)
        options = pycolmap.FeatureMatchingOptions()
        options.use_gpu = False
        options.guided_matching = features.is_guided
        verification = pycolmap.TwoViewGeometryOptions()
        verification.ransac.random_seed = self.seed
        listed = pycolmap.ImportedPairingOptions()
        listed.match_list_path = self.scratch / "pairs.txt"
        done = 0
        for block in in_blocks(pairs):
            report(0.3 + 0.4 * done / len(pairs), f"matches, pair {done + 1} of {len(pairs)}")
            done += len(block)
            listed.match_list_path.write_text("".join(f"{a} {b}\n" for a, b in block))
            self._interruptibly(
                lambda token: pycolmap.match_image_pairs(
                    database,
                    options,
                    listed,
                    verification_options=verification,
                    device=pycolmap.Device.cpu,
                    cancellation_token=token,
                )
            )

    def _map(
        self,
        database: Path,
        options: pycolmap.IncrementalPipelineOptions,
        start: pycolmap.Reconstruction | None,
        report: Callable[[float, str], None],
    ) -> list[pycolmap.Reconstruction]:
        """Models, largest first."""
        total, joined = len(self.capture.frames), 2
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        begin = ""
        if start is not None:
            begin = folder / "start"
            begin.mkdir()
            start.write(begin)
            joined = start.num_reg_images()

        def one_more() -> None:
            nonlocal joined
            joined += 1
            report(0.7 + 0.3 * min(1.0, joined / total), f"placing photos, {min(joined, total)} of {total}")

        report(0.7, "looking for a pair to start from")
        models = self._interruptibly(
            lambda token: pycolmap.incremental_mapping(
                database,
                self.photos,
                folder,
                options,
                input_path=begin,
                next_image_callback=one_more,
                cancellation_token=token,
            )
        )
        return sorted(models.values(), key=lambda m: m.num_reg_images(), reverse=True)


def _pipeline_options(mapping: Mapping, seed: int) -> pycolmap.IncrementalPipelineOptions:
    options = pycolmap.IncrementalPipelineOptions()
    options.min_model_size = MIN_PHOTOS
    options.max_num_models = 5
    options.min_num_matches = mapping.min_matches
    options.random_seed = options.mapper.random_seed = options.triangulation.random_seed = seed
    options.mapper.init_max_error = mapping.init_max_error
    options.mapper.init_min_num_inliers = mapping.init_min_inliers
    options.mapper.init_max_reg_trials = mapping.max_trials
    options.mapper.max_reg_trials = mapping.max_trials
    options.mapper.abs_pose_max_error = mapping.pose_max_error
    options.mapper.abs_pose_min_num_inliers = mapping.pose_min_inliers
    options.mapper.abs_pose_min_inlier_ratio = mapping.pose_min_inlier_ratio
    options.mapper.filter_max_reproj_error = mapping.filter_max_error
    return options
