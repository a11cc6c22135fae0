"""A path that explains its photo badly is fitted anew, and left as it was where that does not help; disks that made up
for it go, and true ones stay."""

from dataclasses import replace

import pytest
import torch
from optimize.test_trainer import CONFIG, everything, make_trainer

from splatdeblur.exposure import Bezier, Defocus, Lens, Shutter, Static
from splatdeblur.optimize import Trainer, refits
from splatdeblur.optimize.causes import Cause
from splatdeblur.optimize.occasions import OCCASIONS
from splatdeblur.optimize.photos import Looks

MOVING = replace(CONFIG, motion=Bezier(order=2), shutter=Shutter(max_subframes=8, spacing_px=1.0), steps=240)
STROKE = torch.tensor([0.1, 0, 0, 0, 0, 0])  # from its middle to either end
FOLDED = 3  # the photo whose path is wrong
UNFOCUSED = 1  # a photo that is out of focus


@pytest.fixture
def misled(monkeypatch):
    """A trainer whose photos are what it predicts along straight strokes, one of which it now takes to turn back."""
    trainer = make_trainer(MOVING)
    list(trainer.run())
    motion = trainer.exposure.motion
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for points in motion.control_points:
            points.copy_(torch.linspace(-1, 1, 3)[:, None] * STROKE)
        taken = [[trainer.predict(level, frame, 8) for frame in range(6)] for level in range(2)]
        pictures = tuple(
            tuple((p + 0.01 * torch.randn(p.shape, generator=noise)).clamp(0, 1) for p in level) for level in taken
        )
        trainer.photos = replace(trainer.photos, pictures=pictures)
        motion.control_points[FOLDED].copy_(torch.tensor([-1.0, 0.6, -0.2])[:, None] * STROKE)
    trainer.done["refits"] = 1
    monkeypatch.setattr(refits, "SHARE", 1.0)  # of a short training
    return trainer


def length_px(trainer) -> float:
    return trainer.exposure.length_px(FOLDED, trainer.photos.cameras[-1].Ks[0, 0, 0].item()).item()


def test_a_folded_path_is_found_anew_and_nothing_else_changes(misled):
    before, folded_px = everything(misled), length_px(misled)
    others = [p.clone() for p in misled.exposure.motion.control_points]
    told = refits.refit_paths(misled)
    assert misled.photos.names[FOLDED] in told and "of 1 that" in told
    assert folded_px < 9 and 10 < length_px(misled) < 12.5  # true is 11.1
    for frame, points in enumerate(misled.exposure.motion.control_points):
        assert torch.equal(points, others[frame]) == (frame != FOLDED)
        assert (points in misled.optimizers["motion"].state) == (frame != FOLDED)
    assert len(everything(misled)) < len(before)  # but for what the optimizer forgot
    assert misled.exposure.motion.control_points[FOLDED].grad is None


def test_a_path_there_and_back_is_tried_as_a_plain_stroke_though_its_photo_does_not_stand_out(misled, monkeypatch):
    monkeypatch.setattr(refits, "BADLY", float("inf"))
    motion = misled.exposure.motion
    with torch.no_grad():
        motion.control_points[FOLDED].copy_(torch.tensor([-1.0, 2.6, -1.0])[:, None] * STROKE)
        assert motion.folding(FOLDED) > refits.FOLDED
        before = refits._error(misled, -1, FOLDED)
    told = refits.refit_paths(misled)
    assert f"{misled.photos.names[FOLDED]}, of 0 that explain their photo badly and 1 that are folded" in told
    assert motion.folding(FOLDED) < 1.1 and 9 < length_px(misled) < 12.5  # true is 11.1
    assert refits._error(misled, -1, FOLDED) < 0.8 * before


def test_what_does_not_explain_the_photo_better_is_not_kept(misled, monkeypatch):
    monkeypatch.setattr(refits, "WORTH", 0.0)
    before = everything(misled)
    assert "none" in refits.refit_paths(misled)
    assert torch.equal(everything(misled), before)


