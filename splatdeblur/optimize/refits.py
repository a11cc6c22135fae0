"""Paths that explain their photos badly, fitted anew while the scene rests; and disks that a path makes needless.

A photo is seen a few dozen times, and the scene has moved between two visits. So long bent paths stay about where the
first gradients took them, a sharp turn folded back over the stroke, say. With the scene at rest, and half-size photos
for speed, as many steps as a whole training has for the photo take moments.

Scenes learn to live with wrong paths, so that a photo need not stand out for it. A path that covers its own extent more
than once, there and back and there again, may be what the camera did, or what a plain stroke was folded into. So such
paths are fitted from a plain stroke, too; at full size, as small pictures mislead. Those that explain their photo badly
are fitted from the plain path, of all, that suits it best: from a wrong one, steps rarely find the way.

A path that is a little wrong leaves its photo softer than it should be, which disks out of focus then make up for. So
photos that both are found to blur, by the last judgement, are fitted without the disks: half way through seven
trainings on a ray-traced room, that left 0.91 to 1.03 of the error where disks were false, and 1.09 to 2.4 of it where
they were true and of 1 px or more. Where disks blur a photo, the least error in its pose may become a path. So of
photos that need their disks some stood still after all: false paths, taken away, left 0.81 and 0.96 of the error, true
ones 1.13 or more.
"""

from collections.abc import Callable, Iterable
from math import inf, pi
from statistics import median
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..exposure.motion import Motion
from .causes import JUDGE_AT, SHORTEST_PX, Cause, Still, path_alone
from .clear import can_clear, clear_sharp
from .judging import STILL_PATH
from .losses import unexplained

if TYPE_CHECKING:
    from .trainer import Trainer

REFIT_AT = (0.3, 0.5, 0.7)  # progress of the training at which that is done
CLEAR_AFTER = 1  # of these: only then is the scene good enough to tell that a photo shows more
LONG = 0.02  # of a photo's width; shorter paths are soon right
BADLY = 1.3  # times what is left of the usual photo that moved as much may be left
STEPS, STEP_PX = 40, 0.5  # of each fit, and how far the first step moves a path, in px of the picture at hand
HINGES = (3 / 16, 5 / 16, 11 / 16, 13 / 16)  # times up to which, or from which on, the shorter end is turned aside
TURNS = tuple(k * pi / 3 for k in range(1, 6))  # by these angles
TURNED = 3  # of these, that are fitted
FOLDED = 1.4  # times its extent a path is long that is fitted from a plain stroke
UNFOLD_STEPS, UNFOLD_STEP_PX = 20, 0.25
SHARE = 0.05  # of the training may be spent so at each moment
WORTH = 0.98  # of the error at full size, at most, must be left for a fit to be believed
FIRST_STEPS = 8  # of a fit, after which it shows how far it comes
FREEING = 0.08  # of the training may be spent on taking disks away at each moment
NEEDLESS = 1.1  # times the error may be left by a path alone for disks to be taken away
STOOD_STILL = 1.02  # times the error may be left by disks alone for a path to be


