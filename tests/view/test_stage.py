"""What is shown of a run: paths, their lines, and pictures by our own renderer."""

from copy import deepcopy
from dataclasses import replace
from math import atan

import numpy as np
import pytest
import torch

from splatdeblur.capture.pixels import eight_bit
from splatdeblur.errors import FormatError, PoseError
from splatdeblur.geometry import inverse, linear_from_srgb, log, srgb_from_linear
from splatdeblur.render import Burst, RenderOptions
from splatdeblur.render.rasterizer import ProjectionInfo
from splatdeblur.showing import invitation, stage
from splatdeblur.view.curves import fitting_fov, screen_camera, smear, smear_lines, vertical_fov
from splatdeblur.view.pictures import Exposed, Look, draw, footprint_counts, predicted
from splatdeblur.view.stage import Stage, enlarged

TIMES = torch.linspace(0, 1, 5)


@pytest.fixture(scope="module")
def shown(trained):
    return stage(trained.folder, "cpu")


def test_a_photo_stands_at_its_pose_in_the_middle_of_its_exposure(shown):
    for index in range(len(shown.names)):
        for factor in (1.0, 10.0):
            middle = shown.path(index, torch.tensor([0.5]), factor)[0]
            torch.testing.assert_close(middle, shown.camera(index).viewmats[0], atol=1e-5, rtol=0)


def test_an_exaggerated_path_is_the_same_one_larger(shown):
    middle = shown.camera(1).viewmats[0].double()
    plain, large = (log(shown.path(1, TIMES, k).double() @ inverse(middle)) for k in (1.0, 4.0))
    assert plain.abs().max() > 1e-3
    torch.testing.assert_close(large, 4 * plain, atol=1e-5, rtol=1e-3)


def test_the_line_on_a_photo_is_as_long_as_its_blur(shown):
    """In px of the photo, against what training itself calls the length of the blur."""
    lengths = shown.exposure.motion.path_px(shown.cameras.Ks[0, 0, 0].item())
    times = torch.linspace(0, 1, 30)
    for index in range(len(shown.names)):
        length = np.linalg.norm(np.diff(smear(shown, index, times, 1.0), axis=0), axis=1).sum()
        px = length / shown.frustum_depth * shown.cameras.Ks[index, 0, 0].item()
        assert px == pytest.approx(lengths[index].item(), rel=0.5, abs=0.5)


def test_every_subframe_has_a_tick(shown):
    ticks = sum(len(shown.subframe_times(i)) for i in range(len(shown.names)))
    chains = len(shown.names) * 24
    assert len(smear_lines(shown, 5.0)) == ticks + chains


def test_photos_left_out_are_shown_and_stand_still(shown):
    fewer = replace(
        shown, names=shown.names[:5], other_names=shown.names[5:], cameras=shown.cameras.at(slice(0, 5)),
        other_cameras=shown.cameras.at([5]),
    )  # fmt: skip
    assert fewer.all_names == shown.names
    path = fewer.path(5, TIMES, 3.0)
    assert torch.equal(path, shown.camera(5).viewmats.expand(5, 4, 4))
    picture = draw(fewer, fewer.camera(5), 5, exposed=Exposed.REBLURRED)
    np.testing.assert_array_equal(picture, draw(shown, shown.camera(5), 5))


def test_a_predicted_photo_is_what_training_compares(shown):
    """The exposure itself, called as the trainer calls it; in double precision, as pictures are made of steps (what
    is fainter than 1/255 is not drawn), across which rounding jumps."""
    scene = shown.scene.with_raw({name: value.double() for name, value in shown.scene.params.items()})
    exposure, cameras = deepcopy(shown.exposure).double(), shown.cameras.to(dtype=torch.float64)
    shown = replace(shown, scene=scene, exposure=exposure, cameras=cameras)
    camera = shown.camera(2)

    def render(viewmats, burst):
        return shown.rasterizer.render(shown.scene, camera.with_viewmats(viewmats), options=shown.options, burst=burst)

    with torch.no_grad():
        expected = shown.exposure(render, 2, shown.subframe_count(2), camera=camera).srgb
    torch.testing.assert_close(predicted(shown, 2, camera).srgb, expected, atol=1e-6, rtol=0)


def test_a_reblurred_view_is_the_mean_of_what_the_moving_camera_sees(shown, monkeypatch):
    """Anywhere, not only where the photo was taken; with its brightness."""
    monkeypatch.setattr(Stage, "subframe_count", lambda self, index: 32)  # few are an approximation
    exposure = deepcopy(shown.exposure)
    learned_px = exposure.path_px(shown.camera(3).Ks[0, 0, 0].item())[3].item()
    exposure.motion.control_points[3].data *= 14 / learned_px  # whatever so little training has found
    shaken = replace(shown, exposure=exposure)
    camera = screen_camera(shown.camera(0).viewmats[0], vertical_fov(shown.camera(0)), 90, 60)
    moves = enlarged(shaken.path(3, (torch.arange(64) + 0.5) / 64), shaken.camera(3).viewmats[0])
    along = camera.with_viewmats(moves @ camera.viewmats[0])
    with torch.no_grad():
        light = linear_from_srgb(shown.rasterizer.render(shown.scene, along, options=shown.options).rgb).mean(0)
        mean = eight_bit(srgb_from_linear(light * exposure.tone.gains()[3])).astype(float)
    sharp, reblurred = (draw(shaken, camera, 3, exposed=e).astype(float) for e in (Exposed.SHARP, Exposed.REBLURRED))
    assert np.abs(reblurred - mean).max() <= 4 and np.abs(reblurred - mean).mean() < 0.4
    assert np.abs(sharp - mean).max() > 10


