"""What training is given: the photos that are not left out, and how blurred each of them looks."""

import contextlib
import json
from dataclasses import replace

import numpy as np
import pytest
import synthetic
import torch
from blurring import shapes, streaked

from splatdeblur import pipeline, starting
from splatdeblur.capture.choices import Choices, Use
from splatdeblur.errors import CaptureError
from splatdeblur.exposure import Lens, PixelWeights, Shutter, Static
from splatdeblur.geometry import log
from splatdeblur.optimize import Looks, TrainConfig, checkpoint
from splatdeblur.optimize.occasions import passed_before
from splatdeblur.run import Run


def choose(run, **uses):
    choices = Choices.load(run.choices)
    for name, use in uses.items():
        choices = choices.with_use(f"{name[1:]}.png", use)
    choices.save(run.choices)


def train(run, config, stop_after=None):
    """Trains; the steps that were done."""
    steps = []

    def listen(event):
        steps.append(event)
        if stop_after is not None and len(steps) == stop_after:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        pipeline.train(run, config, listen)
    return steps


def others(run):
    return sorted(p.name for p in run.checkpoint.parent.glob("other-*.pt"))


@pytest.mark.parametrize("is_told", [True, False])
def test_a_finished_training_goes_on_from_its_half_without_a_photo_left_out(
    run_copy, small_config, monkeypatch, is_told
):
    if not is_told:  # how long a training is may follow from its photos
        small_config = replace(small_config, train=replace(small_config.train, steps=0))
        monkeypatch.setattr(TrainConfig, "length", lambda *_: 60)
        run_copy.checkpoint.unlink()
        train(run_copy, small_config)
    before = checkpoint.load(run_copy.checkpoint)
    choose(run_copy, _002=Use.LEFT_OUT)
    steps = train(run_copy, small_config)
    assert [event.step for event in steps] == list(range(31, 61))
    assert "002.png" not in {event.photo for event in steps}
    after = checkpoint.load(run_copy.checkpoint)
    assert after.names == tuple(name for name in before.names if name != "002.png")
    assert others(run_copy) == []
    assert train(run_copy, small_config) == []


def test_forgetting_photos_keeps_what_was_learned_of_the_others(run_copy, small_config):
    old = checkpoint.load(run_copy.checkpoint)
    choose(run_copy, _000=Use.LEFT_OUT, _003=Use.LEFT_OUT)
    trainer = pipeline.make_trainer(run_copy, small_config)
    trainer.load_state(old.without({"000.png", "003.png"}, steps=60).state)
    for new, name in enumerate(trainer.photos.names):
        index = old.names.index(name)
        for part in ("motion.control_points", "motion.pose_deltas", "tone.log_gains"):
            kept = trainer.exposure.get_parameter(f"{part}.{new}")
            assert torch.equal(kept, old.state["exposure"][f"{part}.{index}"])
        moments = trainer.optimizers["motion"].state[trainer.exposure.motion.control_points[new]]
        assert torch.equal(moments["mean"], old.state["optimizers"]["motion"]["state"][index]["mean"])
        assert torch.equal(trainer.exposure.motion.poses[new], old.state["exposure"]["motion.poses"][index])
    assert torch.equal(trainer.scene.means, old.state["scene"]["means"])
    assert set(trainer.queue) <= set(range(4))
    assert (old.state["refits"], old.state["idles"], old.state["unblocked"]) == (3, 4, 2)
    assert trainer.done == passed_before(0.5)  # what comes from half-way on comes again


def test_a_training_that_is_not_half_done_goes_on_where_it_was(run_copy, small_config):
    longer = replace(small_config, train=replace(small_config.train, steps=1000), checkpoint_every=1e-3)
    run_copy.checkpoint.unlink()
    train(run_copy, longer, stop_after=5)
    done = checkpoint.load(run_copy.checkpoint).step
    choose(run_copy, _001=Use.LEFT_OUT)
    assert train(run_copy, longer, stop_after=3)[0].step == done + 1


