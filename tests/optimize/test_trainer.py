"""Training on a small traced capture: it learns, and keeps to its bounds."""

from dataclasses import replace
from functools import lru_cache
from math import isfinite

import pytest
import synthetic
import torch

from splatdeblur.config import load_preset, presets
from splatdeblur.exposure import Bezier, Shutter, Tone
from splatdeblur.geometry import Cameras
from splatdeblur.optimize import Looks, PhotoSet, TrainConfig, Trainer, initial_scene
from splatdeblur.optimize.density import Default, relocation
from splatdeblur.optimize.losses import Loss
from splatdeblur.optimize.optimizers import learning_rates
from splatdeblur.optimize.schedules import LearningRates, Resolution
from splatdeblur.render.cpu import CpuRasterizer

CONFIG = TrainConfig(
    steps=60, gaussians=600, motion=Bezier(order=3), shutter=Shutter(max_subframes=2), tone=Tone(learns_gain=True),
    density=Default(start=0.05, every=10, threshold=(1e-6, 1e-6)), rates=LearningRates(camera_start=0.1),
    resolution=Resolution((2, 1), (0.3,)),
)  # fmt: skip


@lru_cache
def capture():
    return synthetic.make_capture(synthetic.make_scene(0), photos=6, size=(64, 48), blur_px=(1, 4), subframes=8)


def make_trainer(config=CONFIG, blur_px=None):
    shots = capture()
    viewmats = torch.as_tensor(shots.viewmats).float()
    Ks = torch.as_tensor(shots.K).float().expand(len(viewmats), 3, 3)
    cameras = Cameras(viewmats, Ks, 64, 48)
    pictures = torch.as_tensor(shots.photos).float()
    names = tuple(f"{i:03d}.png" for i in range(len(viewmats)))
    photos = PhotoSet.build(names, cameras, pictures, config.resolution.levels)
    if blur_px:
        photos = replace(photos, looks=tuple(Looks(blur, blur) for blur in blur_px))
    scene = initial_scene(
        cameras, torch.as_tensor(shots.points).float(), torch.as_tensor(shots.point_colors).float(),
        count=300, sh_degree=1, generator=torch.Generator().manual_seed(config.seed),
    )  # fmt: skip
    return Trainer(photos, scene, config, CpuRasterizer())


def everything(trainer):
    """All numbers of a trainer's state but the clock, flat."""
    state = {k: v for k, v in trainer.state().items() if k != "seconds"}
    found = []

    def walk(value):
        if isinstance(value, dict):
            for key in sorted(value, key=str):
                walk(value[key])
        elif isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, torch.Tensor):
            found.append(value.double().flatten())
        elif isinstance(value, (int, float)):
            found.append(torch.tensor([float(value)], dtype=torch.float64))

    walk(state)
    return torch.cat(found)


def test_training_lowers_the_error_of_the_predicted_photos():
    trainer = make_trainer(replace(CONFIG, steps=200))
    events = list(trainer.run())
    first, last = (sum(e.psnr for e in part) / len(part) for part in (events[:20], events[-20:]))
    assert last > first + 3
    assert events[-1].progress == 1 and events[-1].seconds_left == 0


@pytest.mark.parametrize("name", presets())
def test_every_preset_trains(name):
    trainer = make_trainer(replace(load_preset(name).train, steps=24, gaussians=600))
    networks = [p.detach().clone() for p in trainer.exposure.networks()]
    events = list(trainer.run())
    moved = trainer.exposure.motion.path_px(50.0).max()
    assert not networks or any(map(torch.ne, map(torch.sum, networks), map(torch.sum, trainer.exposure.networks())))
    assert events[-1].psnr > 8 and not any(event.note for event in events)
    assert (moved > 0.05) == trainer.exposure.has_motion
    assert {e.num_subframes for e in events} <= set(range(1, trainer.config.shutter.max_subframes + 1))


def test_paths_are_held_to_the_blur_that_photos_show():
    trainer = make_trainer(replace(CONFIG, noise=0.1, max_path=2.0), blur_px=(0.0, 3.0, 3.0, 3.0, 3.0, 1000.0))
    list(trainer.run())
    paths = trainer.exposure.motion.path_px(trainer.photos.cameras[-1].Ks[0, 0, 0].item())
    little = 64 / 400
    assert paths[0] <= little + 1e-3
    assert (paths[1:5] <= 2 * 3.0 + little + 1e-3).all() and paths[1:5].max() > little
    assert paths[5] > 2 * 3.0 + little


def test_a_path_much_longer_than_the_blur_shown_is_charged_and_a_shorter_one_is_free():
    def paths(loss):
        trainer = make_trainer(replace(CONFIG, noise=0.01, max_path=0.0, loss=loss), blur_px=(0.0,) * 3 + (1000.0,) * 3)
        list(trainer.run())
        return trainer.exposure.motion.path_px(trainer.photos.cameras[-1].Ks[0, 0, 0].item())

    free, charged = paths(Loss(path=0.0)), paths(Loss(path=0.1))
    assert (charged[:3] < 0.7 * free[:3]).all()
    assert charged[3:].mean() > 0.7 * free[3:].mean()


