"""A real browser to look at the viewer with."""

import shutil

import pytest

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