def test_a_training_refits_where_photos_have_paths_of_their_own(monkeypatch):
    done, refit = [], replace(OCCASIONS["refits"], do=lambda trainer: done.append(trainer.progress) or "")
    monkeypatch.setitem(OCCASIONS, "refits", refit)
    for changes in ({}, {"motion": Static()}, {"max_path": 0.0}):
        list(make_trainer(replace(MOVING, steps=20, **changes)).run())
        assert done == list(refits.REFIT_AT), "neither static cameras nor paths without a bound"


def test_where_small_steps_lead_nowhere_an_end_of_the_path_is_turned(misled, monkeypatch):
    hook = torch.tensor([[-1.0, 0], [0.5, 0], [1, 1]]) @ torch.stack([STROKE, STROKE.roll(1)])
    motion = misled.exposure.motion
    with torch.no_grad():
        motion.control_points[FOLDED].copy_(hook)
        pictures = tuple(
            (*level[:FOLDED], misled.predict(i, FOLDED, 8).clamp(0, 1), *level[FOLDED + 1 :])
            for i, level in enumerate(misled.photos.pictures)
        )
        misled.photos = replace(misled.photos, pictures=pictures)
        motion.turn_end(FOLDED, 11 / 16, 4.0)
        before = refits._error(misled, -1, FOLDED)
        assert refits._is_mended(misled, FOLDED, refits._from_turned)
        assert refits._error(misled, -1, FOLDED) < 0.5 * before


def test_what_cannot_be_tried_costs_nothing(misled, monkeypatch):
    monkeypatch.setattr(refits, "SHARE", refits.WAYS[refits._from_here] / MOVING.steps)
    assert misled.photos.names[FOLDED] in refits.refit_paths(misled)  # its blur is unknown: no plain path to try


def test_where_a_path_is_all_wrong_it_is_fitted_from_the_plain_one_that_suits_best(misled):
    motion, photos = misled.exposure.motion, misled.photos
    with torch.no_grad():
        motion.control_points[FOLDED].copy_(torch.linspace(-1, 1, 3)[:, None] * STROKE.roll(1))  # across the true one
        assert not refits.fit_anew(misled, [FOLDED])  # nobody has looked how long it shows
        assert torch.equal(motion.control_points[FOLDED][-1], STROKE.roll(1))
        misled.photos = replace(photos, looks=(Looks(blur_px=11.0, most_px=11.0),) * len(photos))
        before = refits._error(misled, -1, FOLDED)
    others = [p.clone() for p in motion.control_points]
    assert refits.fit_anew(misled, [FOLDED]) == [FOLDED]
    assert refits._error(misled, -1, FOLDED) < 0.7 * before and 10 < length_px(misled) < 12.5  # true is 11.1
    assert [torch.equal(*points) for points in zip(others, motion.control_points, strict=True)].count(False) == 1


def out_of_focus(moved: tuple[int, ...]) -> tuple[Trainer, torch.Tensor]:
    """A trainer whose photos are what it predicts: along straight strokes, of those that `moved`, and one of them out
    of focus; and that one's disks."""
    trainer = make_trainer(replace(MOVING, lens=Lens(focus=Defocus())))
    list(trainer.run())
    disks = torch.tensor([0.0, 2.5]) / trainer.photos.cameras[-1].Ks[0, 0, 0]
    with torch.no_grad():
        for frame, points in enumerate(trainer.exposure.motion.control_points):
            points.copy_(torch.linspace(-1, 1, 3)[:, None] * STROKE * (frame in moved))
            trainer.exposure.lens.focus.focus[frame].copy_(disks * (frame == UNFOCUSED))
        pictures = tuple(
            tuple(trainer.predict(level, frame, 8).clamp(0, 1) for frame in range(6)) for level in range(2)
        )
    trainer.photos = replace(trainer.photos, pictures=pictures)
    trainer.done["refits"] = 1
    return trainer, disks


