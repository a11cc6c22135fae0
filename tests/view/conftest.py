"""A small trained run, and a real browser to look at it with."""

import shutil
from dataclasses import replace

import pytest
import synthetic

from splatdeblur import pipeline
from splatdeblur.config import Config
from splatdeblur.run import Run

SIZE = (96, 64)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Software WebGL, which machines without a GPU have; no sandbox, as containers do not allow one.
BROWSER_OPTIONS = ("--enable-unsafe-swiftshader", "--use-angle=swiftshader", "--no-sandbox")


def settings(steps):
    train = replace(Config().train, steps=steps, gaussians=1500)
    return replace(Config(), downscale=1.0, device="cpu", train=train)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run of six photos after a few steps; tests that write into it take a copy."""
    folder = tmp_path_factory.mktemp("capture")
    shots = synthetic.make_capture(synthetic.make_scene(0), photos=6, size=SIZE, blur_px=(2, 5), subframes=8)
    shots.save(folder)
    run = Run(tmp_path_factory.mktemp("runs") / "run")
    pipeline.reconstruct(folder, run, settings(60), lambda fraction, message: None, lambda event: None)
    return run


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the trained run, to write into."""
    shutil.copytree(trained.folder, tmp_path / "run")
    return Run(tmp_path / "run")


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
        try:
            chromium = driver.chromium.launch(executable_path=found, args=list(BROWSER_OPTIONS))
        except playwright.Error as error:
            pytest.skip(f"no Chromium here: {str(error).splitlines()[0]}")
        yield chromium
        chromium.close()
