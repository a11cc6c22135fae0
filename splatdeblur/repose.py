"""Between structure from motion and training: photos that it lost, or placed doubtfully, are looked for in renders."""

import logging

from .capture import Capture
from .capture.choices import Choices, Use
from .config import Config
from .errors import TrainingError
from .poses import Reconstruction
from .poses.evidence import RENDERING
from .poses.reconstruction import load_reconstruction, save_again
from .run import Run
from .search import MIN_FIRM, MOST_SEEDS, Progress, Search

logger = logging.getLogger(__name__)


def find_by_rendering(run: Run, config: Config, on_progress: Progress) -> Reconstruction:
    """Poses of the photos without a firm one, as far as a scene of the others tells them; saved under `poses/`.

    What came of each photo stands in its evidence, or in why it is missing. A run that has been through this keeps
    what it has, unless there is more time now than there was; and so does one with nothing to look for.
    """
    reconstruction = load_reconstruction(run)
    lost, firm, limit = _lost(run, reconstruction), _firm(run, reconstruction), config.pose.render_limit
    if not limit or not lost:
        return reconstruction
    if reconstruction.searched_s >= limit:
        logger.info(
            "%d photos without a firm pose were looked for by rendering already, for up to %g s; a higher "
            "pose.render_limit looks again", len(lost), reconstruction.searched_s,
        )  # fmt: skip
        return reconstruction
    seeds = _seeds(reconstruction, lost, MOST_SEEDS - len(firm)) if len(firm) < MIN_FIRM else []
    if len(firm) + len(seeds) < MIN_FIRM:
        logger.warning(
            "%d photos have a firm pose, too few to look for the other %d by rendering", len(firm), len(lost)
        )
        return reconstruction
    search = Search(run, config, reconstruction, firm, on_progress, seeds)
    try:
        search.run_through(lost)
    except TrainingError as error:
        logger.warning("photos without a firm pose could not be looked for any further by rendering: %s", error)
    result = search.kept
    if result is None:
        return reconstruction
    save_again(result, run)
    found = [n for n, evidence in result.evidence.items() if evidence.found_by == RENDERING and not evidence.doubt]
    logger.info("found by rendering: %s", ", ".join(found) or "none")
    on_progress(1.0, f"{len(result.names) - len(result.doubtful)} of {len(_shots(run))} photos have a firm pose")
    return result


def _seeds(reconstruction: Reconstruction, lost: list[str], count: int) -> list[str]:
    """Of the photos with doubtful poses, the least doubtful."""
    placed = [name for name in lost if name in reconstruction.doubtful]
    return sorted(placed, key=lambda name: reconstruction.evidence[name].firmness, reverse=True)[:count]


def _shots(run: Run) -> tuple[str, ...]:
    return tuple(frame.name for frame in Capture.load(run.require(run.capture, "prepare")).frames)


def _lost(run: Run, reconstruction: Reconstruction) -> list[str]:
    """Photos to look for, in the capture's order: those that training wants, and whose lens is known."""
    choices = Choices.load(run.choices)
    candidates = reconstruction.doubtful.keys() | (reconstruction.missing.keys() & reconstruction.lost_lenses.keys())
    return [name for name in _shots(run) if name in candidates and choices.use(name) == Use.TRAIN]


def _firm(run: Run, reconstruction: Reconstruction) -> list[str]:
    """Photos to train the small scene on."""
    choices, doubtful = Choices.load(run.choices), reconstruction.doubtful
    return [n for n in reconstruction.names if n not in doubtful and choices.use(n) == Use.TRAIN]