def test_disks_that_made_up_for_a_path_are_taken_away_and_true_ones_stay(monkeypatch):
    trainer, disks = out_of_focus(moved=tuple(range(6)))
    motion, focus = trainer.exposure.motion, trainer.exposure.lens.focus.focus
    with torch.no_grad():
        motion.control_points[FOLDED].mul_(0.8)
        focus[FOLDED].copy_(disks)
    trainer.causes = [Cause.BOTH if frame in (FOLDED, UNFOCUSED) else Cause.MOTION for frame in range(6)]
    monkeypatch.setattr(refits, "FREEING", 0.0)
    assert refits.refit_paths(trainer).endswith("in focus after all: none; stood still: none")  # no time for it
    assert torch.equal(focus[FOLDED], disks) and torch.equal(focus[UNFOCUSED], disks)
    monkeypatch.setattr(refits, "FREEING", 1.0)
    assert refits.refit_paths(trainer).endswith(f"after all: {trainer.photos.names[FOLDED]}; stood still: none")
    assert not focus[FOLDED].any() and torch.equal(focus[UNFOCUSED], disks)
    assert trainer.causes[FOLDED] == Cause.MOTION and trainer.causes[UNFOCUSED] == Cause.BOTH
    assert length_px(trainer) > 10  # true is 11.1; it was 0.8 of that


def test_which_photos_may_be_in_focus_is_told_by_how_far_a_few_steps_come(monkeypatch):
    trainer = make_trainer(replace(MOVING, lens=Lens(focus=Defocus())))
    left = {  # without disks: as it is, after a few steps, after more of them
        0: [1.05, 1.3, 9.9],  # at half size a fit may lead astray
        1: [1.9, 1.15, 1.0],
        2: [1.5, 1.09, 9.9],
        3: [3.0, 3.0, 1.0],
    }
    fits, focus = [], trainer.exposure.lens.focus.focus

    def error(trainer, level, frame):
        times = sum(fitted == frame for fitted, _ in fits)
        return torch.tensor(1.0 if focus[frame].any() else left[frame][times])

    monkeypatch.setattr(refits, "_error", error)
    monkeypatch.setattr(refits, "_descend", lambda trainer, frame, level, steps: fits.append((frame, steps)))
    with torch.no_grad():
        for frame in left:
            focus[frame].fill_(0.1)
            trainer.causes[frame] = Cause.BOTH
        # What a few steps for four photos cost, and more of them for one.
        assert refits._freed_of_disks(trainer, 40) == ([0, 1, 2], [3])
    assert fits == [(0, 8), (2, 8), (1, 8), (3, 8), (1, 32)]
    assert [bool(focus[frame].any()) for frame in left] == [False, False, False, True]
    assert trainer.causes[:4] == [Cause.MOTION] * 3 + [Cause.BOTH]


@pytest.mark.parametrize("moved", [(), (UNFOCUSED,)])
def test_of_photos_out_of_focus_the_path_of_those_that_stood_still_goes_and_that_of_others_stays(moved, monkeypatch):
    monkeypatch.setattr(refits, "FREEING", 1.0)  # of a short training
    trainer, disks = out_of_focus(moved)
    path, focal_px = trainer.exposure.motion.control_points[UNFOCUSED], trainer.photos.cameras[-1].Ks[0, 0, 0].item()
    with torch.no_grad():
        if not moved:
            path.copy_(torch.linspace(-1, 1, 3)[:, None] * STROKE / 8)
    learned, length = path.clone(), trainer.exposure.length_px(UNFOCUSED, focal_px).item()
    trainer.causes[UNFOCUSED] = Cause.BOTH
    trainer.optimizers["motion"].state[path]["seen"] = True
    told = refits.refit_paths(trainer)
    assert told.endswith(f"stood still: {'none' if moved else trainer.photos.names[UNFOCUSED]}")
    assert trainer.causes[UNFOCUSED] == (Cause.BOTH if moved else Cause.FOCUS)
    assert torch.equal(path, learned) == bool(moved)
    assert (path in trainer.optimizers["motion"].state) == bool(moved)
    assert torch.equal(trainer.exposure.lens.focus.focus[UNFOCUSED], disks)
    if not moved:
        assert length > 1 > 5 * trainer.exposure.length_px(UNFOCUSED, focal_px).item()
