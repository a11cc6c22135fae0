"""What a training leaves is the mean of its last scenes."""

from dataclasses import replace

import pytest
import torch
from optimize.test_trainer import CONFIG, everything, make_trainer

from splatdeblur.optimize.averaging import SceneMean


def copy(scene):
    return {name: value.detach().clone() for name, value in scene.params.items()}


def test_the_mean_of_scenes_takes_the_place_of_the_last_and_is_forgotten():
    scene, mean = make_trainer().scene, SceneMean()
    first = copy(scene)
    for shift in (0.0, 1.0, 5.0):
        with torch.no_grad():
            for name, value in scene.params.items():
                value.copy_(first[name] + shift)
        mean.add(scene)
    mean.give(scene)
    for name, value in scene.params.items():
        torch.testing.assert_close(value.detach(), first[name] + 2)
    last = copy(scene)
    mean.give(scene)
    assert all(torch.equal(scene.params[name], value) for name, value in last.items())


def test_scenes_of_another_number_of_gaussians_are_forgotten():
    scene, mean = make_trainer().scene, SceneMean()
    mean.add(scene)
    for name, value in list(scene.params.items()):
        scene.params[name] = torch.nn.Parameter(value.detach()[:-7] + 1)
    fewer = copy(scene)
    mean.add(scene)
    assert mean.count == 1
    mean.give(scene)
    assert all(torch.equal(scene.params[name], value) for name, value in fewer.items())


def test_a_training_ends_with_the_mean_of_its_last_steps():
    plain, averaged = (make_trainer(replace(CONFIG, average=share)) for share in (0.0, 0.1))
    seen = []
    for _ in plain.run():
        if plain.step_number > 54:  # of 60
            seen.append(copy(plain.scene))
    list(averaged.run())
    assert len(seen) == 6
    for name, value in averaged.scene.params.items():
        torch.testing.assert_close(value.detach(), torch.stack([scene[name] for scene in seen]).mean(0))
    assert not averaged.mean.count


@pytest.mark.parametrize("stop", [54, 57])
def test_a_training_interrupted_while_it_averages_ends_with_the_same_scene(stop):
    config = replace(CONFIG, average=0.1)
    whole, begun, resumed = (make_trainer(config) for _ in range(3))
    list(whole.run())
    while begun.step_number < stop:
        begun.step()
    assert begun.mean.count == stop - 54
    resumed.load_state(begun.state())
    list(resumed.run())
    assert torch.equal(everything(resumed), everything(whole))


def test_a_training_that_was_taken_back_forgets_what_it_averaged():
    trainer = make_trainer(replace(CONFIG, average=0.1))
    while trainer.step_number < 57:
        trainer.step()
    trainer.step_number = 30
    trainer.step()
    assert trainer.mean.count == 0
