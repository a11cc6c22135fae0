"""What a browser's wishes do, told by a client that speaks viser's protocol and draws nothing."""

import asyncio
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import inf
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from splatdeblur.capture.choices import Choices, Use
from splatdeblur.optimize import checkpoint
from splatdeblur.pipeline import make_trainer
from splatdeblur.poses import load_cameras
from splatdeblur.run import Run
from splatdeblur.scene import save_scene
from splatdeblur.showing import stage
from splatdeblur.view.pictures import Exposed, Look, draw

viser = pytest.importorskip("viser", reason="the extra `view` is not installed")
websockets = pytest.importorskip("websockets")

from view.served import is_at, serve, wait_for  # noqa: E402

from splatdeblur.view import panel as panels  # noqa: E402
from splatdeblur.view.recorder import Route  # noqa: E402
from splatdeblur.view.session import SWEEP_STEPS  # noqa: E402

WIDTH, HEIGHT = 150, 100


class Visitor:
    """A browser without eyes."""

    def __init__(self, viewer, position=(0, -4, 0)):
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        known = set(viewer.sessions)
        url = f"127.0.0.1:{viewer.port}"
        self._connection = self._do(self._connect(url))
        self._send(
            type="ViewerCameraMessage", wxyz=(1, 0, 0, 0), position=position, fov=1.0, near=0.01, far=1000.0,
            image_height=HEIGHT, image_width=WIDTH, look_at=(0, 0, 0), up_direction=(0, 0, 1),
        )  # fmt: skip
        (new,) = wait_for(lambda: set(viewer.sessions) - known)
        self.session = viewer.sessions[new]
        self.panel = self.session.panel

    async def _connect(self, url):
        connection = await websockets.connect(
            f"ws://{url}", origin=f"http://{url}", subprotocols=[f"viser-v{viser.__version__}"], max_size=None
        )
        self._drain = asyncio.create_task(self._forget(connection))
        return connection

    async def _forget(self, connection):
        async for _ in connection:
            pass

    def _do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def _send(self, **message):
        self._do(self._connection.send(msgspec.msgpack.encode(message)))

    def change(self, control, value):
        """As a hand would."""
        self._send(type="GuiUpdateMessage", uuid=control._impl.uuid, updates={"value": value})

    def click(self, name):
        """On a frustum."""
        self._send(
            type="SceneNodeClickMessage", name=name, instance_index=None, ray_origin=(0, 0, 0),
            ray_direction=(0, 0, 1), screen_pos=(0.5, 0.5), modifier=None, owner=str(self.session.client.client_id),
        )  # fmt: skip

    def is_at(self, viewmat):
        return is_at(self.session, viewmat)

    def leave(self):
        self._do(self._connection.close())


@pytest.fixture
def visitor(viewer):
    visitor = Visitor(viewer)
    yield visitor
    visitor.leave()
    wait_for(lambda: visitor.session not in viewer.sessions.values())


@pytest.fixture
def backgrounds(visitor, monkeypatch):
    """The pictures of ours that were sent to be the background, newest last."""
    sent = []
    monkeypatch.setattr(
        visitor.session.client.scene, "set_background_image", lambda picture, **_: sent.append(picture)
    )
    return sent


def test_choosing_a_photo_flies_there_and_shows_it(visitor):
    shown = visitor.session.stage
    visitor.change(visitor.panel.photo, "003.png")
    wait_for(lambda: visitor.is_at(shown.camera(3).viewmats[0]))
    photo = (shown.read_photo("003.png") * 255).numpy()
    wait_for(lambda: visitor.panel.pictures[0].image.shape == photo.shape)
    wait_for(lambda: np.abs(visitor.panel.pictures[0].image - photo).max() < 1)
    sharp = draw(shown, shown.camera(3), 3)
    wait_for(lambda: np.array_equal(visitor.panel.pictures[2].image, sharp))


def test_a_photo_that_cannot_be_read_is_said_so(visitor, run):
    path = run.images / "002.png"
    content = path.read_bytes()
    path.write_bytes(content[:100])
    try:
        visitor.change(visitor.panel.photo, "002.png")
        wait_for(lambda: "002.png cannot be read as a picture" in visitor.panel.about.content)
        assert not any(picture.visible for picture in visitor.panel.pictures)
    finally:
        path.write_bytes(content)
    visitor.change(visitor.panel.photo, "001.png")
    wait_for(lambda: visitor.panel.pictures[0].visible and "dB" in visitor.panel.about.content)


def test_only_pictures_that_say_something_are_shown(visitor):
    session = visitor.session
    shown = session.stage
    session._show_photo()
    has_lens = not shown.exposure.lens.is_clear
    assert [picture.visible for picture in visitor.panel.pictures] == [True, True, True, True, has_lens]
    session.stage = replace(
        shown, names=shown.names[:5], other_names=shown.names[5:], cameras=shown.cameras.at(slice(0, 5)),
        other_cameras=shown.cameras.at([5]),
    )  # fmt: skip
    session.index = 5
    session._show_photo()
    assert [picture.visible for picture in visitor.panel.pictures] == [True, False, True, True, False]
    assert "not trained on" in visitor.panel.about.content


def test_clicking_a_frustum_flies_there(visitor):
    visitor.click("/photos/004.png")
    wait_for(lambda: visitor.is_at(visitor.session.stage.camera(4).viewmats[0]))
    assert visitor.panel.photo.value == "004.png"


