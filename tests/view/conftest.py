"""A viewer of a run, and a real browser to look at it with."""

import shutil

import pytest

from splatdeblur.run import Run

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Software WebGL, which machines without a GPU have; no sandbox, as containers do not allow one.
BROWSER_OPTIONS = ("--enable-unsafe-swiftshader", "--use-angle=swiftshader", "--no-sandbox")


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


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    """A copy of the trained run, for all tests of a module to show and to write into."""
    folder = tmp_path_factory.mktemp("shown") / "run"
    shutil.copytree(trained.folder, folder)
    return Run(folder)


@pytest.fixture(scope="module")
def viewer(run):
    """A viewer of that run, being served."""
    pytest.importorskip("viser", reason="the extra `view` is not installed")
    from view.served import served

    with served(run) as viewer:
        yield viewer


@pytest.fixture
def visitor(viewer):
    pytest.importorskip("websockets")
    from view.served import wait_for
    from view.visiting import Visitor

    visitor = Visitor(viewer)
    yield visitor
    visitor.leave()
    wait_for(lambda: visitor.session not in viewer.sessions.values())


@pytest.fixture
def backgrounds(visitor, monkeypatch):
    """The pictures of ours that were sent to be the background, newest last."""
    sent = []
    monkeypatch.setattr(visitor.session.client.scene, "set_background_image", lambda picture, **_: sent.append(picture))
    return sent
