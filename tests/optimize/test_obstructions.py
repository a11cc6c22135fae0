"""What stands before all that a photo shows goes, if that photo does not miss it."""

from dataclasses import replace

import pytest
import torch
from optimize import test_idle
from optimize.test_idle import placed
from optimize.test_trainer import CONFIG, everything, make_trainer

from splatdeblur.geometry import Cameras
from splatdeblur.optimize import nearest_depths
from splatdeblur.optimize.density import MCMC
from splatdeblur.optimize.initial import seen_from
from splatdeblur.optimize.obstructions import (
    NEARER,
    NOT_LOOKED,
    OBSTRUCTIONS_AT,
    obstructions,
    take_out_obstructions,
)
from splatdeblur.optimize.occasions import OCCASIONS

LONG = replace(CONFIG, steps=120)
NEAREST = 1.0  # to all cameras, as told by structure from motion


def camera_at_origin(width=40, height=20):
    K = torch.tensor([[20.0, 0, width / 2], [0, 20.0, height / 2], [0, 0, 1]])
    return Cameras(torch.eye(4)[None], K[None], width, height)


def test_the_nearest_is_of_points_in_view_and_no_single_one():
    depths = torch.linspace(2, 12, 201)
    ahead = torch.stack([torch.zeros(201), torch.zeros(201), depths], dim=-1)
    beside = torch.tensor([[1.1, 0, 1], [0, 0.6, 1], [-1.1, 0, 1], [0, -0.6, 1], [0, 0, -1]]).repeat(20, 1)
    assert nearest_depths(camera_at_origin(), torch.cat([beside, ahead])) == (pytest.approx(depths[9].item()),)
    edges = torch.tensor([[0.9, 0, 1], [0, 0.4, 1], [-0.9, 0, 1], [0, -0.4, 1]]).repeat(5, 1)
    assert nearest_depths(camera_at_origin(), torch.cat([edges, ahead])) == (1.0,)


def test_of_few_points_it_is_the_second_and_a_handful_tell_nothing():
    points = torch.stack([torch.zeros(40), torch.zeros(40), torch.arange(1.0, 41)], dim=-1)
    assert nearest_depths(camera_at_origin(), points) == (2.0,)
    assert nearest_depths(camera_at_origin(), points[1:]) == (0.0,)
    assert nearest_depths(camera_at_origin(), torch.zeros(0, 3)) == (0.0,)


@pytest.fixture
def begun():
    """A trainer with nothing near its cameras."""
    trainer = make_trainer(LONG)
    for _ in range(24):
        trainer.step()
    with torch.no_grad():  # what is nearer than that moves behind its camera
        for viewmat in trainer.photos.cameras[-1].viewmats:
            depths = trainer.scene.means @ viewmat[2, :3] + viewmat[2, 3]
            trainer.scene.params["means"] -= 10 * viewmat[2, :3] * (depths.abs() < NEAREST)[:, None]
    trainer.photos = replace(trainer.photos, nearest=(NEAREST,) * len(trainer.photos))
    return trainer


def taken_out(trainer, count):
    """Which of the first `count` Gaussians go."""
    return test_idle.taken_out(trainer, count, take_out_obstructions)


def shown_as_it_is(trainer, frames):
    """Makes these photos what the training predicts."""
    finest = [
        trainer.predict(-1, i, 2).clamp(0, 1) if i in frames else picture
        for i, picture in enumerate(trainer.photos.pictures[-1])
    ]
    trainer.photos = replace(trainer.photos, pictures=(*trainer.photos.pictures[:-1], tuple(finest)))


@torch.no_grad()
def test_what_a_photo_does_not_show_goes_though_others_miss_it(begun):
    cameras = begun.photos.cameras[-1].viewmats
    begun.photos = replace(begun.photos, nearest=(NEAREST, *[0.0] * 5))
    near = NEARER * NEAREST - 0.1
    placed(begun, 0, begun.exposure.sharp_viewmat(0), near, 0.9)
    sheet = begun.scene.params
    sheet["scales"][0] = torch.tensor([0.3, 0.3, 1e-4]).log()  # without thickness ...
    across = cameras[0, 0, :3]
    axis = torch.linalg.cross(torch.tensor([0.0, 0, 1]), across)
    turn = torch.cat([1 + across[2:], axis])
    sheet["quats"][0] = turn / turn.norm()  # ... and edge-on in photo 0
    before = begun.predict(-1, 0)
    with_it = [begun.predict(-1, frame) for frame in range(6)]
    shown_as_it_is(begun, range(1, 6))
    count = len(begun.scene)
    assert taken_out(begun, 1) == [True] and len(begun.scene) == count - 1
    assert (begun.predict(-1, 0) - before).abs().mean() < 0.01
    assert max((begun.predict(-1, i) - with_it[i]).abs().mean() for i in range(1, 6)) > 0.02
    for name, parameter in begun.scene.params.items():
        assert begun.optimizers[name].param_groups[0]["params"][0] is parameter


@torch.no_grad()
def test_what_a_photo_shows_near_stays(begun):
    begun.photos = replace(begun.photos, nearest=(NEAREST, *[0.0] * 5))
    placed(begun, 0, begun.exposure.sharp_viewmat(0), NEARER * NEAREST - 0.1, 0.9, size=0.1)
    placed(begun, 1, begun.exposure.sharp_viewmat(0), NEARER * NEAREST - 0.2, 1e-3)  # which nobody sees
    shown_as_it_is(begun, [0])
    opacities = begun.scene.params["opacities"].clone()
    assert taken_out(begun, 2) == [False, False]  # all of them or none: what hides behind is no less real
    assert torch.equal(begun.scene.params["opacities"], opacities)


