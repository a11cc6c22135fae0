"""What a browser's wishes do, told by a client that speaks viser's protocol and draws nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from splatdeblur.optimize import checkpoint
from splatdeblur.pipeline import make_trainer
from splatdeblur.poses import load_cameras
from splatdeblur.run import Run
from splatdeblur.scene import save_scene
from splatdeblur.showing import stage
from splatdeblur.view.pictures import Exposed, draw

pytest.importorskip("viser", reason="the extra `view` is not installed")
pytest.importorskip("websockets")

from view.served import serve, wait_for
from view.visiting import HEIGHT, WIDTH, Visitor

from splatdeblur.view import panel as panels
from splatdeblur.view.recorder import Route
from splatdeblur.view.session import SWEEP_STEPS


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
