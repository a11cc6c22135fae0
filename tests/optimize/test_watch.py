"""A training that goes wrong is noticed, and goes back to where it was well."""

from dataclasses import replace

import pytest
import torch
from optimize.test_trainer import CONFIG, make_trainer

from splatdeblur.errors import TrainingError
from splatdeblur.exposure import Static


def test_a_scene_that_explodes_goes_back_and_says_so():
    trainer = make_trainer(replace(CONFIG, steps=1000, motion=Static()))
    trainer.step()  # step 0 keeps a state to go back to
    with torch.no_grad():
        trainer.scene.params["sh0"].fill_(float("nan"))
    assert "back to the last good state" in trainer.step().note
    assert trainer.scene.params["sh0"].isfinite().all()
    assert trainer.step().note == ""
    with pytest.raises(TrainingError, match="did not help"):
        for _ in range(10):
            with torch.no_grad():
                trainer.scene.params["sh0"].fill_(float("nan"))
            trainer.step()


def test_numbers_that_are_none_are_noticed_even_where_no_photo_shows_them():
    trainer = make_trainer(replace(CONFIG, steps=1000, motion=Static()))
    trainer.step()
    with torch.no_grad():
        trainer.scene.params["means"][0] = float("inf")  # a renderer leaves it out, and the loss stays a number
    notes = [trainer.step().note for _ in range(60)]
    assert any("back to the last good state" in note for note in notes)
    assert trainer.scene.params["means"].isfinite().all()
