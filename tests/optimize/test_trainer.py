"""Training on a small traced capture: it learns, resumes bit for bit, and notices when it goes wrong."""

import subprocess
from dataclasses import replace
from functools import lru_cache
from math import isfinite

import pytest
import synthetic
import torch

from splatdeblur.config import load_preset, presets
from splatdeblur.errors import FormatError, TrainingError
from splatdeblur.exposure import Bezier, PixelWeights, Shutter, Static, Tone, Widened
from splatdeblur.geometry import Cameras
from splatdeblur.optimize import Looks, PhotoSet, TrainConfig, Trainer, checkpoint, initial_scene
from splatdeblur.optimize.density import MCMC, Default, relocation
from splatdeblur.optimize.losses import Loss
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


@pytest.mark.parametrize("density", [CONFIG.density, MCMC(every=10, start=0.05)])
def test_resuming_equals_an_uninterrupted_run_bit_for_bit(density, tmp_path):
    config = replace(CONFIG, density=density)
    straight = make_trainer(config)
    for _ in straight.run():
        pass
    first = make_trainer(config)
    for _ in range(33):
        first.step()
    checkpoint.save(first, tmp_path / "latest.pt", {})
    second = make_trainer(config)
    second.load_state(checkpoint.load(tmp_path / "latest.pt").state)
    for _ in second.run():
        pass
    assert torch.equal(everything(second), everything(straight))


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
    trainer = make_trainer(replace(CONFIG, noise=0.1), blur_px=(0.0, 3.0, 3.0, 3.0, 3.0, 1000.0))
    list(trainer.run())
    paths = trainer.exposure.motion.path_px(trainer.photos.cameras[-1].Ks[0, 0, 0].item())
    little = 64 / 400
    assert paths[0] <= little + 1e-3
    assert (paths[1:5] <= 2 * 3.0 + little + 1e-3).all() and paths[1:5].max() > little
    assert paths[5] > 2 * 3.0 + little


def test_a_path_longer_than_the_blur_shown_is_charged_and_a_shorter_one_is_free():
    def paths(loss):
        trainer = make_trainer(replace(CONFIG, noise=0.01, max_path=0.0, loss=loss), blur_px=(0.0,) * 3 + (1000.0,) * 3)
        list(trainer.run())
        return trainer.exposure.motion.path_px(trainer.photos.cameras[-1].Ks[0, 0, 0].item())

    free, charged = paths(Loss(path=0.0)), paths(Loss(path=0.1))
    assert (charged[:3] < 0.7 * free[:3]).all()
    assert charged[3:].mean() > 0.7 * free[3:].mean()


def test_the_budget_of_gaussians_is_kept_and_used():
    trainer = make_trainer()
    counts = [event.num_gaussians for event in trainer.run()]
    assert max(counts) <= 600
    assert max(counts) > 500


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


def test_a_checkpoint_cut_short_is_named_and_says_what_to_do(tmp_path):
    path = tmp_path / "latest.pt"
    checkpoint.save(make_trainer(), path, {})
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError, match="cut short"):
            checkpoint.load(path)


def test_a_checkpoint_runs_no_code_of_its_own(tmp_path):
    class Evil:
        def __reduce__(self):
            return subprocess.run, (["touch", str(tmp_path / "harm")],)

    torch.save({"version": 1, "state": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(FormatError):
        checkpoint.load(tmp_path / "evil.pt")
    assert not (tmp_path / "harm").exists()


def test_a_full_disk_leaves_the_old_checkpoint_whole(tmp_path, monkeypatch):
    path = tmp_path / "latest.pt"
    trainer = make_trainer()
    checkpoint.save(trainer, path, {})
    before = path.read_bytes()

    def full(content, target):
        target.write_bytes(b"half of it")
        raise RuntimeError("PytorchStreamWriter failed writing file: No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(trainer, path, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


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


def test_the_cameras_own_settings_are_learned_and_resume_bit_for_bit(tmp_path):
    shutter, tone = replace(CONFIG.shutter, learns_readout=True), Tone(response_pieces=4, learns_vignetting=True)
    config = replace(CONFIG, steps=30, shutter=shutter, tone=tone, crop_pixels=1500)
    straight = make_trainer(config)
    shared = [*straight.exposure.shutter.shared_parameters(), *straight.exposure.tone.shared_parameters()]
    before = [p.detach().clone() for p in shared]
    for _ in straight.run():
        pass
    assert len(shared) == 3 and all((a != b).any() for a, b in zip(shared, before, strict=True))
    first, second = make_trainer(config), make_trainer(config)
    for _ in range(17):
        first.step()
    checkpoint.save(first, tmp_path / "latest.pt", {})
    second.load_state(checkpoint.load(tmp_path / "latest.pt").state)
    for _ in second.run():
        pass
    torch.testing.assert_close(everything(second), everything(straight), atol=0, rtol=0)


def test_networks_are_learned_and_resume_bit_for_bit(tmp_path):
    shutter = replace(CONFIG.shutter, max_subframes=3, spacing_px=0.0, weights=PixelWeights())
    config = replace(CONFIG, steps=24, sight=Widened(copies=1), motion=Bezier(order=2, bends=True), shutter=shutter)
    straight = make_trainer(config)
    before = [p.detach().clone() for p in straight.exposure.networks()]
    list(straight.run())
    changed = [(a != b).any() for a, b in zip(straight.exposure.networks(), before, strict=True)]
    assert all(changed[:10]) and any(changed[10:])
    first, second = make_trainer(config), make_trainer(config)
    for _ in range(13):
        first.step()
    checkpoint.save(first, tmp_path / "latest.pt", {})
    saved = checkpoint.load(tmp_path / "latest.pt")
    second.load_state(saved.state)
    list(second.run())
    torch.testing.assert_close(everything(second), everything(straight), atol=0, rtol=0)
    read, kept = saved.exposure(config).state_dict(), first.exposure.state_dict()
    assert read.keys() == kept.keys() and all(torch.equal(read[key], kept[key]) for key in kept)


def test_noisy_photos_are_noticed_and_clean_ones_are_trained_as_ever():
    clean = make_trainer()
    assert all(noise is None for noise in clean.noise)
    photos = clean.photos
    generator = torch.Generator().manual_seed(0)
    grainy = tuple(
        tuple((p + 0.08 * torch.randn(p.shape, generator=generator)).clamp(0, 1) for p in level)
        for level in photos.pictures
    )
    noisy = Trainer(replace(photos, pictures=grainy), clean.scene, CONFIG, CpuRasterizer())
    assert noisy.noise[-1].level == pytest.approx(0.08, rel=0.25)
    assert isfinite(noisy.step().loss)
