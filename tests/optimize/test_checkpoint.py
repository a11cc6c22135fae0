"""Checkpoints are whole or not there, and only data; whatever is wrong with one is a sentence."""

import subprocess
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from optimize.test_trainer import CONFIG, make_trainer
from runs import make_run

from splatdeblur.config import config_from_plain
from splatdeblur.errors import FormatError
from splatdeblur.exposure import Bezier
from splatdeblur.optimize import checkpoint
from splatdeblur.result import load_result
from splatdeblur.run import Run


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The content of a checkpoint of six photos that can be read."""
    run = make_run(tmp_path_factory.mktemp("checkpoint"))
    assert len(load_result(run, "cpu").names) == 6
    return torch.load(run.checkpoint)


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


def without(key):
    return lambda content: content.pop(key)


def put(value, *keys):
    """Puts a value, or what a function makes of the one that is there, at the end of the keys."""

    def change(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value(content[keys[-1]]) if callable(value) else value

    return change


DAMAGE = {
    "an older version": (put(0, "version"), "has version 0, this program reads version 1; train again"),
    "a newer version": (put(2, "version"), "has version 2, this program reads version 1; update the program"),
    "no version": (without("version"), "has version None"),
    "a setting of tomorrow": (put(1, "settings", "train", "telepathy"), "telepathy does not exist.*; update the prog"),
    "a setting of another type": (put("many", "settings", "train", "steps"), "settings of another version"),
    "settings that are none": (put([1], "settings"), "settings of another version"),
    "training settings that are none": (put(7, "settings", "train"), "damaged"),
    "no cameras": (without("viewmats"), "lacks 'viewmats'"),
    "cameras that are none": (put("here", "viewmats"), "damaged"),
    "a camera too few": (put(lambda tensor: tensor[1:], "viewmats"), r"viewmats has the shape \(5, 4, 4\); need \(6,"),
    "lenses of another kind": (put(lambda tensor: tensor[:, :2], "Ks"), r"Ks has the shape \(6, 2, 3\)"),
    "no state": (without("state"), "lacks 'state'"),
    "a state that is none": (put(3, "state"), "damaged"),
    "no scene": (put({}, "state", "scene"), "lacks 'means'"),
    "Gaussians without colour": (put(lambda tensor: tensor[1:], "state", "scene", "sh0"), "sh0 has the shape"),
    "flat means": (put(lambda tensor: tensor[:, :2], "state", "scene", "means"), "means has the shape"),
    "half a harmonic": (put(lambda tensor: tensor[:, :, :2], "state", "scene", "shN"), "shN has the shape"),
    "NaN": (put(float("nan"), "state", "scene", "opacities", 3), "hold.* NaN or infinity"),
    "no exposures": (put({}, "state", "exposure"), "damaged"),
    "a path cut short": (put(lambda tensor: tensor[:2], "state", "exposure", "motion.control_points.0"), "damaged"),
    "no optimizers": (lambda content: content["state"].pop("optimizers"), "lacks optimizers"),
}


def test_curves_of_an_older_rolling_shutter_run_where_they_did(sound, tmp_path):
    run, content = Run(tmp_path), deepcopy(sound)
    run.checkpoint.parent.mkdir()
    content["settings"]["train"]["shutter"]["readout"] = 1.0
    torch.save(content, run.checkpoint)
    loaded = checkpoint.load(run.checkpoint)
    config = config_from_plain(content["settings"]).train
    exposure = loaded.exposure(config)
    global_shutter = loaded.exposure(replace(config, shutter=replace(config.shutter, readout=0.0)))
    times = torch.linspace(0, 1, 7)
    for frame in range(6):
        assert [len(e.motion.control_points[frame]) for e in (exposure, global_shutter)] == [6, 4]
        torch.testing.assert_close(exposure.motion(frame, times), global_shutter.motion(frame, times))


@pytest.mark.parametrize("grows_from", [0, 2])
def test_an_older_training_with_a_rolling_shutter_goes_on(grows_from):
    config = replace(CONFIG, motion=Bezier(order=3, grows_from=grows_from))
    old = make_trainer(config)
    for _ in range(12):
        old.step()
    trainer = make_trainer(replace(config, shutter=replace(config.shutter, readout=1.0)))
    trainer.load_state(old.state())
    times = torch.linspace(0, 1, 7)
    for frame in range(6):
        torch.testing.assert_close(trainer.exposure.motion(frame, times), old.exposure.motion(frame, times))
    for _ in range(12):
        trainer.step()
    assert trainer.step_number == 24


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_checkpoint_that_is_not_sound_is_a_sentence(sound, tmp_path, kind):
    damage, message = DAMAGE[kind]
    run, content = Run(tmp_path), deepcopy(sound)
    run.checkpoint.parent.mkdir()
    damage(content)
    torch.save(content, run.checkpoint)
    with pytest.raises(FormatError, match=message) as caught:
        load_result(run, "cpu")
    assert str(run.checkpoint) in str(caught.value)
