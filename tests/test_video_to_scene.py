"""A phone's video goes through everything in one command: turned on its side, uneven in time, with sound."""

import subprocess
import sys

import numpy as np
import pytest
from corner import HEIGHT, WIDTH, photograph_corner, walk

from splatdeblur.capture import Capture
from splatdeblur.capture.pixels import read_photo
from splatdeblur.poses import load_reconstruction
from splatdeblur.result import load_result
from splatdeblur.run import Run

pytest.importorskip("av")
from videos import set_display_matrix, write_video


def test_a_phones_video_becomes_a_scene_in_one_command(tmp_path):
    count = 10
    times = np.cumsum([0.0, *(0.1 + 0.07 * (i % 3) for i in range(count - 1))])
    shown = [photograph_corner(viewmat) for viewmat in walk(count).numpy()]
    stored = [np.ascontiguousarray(np.rot90(picture, 1)) for picture in shown]
    options = {"x265-params": "log-level=none:crf=10"}
    path = write_video(
        tmp_path / "my walk.mov", stored, times, codec="libx265", pix_fmt="yuv420p10le", has_sound=True, options=options
    )
    set_display_matrix(path, 0, 1, -1, 0)
    before = path.read_bytes()
    command = ("reconstruct", path, "--out", tmp_path / "run", "--downscale", "3", "--steps", "30")
    settings = ("--set", "pose.time_limit=20")
    done = subprocess.run(
        [sys.executable, "-m", "splatdeblur.cli", *map(str, command), *settings],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = Run(tmp_path / "run")
    capture = Capture.load(run.capture)
    assert (capture.width, capture.height) == (WIDTH, HEIGHT) and capture.is_video
    assert len(capture.frames) >= 8
    for frame in capture.frames:
        index = int(np.abs(times - frame.time_s).argmin())
        assert frame.time_s == pytest.approx(times[index], abs=2e-3)
        picture = read_photo(run.images / frame.name).numpy() * 255
        assert np.abs(picture - shown[index]).mean() < 12
    assert len(load_reconstruction(run).names) == len(capture.frames)
    assert len(load_result(run).scene) > 100 and path.read_bytes() == before
