"""What a training does at moments is done once each, in order, and not again by a training that goes on."""

from dataclasses import replace

import pytest
from optimize.test_trainer import CONFIG, make_trainer

from splatdeblur.exposure import Bezier, Focused, Lens, Shutter, Static
from splatdeblur.optimize.density import MCMC
from splatdeblur.optimize.look_back import LOOK_BACK_AT
from splatdeblur.optimize.occasions import OCCASIONS, Occasion, attend, passed_before
from splatdeblur.optimize.state import done_by

LAST = {name: len(occasion.at) for name, occasion in OCCASIONS.items()}


@pytest.fixture
def done(monkeypatch):
    """Which occasions were attended to, and at which step, each instead of what it does."""
    noted = []
    for name, occasion in OCCASIONS.items():

        def note(trainer, name=name) -> str:
            noted.append((name, trainer.step_number))
            return name

        monkeypatch.setitem(OCCASIONS, name, replace(occasion, is_wanted=lambda trainer: True, do=note))
    return noted


def test_a_training_attends_to_each_moment_once_and_when_it_comes(done):
    trainer = make_trainer(replace(CONFIG, steps=40))
    list(trainer.run())
    expected = [
        (step, place, name)
        for place, (name, occasion) in enumerate(OCCASIONS.items())
        for step in range(40) if step and any(step - 1 < round(moment * 40, 6) <= step for moment in occasion.at)
    ]  # fmt: skip
    assert done == [(name, step) for step, _, name in sorted(expected)]
    assert trainer.done == LAST


def test_of_moments_that_the_clock_went_past_only_the_last_counts(done):
    trainer = make_trainer(replace(CONFIG, steps=100))
    trainer.step_number = 45
    assert list(attend(trainer)) == ["looks", "growths", "judgements", "refits", "idles"]
    assert trainer.done["idles"] == 3 and not list(attend(trainer))
    trainer.step_number = 20  # taken back
    assert not list(attend(trainer)) and trainer.done["idles"] == 3


def test_what_is_not_wanted_passes_and_what_has_nothing_to_tell_is_silent(monkeypatch):
    trainer = make_trainer(CONFIG)
    for name in OCCASIONS:
        is_wanted = name == "looks"
        silent = Occasion((0.0,), lambda _, is_wanted=is_wanted: is_wanted, lambda _: "")
        monkeypatch.setitem(OCCASIONS, name, silent if is_wanted else replace(silent, do=lambda _: "unwanted"))
    assert not list(attend(trainer))
    assert trainer.done == dict.fromkeys(OCCASIONS, 1)


def wanted(config, progress):
    trainer = make_trainer(config)
    trainer.step_number = round(progress * config.steps)
    return {name for name, occasion in OCCASIONS.items() if occasion.is_wanted(trainer)}


READING = Shutter(learns_readout=True)


@pytest.mark.parametrize(
    "changes, names",
    [
        ({}, {"looks", "judgements", "refits", "idles"}),
        ({"looks_back": False, "shutter": READING}, {"idles"}),
        ({"lens": Lens(focus=Focused())}, {"looks", "refits", "idles"}),
        ({"max_path": 0.0}, {"looks", "idles"}),
        ({"shutter": READING}, {"looks", "readouts", "judgements", "refits", "idles"}),
        ({"motion": Static()}, {"looks", "judgements", "idles"}),
        ({"motion": Bezier(order=3, grows_from=1)}, {"looks", "growths", "judgements", "refits", "idles"}),
        ({"density": MCMC()}, {"looks", "judgements", "refits"}),
    ],
)
def test_settings_say_what_is_wanted(changes, names):
    config = replace(CONFIG, steps=1000, **changes)
    assert wanted(config, 0.3) == names
    assert wanted(config, 0.999) == names - {"idles"}  # density control has ended


def test_a_training_that_goes_on_does_nothing_twice(done):
    trainer, other = (make_trainer(replace(CONFIG, steps=40)) for _ in range(2))
    for _ in range(18):
        trainer.step()
    other.load_state(trainer.state())
    assert other.done == trainer.done != passed_before(0.0)
    before = len(done)
    other.step()
    assert len(done) == before


def test_moments_begin_where_a_training_is_taken_back_to():
    assert not any(passed_before(0.0).values()) and passed_before(1.0) == LAST
    assert passed_before(0.5) == {
        "looks": 3, "readouts": 0, "growths": 2, "judgements": 2, "refits": 1, "idles": 3, "unblocked": 0
    }  # fmt: skip


@pytest.mark.parametrize("looks", range(len(LOOK_BACK_AT) + 3))
def test_older_trainings_know_what_lies_behind_them(looks):
    assert done_by({"looks": looks, "idles": 1}) == LAST | {
        "looks": looks, "idles": 1, "readouts": max(looks - len(LOOK_BACK_AT), 0)
    }  # fmt: skip
    assert done_by(passed_before(0.5) | {"looks": 1}) == passed_before(0.5) | {"looks": 1}
