"""Who draws what a browser shows, and how fine, told by a client that draws nothing."""

import threading
from math import inf

import pytest

from splatdeblur.view.pictures import Exposed, Look

pytest.importorskip("viser", reason="the extra `view` is not installed")
pytest.importorskip("websockets")

from view.served import serve, wait_for
from view.visiting import HEIGHT, WIDTH, Visitor

from splatdeblur.view import panel as panels


def test_our_renders_come_rough_first_and_whole_at_rest(visitor, backgrounds, monkeypatch):
    monkeypatch.setattr("splatdeblur.view.session.DRAFT_PX", 2000)
    visitor.change(visitor.panel.renderer, panels.EXACT)
    wait_for(lambda: backgrounds and backgrounds[-1].shape == (HEIGHT, WIDTH, 3))
    assert len(backgrounds[0]) < HEIGHT / 2
    assert not visitor.session.scenery._splats.visible
    visitor.change(visitor.panel.renderer, panels.SPLATS)
    wait_for(lambda: visitor.session.scenery._splats.visible and backgrounds[-1].max() == 0)


def test_a_reblurred_picture_is_smaller_so_that_it_keeps_nobody_waiting(visitor, backgrounds, monkeypatch):
    monkeypatch.setattr("splatdeblur.view.session.DRAFT_PX", 1000)
    monkeypatch.setattr("splatdeblur.view.session.MOST_BLURRED_PX", 6000)
    visitor.change(visitor.panel.exposed, Exposed.REBLURRED)
    wait_for(lambda: backgrounds and backgrounds[-1].shape == (63, 95, 3))
    visitor.change(visitor.panel.look, Look.OPACITY)
    visitor.change(visitor.panel.exposed, Exposed.SHARP)
    wait_for(lambda: backgrounds[-1].shape == (HEIGHT, WIDTH, 3))


def test_browsers_without_a_gpu_are_spared_the_splats(run):
    viewer = serve(run, panels.EXACT)
    visitor = Visitor(viewer)
    sent = []
    visitor.session.client.scene.set_background_image = lambda picture, **_: sent.append(picture)
    visitor.session.fly_to(2)
    wait_for(lambda: sent and sent[-1].shape == (HEIGHT, WIDTH, 3))
    assert visitor.session.scenery._splats is None
    visitor.change(visitor.panel.renderer, panels.SPLATS)
    wait_for(lambda: visitor.session.scenery._splats is not None)
    visitor.leave()
    viewer.stop()


@pytest.mark.parametrize(("seconds", "drawn_as"), [(0.05, panels.SPLATS), (2.0, panels.EXACT), (inf, panels.EXACT)])
def test_a_browser_that_draws_splats_fast_gets_them(run, monkeypatch, seconds, drawn_as):
    begin, tried, said = threading.Event(), threading.Event(), []

    def take_time(client, splats):
        client.add_notification = lambda title, *_, **__: said.append(title)
        begin.wait(20)
        tried.set()
        return seconds

    monkeypatch.setattr("splatdeblur.view.session.seconds_for_splats", take_time)
    viewer = serve(run, None)
    visitor = Visitor(viewer)
    assert visitor.panel.renderer.value == panels.EXACT
    begin.set()
    assert tried.wait(20)
    wait_for(lambda: visitor.panel.renderer.value == drawn_as and len(said) == (seconds == 2.0))
    assert (visitor.session.scenery._splats is not None) == (drawn_as == panels.SPLATS) or wait_for(
        lambda: visitor.session.scenery._splats is not None
    )
    visitor.leave()
    viewer.stop()


@pytest.mark.parametrize("look", [Look.DEPTH, Look.OPACITY, Look.COUNT])
def test_other_looks_are_our_renders(visitor, backgrounds, look):
    visitor.change(visitor.panel.look, look)
    wait_for(lambda: backgrounds and backgrounds[-1].shape == (HEIGHT, WIDTH, 3) and backgrounds[-1].std() > 1)


def test_a_crop_box_leaves_out_what_lies_outside(visitor):
    session = visitor.session
    visitor.change(visitor.panel.crop[0], (-0.5, 0.5))
    visitor.change(visitor.panel.has_crop, True)
    wait_for(lambda: 0 < len(session._shown.scene) < len(session.stage.scene))
    wait_for(lambda: len(session.scenery._splats.centers) == len(session._shown.scene))
    visitor.change(visitor.panel.has_crop, False)
    wait_for(lambda: len(session.scenery._splats.centers) == len(session.stage.scene))