def test_a_crop_keeps_what_lies_inside(shown):
    low, high = torch.tensor([-1.0, -1, -1]), torch.tensor([1.0, 2, 1])
    inside = shown.cropped(low, high)
    places = torch.from_numpy(shown.display.points(shown.scene.means))
    assert len(inside.scene) == ((places >= low) & (places <= high)).all(1).sum()
    assert 0 < len(inside.scene) < len(shown.scene)
    assert len(shown.cropped(high, low).scene) == 0
    assert draw(shown.cropped(high, low), shown.camera(0), 0).max() == 0


@pytest.mark.parametrize("look", list(Look))
def test_every_look_gives_a_picture(shown, look):
    picture = draw(shown, shown.camera(0), 0, look=look)
    assert picture.shape == (64, 96, 3) and picture.dtype == np.uint8
    assert picture.std() > 1


def test_counts_are_those_of_the_footprints():
    means = torch.tensor([[[2.5, 2.5], [4.0, 3.0], [100.0, 3.0], [3.0, 3.0]]])
    radii = torch.tensor([[[1, 1], [2, 1], [2, 2], [0, 0]]])
    counts = footprint_counts(ProjectionInfo(means, radii, 8, 6))
    expected = torch.zeros(6, 8)
    expected[1:4, 1:4] += 1
    expected[2:4, 2:6] += 1
    assert torch.equal(counts, expected)


def test_a_window_shows_all_of_a_photo(shown):
    camera = shown.camera(0)
    assert fitting_fov(camera, 3.0) == pytest.approx(vertical_fov(camera))
    half_width = np.tan(fitting_fov(camera, 0.5) / 2) * 0.5
    assert half_width == pytest.approx(camera.width / 2 / camera.Ks[0, 0, 0].item())
    screen = screen_camera(camera.viewmats[0], 1.0, 300, 200)
    assert 2 * atan(100 / screen.Ks[0, 1, 1].item()) == pytest.approx(1.0)


def test_a_run_without_a_scene_shows_its_photos(run_copy):
    run_copy.checkpoint.unlink()
    bare = stage(run_copy.folder, "cpu")
    assert bare.step == 0 and len(bare.names) == 6 and len(bare.scene) > 1
    assert draw(bare, bare.camera(0), 0).shape[2] == 3


def test_a_run_that_cannot_be_shown_is_a_sentence(run_copy, tmp_path):
    with pytest.raises(FormatError, match="nowhere does not exist; need a run folder"):
        stage(tmp_path / "nowhere")
    with pytest.raises(FormatError, match=r"has no capture\.json; need a run folder"):
        stage(tmp_path)
    (tmp_path / "capture.json").write_text("{}")
    with pytest.raises(FormatError, match="run `splatdeblur pose` on it first"):
        stage(tmp_path)
    content = torch.load(run_copy.checkpoint)
    torch.save({**content, "version": 99}, run_copy.checkpoint)
    with pytest.raises(FormatError, match="has version 99, this program reads version 1; update the program"):
        stage(run_copy.folder)
    run_copy.checkpoint.write_bytes(b"no checkpoint")
    with pytest.raises(FormatError, match="cut short"):
        stage(run_copy.folder)
    run_copy.checkpoint.unlink()
    (run_copy.poses / "poses.json").write_text("[")
    with pytest.raises(PoseError, match="damaged"):
        stage(run_copy.folder)


def test_the_invitation_says_who_can_come():
    assert "http://127.0.0.1:80 (only this machine" in invitation("127.0.0.1", 80)
    assert "everyone who reaches this machine" in invitation("0.0.0.0", 80)
    assert "[::1]:80" in invitation("::1", 80)


def test_bursts_of_the_viewer_are_the_renderers(shown):
    """A photo seen from elsewhere moves there as it moved at its own place."""
    camera = shown.camera(1)
    seen = {}

    class Spy:
        name = "spy"
        device = torch.device("cpu")

        def render(self, scene, cameras, *, options=RenderOptions(), burst: Burst | None = None):
            seen["viewmats"], seen["slices"] = cameras.viewmats, burst.slices
            return shown.rasterizer.render(scene, cameras, options=options, burst=burst)

    predicted(replace(shown, rasterizer=Spy()), 1, shown.camera(4))
    times = shown.exposure.shutter.render_times(1, len(seen["viewmats"]))
    moves = shown.path(1, times) @ inverse(camera.viewmats[0])
    torch.testing.assert_close(seen["viewmats"], moves @ shown.camera(4).viewmats[0], atol=1e-5, rtol=0)
    assert seen["slices"].shape == (len(times), 2, 4, 4)
