"""What hardly shows in any photo is taken out; what one photo alone shows, or little of each, is not."""

from dataclasses import replace

import pytest
import torch
from optimize.test_trainer import CONFIG, everything, make_trainer
from render.scenes import cameras, raw_scene

from splatdeblur.optimize import idle
from splatdeblur.optimize.idle import IDLE_AT, _poses, take_out_idle, weights
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


def test_pixels_that_do_not_count_tell_nothing():
    scene = Gaussians.from_raw(*(value.float() for value in raw_scene(40).values()))
    camera, keep = cameras(64, 48).to(dtype=torch.float32), torch.zeros(48, 64, dtype=torch.bool)
    assert not weights(scene, CpuRasterizer(), camera, RenderOptions(), keep).any()
    keep[:, :32] = True
    left = weights(scene, CpuRasterizer(), camera, RenderOptions(), keep).sum()
    alpha = CpuRasterizer().render(scene, camera).alpha[0]
    assert left.item() == pytest.approx(alpha[:, :32].sum().item(), rel=1e-4)


def placed(trainer, index, viewmat, depth, opacity, *, across=0.0, size=0.01):
    """Puts a Gaussian before a camera, `across` to the right of its middle in units of the depth."""
    with torch.no_grad():
        there = torch.tensor([across * depth, 0.0, depth, 1.0])
        trainer.scene.params["means"][index] = (torch.linalg.inv(viewmat) @ there)[:3]
        trainer.scene.params["opacities"][index] = torch.tensor(opacity).logit()
        trainer.scene.params["scales"][index] = torch.tensor(size).log()


def taken_out(trainer, count, take_out=take_out_idle):
    """Which of the first `count` Gaussians go."""
    marks, before = trainer.scene.params["means"][:count].detach().clone(), len(trainer.scene)
    said = take_out(trainer)
    left = trainer.scene.params["means"]
    assert said.startswith(f"{before - len(left)} of {before} ")
    return [not bool((left == mark).all(-1).any()) for mark in marks]


@pytest.fixture
def begun():
    trainer = make_trainer(LONG)
    for _ in range(24):
        trainer.step()
    return trainer


def test_the_hidden_and_the_faint_go_and_what_one_photo_shows_stays(begun):
    camera = begun.photos.cameras[-1].viewmats
    placed(begun, 0, camera[0], depth=-50.0, opacity=0.9)  # behind all cameras
    placed(begun, 1, camera[0], depth=0.5, opacity=1e-3)  # too faint to be drawn
    placed(begun, 2, camera[3], depth=0.1, opacity=0.9, size=1e-3)  # so near that hardly another has it in view
    photos, count = range(len(begun.photos)), len(begun.scene)
    with torch.no_grad():
        before = [begun.predict(-1, frame) for frame in photos]
        assert taken_out(begun, 3) == [True, True, False]
        after = [begun.predict(-1, frame) for frame in photos]
    assert 2 < count - len(begun.scene) < count / 2
    for one, other in zip(before, after, strict=True):
        assert (one - other).abs().mean() < 0.004
    for name, parameter in begun.scene.params.items():
        (kept,) = begun.optimizers[name].param_groups[0]["params"]
        assert kept is parameter
        assert begun.optimizers[name].state[parameter]["exp_avg"].shape == parameter.shape
    begun.step()


def test_what_stands_behind_something_goes(begun):
    camera = begun.photos.cameras[-1].viewmats
    for frame in range(len(camera)):
        placed(begun, 2 + frame, camera[frame], depth=0.05, opacity=0.998, size=1.0)  # a wall before every photo
        placed(begun, 10 + frame, camera[frame], depth=0.06, opacity=0.998, size=1.0)
    placed(begun, 0, camera[0], depth=2.0, opacity=0.9, size=0.05)
    assert taken_out(begun, 1) == [True]


@pytest.mark.parametrize("turns_by", [0.0, 0.1])
def test_what_only_the_end_of_a_path_shows_counts(begun, turns_by):
    camera, points = begun.photos.cameras[-1], begun.exposure.motion.control_points[0]
    focal_px = camera.Ks[0, 0, 0].item()
    with torch.no_grad():
        points.copy_(torch.linspace(-1, 1, len(points))[:, None] * torch.tensor([0, 0, 0, 0, turns_by, 0]))
    beside = (camera.width / 2 + 3) / focal_px
    placed(begun, 0, begun.exposure.sharp_viewmat(0).detach(), 2.0, 0.99, across=beside, size=1e-3)
    seen = weights(
        begun.scene, begun.rasterizer, camera.at(0).with_viewmats(_poses(begun, 0, focal_px)), RenderOptions()
    )
    assert bool(seen[0] > 0) == bool(turns_by)


def test_a_training_does_so_at_its_moments_and_splits_again():
    trainer, counts = make_trainer(LONG), {}
    for event in trainer.run():
        counts[event.step] = (event.num_gaussians, trainer.done["idles"])
    assert trainer.done["idles"] == len(IDLE_AT)
    dropped = 0
    for number, progress in enumerate(IDLE_AT):
        at = round(progress * LONG.steps)
        assert (counts[at][1], counts[at + 1][1]) == (number, number + 1)
        dropped += counts[at + 1][0] < counts[at][0]
    assert dropped > 0
    assert counts[LONG.steps][0] > 0.95 * LONG.gaussians


@pytest.mark.parametrize(
    "config, is_done",
    [
        (LONG, True),
        (replace(LONG, steps=110), False),  # too many photos to look at
        (replace(LONG, crop_pixels=1000), False),  # too large ones
        (replace(LONG, density=replace(LONG.density, idle=0.0)), False),
        (replace(LONG, density=replace(LONG.density, stop=0.19)), False),
    ],
)
def test_not_where_it_is_dear_or_not_asked_for(config, is_done, monkeypatch):
    done = []
    monkeypatch.setattr(idle, "remove", lambda *_: done.append(True))
    list(make_trainer(config).run())
    assert len(done) == (len(IDLE_AT) if is_done else 0)


def test_a_training_that_goes_on_does_not_do_it_twice():
    trainer = make_trainer(LONG)
    while trainer.done["idles"] < 2:
        trainer.step()
    other = make_trainer(LONG)
    other.load_state(trainer.state())
    for _ in range(20):
        trainer.step()
        other.step()
    assert other.done["idles"] == trainer.done["idles"] >= 3
    assert torch.equal(everything(trainer), everything(other))