@pytest.mark.parametrize("use", [Use.TEST, Use.TRAIN])
def test_a_photo_for_testing_must_not_have_been_seen_and_a_photo_put_back_has_no_path(use, run_copy, small_config):
    if use == Use.TRAIN:
        choose(run_copy, _004=Use.LEFT_OUT)
        train(run_copy, small_config)
    choose(run_copy, _004=use)
    steps = train(run_copy, small_config)
    assert steps[0].step == 1
    assert others(run_copy) == ["other-1.pt"]
    assert ("004.png" in checkpoint.load(run_copy.checkpoint).names) == (use == Use.TRAIN)


def test_too_few_photos_left_are_an_error(run_copy, small_config):
    choose(run_copy, **{f"_00{i}": Use.LEFT_OUT for i in range(4)})
    with pytest.raises(CaptureError, match="leaves 2 of 6 photos for training; need at least 3"):
        pipeline.train(run_copy, small_config, lambda event: None)


def test_training_is_told_how_blurred_each_photo_looks(run_copy, small_config):
    photos = pipeline.make_trainer(run_copy, small_config).photos
    assert len(photos.looks) == len(photos)
    assert all(0 <= seen.blur_px <= seen.most_px < photos.cameras[-1].width for seen in photos.looks)
    still = replace(small_config, train=replace(small_config.train, motion=Static(), lens=Lens()))
    assert pipeline.make_trainer(run_copy, still).photos.looks == (Looks(),) * len(photos)


def test_a_photo_without_texture_counts_as_blurred_as_the_others():
    sharp = shapes(128, 160, seed=1)
    pictures = (sharp, torch.full_like(sharp, 0.5), streaked(sharp, 12.0, 20.0))
    looks = starting.looks_of(pictures, TrainConfig())
    little, unknown, much = (seen.blur_px for seen in looks)
    assert little < 3 < 6 < much < 24
    assert little <= unknown <= much
    assert looks[2].disks < 0.3  # it is motion


def test_training_starts_from_the_movement_that_came_with_the_poses(tmp_path, small_config):
    shots = synthetic.make_capture(
        synthetic.make_scene(0), photos=4, size=(48, 32), blur_px=4, wobble=0, subframes=8, tests=1, readout=1.0
    )
    source = shots.save(tmp_path / "capture") / "transforms.json"
    content = json.loads(source.read_text())
    content |= {"exposure_time": 0.01, "rolling_shutter_time": 0.01}
    for frame, path in zip(content["frames"], shots.path_viewmats, strict=False):  # the tests, after them, stood still
        seconds = 0.02 * (shots.times[-1] - shots.times[0])
        twist = log(torch.from_numpy(path[0] @ np.linalg.inv(path[-1]))) / seconds
        flip = torch.tensor([1, -1, -1])
        frame["camera_linear_velocity"] = (flip * twist[:3]).tolist()
        frame["camera_angular_velocity"] = (flip * twist[3:]).tolist()
    source.write_text(json.dumps(content))
    run = Run(tmp_path / "run")
    pipeline.prepare(source.parent, run, small_config, lambda *_: None)
    pipeline.pose(run, small_config, lambda *_: None)
    config = starting.settled(run, small_config)
    assert config.train.shutter.readout == 1
    exposure = starting.make_trainer(run, config).exposure
    times = torch.from_numpy(shots.times).float()
    for frame, path in enumerate(shots.path_viewmats):
        found = log(exposure.path(frame, times).double() @ torch.from_numpy(np.linalg.inv(path)))
        assert found.abs().max() < 0.1 * log(torch.from_numpy(path[0] @ np.linalg.inv(path[-1]))).abs().max()


def test_instants_and_weights_of_other_methods_are_not_read_row_by_row(run_copy, small_config):
    assert not Shutter(sampling="ends").can_roll and not Shutter(weights=PixelWeights()).can_roll
    assert starting.settled(run_copy, small_config).train.shutter == small_config.train.shutter
