"""Structure from motion: up the ladder until every photo has a pose, and which result to believe."""

import logging
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pycolmap
import torch

from ..capture import Capture
from ..errors import PoseError
from . import own_lenses
from .adjust import bends_noticeably, straighten
from .attempts import LADDER, Attempt, Features
from .bench import (
    MIN_PHOTOS,
    Bench,
    OutOfTime,
    Pairs,
    Report,
    mapping_options,
    pairs_to_match,
    quiet_colmap,
    relensed,
)
from .evidence import centers_of, evidence_in, extent_of, with_jumps
from .joining import join, matches_between
from .lens_groups import lenses_from
from .outcome import Outcome, better, guesses, judged, most_confirmed
from .reconstruction import Posed, posed_from_colmap
from .shortlist import coarse_matches, likely_pairs

logger = logging.getLogger(__name__)

MIN_FRACTION = 0.25
MIN_PHOTOS_FOR_LENS = 10
MIN_FIRM_TO_ADJUST = 8  # photos; fewer, often side by side, tell the lens worse than all with the wrong ones
MAX_PHOTOS_GUIDED = 40  # above, guided matching of all pairs takes longer than it is worth
MAX_PHOTOS_AGAIN = 60  # above, solving again takes too long
LIKELY_PARTNERS = 40  # of a photo among many
MIN_FRACTION_TO_JOIN = 0.5  # a model with fewer of the photos is not worth building on


def reconstruct(
    photos: Path,
    capture: Capture,
    *,
    seed: int,
    on_progress: Callable[[float | None, str], None],
    time_limit_s: float | None,
    ladder: tuple[Attempt, ...] = LADDER,
    masks: Path | None = None,
) -> Posed:
    """Poses from the photos alone.

    Args:
        masks: folder of NAME.png for photo NAME, black where nothing of the photo may be used.

    Raises:
        PoseError: too few photos fit together, even on the last rung.
    """
    names = [frame.name for frame in capture.frames]
    deadline = math.inf if time_limit_s is None else time.monotonic() + time_limit_s
    outcomes: list[Outcome] = []
    sentences: list[str] = []
    best: Outcome | None = None
    with tempfile.TemporaryDirectory(prefix="splatdeblur-") as scratch, quiet_colmap():
        bench = Bench(Path(scratch), photos, capture, seed, math.inf, masks)
        for attempt in (rung.fitted(len(names)) for rung in ladder):
            if best is not None:  # the time limit is on doing better, not on having anything
                bench = replace(bench, deadline=deadline)
            fraction = 0.0 if best is None else len(best.centers) / len(names)
            if fraction >= attempt.below or (attempt.again and (not outcomes or len(names) > MAX_PHOTOS_AGAIN)):
                continue

            def report(fraction: float, what: str, attempt: Attempt = attempt) -> None:
                on_progress(fraction, f"poses, {attempt.name}: {what}")

            try:
                if attempt.again:
                    new = _again(bench, attempt, outcomes[-1], report)
                else:
                    new = [_try(bench, attempt, best, report)]
                    best, remark = better(best, new[0])
            except OutOfTime:
                sentences.append(f"{attempt.name}: stopped by the time limit")
                break
            except (RuntimeError, ValueError, IndexError) as error:
                # COLMAP's own checks, in an attempt that others may make up for.
                sentences.append(f"{attempt.name}: COLMAP failed ({error})")
                logger.warning(sentences[-1])
                continue
            outcomes += new
            for outcome in new:
                sentences.append(outcome.sentence(len(names)))
                if not attempt.again and remark:
                    sentences[-1] += f"; {remark}"
                logger.info(sentences[-1])
    least = max(MIN_PHOTOS, math.ceil(MIN_FRACTION * len(names)))
    best = most_confirmed(best, outcomes, least)
    if best is None:
        most = max((len(outcome.centers) for outcome in outcomes), default=0)
        raise PoseError(_too_few(most, len(names), least, sentences))
    evidence = judged(best, outcomes)
    if capture.is_video:
        evidence = with_jumps(evidence, best.centers, names)
    doubted = {name for name, found in evidence.items() if found.doubt}
    if doubted and len(evidence) - len(doubted) >= MIN_FIRM_TO_ADJUST:
        try:
            best = replace(best, models=(bench.adjust(best.model, doubted), *best.models[1:]))
        except (RuntimeError, ValueError, IndexError) as error:
            logger.warning("the closing adjustment failed (%s); the poses stay as they were", error)
    for lens in best.model.cameras.values():
        if not bends_noticeably(lens):
            straighten(lens)
    own = _own_lenses(bench, best.model)
    if own is not None:
        sentences.append(own_lenses.sentence(best.model, own))
        logger.info(sentences[-1])
    return replace(
        _posed(best, own, capture),
        missing={n: _reason(n, best, outcomes) for n in names if n not in best.centers},
        reprojection_px=(own or best.model).compute_mean_reprojection_error(),
        attempts=tuple(sentences),
        evidence=evidence,
        guesses=guesses(best, outcomes),
    )


