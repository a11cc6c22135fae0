"""Browsers that come, stay beside others, and leave."""

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from splatdeblur.capture.choices import Choices, Use
from splatdeblur.run import Run

pytest.importorskip("viser", reason="the extra `view` is not installed")
pytest.importorskip("websockets")

from view.served import serve, wait_for
from view.visiting import Visitor


def test_what_a_photo_is_for_is_written_down_and_every_browser_told(visitor, viewer, run):
    other = Visitor(viewer)
    visitor.change(visitor.panel.use, Use.TEST)
    wait_for(lambda: Choices.load(run.choices).use("000.png") == Use.TEST)
    wait_for(lambda: "has seen 000.png" in other.panel.plan.content and other.panel.use.value == Use.TEST)
    other.change(other.panel.use, Use.TRAIN)
    wait_for(lambda: Choices.load(run.choices) == Choices() and not visitor.panel.plan.content)
    other.leave()


def test_choices_made_at_once_are_all_kept(visitor, viewer, run, monkeypatch):
    load = Choices.load

    def load_slowly(path):
        found = load(path)
        time.sleep(0.1)
        return found

    monkeypatch.setattr(Choices, "load", load_slowly)
    names = ("001.png", "002.png", "003.png")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: viewer.choose(name, Use.LEFT_OUT), names))
    assert load(run.choices).left_out == set(names)
    for name in names:
        viewer.choose(name, Use.TRAIN)


def test_a_browser_that_left_before_it_was_welcomed_is_forgotten(viewer):
    visitor = Visitor(viewer)
    visitor.leave()
    client = visitor.session.client
    wait_for(lambda: client.client_id not in viewer.sessions)
    before = threading.active_count()
    viewer._welcome(client)
    assert client.client_id not in viewer.sessions
    wait_for(lambda: threading.active_count() <= before)


def test_a_photo_that_is_missing_keeps_no_other_from_its_frustum(run, tmp_path, caplog):
    shutil.copytree(run.folder, tmp_path / "run")
    run = Run(tmp_path / "run")
    (run.images / "001.png").unlink()
    viewer = serve(run)
    visitor = Visitor(viewer)
    names = visitor.session.stage.all_names
    wait_for(lambda: len(visitor.session.scenery._pictures) == len(names) - 1)
    assert "001.png" not in visitor.session.scenery._pictures
    visitor.leave()
    viewer.stop()
    assert "001.png cannot be read" in caplog.text


def test_a_browser_that_opens_at_a_photo_is_not_shown_that_photo_before_the_scene(viewer):
    far = Visitor(viewer, (0.0, -40.0, 0.0))
    shown = far.session.stage
    near = Visitor(viewer, tuple(shown.display.pose(shown.camera(0).viewmats[0])[1].tolist()))
    wait_for(lambda: not near.session.scenery._frustums[0].visible)
    assert any(frustum.visible for frustum in near.session.scenery._frustums)
    assert all(frustum.visible for frustum in far.session.scenery._frustums)
    for visitor in (far, near):
        visitor.leave()


def test_frustums_made_anew_are_hidden_where_the_viewer_stands_in_them(visitor):
    session = visitor.session
    shown, scenery = session.stage, session.scenery
    fewer = replace(shown, names=shown.names[:2])
    session.place(shown.camera(5).viewmats[0])
    assert not scenery._frustums[5].visible
    scenery.show_photos(fewer, 1.0)  # 5 of before is gone
    session.place(shown.camera(0).viewmats[0])
    assert not scenery._frustums[0].visible
    scenery.show_photos(shown, 1.0)
    assert not scenery._frustums[0].visible and scenery._frustums[5].visible
    scenery.set_visible(splats=True, frustums=False, paths=True)
    scenery.set_visible(splats=True, frustums=True, paths=True)
    assert not scenery._frustums[0].visible and scenery._frustums[5].visible
