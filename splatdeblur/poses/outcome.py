"""What the attempts gave, which one to go on with, which one to believe, and where they contradict each other."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pycolmap
from jaxtyping import Float
from torch import Tensor

from ..geometry import inverse
from .attempts import Attempt, Features
from .evidence import MAX_SHIFT, Evidence, centers_of, extent_of
from .reconstruction import Posed, posed_from_colmap

MAX_DISAGREEMENT = 0.03  # of the cameras' extent, between two models of the same photos
AGREEING = 2 / 3  # of the opinions: attempts share mistakes, and half of them may
MIN_COMMON = 5  # cameras that two models share; some similarity always nearly fits fewer


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one attempt gave.

    Attributes:
        features: that the models are made of.
        models: largest first; photos of different ones do not connect.
        evidence: what holds each photo's pose in the largest model, by name.
        way: how the models were solved for, where not photo by photo from the first seed.
        joined: photos that joined the largest model later, and the points that placed them.
    """

    attempt: Attempt
    features: Features
    models: tuple[pycolmap.Reconstruction, ...]
    seconds: float
    evidence: dict[str, Evidence]
    way: str = ""
    joined: Posed | None = None

    @property
    def model(self) -> pycolmap.Reconstruction | None:
        """The largest one."""
        return self.models[0] if self.models else None

    @property
    def others(self) -> set[str]:
        """Names of photos in the smaller models."""
        return {name for model in self.models[1:] for name in centers_of(model)}

    @property
    def centers(self) -> dict[str, np.ndarray]:
        """Camera centres by photo name."""
        centers = {} if self.model is None else centers_of(self.model)
        if self.joined is not None:
            centers |= zip(self.joined.names, inverse(self.joined.viewmats)[:, :3, 3].numpy(), strict=True)
        return centers

    @property
    def error_px(self) -> float:
        return math.inf if self.model is None else self.model.compute_mean_reprojection_error()

    def sentence(self, total: int) -> str:
        error = "" if self.model is None else f", mean error {self.error_px:.2f} px"
        found = f"{len(self.centers)} of {total} photos{error}, {self.seconds:.0f} s"
        return f"{self.attempt.name}{self.way and f', {self.way}'}: {found} ({self.attempt.reason})"

    def is_independent_of(self, other: "Outcome") -> bool:
        """Whether the two models come from other features, or from other ways to solve for them."""
        return (self.features, self.way) != (other.features, other.way)


def disagreement(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> float | None:
    """Median distance between two models' cameras after a similarity, as a fraction of their extent.

    None if they share fewer than four: some similarity always nearly fits those.
    """
    common = sorted(ours.keys() & theirs.keys())
    if len(common) < 4:
        return None
    a, b = (np.array([centers[n] for n in common]) for centers in (ours, theirs))
    estimate = pycolmap.estimate_sim3d(a, b)
    if estimate is None:
        return None
    aligned = np.array([estimate * point for point in a])
    return float(np.median(np.linalg.norm(aligned - b, axis=1)) / np.linalg.norm(np.ptp(b, axis=0)))


def better(best: Outcome | None, new: Outcome) -> tuple[Outcome, str]:
    """The outcome to go on with, and a remark where that needs one.

    More photos win, for the same number the smaller error. But a rung further up trades exactness for photos:
    where it contradicts a model that holds most of them, the earlier one stays.
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
        return (
            best,
            f"kept {best.attempt.name}, whose cameras it moves by {100 * apart:.0f} % of their extent",
        )
    return new, ""


def most_confirmed(best: Outcome | None, outcomes: list[Outcome], least: int = 1) -> Outcome | None:
    """The outcome, among those with at least `least` photos, of whose photos most stand where other attempts put them,
    too; `best` if there is no telling, None if no outcome has so many photos."""

    def rank(outcome: Outcome) -> tuple[int, int, bool]:
        shifts = _shifts(outcome, outcomes)
        return sum(shift <= MAX_SHIFT for shift in shifts.values()), len(outcome.centers), outcome is best

    return max((o for o in outcomes if o.model is not None and len(o.centers) >= least), key=rank, default=None)


def _opinions(outcome: Outcome, outcomes: list[Outcome]) -> Iterator[tuple[pycolmap.Reconstruction, pycolmap.Sim3d]]:
    """Models of the other attempts, and the similarities from their worlds into the outcome's."""
    for other in (o for o in outcomes if o.is_independent_of(outcome)):
        for model in other.models:
            ours_from_theirs = similarity(outcome.centers, centers_of(model))
            if ours_from_theirs is not None:
                yield model, ours_from_theirs


def _shifts(outcome: Outcome, outcomes: list[Outcome]) -> dict[str, float]:
    """How far from where an outcome has a camera two thirds of the other models put it at most, by name."""
    centers, found = outcome.centers, {}
    for model, ours_from_theirs in _opinions(outcome, outcomes):
        for name, shift in _shifts_by(ours_from_theirs, centers, centers_of(model)).items():
            found.setdefault(name, []).append(shift)
    return {name: sorted(shifts)[math.ceil(len(shifts) * AGREEING) - 1] for name, shifts in found.items()}


def judged(outcome: Outcome, outcomes: list[Outcome]) -> dict[str, Evidence]:
    """The evidence for an outcome's poses, with what the other attempts say of them."""
    shifts = _shifts(outcome, outcomes)
    return {name: replace(found, shift=shifts.get(name)) for name, found in outcome.evidence.items()}


def guesses(outcome: Outcome, outcomes: list[Outcome]) -> dict[str, list[Float[Tensor, "4 4"]]]:
    """Where the other attempts put the photos, in the outcome's world, by name."""
    found: dict[str, list[Tensor]] = {}
    for model, ours_from_theirs in _opinions(outcome, outcomes):
        moved = pycolmap.Reconstruction(model)
        moved.transform(ours_from_theirs)
        posed = posed_from_colmap(moved)
        for name, viewmat in zip(posed.names, posed.viewmats, strict=True):
            found.setdefault(name, []).append(viewmat)
    return found


def similarity(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> pycolmap.Sim3d | None:
    """The similarity into our world from theirs that most cameras agree on; None if they share too few."""
    common = sorted(ours.keys() & theirs.keys())
    if len(common) < MIN_COMMON:
        return None
    a, b = (np.array([centers[n] for n in common]) for centers in (theirs, ours))
    options = pycolmap.RANSACOptions(max_error=MAX_SHIFT * extent_of(ours), random_seed=0)
    found = pycolmap.estimate_sim3d_robust(a, b, options)
    return None if found is None else found["tgt_from_src"]


def shifts_between(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> dict[str, float]:
    """How far apart two models put each camera that both have, after that similarity, as a part of our extent."""
    ours_from_theirs = similarity(ours, theirs)
    return {} if ours_from_theirs is None else _shifts_by(ours_from_theirs, ours, theirs)


def _shifts_by(
    ours_from_theirs: pycolmap.Sim3d, ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]
) -> dict[str, float]:
    extent = extent_of(ours)
    return {
        name: float(np.linalg.norm(ours_from_theirs * theirs[name] - ours[name]) / extent)
        for name in sorted(ours.keys() & theirs.keys())
    }