def _own_lenses(bench: Bench, model: pycolmap.Reconstruction) -> pycolmap.Reconstruction | None:
    """The model `with_own_lenses`, where they differ; not for videos, whose rows, read in turn, look like that."""
    if bench.capture.is_video:
        return None
    try:
        return bench.part_lenses(model)
    except (RuntimeError, ValueError, IndexError) as error:
        logger.warning("whether lenses differ could not be seen (%s); all photos of a camera share one", error)
        return None


def _too_few(registered: int, total: int, least: int, sentences: list[str]) -> str:
    return (
        f"registered {registered} of {total} photos; need {least}. Tried {'; '.join(sentences) or 'nothing'}. "
        "The photos must show the same place, neighbours sharing "
        "more than half of what they see, from positions that differ; add photos between them, leave out the "
        "most blurred ones, or supply poses in a transforms.json"
    )


def _reason(name: str, best: Outcome, outcomes: list[Outcome]) -> str:
    if name in best.others:
        return "it fits with some other photos, but that group does not connect with the largest one"
    elsewhere = dict.fromkeys(o.attempt.name for o in outcomes if o is not best and name in o.centers)
    if elsewhere:
        return f"registered by the attempt {' and '.join(elsewhere)} only, whose model was not taken"
    return "too few matches with the registered photos: too blurred, too plain, or too far from their views"


def _posed(outcome: Outcome, own: pycolmap.Reconstruction | None, capture: Capture) -> Posed:
    """Its poses in the capture's order; with `own`, its largest model is that one, whose photos have their own lenses.

    Photos that joined later, and those without a pose, have their camera's usual one.
    """
    names = [frame.name for frame in capture.frames]
    posed = posed_from_colmap(own or outcome.model)
    usual = outcome.model.cameras if own is None else own_lenses.typical(outcome.model, own)
    if outcome.joined is not None:
        joined = outcome.joined
        posed = replace(
            posed,
            names=posed.names + joined.names,
            viewmats=torch.cat([posed.viewmats, joined.viewmats]),
            lenses=posed.lenses + tuple(usual[lens.camera_id] for lens in joined.lenses),
            points=torch.cat([posed.points, joined.points]),
            colors=torch.cat([posed.colors, joined.colors]),
        )
    rows = [posed.names.index(n) for n in names if n in posed.names]
    lenses = [posed.lenses[row] for row in rows]
    known = lenses_from(outcome.model, capture)
    lost = {name: usual[lens.camera_id] for name, lens in known.items() if name not in posed.names}
    return replace(
        posed,
        names=tuple(posed.names[row] for row in rows),
        viewmats=posed.viewmats[rows],
        lenses=tuple(lenses),
        lost_lenses=lost,
    )


def _database(bench: Bench, features: Features) -> Path:
    return bench.scratch / f"features-{abs(hash(features))}.db"


