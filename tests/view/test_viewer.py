"""The viewer in a real headless Chromium, drawing in software."""

import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from splatdeblur.capture.choices import Choices
from splatdeblur.geometry import exp
from splatdeblur.poses import load_cameras
from splatdeblur.run import Run
from splatdeblur.showing import files_shown, stage
from splatdeblur.view.curves import screen_camera, vertical_fov
from splatdeblur.view.pictures import draw

viser = pytest.importorskip("viser", reason="the extra `view` is not installed")

from splatdeblur.view.page import write_page  # noqa: E402
from splatdeblur.view.viewer import Snapshots, Viewer  # noqa: E402

WINDOW = {"width": 800, "height": 360}
FREE = np.s_[200:, :380]  # of a screenshot, what neither controls nor messages cover


def wait_for(condition, seconds=20.0):
    """What `condition` returns once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def shown_run(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shown") / "run"
    shutil.copytree(trained.folder, folder)
    return Run(folder)


@pytest.fixture(scope="module")
def viewer(shown_run):
    snapshots = Snapshots(lambda: stage(shown_run, "cpu"), files_shown(shown_run))
    viewer = Viewer(shown_run, snapshots, host="127.0.0.1", port=0)
    thread = threading.Thread(target=viewer.follow)
    thread.start()
    yield viewer
    viewer.stop()
    thread.join()


def visit(browser, viewer):
    """A page that shows the viewer, and the viewer's session for it."""
    known = set(viewer.sessions)
    page = browser.new_page(viewport=WINDOW)
    page.goto(f"http://127.0.0.1:{viewer.port}")
    (new,) = wait_for(lambda: set(viewer.sessions) - known)
    page.get_by_text("Gaussians").first.wait_for()
    return page, viewer.sessions[new]


@pytest.fixture(scope="module")
def visitor(browser, viewer):
    page, session = visit(browser, viewer)
    yield page, session
    page.close()


def psnr(picture, truth):
    error = np.square(picture.astype(float) - truth).mean() / 255**2
    return -10 * np.log10(error + 1e-10)


def screenshot(page):
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))


def is_at(session, viewmat):
    """Whether a browser's camera, as the browser tells, is where `viewmat` says."""
    wxyz, position = session.stage.display.pose(viewmat)
    camera = session.client.camera
    return np.abs(camera.position - position).max() < 1e-3 and abs(camera.wxyz @ wxyz) > 1 - 1e-5


def choose(page, before, after):
    page.locator(f"input[value='{before}']").click()
    page.get_by_role("option", name=after, exact=True).click()


def test_the_browser_draws_the_scene_as_our_renderer_does(visitor):
    _, session = visitor
    shown = session.stage
    white = replace(shown, options=replace(shown.options, background=(1.0, 1.0, 1.0)))  # as in a browser's picture
    session.scenery.set_visible(splats=True, frustums=False, paths=False)
    camera = shown.camera(0)
    wxyz, position = shown.display.pose(camera.viewmats[0])
    fov = vertical_fov(camera)

    def likeness():
        picture = session.client.get_render(camera.height, camera.width, wxyz=wxyz, position=position, fov=fov)
        return psnr(picture, draw(white, camera, 0))

    # The browser's order and half-precision shapes differ a little from ours, and it compresses the picture.
    wait_for(lambda: likeness() > 30)
    session.scenery.set_visible(splats=True, frustums=True, paths=True)


def test_clicking_a_frustum_flies_there_and_shows_the_photo(visitor):
    page, session = visitor
    shown = session.stage
    behind = torch.zeros(6)
    behind[2] = 1.0 / shown.display.scale
    session.place(exp(behind) @ shown.camera(3).viewmats[0])
    time.sleep(1)
    page.mouse.click(WINDOW["width"] / 2, WINDOW["height"] / 2)
    wait_for(lambda: session.index == 3 and is_at(session, shown.camera(3).viewmats[0]))
    assert page.locator("input[value='003.png']").count() == 1
    photo = shown.read_photo("003.png").numpy() * 255
    wait_for(lambda: psnr(session.panel.pictures[0].image, photo) > 50)


def test_the_shutter_slider_moves_the_camera_and_the_picture(visitor):
    page, session = visitor
    before = screenshot(page)
    page.get_by_role("slider").first.focus()
    page.keyboard.press("Home")
    wait_for(lambda: is_at(session, session.stage.path(session.index, torch.tensor([0.0]))[0]))
    wait_for(lambda: np.abs(screenshot(page)[FREE].astype(float) - before[FREE]).mean() > 1)


