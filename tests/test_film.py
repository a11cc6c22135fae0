"""One path through a video, from capture to exports: refused without times, trained, resumed, read back, shown; and
the films of `film`, against which it is measured."""

import json
from dataclasses import replace

import numpy as np
import pytest
import synthetic
import torch
from film import make_film

from splatdeblur import pipeline, starting
from splatdeblur.capture import Capture
from splatdeblur.capture.choices import Choices, Use
from splatdeblur.config import checked, load_preset, with_settings
from splatdeblur.errors import ConfigError
from splatdeblur.export import export
from splatdeblur.exposure.splines import PosePath
from splatdeblur.geometry import inverse, log
from splatdeblur.result import load_result
from splatdeblur.showing import stage

INTERVAL_S = 0.25


def as_film(run, times=None, is_video=True, **facts):
    """Gives the photos of a run times, as if they were frames of a video."""
    shots = Capture.load(run.capture)
    times = times or [i * INTERVAL_S for i in range(len(shots.frames))]
    frames = tuple(
        replace(frame, time_s=time, interval_s=INTERVAL_S, **facts)
        for frame, time in zip(shots.frames, times, strict=True)
    )
    replace(shots, frames=frames, is_video=is_video).save(run.capture)
    return run


@pytest.fixture(name="config")
def settings(small_config):
    return with_settings(small_config, ("train.motion={type: Trajectory, share: 0.8, cut_speed: 1000}",))


def test_photos_without_times_are_refused_with_a_way_out(run_copy, config):
    with pytest.raises(ConfigError, match=r"6 of 6 photos have no time \(000.png, say\): .*Bezier"):
        starting.make_trainer(run_copy, config)
    with pytest.raises(ConfigError, match=r"same time \(001.png, say\)"):
        starting.make_trainer(as_film(run_copy, [0.0, 0.3, 0.3, 0.6, 0.9, 1.2]), config)
    with pytest.raises(ConfigError, match="whole seconds"):
        starting.make_trainer(as_film(run_copy, [0.0, 1.0, 2.0, 3.0, 5.0, 6.0], is_video=False), config)


def test_exposures_that_the_photos_tell_are_used(run_copy, config):
    motion = starting.make_trainer(as_film(run_copy, exposure_s=0.02), config).exposure.motion
    assert not motion.shared_parameters()
    assert motion.exposure_s(3).item() == pytest.approx(0.02)


def test_a_video_trains_resumes_bit_for_bit_and_is_read_back(run_copy, config, tmp_path):
    run = as_film(run_copy)
    straight = starting.make_trainer(run, config)
    for _ in straight.run():
        pass
    events = []

    def stop_in_the_middle(event):
        events.append(event)
        if event.step == 25:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.train(run, replace(config, checkpoint_every=0.0), stop_in_the_middle)
    pipeline.train(run, config, events.append)
    result = load_result(run, "cpu")
    learned = straight.exposure.motion
    assert (learned.share - 0.8).abs() > 1e-5 and any(p.abs().max() > 1e-3 for p in learned.control_points)
    for name, value in straight.exposure.state_dict().items():
        assert torch.equal(result.exposure.state_dict()[name], value), name

    shown, times = stage(run.folder, "cpu"), torch.tensor([0.0, 0.5, 1.0])
    for index in range(len(result.names)):
        torch.testing.assert_close(shown.path(index, times), result.exposure.path(index, times))
    export(run, "trajectories", tmp_path / "paths.json", 0.0, "cpu", lambda *_: None)
    photos = json.loads((tmp_path / "paths.json").read_text())["photos"]
    for index, photo in enumerate(photos):
        assert photo["exposure_s"] == pytest.approx(INTERVAL_S * learned.share.item(), rel=1e-5)
        path = inverse(result.exposure.path(index, torch.tensor(photo["shutter_time"])))
        torch.testing.assert_close(torch.tensor(photo["world_from_camera"]), path, atol=1e-5, rtol=0)


def test_without_a_frame_the_path_is_found_anew_and_the_old_scene_kept(run_copy, config):
    run = as_film(run_copy)
    pipeline.train(run, config, lambda event: None)
    before = set(run.checkpoint.parent.iterdir())
    Choices.load(run.choices).with_use("002.png", Use.LEFT_OUT).save(run.choices)
    steps = []
    pipeline.train(run, config, steps.append)
    assert steps[0].step == 1
    assert len(set(run.checkpoint.parent.iterdir()) - before) == 1


def test_a_share_of_more_than_all_is_refused():
    with pytest.raises(ConfigError, match=r"train\.motion\.share is 2"):
        checked(with_settings(load_preset("auto"), ("train.motion={type: Trajectory, share: 2}",)))


def test_the_poses_of_a_films_frames_tell_how_each_was_blurred():
    scene = synthetic.make_scene(0, texels=64, bodies=3)
    film = make_film(scene, frames=12, size=(32, 20), subframes=6, tests=1, blur_px=3.0, points=60)
    assert np.median(film.shots.extent_px) == pytest.approx(3.0, rel=0.2)
    viewmats, stamps = torch.from_numpy(film.shots.viewmats), torch.from_numpy(film.times_s)
    path, errors = PosePath(viewmats, stamps), []
    for frame, truth in enumerate(torch.from_numpy(film.shots.path_viewmats)):
        times = stamps[frame] + (torch.from_numpy(film.shots.times) - 0.5) * film.share * film.interval_s
        moved, true = (log(poses @ inverse(viewmats[frame])) for poses in (path(times), truth))
        errors.append(((moved - true).norm(dim=-1).max() / true.norm(dim=-1).max()).item())
    assert max(errors[1:-1]) < 0.1 and max(errors) < 0.6  # at the ends a neighbour is missing