def _pairs(bench: Bench, attempt: Attempt, best: Outcome | None, database: Path) -> Pairs:
    """Pairs to compare, given the database with their features: of many photos only the likely ones."""
    names = [frame.name for frame in bench.capture.frames]
    is_slow = attempt.features.is_guided and len(names) > MAX_PHOTOS_GUIDED
    if best is not None and is_slow:
        return likely_pairs(names, matches_between(_database(bench, best.features)))
    pairs = pairs_to_match(bench.capture)
    if len(pairs) <= len(names) * LIKELY_PARTNERS:
        return pairs
    likely = set(likely_pairs(names, coarse_matches(database), LIKELY_PARTNERS))
    return [pair for pair in pairs if pair in likely]


def _again(bench: Bench, attempt: Attempt, last: Outcome, report: Report) -> list[Outcome]:
    """The last attempt's matches, solved for all photos at once, and once more one by one from another seed; both
    from the lens that it found, if it holds enough photos to tell one."""
    database = _database(bench, last.features)
    if last.model is not None and last.model.num_reg_images() >= MIN_PHOTOS_FOR_LENS:
        database = relensed(database, last.model)
    started = time.monotonic()
    models = bench.map_at_once(database, attempt.mapping, report)
    at_once = _outcome(bench, attempt, last.features, models, started, "all photos at once")
    started = time.monotonic()
    models = bench.map(database, mapping_options(attempt.mapping, bench.seed + 1), None, report)
    return [at_once, _outcome(bench, attempt, last.features, models, started, "one by one, from another start")]


def _outcome(
    bench: Bench,
    attempt: Attempt,
    features: Features,
    models: list[pycolmap.Reconstruction],
    started: float,
    way: str = "",
) -> Outcome:
    """Of an attempt's models, largest first; that one is adjusted for the last time."""
    models = [*map(bench.adjust, models[:1]), *models[1:]]
    evidence = evidence_in(models[0], attempt.name, extent_of(centers_of(models[0]))) if models else {}
    return Outcome(attempt, features, tuple(models), time.monotonic() - started, evidence, way)


def _try(bench: Bench, attempt: Attempt, best: Outcome | None, report: Report) -> Outcome:
    """Everything for one rung.

    Raises:
        OutOfTime: the deadline passed first.
    """
    started = time.monotonic()
    total = len(bench.capture.frames)
    knows_lens = best is not None and best.model is not None and len(best.centers) >= MIN_PHOTOS_FOR_LENS
    if attempt.joins and knows_lens and len(best.centers) >= MIN_FRACTION_TO_JOIN * total:
        database = bench.scratch / f"{attempt.name}-joins.db"
        found = join(bench, attempt, best.model, _database(bench, best.features), database, report)
        joined, evidence = found or (None, {})
        return replace(
            best, attempt=attempt, seconds=time.monotonic() - started, joined=joined,
            evidence=evidence | best.evidence,
        )  # fmt: skip
    database = _database(bench, attempt.features)
    if not database.exists():
        partial = database.with_suffix(".partial")
        # Sharp features tell the lens best; features that blur moved would bend it to fit them.
        names = [frame.name for frame in bench.capture.frames]
        known = lenses_from(best.model, bench.capture) if knows_lens else {}
        bench.extract(partial, attempt.features, names, [known.get(name) for name in names], report)
        bench.match(partial, attempt.features, _pairs(bench, attempt, best, partial), report)
        partial.rename(database)
    options = mapping_options(attempt.mapping, bench.seed)
    if knows_lens:
        options.ba_refine_extra_params = options.mapper.abs_pose_refine_extra_params = False
    is_same = best is not None and best.model is not None and best.features == attempt.features
    models = bench.map(database, options, best.model if attempt.continues and is_same else None, report)
    outcome = _outcome(bench, attempt, attempt.features, models, started)
    if not (attempt.continues and is_same):
        return outcome
    first = {name: found.found_by for name, found in best.evidence.items()}
    evidence = {name: replace(e, found_by=first.get(name, e.found_by)) for name, e in outcome.evidence.items()}
    return replace(outcome, evidence=evidence)
