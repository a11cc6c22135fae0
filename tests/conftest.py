"""A small trained run for all who need one. First, set before torch and numba load their thread pools: workers that
wait must sleep, not spin."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import shutil
from dataclasses import replace

import numba
import pytest
import synthetic
import torch

from splatdeblur import pipeline
from splatdeblur.config import Config
from splatdeblur.run import Run

SMALL = replace(
    Config(), downscale=1.0, device="cpu", train=replace(Config().train, steps=60, gaussians=1500)
)


def pytest_configure(config):
    """Processes that test side by side share the cores."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    if workers > 1:
        threads = max(1, numba.config.NUMBA_NUM_THREADS // workers)
        numba.set_num_threads(threads)
        torch.set_num_threads(threads)


def pytest_collection_modifyitems(items):
    """The longest file comes first, that no process is left with it at the end."""
    items.sort(key=lambda item: item.path.name != "test_repose.py")


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run of six photos trained with SMALL; tests that write into it take a copy."""
    folder = tmp_path_factory.mktemp("capture")
    shots = synthetic.make_capture(synthetic.make_scene(0), photos=6, size=(96, 64), blur_px=(2, 5), subframes=8)
    shots.save(folder)
    run = Run(tmp_path_factory.mktemp("runs") / "run")
    pipeline.reconstruct(folder, run, SMALL, lambda fraction, message: None, lambda event: None)
    return run


@pytest.fixture
def run_copy(trained, tmp_path):
    """A copy of the trained run, to write into."""
    shutil.copytree(trained.folder, tmp_path / "run")
    return Run(tmp_path / "run")


@pytest.fixture(scope="session")
def small_config():
    """What `trained` was trained with."""
    return SMALL
