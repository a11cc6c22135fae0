"""The viewer in a real headless Chromium, drawing in software."""

import io
import time
from dataclasses import replace
from math import tan

import numpy as np
import pytest
import torch
from PIL import Image

from splatdeblur.geometry import exp, inverse
from splatdeblur.scene import Gaussians
from splatdeblur.showing import stage
from splatdeblur.view.curves import screen_camera, vertical_fov
from splatdeblur.view.pictures import draw

viser = pytest.importorskip("viser", reason="the extra `view` is not installed")

from view.served import is_at, soon, wait_for  # noqa: E402

from splatdeblur.view.page import write_page  # noqa: E402
from splatdeblur.view.trial import PATIENCE_S, seconds_for_splats  # noqa: E402

WINDOW = {"width": 800, "height": 360}
DOTS = 150
LIKE_DB = 26  # two renderers' pictures of one thing, one of them compressed; another view has less than 15
FREE = np.s_[200:, :380]  # of a screenshot, what neither controls nor messages cover


def wait_until_drawn(page):
    """Until the page has drawn what it knows."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


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


def choose(page, before, after):
    """In the list that shows `before`."""
    find = "value => [...document.querySelectorAll('input')].find(input => input.value === value)"
    page.evaluate_handle(find, before).as_element().click()
    page.get_by_role("option", name=after, exact=True).click()


def with_dots(shown, *, background):
    """The stage with another scene: small, nearly opaque Gaussians in view of photo 0.

    A browser leaves out Gaussians whose centre is outside the picture, and the faint edges of all: what little
    training has made of this scene, large and faint ones, would look different for that alone.
    """
    generator = torch.Generator().manual_seed(0)
    camera = shown.camera(0)
    depth = (camera.viewmats[0, 2, :3] @ shown.target + camera.viewmats[0, 2, 3]).item()
    z = depth * (0.7 + 0.6 * torch.rand(DOTS, generator=generator))
    pixels = torch.rand(DOTS, 2, generator=generator) * torch.tensor([camera.width, camera.height])
    xy = (pixels - camera.Ks[0, :2, 2]) / camera.Ks[0, 0, 0] * z[:, None]
    local = torch.cat([xy, z[:, None], torch.ones(DOTS, 1)], dim=1)
    scene = Gaussians.from_raw(
        (local @ inverse(camera.viewmats[0]).T)[:, :3], torch.randn(DOTS, 4, generator=generator),
        (depth * (0.01 + 0.05 * torch.rand(DOTS, 3, generator=generator))).log(), torch.full((DOTS,), 3.0),
        torch.randn(DOTS, 1, 3, generator=generator),
    )  # fmt: skip
    return replace(shown, scene=scene.detached(), options=replace(shown.options, background=(background,) * 3))


def test_the_browser_draws_the_scene_as_our_renderer_does(visitor):
    page, session = visitor
    before = session.stage
    dots = with_dots(before, background=0.0)
    session.panel.has_frustums.value = session.panel.has_paths.value = False
    try:
        session.show(dots)
        session.fly_to(0)
        screen = screen_camera(dots.camera(0).viewmats[0], session.client.camera.fov, *WINDOW.values())
        ours = draw(dots, screen, 0)
        assert ours.std() > 40
        wait_for(lambda: psnr(screenshot(page)[FREE], ours[FREE]) > LIKE_DB)
    finally:
        session.panel.has_frustums.value = session.panel.has_paths.value = True
        session.show(before)


def test_clicking_a_frustum_flies_there_and_shows_the_photo(visitor):
    page, session = visitor
    shown = session.stage
    # From behind it, and beside: so that its picture is where neither controls nor messages are.
    right, down, back = -0.5, 0.25, 1.0
    aside = torch.tensor([right, down, back, 0, 0, 0]) / shown.display.scale
    focal = WINDOW["height"] / 2 / tan(session.client.camera.fov / 2)
    z = back + shown.frustum_depth
    x, y = WINDOW["width"] / 2 + focal * right / z, WINDOW["height"] / 2 + focal * down / z
    assert x < 380 and 190 < y < WINDOW["height"]

    def is_clicked():
        session.place(exp(aside) @ shown.camera(3).viewmats[0])
        time.sleep(0.1)  # on its way
        wait_until_drawn(page)
        page.mouse.move(x - 5, y)
        page.mouse.move(x, y)
        page.mouse.click(x, y, delay=50)
        return soon(lambda: session.index == 3, 1.5)

    wait_for(is_clicked)
    wait_for(lambda: is_at(session, shown.camera(3).viewmats[0], 1e-3))
    photo = shown.read_photo("003.png").numpy() * 255
    wait_for(lambda: session.panel.pictures[0].image.shape == photo.shape)
    wait_for(lambda: psnr(session.panel.pictures[0].image, photo) > 50)


def test_the_shutter_slider_moves_the_camera_and_the_picture(visitor):
    page, session = visitor
    before = screenshot(page)
    page.get_by_role("slider").first.focus()
    page.keyboard.press("Home")
    wait_for(lambda: is_at(session, session.stage.path(session.index, torch.tensor([0.0]))[0], 1e-3))
    wait_for(lambda: np.abs(screenshot(page)[FREE].astype(float) - before[FREE]).mean() > 1)


def test_the_exact_picture_is_our_render(visitor):
    page, session = visitor
    session.panel.has_frustums.value = session.panel.has_paths.value = False
    choose(page, "splats (browser)", "exact (our renderer)")
    screen = screen_camera(session._viewmat(), session.client.camera.fov, *WINDOW.values())
    ours = draw(session.stage, screen, session.index)
    wait_for(lambda: psnr(screenshot(page)[FREE], ours[FREE]) > 30)
    choose(page, "exact (our renderer)", "splats (browser)")


def test_a_browser_can_be_timed(visitor):
    _, session = visitor
    assert 0 <= seconds_for_splats(session.client, session.stage.splats(0)) < PATIENCE_S


def test_two_browsers_go_their_own_ways(browser, viewer, visitor):
    _, first = visitor
    page, second = visit(browser, viewer)
    for session, index in ((first, 1), (second, 4)):
        session.fly_to(index)
    for session, index in ((first, 1), (second, 4)):
        wait_for(lambda session=session, index=index: is_at(session, session.stage.camera(index).viewmats[0], 1e-3))
    page.close()
    wait_for(lambda: len(viewer.sessions) == 1)


def test_a_shared_page_opens_without_a_server(browser, run, tmp_path):
    dots = with_dots(stage(run.folder, "cpu"), background=1.0)
    write_page(dots, tmp_path / "scene.html")
    page = browser.new_page(viewport=WINDOW)
    page.context.set_offline(True)
    page.goto((tmp_path / "scene.html").as_uri())
    camera = dots.camera(0)
    ours = draw(dots, screen_camera(camera.viewmats[0], vertical_fov(camera), *WINDOW.values()), 0)
    wait_for(lambda: psnr(screenshot(page)[FREE], ours[FREE]) > LIKE_DB)
    page.close()
