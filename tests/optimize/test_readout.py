"""The read-out is found at once, even where poses have turned to make up for a wrong one."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from optimize.test_trainer import CONFIG, make_trainer

from splatdeblur.exposure import Bezier, Shutter
from splatdeblur.optimize.readout import BEYOND, best_readout, move_readout, vertex

# Sideways with a little up and down, one way and the other.
PATH = torch.tensor([[-3, -0.5], [-1, 0.5], [1, -0.5], [3, 0.5]]) * 0.02


def settled(true: float):
    """A trainer whose photos were read out for `true` exposures, with the right paths in time, and its guess of 0.5."""
    shutter = Shutter(learns_readout=True)
    trainer = make_trainer(replace(CONFIG, motion=Bezier(order=3), shutter=shutter))
    exposure = trainer.exposure
    with torch.no_grad():
        for frame, points in enumerate(exposure.motion.control_points):
            points.copy_(torch.cat([points[:, :3], PATH * (-1) ** frame, points[:, 5:]], dim=1))
        exposure.motion.cover(1 + true)
        exposure.shutter.set_readout(true)
        photos = tuple(trainer.predict(-1, frame, 24).clamp(0, 1) for frame in range(6))
        exposure.shutter.set_readout(0.5)
        exposure.motion.cover(exposure.span.item())
    return trainer, photos


def asked(trainer, photos):
    focal_px = trainer.photos.cameras[-1].Ks[0, 0, 0].item()
    return trainer.exposure, photos, [None] * 6, partial(trainer.predict, -1), focal_px


@pytest.mark.parametrize("true", [0.02, 0.7])
def test_the_best_readout_is_the_true_one_and_asking_for_it_changes_nothing(true):
    trainer, photos = settled(true)
    before = {name: value.clone() for name, value in trainer.exposure.state_dict().items()}
    assert best_readout(*asked(trainer, photos)) == pytest.approx(true, abs=0.05)
    for name, value in trainer.exposure.state_dict().items():
        torch.testing.assert_close(value, before[name], msg=name)


def test_poses_that_turned_to_make_up_for_a_wrong_readout_do_not_hold_it():
    trainer, photos = settled(0.7)
    with torch.no_grad():
        for frame, delta in enumerate(trainer.exposure.motion.pose_deltas):
            delta[5] += 0.02 * (-1) ** frame  # half of the shear that the missing read-out leaves, as a turn
    assert best_readout(*asked(trainer, photos)) == pytest.approx(0.7, abs=0.1)


def test_the_readout_moves_towards_the_best_and_paths_stay_where_they_are_in_time():
    trainer, photos = settled(0.7)
    motion, times = trainer.exposure.motion, torch.linspace(0, 1, 5)
    before = motion(0, times, 1.5)
    move_readout(*asked(trainer, photos))
    assert trainer.exposure.shutter.readout.item() == pytest.approx(0.5 + BEYOND * 0.2, abs=0.08)
    assert motion.reach.item() == pytest.approx(trainer.exposure.span.item())
    torch.testing.assert_close(motion(0, times, 1.5), before, atol=1e-4, rtol=0)


def test_the_vertex_of_a_parabola_is_found_between_uneven_places():
    def parabola(x):
        return 3 * (x - 0.8) ** 2 + 1

    places = [0.0, 0.25, 0.5, 1.0, 2.0]
    assert vertex(places, [parabola(x) for x in places]) == pytest.approx(0.8)
    assert vertex(places, [5.0, 4.0, 3.0, 2.0, 1.0]) == 2.0
    assert vertex(places, [1.0, 2.0, 3.0, 4.0, 5.0]) == 0.0