@torch.no_grad()
def refit_paths(trainer: "Trainer") -> str:
    """Fits the paths and the poses of the photos that are explained worst, others that moved considered, and of those
    whose path is folded, and keeps what explains a photo better at full size: smaller pictures of a scene are sharper
    than reduced photos, and mislead. Before that, but not the first time, photos that turn out to be sharp are cleared
    (`clear`); after that, once photos were judged for the last time, those that motion and focus are thought to blur
    lose the one that the other makes needless. A sentence on all that.
    """
    cleared = clear_sharp(trainer) if trainer.done["refits"] > CLEAR_AFTER and can_clear(trainer) else []
    photos, exposure = trainer.photos, trainer.exposure
    camera = photos.cameras[-1]
    lengths = exposure.path_px(camera.Ks[0, 0, 0].item()).tolist()
    left = {
        frame: unexplained(
            trainer.residual(frame), photos.pictures[-1][frame], photos.keeps[-1][frame], trainer.config.loss.dssim
        )
        for frame, length in enumerate(lengths) if length >= LONG * camera.width
    }  # fmt: skip
    usual = median(left.values()) if left else 0.0
    bad = sorted((frame for frame in left if left[frame] > BADLY * usual), key=left.__getitem__, reverse=True)
    steps = trainer.step_number / max(trainer.progress, 1e-6)  # of the training, which its time may end early
    folding = {frame: exposure.motion.folding(frame) for frame in left}
    folded = sorted((f for f in left if folding[f] > FOLDED), key=folding.__getitem__, reverse=True)
    allowed, mended = SHARE * steps, list[int]()
    for attempt, worth in WAYS.items():
        frames = {_from_unfolded: folded, _from_anew: [f for f in bad if _can_fit_anew(trainer, f)]}.get(attempt, bad)
        for frame in [frame for frame in frames if frame not in mended]:
            if worth > allowed:
                break
            allowed -= worth
            if _is_mended(trainer, frame, attempt):
                mended.append(frame)
    told = (
        f"paths fitted anew: {_names(trainer, mended)}, of {len(bad)} that explain their photo badly and "
        f"{len(folded)} that are folded"
    )
    if cleared:
        told = f"not blurred, as they show more than the scene: {len(cleared)} photos; {told}"
    if Cause.BOTH not in trainer.causes or trainer.done["judgements"] < len(JUDGE_AT):
        return told
    freed, in_doubt = _freed_of_disks(trainer, FREEING * steps)
    stilled = [frame for frame in in_doubt if _is_stilled(trainer, frame)]
    return f"{told}; in focus after all: {_names(trainer, freed)}; stood still: {_names(trainer, stilled)}"


def _names(trainer: "Trainer", frames: list[int]) -> str:
    return ", ".join(trainer.photos.names[frame] for frame in frames) or "none"


def can_refit(trainer: "Trainer") -> bool:
    """Whether photos have paths of their own."""
    motion = trainer.exposure.motion
    return isinstance(motion, Motion) and trainer.exposure.has_motion and not motion.bends


@torch.no_grad()
def fit_anew(trainer: "Trainer", frames: Iterable[int]) -> list[int]:
    """Fits paths and poses of some photos anew, whatever that costs; those that are explained better so."""
    return [f for f in frames if _can_fit_anew(trainer, f) and _is_mended(trainer, f, _from_anew)]


def _is_mended(trainer: "Trainer", frame: int, attempt: "Attempt") -> bool:
    """Whether a photo is explained better by what an attempt makes of its path. If not, all is as it was."""
    parts = _parts(trainer, frame)
    learned = [part.clone() for part in parts.values()]
    enough = WORTH * _error(trainer, -1, frame).item()
    if attempt(trainer, frame) >= enough:
        _put(parts, learned)
        return False
    for kind, part in parts.items():  # the optimizer forgets how they moved
        trainer.optimizers[kind].state.pop(part, None)
    return True


def _freed_of_disks(trainer: "Trainer", allowed: float) -> tuple[list[int], list[int]]:
    """Takes the disks from photos that a path alone explains about as well; which these are, and which others were
    fitted so. What errors are without disks and with the path as it is tells little of that, as the path may be far too
    short: so as many photos as half of what is allowed pays for are fitted for a few steps, and those that come
    furthest, but not far enough, are fitted on.

    Args:
        allowed: what all fits may cost, in steps of the training.
    """
    focus = trainer.exposure.lens.focus.focus
    both = [frame for frame, cause in enumerate(trainer.causes) if cause == Cause.BOTH and focus[frame].any()]
    photos, fitted = [_InFocus(trainer, frame) for frame in both], set[_InFocus]()
    for steps in (FIRST_STEPS, STEPS - FIRST_STEPS):
        payable = int(allowed / 2 / (steps / STEPS * WAYS[_from_here]))
        photos = sorted((p for p in photos if p not in fitted or p.share > NEEDLESS), key=lambda p: p.share)[:payable]
        for photo in photos:
            photo.fit(steps)
        fitted.update(photos)
    freed = [photo for photo in fitted if photo.share <= NEEDLESS]
    for photo in freed:
        photo.keep()
    return sorted(photo.frame for photo in freed), sorted(photo.frame for photo in fitted.difference(freed))


