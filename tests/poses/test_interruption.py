"""Ctrl-C while COLMAP itself computes: it ends soon and cleanly, and the same call then does the work."""

import os
import signal
import threading
import time

import pycolmap
import pytest
from corner import photograph_corner, walk
from PIL import Image

from splatdeblur.capture import prepare
from splatdeblur.poses import find_poses
from splatdeblur.run import Run

LARGE = (960, 720)  # so that COLMAP is busy for a while


@pytest.fixture(autouse=True)
def ctrl_c_is_heard():
    """Also where the tests run in the background, which starts programs deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("step", ["extract_features", "match_image_pairs"])
def test_ctrl_c_reaches_colmap_and_the_search_can_be_made_again(step, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for index, viewmat in enumerate(walk(4).numpy()):
        photo = Image.fromarray(photograph_corner(viewmat)).resize(LARGE, Image.Resampling.BICUBIC)
        photo.save(tmp_path / "in" / f"{index}.png", compress_level=1)
    run, inside = Run(tmp_path / "run"), threading.Event()
    capture = prepare(tmp_path / "in", run)
    before = {path.name for path in run.folder.iterdir()}
    compute, pressed = getattr(pycolmap, step), []

    def press_while_computing(*arguments, cancellation_token, **settings):
        def press():
            pressed.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        timer = threading.Timer(0.02, press)
        timer.start()
        timer.join()
        inside.set()
        # As long as a large capture would take, unless it is told to stop.
        while not cancellation_token.is_cancelled and time.monotonic() - pressed[0] < 30:
            compute(*arguments, cancellation_token=cancellation_token, **settings)
        raise InterruptedError

    monkeypatch.setattr(pycolmap, step, press_while_computing)
    with pytest.raises(KeyboardInterrupt):
        find_poses(run, capture)
    assert inside.is_set() and time.monotonic() - pressed[0] < 10
    assert {path.name for path in run.folder.iterdir()} == before
    monkeypatch.undo()
    assert find_poses(run, capture).names == tuple(f"{index}.png" for index in range(4))