def test_the_shutter_slider_follows_the_learned_path(visitor):
    shown = visitor.session.stage
    for value in (0.0, 1.0, 0.25):
        visitor.change(visitor.panel.time, value)
        wait_for(lambda value=value: visitor.is_at(shown.path(0, torch.tensor([value]))[0]))
    visitor.change(visitor.panel.factor, 9.0)
    visitor.change(visitor.panel.exposed, Exposed.EXAGGERATED)
    wait_for(lambda: visitor.is_at(shown.path(0, torch.tensor([0.25]), 9.0)[0]))


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


def test_playing_the_exposure_goes_along_the_path_and_back(visitor, monkeypatch):
    monkeypatch.setattr("splatdeblur.view.session.SWEEP_S", 0.1)
    session, times = visitor.session, []
    place = session.place
    session.place = lambda viewmat: (times.append(session.panel.time.value), place(viewmat))
    session.fly_to(2)
    times.clear()
    session._play()
    assert min(times) == 0 and max(times) == 1 and times[-1] == 0.5
    assert visitor.is_at(session.stage.camera(2).viewmats[0])


def test_exaggerated_motion_is_shown_at_once(visitor, monkeypatch):
    monkeypatch.setattr("splatdeblur.view.session.SWEEP_S", 0.1)
    session, placed = visitor.session, []
    session.fly_to(3)
    place = session.place
    session.place = lambda viewmat: (placed.append(viewmat), place(viewmat))
    visitor.change(visitor.panel.factor, 12.0)
    visitor.change(visitor.panel.exposed, Exposed.EXAGGERATED)
    wait_for(lambda: len(placed) > SWEEP_STEPS)
    start = session.stage.path(3, torch.tensor([0.0]), 12.0)[0]
    assert min((viewmat - start).abs().max() for viewmat in placed) < 1e-5
    wait_for(lambda: visitor.is_at(session.stage.camera(3).viewmats[0]))


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


def test_a_scene_file_is_shown_without_the_controls_of_photos(run, tmp_path, monkeypatch):
    monkeypatch.setattr("splatdeblur.view.session.FILM_HEIGHT", 60)
    path = tmp_path / "scene.ply"
    save_scene(stage(run.folder, "cpu").scene, path, "ply")
    viewer = serve(Run(path), panels.EXACT)
    visitor = Visitor(viewer)
    sent = []
    visitor.session.client.scene.set_background_image = lambda picture, **_: sent.append(picture)
    visitor.session.place(visitor.session.stage.camera(0).viewmats[0])
    wait_for(lambda: sent and sent[-1].shape == (HEIGHT, WIDTH, 3) and sent[-1].std() > 5)
    assert "step" not in visitor.panel.status.content and "Gaussians" in visitor.panel.status.content
    assert not visitor.session.scenery._frustums
    filming = visitor.session.filming
    for index in (0, 3):
        visitor.session.place(visitor.session.stage.camera(index).viewmats[0])
        filming._set(filming.route.with_view(filming._here()))
    filming._do(filming.save)
    assert f"render {path} --cameras {path}-paths" in filming._about.content
    visitor.change(visitor.panel.crop[0], (-0.2, 0.2))
    visitor.change(visitor.panel.has_crop, True)
    wait_for(lambda: len(visitor.session._shown.scene) < len(visitor.session.stage.scene))
    visitor.leave()
    viewer.stop()


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


def test_films_made_at_once_have_names_of_their_own(visitor, monkeypatch):
    filming = visitor.session.filming
    both = threading.Barrier(2)

    def write_together(path, *rest, **settings):
        both.wait(10)
        path.write_bytes(b"film")
        return 0

    monkeypatch.setattr("splatdeblur.view.filming.write_video", write_together)
    filming._set(Route((visitor.session.stage.camera(0),) * 2))
    with ThreadPoolExecutor() as pool:
        said = list(pool.map(lambda _: filming.film(), range(2)))
    paths = {line.split(": ")[1] for line in said}
    assert len(paths) == 2 and all(Path(path).read_bytes() == b"film" for path in paths)
    monkeypatch.setattr("splatdeblur.view.filming.write_video", lambda *_, **settings: 1 / 0)
    files = sorted(Path(paths.pop()).parent.iterdir())
    with pytest.raises(ZeroDivisionError):
        filming.film()
    assert sorted(files[0].parent.iterdir()) == files


def test_a_path_is_recorded_saved_and_filmed(visitor, run, monkeypatch):
    monkeypatch.setattr("splatdeblur.view.session.FILM_HEIGHT", 60)
    pytest.importorskip("av", reason="the extra `video` is not installed")
    session = visitor.session
    filming = session.filming
    filming._do(filming.save)
    assert "record at least 2" in filming._about.content
    for index in (0, 5):
        session.fly_to(index)
        filming._set(filming.route.with_view(filming._here()))
    filming._seconds.value = 1
    filming._do(filming.save)
    names, cameras = load_cameras(next((run.folder / "paths").glob("*.json")))
    assert len(names) == 31
    torch.testing.assert_close(cameras.viewmats[0].float(), session.stage.camera(0).viewmats[0], atol=1e-3, rtol=0)
    filming._do(filming.film)
    assert "31 frames of 90x60" in filming._about.content
    assert Path(filming._about.content.split(": ")[1]).stat().st_size > 1000
    filming._do(filming.preview)
    assert visitor.is_at(session.stage.camera(5).viewmats[0])


def test_a_newer_checkpoint_is_shown(visitor, run, small_config):
    old = checkpoint.load(run.checkpoint)
    trainer = make_trainer(run, small_config)
    trainer.load_state(old.state)
    trainer.step()
    checkpoint.save(trainer, run.checkpoint, old.settings)
    wait_for(lambda: "step 61" in visitor.panel.status.content)
    assert visitor.session.stage.step == 61