def test_the_exact_picture_is_our_render(visitor):
    page, session = visitor
    for kind in ("cameras", "blur paths"):
        page.get_by_label(kind).uncheck()
    choose(page, "splats (browser)", "exact (our renderer)")
    screen = screen_camera(session._viewmat(), session.client.camera.fov, *WINDOW.values())
    ours = draw(session.stage, screen, session.index)
    wait_for(lambda: psnr(screenshot(page)[FREE], ours[FREE]) > 30)
    choose(page, "exact (our renderer)", "splats (browser)")


def test_two_browsers_go_their_own_ways(browser, viewer, visitor):
    _, first = visitor
    page, second = visit(browser, viewer)
    first.fly_to(1)
    second.fly_to(4)
    for session, index in ((first, 1), (second, 4)):
        wait_for(lambda session=session, index=index: is_at(session, session.stage.camera(index).viewmats[0]))
    page.close()
    wait_for(lambda: len(viewer.sessions) == 1)


def test_a_photo_is_left_out_by_hand(visitor, shown_run):
    page, session = visitor
    session.fly_to(2)
    choose(page, "train on it", "leave it out")
    page.get_by_text("goes on without 002.png").wait_for()
    assert Choices.load(shown_run.choices) == Choices(left_out=frozenset({"002.png"}))


def test_a_recorded_path_becomes_cameras_and_a_video(visitor, shown_run):
    pytest.importorskip("av", reason="the extra `video` is not installed")
    page, session = visitor
    page.get_by_text("Camera path").click()
    for index in (0, 5):
        session.fly_to(index)
        page.get_by_role("button", name="add this view").click()
    page.get_by_text("2 views recorded").wait_for()
    session.filming._seconds.value = 1
    page.get_by_role("button", name="save").click()
    page.get_by_text("draws it").wait_for()
    names, cameras = load_cameras(shown_run.folder / "paths" / "path-1.json")
    assert len(names) == 31
    torch.testing.assert_close(cameras.viewmats[0].float(), session.stage.camera(0).viewmats[0], atol=1e-3, rtol=0)
    page.get_by_role("button", name="render video").click()
    page.get_by_text("31 frames of").wait_for(timeout=60_000)
    assert (shown_run.folder / "paths" / "path-1.mp4").stat().st_size > 1000


def test_a_shared_page_opens_without_a_server(browser, shown_run, tmp_path):
    shown = stage(shown_run, "cpu")
    write_page(shown, tmp_path / "scene.html")
    page = browser.new_page(viewport=WINDOW)
    page.context.set_offline(True)
    page.goto((tmp_path / "scene.html").as_uri())
    camera = screen_camera(shown.camera(0).viewmats[0], vertical_fov(shown.camera(0)), *WINDOW.values())
    truth = draw(replace(shown, options=replace(shown.options, background=(1.0, 1.0, 1.0))), camera, 0)
    wait_for(lambda: psnr(screenshot(page)[FREE], truth[FREE]) > 26)
    page.context.set_offline(False)
    page.close()


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "splatdeblur.cli", *map(str, arguments)], stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_it_follows_a_training_and_survives_being_killed(browser, run_copy):
    run = run_copy
    run.checkpoint.unlink()
    port = free_port()
    view = start("view", run.folder, "--port", port)
    try:
        assert "only this machine" in "".join(view.stderr.readline() for _ in range(2))
        page = browser.new_page(viewport=WINDOW)
        page.goto(f"http://127.0.0.1:{port}")
        page.get_by_text("step 0").wait_for()
        settings = ("--set", "train.steps=100000", "--set", "checkpoint_every=1", "--downscale", 1)
        train = start("train", run.folder, *settings)
        page.get_by_text(re.compile(r"step [1-9]")).wait_for(timeout=60_000)
        assert train.poll() is None
        train.send_signal(signal.SIGKILL)
        view.send_signal(signal.SIGKILL)
        view.wait()
        page.get_by_text("Gaussians").wait_for(state="detached")
        view = start("view", run.folder, "--port", port)
        page.get_by_text(re.compile(r"step [1-9]")).wait_for(timeout=60_000)
        page.close()
    finally:
        view.kill()
        view.wait()
