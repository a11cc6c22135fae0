"""What hardly shows in any photo is taken out; what one photo alone shows, or little of each, is not."""

from dataclasses import replace

import pytest
import torch
from optimize.test_trainer import CONFIG, everything, make_trainer
from render.scenes import cameras, raw_scene

from splatdeblur.optimize.idle import IDLE_AT, can_take_out, take_out_idle, weights
from splatdeblur.render import RenderOptions
from splatdeblur.render.cpu import CpuRasterizer
from splatdeblur.render.reference import ReferenceRasterizer
from splatdeblur.scene import Gaussians

LONG = replace(CONFIG, steps=120)  # six photos are a twentieth of that


@pytest.mark.parametrize("rasterizer", [CpuRasterizer(), ReferenceRasterizer()], ids=lambda r: r.name)
@pytest.mark.parametrize("is_antialiased", [False, True])
def test_weights_add_up_to_what_covers_the_picture(rasterizer, is_antialiased):
    dtype = torch.float64 if rasterizer.name == "reference" else torch.float32
    scene = Gaussians.from_raw(*(value.to(dtype) for value in raw_scene(40).values()))
    camera, options = cameras(64, 48).to(dtype=dtype), RenderOptions(is_antialiased)
    found = weights(scene, rasterizer, camera, options)
    drawn = rasterizer.render(scene, camera, options=options)
    assert found.sum().item() == pytest.approx(drawn.alpha.sum().item(), rel=1e-4)
    assert (found >= 0).all() and len(found) == len(scene)
    assert not any(parameter.grad is not None for parameter in scene.params.values())


def placed(trainer, index, frame, depth, opacity, size=0.01):
    """Moves a Gaussian before the middle of a photo."""
    with torch.no_grad():
        viewmat = trainer.photos.cameras[-1].viewmats[frame]
        there = torch.tensor([0.0, 0.0, depth, 1.0])
        trainer.scene.params["means"][index] = (torch.linalg.inv(viewmat) @ there)[:3]
        trainer.scene.params["opacities"][index] = torch.tensor(opacity).logit()
        trainer.scene.params["scales"][index] = torch.tensor(size).log()


def test_the_hidden_and_the_faint_go_and_what_one_photo_shows_stays():
    trainer = make_trainer(LONG)
    for _ in range(24):
        trainer.step()
    placed(trainer, 0, frame=0, depth=-50.0, opacity=0.9)  # behind all cameras
    placed(trainer, 1, frame=0, depth=0.5, opacity=1e-3)  # too faint to be drawn
    placed(trainer, 2, frame=3, depth=0.1, opacity=0.9, size=1e-3)  # so near that hardly another camera has it in view
    marks = trainer.scene.params["means"][:3].detach().clone()
    photos = range(len(trainer.photos))
    before, count = [trainer.predict(-1, frame) for frame in photos], len(trainer.scene)
    with torch.no_grad():
        said = take_out_idle(trainer)
        after = [trainer.predict(-1, frame) for frame in photos]
    left = trainer.scene.params["means"]
    stays = [bool((left == mark).all(-1).any()) for mark in marks]
    assert stays == [False, False, True]
    assert 2 < count - len(left) < count / 2
    assert said.startswith(f"{count - len(left)} of {count} ")
    for one, other in zip(before, after, strict=True):
        assert (one - other).abs().mean() < 0.004
    for name, parameter in trainer.scene.params.items():
        (kept,) = trainer.optimizers[name].param_groups[0]["params"]
        assert kept is parameter
        assert trainer.optimizers[name].state[parameter]["exp_avg"].shape == parameter.shape
    trainer.step()


def test_a_training_does_so_at_its_moments_and_splits_again():
    counts = {}
    trainer = make_trainer(LONG)
    for event in trainer.run():
        counts[event.step] = (event.num_gaussians, trainer.idles)
    assert trainer.idles == len(IDLE_AT)
    for number, progress in enumerate(IDLE_AT):
        at = round(progress * LONG.steps)
        assert (counts[at][1], counts[at + 1][1]) == (number, number + 1)
    assert counts[LONG.steps][0] > 0.95 * LONG.gaussians


@pytest.mark.parametrize(
    "config, is_done",
    [
        (LONG, True),
        (replace(LONG, steps=119), False),  # too many photos to look at
        (replace(LONG, density=replace(LONG.density, idle=0.0)), False),
    ],
)
def test_not_where_it_is_dear_or_not_asked_for(config, is_done):
    trainer = make_trainer(config)
    assert can_take_out(trainer) == is_done
    list(trainer.run())
    assert bool(trainer.idles) == is_done


def test_a_training_that_goes_on_does_not_do_it_twice():
    trainer = make_trainer(LONG)
    while trainer.idles < 2:
        trainer.step()
    other = make_trainer(LONG)
    other.load_state(trainer.state())
    for _ in range(20):
        trainer.step()
        other.step()
    assert other.idles == trainer.idles >= 3
    assert torch.equal(everything(trainer), everything(other))
