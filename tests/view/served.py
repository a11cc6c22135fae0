"""A viewer that is being served, and waiting for what it shows."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from splatdeblur.run import Run
from splatdeblur.showing import files_shown, stage
from splatdeblur.view.panel import SPLATS
from splatdeblur.view.viewer import Snapshots, Viewer


def serve(run: Run, drawn_as: str | None = SPLATS) -> Viewer:
    """A viewer of a run, or of the scene file that a Run is made of."""
    snapshots = Snapshots(lambda: stage(run.folder, "cpu"), files_shown(run.folder))
    return Viewer(run, snapshots, host="127.0.0.1", port=0, drawn_as=drawn_as)


@contextmanager
def served(run: Run) -> Iterator[Viewer]:
    """A viewer that follows its run, too."""
    viewer = serve(run)
    with ThreadPoolExecutor() as pool:
        following = pool.submit(viewer.follow)
        try:
            yield viewer
        finally:
            viewer.stop()
        following.result(10)


def soon(condition, seconds):
    """What `condition` returns once it is true, or last."""
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def wait_for(condition, seconds=60.0):
    """What `condition` returns once it is true."""
    found = soon(condition, seconds)
    assert found, "waited in vain"
    return found


def is_at(session, viewmat, tolerance=1e-4):
    """Whether a client's camera, as the client tells, is where `viewmat` says."""
    wxyz, position = session.stage.display.pose(viewmat)
    camera = session.client.camera
    return np.abs(camera.position - position).max() < tolerance and abs(camera.wxyz @ wxyz) > 1 - tolerance / 100