@torch.no_grad()
@pytest.mark.parametrize(
    "depth, across, nearest, goes",
    [
        (NEARER - 0.1, 0.0, 1.0, True),
        (NEARER + 0.1, 0.0, 1.0, False),  # not nearer than what is shown
        (NEARER - 0.1, 9.0, 1.0, False),  # out of view
        (-NEARER, 0.0, 1.0, False),  # behind the camera
        (NEARER - 0.1, 0.0, 0.0, False),  # nothing tells how near things are
    ],
)
def test_only_what_is_in_view_and_nearer_than_all(begun, depth, across, nearest, goes):
    begun.photos = replace(begun.photos, nearest=(nearest, *[0.0] * 5))
    placed(begun, 0, begun.exposure.sharp_viewmat(0), depth, 1e-3, across=across)
    assert taken_out(begun, 1) == [goes]


@torch.no_grad()
@pytest.mark.parametrize("is_masked", [False, True])
def test_what_a_mask_covers_does_not_stand_in_the_way(begun, is_masked):
    begun.photos = replace(begun.photos, nearest=(NEAREST, *[0.0] * 5))
    placed(begun, 0, begun.exposure.sharp_viewmat(0), NEARER * NEAREST - 0.1, 1e-3, across=0.3)
    keep = torch.ones(48, 64, dtype=torch.bool)
    keep[:, 48:] = not is_masked  # the point is at 0.3 of the depth, right of the middle
    assert obstructions(begun, 0)[0] and 48 < place_of(begun, 0, 0) < 64
    keeps = (*begun.photos.keeps[:-1], (keep, *begun.photos.keeps[-1][1:]))
    begun.photos = replace(begun.photos, keeps=keeps)
    assert taken_out(begun, 1) == [not is_masked]
    begun.photos = replace(begun.photos, keeps=(*keeps[:-1], (torch.zeros_like(keep), *keeps[-1][1:])))
    assert not obstructions(begun, 0).any()


def place_of(trainer, frame, index):
    """Column at which a photo shows a Gaussian."""
    camera = trainer.photos.cameras[-1].at(frame).with_viewmats(trainer.exposure.sharp_viewmat(frame)[None])
    return seen_from(camera, trainer.scene.means)[1][index, 0].item()


def instead(monkeypatch, do):
    """Has trainings do that at the moments of obstructions."""
    monkeypatch.setitem(OCCASIONS, "unblocked", replace(OCCASIONS["unblocked"], do=do))


NOISY = replace(LONG, loss=replace(LONG.loss, noise_from=-1.0))  # any noise is loud


@pytest.mark.parametrize(
    "config, nearest, moments",
    [
        (LONG, NEAREST, OBSTRUCTIONS_AT),
        (replace(LONG, density=replace(LONG.density, stop=0.7)), NEAREST, OBSTRUCTIONS_AT[1:]),  # it would grow again
        (replace(LONG, average=0.3), NEAREST, OBSTRUCTIONS_AT[:1]),  # what counts in a mean cannot go
        (replace(LONG, unblocks=False), NEAREST, ()),
        (replace(LONG, density=MCMC()), NEAREST, ()),
        (LONG, 0.0, ()),
        (NOISY, NEAREST, ()),
    ],
)
def test_when_it_is_done(config, nearest, moments, monkeypatch):
    done = []
    instead(monkeypatch, lambda trainer: done.append(trainer.progress) or "")
    trainer = make_trainer(config)
    trainer.photos = replace(trainer.photos, nearest=(nearest,) * 6)
    list(trainer.run())
    assert done == pytest.approx(moments, abs=1 / LONG.steps)


def test_not_where_looking_takes_long_beside_the_training(begun):
    before = len(begun.scene)
    begun.photos = replace(begun.photos, nearest=(10.0,) * 6)
    begun.config = replace(begun.config, steps=39)  # six photos are more than 0.15 of that
    assert take_out_obstructions(begun) == NOT_LOOKED and len(begun.scene) == before
    begun.config = LONG
    assert take_out_obstructions(begun) != NOT_LOOKED


def test_a_training_that_goes_on_does_not_do_it_twice(monkeypatch):
    trainer, other, done = make_trainer(LONG), make_trainer(LONG), []

    def note(trainer):
        done.append(trainer)
        return take_out_obstructions(trainer)

    instead(monkeypatch, note)
    for each in (trainer, other):
        each.photos = replace(each.photos, nearest=(NEAREST,) * 6)
    while trainer.done["unblocked"] < 1:
        trainer.step()
    other.load_state(trainer.state())
    for each in (trainer, other):
        placed(each, 0, each.exposure.sharp_viewmat(0), NEARER * NEAREST - 0.1, 1e-3)
    counts = [len(each.scene) for each in (trainer, other)]
    for _ in range(30):
        trainer.step()
        other.step()
    assert done == [trainer, trainer, other]
    assert [len(each.scene) for each in (trainer, other)] < counts
    assert torch.equal(everything(trainer), everything(other))