class _InFocus:
    """A photo as it would be without its disks; the training stays as it is until that is kept.

    Attributes:
        share: times the error that it leaves at full size, of the error with disks.
    """

    def __init__(self, trainer: "Trainer", frame: int) -> None:
        self.trainer, self.frame = trainer, frame
        self.parts = _parts(trainer, frame) | {"focus": trainer.exposure.lens.focus.focus[frame]}
        self.with_disks, self.before = self._values(), max(_error(trainer, -1, frame).item(), 1e-9)
        self.parts["focus"].zero_()
        self.values, self.share = self._values(), inf
        self._note()

    def _values(self) -> list[Tensor]:
        return [part.clone() for part in self.parts.values()]

    def _note(self) -> None:
        """Notes how the photo is now, if nothing before left less, and makes it again what it was."""
        share = _error(self.trainer, -1, self.frame).item() / self.before
        if share < self.share:
            self.values, self.share = self._values(), share
        _put(self.parts, self.with_disks)

    def fit(self, steps: int) -> None:
        """Fits path and pose on, on small photos."""
        _put(self.parts, self.values)
        _descend(self.trainer, self.frame, _small(self.trainer), steps)
        self._note()

    def keep(self) -> None:
        """Makes the photo so; it moved, then, and the optimizer forgets how it came to be what it was."""
        _put(self.parts, self.values)
        self.trainer.causes[self.frame] = Cause.MOTION
        for kind, part in self.parts.items():
            self.trainer.optimizers[kind].state.pop(part, None)


def _is_stilled(trainer: "Trainer", frame: int) -> bool:
    """Whether the disks alone explain a photo as well. Then hardly anything is left of its path; if not, all of it."""
    path, camera = trainer.exposure.motion.control_points[frame], trainer.photos.cameras[-1].at(frame)
    learned, before = path.clone(), _error(trainer, -1, frame).item()
    trainer.exposure.shorten(frame, STILL_PATH * camera.width, camera.Ks[0, 0, 0].item())
    if torch.equal(path, learned) or _error(trainer, -1, frame).item() > STOOD_STILL * before:
        path.copy_(learned)
        return False
    trainer.causes[frame] = Cause.FOCUS
    trainer.optimizers["motion"].state.pop(path, None)
    return True


def _can_fit_anew(trainer: "Trainer", frame: int) -> bool:
    """Whether a plain path can be looked for: rows are read at once, and the photo shows how long it is."""
    is_rolling = trainer.exposure.shutter.shutter.is_rolling
    return not is_rolling and SHORTEST_PX <= trainer.photos.looks[frame].blur_px < inf