def test_a_path_is_free_up_to_some_times_the_blur_shown():
    def first_loss(**charges):
        config = replace(CONFIG, noise=0.01, max_path=0.0, loss=Loss(path_ramp=(0.0, 0.0), **charges))
        return make_trainer(config, blur_px=(1.0,) * 6).step().loss

    uncharged = first_loss(path=0.0)
    assert first_loss(path=0.1, path_free=100.0) == uncharged
    assert first_loss(path=0.1, path_free=0.0) > uncharged + 0.01


def test_the_budget_of_gaussians_is_kept_and_used():
    trainer = make_trainer()
    counts = [event.num_gaussians for event in trainer.run()]
    assert max(counts) <= 600
    assert max(counts) > 500


@pytest.mark.parametrize(
    ("photos", "pixels", "gaussians"),
    [(20, 192 * 128, 40_960), (100, 100 * 75, 15_000), (26, 240 * 160, 60_000), (97, 400 * 300, 60_000),
     (97, 440 * 330, 72_600), (97, 4000 * 3000, 100_000), (3, 10, 1000)],
)  # fmt: skip
def test_the_budget_is_what_the_photos_can_tell_unless_told(photos, pixels, gaussians):
    assert TrainConfig().budget(photos, pixels) == gaussians
    assert TrainConfig(abundance=0.5).budget(photos, pixels) == max(1000, gaussians // 2)
    assert TrainConfig(gaussians=50).budget(photos, pixels) == 50


def test_a_training_shorter_than_its_refinements_are_apart_still_refines():
    trainer = make_trainer(replace(CONFIG, steps=150, density=replace(CONFIG.density, every=1000, idle=0.0)))
    assert max(event.num_gaussians for event in trainer.run()) > 500


@pytest.mark.parametrize(("photos", "steps"), [(3, 6000), (60, 6000), (67, 6700), (2000, 7000)])
def test_the_training_is_as_long_as_its_photos_need_unless_told(photos, steps):
    assert TrainConfig().length(photos) == steps
    assert TrainConfig(steps=50).length(photos) == 50


def test_the_global_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    for _ in make_trainer(replace(CONFIG, steps=25)).run():
        pass
    assert torch.equal(torch.rand(3), expected)


def test_the_clock_squeezes_the_schedule():
    trainer = make_trainer(replace(CONFIG, steps=10**6, time_limit=1.5))
    events = list(trainer.run())
    assert events[-1].seconds < 6
    assert events[-1].progress == 1
    start, end = CONFIG.rates.means
    assert trainer.learning_rates(trainer.progress)["means"] == pytest.approx(end * trainer.scene_scale)
    assert end < start


def test_what_is_left_unexplained_is_the_same_whenever_it_is_asked():
    trainer = make_trainer(replace(CONFIG, steps=20))
    for _ in trainer.run():
        pass
    before = everything(trainer)
    first = [trainer.residual(frame) for frame in range(6)]
    assert [trainer.residual(frame) for frame in range(6)] == first and min(first) > 0
    assert torch.equal(everything(trainer), before)


def test_relocated_copies_look_like_the_gaussian_they_replace():
    binoms = torch.tensor([[1.0 if k == 0 else 0.0 for k in range(51)]] + [[0.0] * 51] * 50, dtype=torch.float64)
    for n in range(1, 51):
        for k in range(n + 1):
            binoms[n, k] = binoms[n - 1, k] + (binoms[n - 1, k - 1] if k else 0)
    opacity = torch.tensor([0.3, 0.7, 0.9], dtype=torch.float64)
    scales = torch.rand(3, 3, dtype=torch.float64)
    for copies in (1, 2, 5):
        new_opacity, new_scales = relocation(opacity, scales, torch.full((3,), copies), binoms)
        torch.testing.assert_close(1 - (1 - new_opacity) ** copies, opacity)
        # The centre line integral of the stack of copies equals that of the original.
        ratio = new_scales / scales
        x = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None]
        stack = 1 - (1 - new_opacity * torch.exp(-(x / ratio[:, 0]) ** 2 / 2)) ** copies
        torch.testing.assert_close(stack.sum(0), (opacity * torch.exp(-(x**2) / 2)).sum(0), rtol=1e-6, atol=0)


def test_noisy_photos_are_noticed_and_clean_ones_are_trained_as_ever():
    clean = make_trainer()
    assert not any(noise.is_loud(clean.config.loss) for noise in clean.noise if noise is not None)
    photos = clean.photos
    generator = torch.Generator().manual_seed(0)
    grainy = tuple(
        tuple((p + 0.08 * torch.randn(p.shape, generator=generator)).clamp(0, 1) for p in level)
        for level in photos.pictures
    )
    noisy = Trainer(replace(photos, pictures=grainy), clean.scene, CONFIG, CpuRasterizer())
    assert noisy.noise[-1].level == pytest.approx(0.08, rel=0.25)
    assert isfinite(noisy.step().loss)


def test_found_poses_may_be_left_where_they_are():
    config = TrainConfig(rates=LearningRates(pose=(0.0, 0.0), trajectory=(0.0, 0.0)))
    rates = learning_rates(config.rates, 0.5, 1.0)
    assert rates["pose"] == rates["trajectory"] == 0 and rates["motion"] > 0