def _from_anew(trainer: "Trainer", frame: int) -> float:
    """Fits a path from the plain one that suits the sharp render best, on small photos and then at full size; what that
    leaves there."""
    exposure, photos, camera = trainer.exposure, trainer.photos, trainer.photos.cameras[-1].at(frame)
    focal_px = camera.Ks[0, 0, 0].item()
    still = Still.of(trainer.render_fn(camera)(exposure.sharp_viewmat(frame)[None], None))
    path = path_alone(
        exposure, frame, still, photos.pictures[-1][frame], photos.keeps[-1][frame],
        focal_px=focal_px, looks=photos.looks[frame], charges=trainer.charges[-1],
    )  # fmt: skip
    exposure.motion.trace(frame, *(path.values / focal_px))
    _descend(trainer, frame, _small(trainer), STEPS)
    return _descend(trainer, frame, -1, STEPS // 2)


def _from_here(trainer: "Trainer", frame: int) -> float:
    """Fits a path from what it is on small photos; what that leaves at full size."""
    _descend(trainer, frame, _small(trainer), STEPS)
    return _error(trainer, -1, frame).item()


def _from_unfolded(trainer: "Trainer", frame: int) -> float:
    """Fits a path from a plain stroke in its place, at full size; what that leaves there."""
    trainer.exposure.motion.unfold(frame)
    return _descend(trainer, frame, -1, UNFOLD_STEPS, UNFOLD_STEP_PX)


def _from_turned(trainer: "Trainer", frame: int) -> float:
    """Fits a path with an end turned aside, on small photos and then at full size, where right and wrong ways to turn
    it differ by little; what that leaves at full size."""
    fits = []
    for start in _turned_ends(trainer, frame):
        _put(_parts(trainer, frame), start)
        left = _descend(trainer, frame, _small(trainer), STEPS // 2)
        fits.append((left, [part.clone() for part in _parts(trainer, frame).values()]))
    _put(_parts(trainer, frame), min(fits, key=lambda fit: fit[0])[1])
    return _descend(trainer, frame, -1, STEPS // 2)


Attempt = Callable[["Trainer", int], float]
# One after the other, and how many steps of the training each is worth.
WAYS: dict[Attempt, int] = {_from_unfolded: 25, _from_anew: 40, _from_here: 25, _from_turned: 50}


def _small(trainer: "Trainer") -> int:
    """The level of half-size photos."""
    return max(len(trainer.photos.pictures) - 2, 0)


def _parts(trainer: "Trainer", frame: int) -> dict[str, torch.nn.Parameter]:
    """What is fitted, by the name of its optimizer."""
    motion = trainer.exposure.motion
    return {"motion": motion.control_points[frame], "pose": motion.pose_deltas[frame]}


def _descend(trainer: "Trainer", frame: int, level: int, steps: int, step_px: float = STEP_PX) -> float:
    """Some steps of a photo's path and pose at a level's size, to the best of what they meet; what that leaves."""
    parts = _parts(trainer, frame)
    rate = step_px / trainer.photos.cameras[level].Ks[frame, 0, 0].item()
    optimizer = torch.optim.Adam(parts.values(), betas=(0.7, 0.9))
    best, found = float("inf"), [part.clone() for part in parts.values()]
    for step in range(steps):
        with torch.enable_grad():
            error = _error(trainer, level, frame)
            gradients = torch.autograd.grad(error, list(parts.values()))
        if error.item() < best:
            best, found = error.item(), [part.clone() for part in parts.values()]
        for part, gradient in zip(parts.values(), gradients, strict=True):
            part.grad = gradient
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        optimizer.step()
    optimizer.zero_grad()
    _put(parts, found)
    return best


def _turned_ends(trainer: "Trainer", frame: int) -> list[list[Tensor]]:
    """A photo's path with one end turned aside, and its pose so that the rest stays where it is: the few that leave
    the least on small photos."""
    parts = _parts(trainer, frame)
    learned, tried = [part.clone() for part in parts.values()], []
    for hinge in HINGES:
        for angle in TURNS:
            trainer.exposure.motion.turn_end(frame, hinge, angle)
            tried.append((_error(trainer, _small(trainer), frame).item(), [part.clone() for part in parts.values()]))
            _put(parts, learned)
    return [start for _, start in sorted(tried, key=lambda start: start[0])[:TURNED]]


def _put(parts: dict[str, torch.nn.Parameter], values: list[Tensor]) -> None:
    for part, value in zip(parts.values(), values, strict=True):
        part.copy_(value)


def _error(trainer: "Trainer", level: int, frame: int) -> Tensor:
    """What a photo is charged at a level's size as the training stands."""
    photos = trainer.photos
    focal_px = photos.cameras[level].Ks[frame, 0, 0].item()
    predicted = trainer.predict(level, frame, max(trainer.exposure.subframe_counts(focal_px)[frame], 2))
    return trainer.charges[level].of_photo(predicted, photos.pictures[level][frame], photos.keeps[level][frame])
