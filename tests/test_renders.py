"""Pictures of a run and of scene files: the right views at the right size, blurred as asked, and kept."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from runs import SIZE, make_run

from splatdeblur.capture.pixels import read_photo, resize_photo
from splatdeblur.errors import CaptureError, ConfigError, FormatError, PoseError
from splatdeblur.export import export
from splatdeblur.exposure import Exposure
from splatdeblur.geometry import Cameras
from splatdeblur.optimize import checkpoint
from splatdeblur.renders import RenderSettings, farthest, render
from splatdeblur.result import load_result
from splatdeblur.run import Run
from splatdeblur.scene import Gaussians
from splatdeblur.subject import load_subject
from splatdeblur.view.paths import SCENE_SIZE

SMALL = (SIZE[0] // 2, SIZE[1] // 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("renders"))


def quiet(share, said):
    pass


def pictures(source, out, **settings):
    """[view, height, width, 3] of what was rendered."""
    render(source, out, RenderSettings(**settings), "cpu", quiet)
    return torch.stack([read_photo(path) for path in sorted(out.glob("*.png"))])


def psnr(a, b):
    return -10 * torch.log10((a - b).square().mean() + 1e-12).item()


def contrast(views):
    return views.diff(dim=1).square().mean() + views.diff(dim=2).square().mean()


def test_inputs_are_drawn_at_the_size_of_training_or_of_the_photos(run, tmp_path):
    small, full = pictures(run.folder, tmp_path / "small"), pictures(run.folder, tmp_path / "full", downscale=1.0)
    assert small.shape == (6, SMALL[1], SMALL[0], 3) and full.shape == (6, SIZE[1], SIZE[0], 3)
    reduced = torch.stack([resize_photo(view, *SMALL) for view in full])
    assert psnr(reduced, small) > 22 > psnr(reduced.roll(1, 0), small)


def test_a_shutter_as_learned_gives_the_photos_that_training_predicts(run, tmp_path):
    result = load_result(run, "cpu")
    counts = result.exposure.subframe_counts(result.cameras.Ks[0, 0, 0].item())
    seen = pictures(run.folder, tmp_path / "blurred", shutter=1.0)
    for index, count in enumerate(counts):
        camera = result.cameras.at(index)

        def draw(viewmats, burst, camera=camera):
            return result.rasterizer.render(
                result.scene, camera.with_viewmats(viewmats), options=result.options, burst=burst
            )

        with torch.no_grad():
            assert psnr(seen[index], result.exposure(draw, index, count, camera=camera).srgb.clamp(0, 1)) > 38


def test_the_lens_is_told_how_much_larger_than_the_training_a_picture_is(run, tmp_path, monkeypatch):
    told, through_lens = [], Exposure.through_lens

    def listening(self, *args, enlarged, **kwargs):
        told.append(enlarged)
        return through_lens(self, *args, enlarged=enlarged, **kwargs)

    monkeypatch.setattr(Exposure, "through_lens", listening)
    for downscale in (0.0, 1.0, 2.0):
        pictures(run.folder, tmp_path / str(downscale), shutter=1.0, downscale=downscale)
    assert told == pytest.approx([1.0] * 6 + [2.0] * 6 + [1.0] * 6)


def test_the_longer_the_shutter_the_more_blur(run, tmp_path):
    views = [pictures(run.folder, tmp_path / str(shutter), shutter=shutter) for shutter in (0.01, 1.0, 3.0)]
    fine = [contrast(v) for v in views]
    assert fine[0] > 1.1 * fine[1] > 1.2 * fine[2]


def test_views_of_a_file_and_paths_made_from_it(run, tmp_path):
    export(run, "transforms", tmp_path / "cameras", 0.0, "cpu", quiet)
    cameras = tmp_path / "cameras" / "transforms.json"
    inputs = pictures(run.folder, tmp_path / "inputs")
    assert psnr(pictures(run.folder, tmp_path / "file", cameras=cameras), inputs) > 50
    half = pictures(run.folder, tmp_path / "half", cameras=cameras, downscale=2.0)
    assert half.shape == (6, SMALL[1] // 2, SMALL[0] // 2, 3)
    along = pictures(run.folder, tmp_path / "path", cameras=cameras, path="through", frames=4)
    assert psnr(along, pictures(run.folder, tmp_path / "own", path="through", frames=4)) > 45


def test_a_scene_file_stands_in_for_the_run(run, tmp_path):
    export(run, "transforms", tmp_path / "cameras", 0.0, "cpu", quiet)
    export(run, "ply", tmp_path / "scene.ply", 0.0, "cpu", quiet)
    seen = pictures(tmp_path / "scene.ply", tmp_path / "views", cameras=tmp_path / "cameras" / "transforms.json")
    assert psnr(seen, pictures(run.folder, tmp_path / "inputs")) > 50
    around = pictures(tmp_path / "scene.ply", tmp_path / "around", frames=2, downscale=8.0)
    assert around.shape == (2, SCENE_SIZE[1] // 8, SCENE_SIZE[0] // 8, 3)


def test_the_farthest_depth_is_that_of_what_each_picture_shows():
    means = torch.tensor([[0.0, 0, 2], [3, 0, 10]])  # the second is beyond the right edge of the narrow picture
    scene = Gaussians.from_raw(means, torch.eye(4)[[0, 0]], torch.zeros(2, 3), torch.zeros(2), torch.zeros(2, 1, 3))
    K = torch.tensor([[10.0, 0, 2], [0, 10, 2], [0, 0, 1]])
    away = torch.diag(torch.tensor([-1.0, 1, -1, 1]))  # the wide picture shows nothing
    views = Cameras.of_sizes(torch.stack([torch.eye(4), away]), K.expand(2, 3, 3), [(4, 4), (8, 4)])
    assert farthest(scene, views) == pytest.approx(2 * 1.05)


def test_what_was_rendered_is_kept_and_a_changed_scene_is_not(run, tmp_path):
    def drawn(source, **settings):
        return render(source, tmp_path / "out", RenderSettings(**settings), "cpu", quiet)[0]

    assert (drawn(run.folder), drawn(run.folder)) == (6, 0)
    (tmp_path / "out" / "003.png").unlink()
    assert drawn(run.folder) == 1
    assert drawn(run.folder, shutter=1.0) == 6
    changed = Run(tmp_path / "changed")
    shutil.copytree(run.folder, changed.folder)
    content = torch.load(changed.checkpoint)
    content["state"]["scene"]["means"][0, 0] += 1
    torch.save(content, changed.checkpoint)
    assert drawn(changed.folder, shutter=1.0) == 6


def test_photos_of_one_name_and_two_suffixes_do_not_overwrite_each_other(run, tmp_path):
    twins = Run(tmp_path / "twins")
    shutil.copytree(run.folder, twins.folder)
    content = torch.load(twins.checkpoint)
    content["names"][:2] = ["000.png", "000.jpg"]
    torch.save(content, twins.checkpoint)
    assert load_subject(twins.folder, "cpu", 0.0).names[:3] == ("000.png", "000.jpg", "002")


@pytest.mark.parametrize(
    ("settings", "out", "message"),
    [
        ({"path": "helix"}, "out", "no path"),
        ({"shutter": 1.0, "path": "orbit"}, "out", "--path inputs alone"),
        ({"shutter": -1.0}, "out", "--shutter is -1"),
        ({"shutter": float("nan")}, "out", "--shutter is nan"),
        ({"downscale": -2.0}, "out", "--downscale is -2"),
        ({"frames": -1}, "out", "--frames is -1"),
        ({}, "film.avi", "ends in .mp4"),
        ({"fps": 0.0}, "film.mp4", "--fps is 0"),
        ({"format": "exr"}, "film.mp4", "need a folder"),
        ({"has_depth": True}, "film.mp4", "need a folder"),
    ],
)
def test_nonsense_is_refused_before_anything_is_drawn(run, tmp_path, settings, out, message):
    with pytest.raises(ConfigError, match=message):
        render(run.folder, tmp_path / out, RenderSettings(**settings), "cpu", quiet)
    assert not list(tmp_path.iterdir())


def test_photos_kept_out_of_the_training_are_drawn_too_where_they_were_placed(run, tmp_path):
    fewer = Run(tmp_path / "fewer")
    shutil.copytree(run.folder, fewer.folder)
    found, content = checkpoint.load(run.checkpoint).without({"002.png"}, steps=1), torch.load(run.checkpoint)
    content |= {"names": list(found.names), "state": found.state}
    torch.save(content | {"viewmats": found.cameras.viewmats, "Ks": found.cameras.Ks}, fewer.checkpoint)
    render(fewer.folder, tmp_path / "out", RenderSettings(downscale=1.0), "cpu", quiet)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == [f"{i:03d}.png" for i in range(6)]
    seen, known = read_photo(tmp_path / "out" / "002.png"), pictures(run.folder, tmp_path / "all", downscale=1.0)
    assert seen.shape == (SIZE[1], SIZE[0], 3)
    likeness = [psnr(seen, picture) for picture in known]
    assert likeness.index(max(likeness)) == 2
    assert len(pictures(fewer.folder, tmp_path / "blurred", shutter=1.0)) == 5


def views_file(path, *, names=("a.png", "b.png", "c.png"), matrices=None, **fields):
    """A transforms.json of cameras side by side that look along -z."""
    if matrices is None:
        matrices = [[[1, 0, 0, x / 10], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]] for x in range(len(names))]
    frames = [{"file_path": n, "transform_matrix": m} for n, m in zip(names, matrices, strict=True)]
    path.write_text(json.dumps({"w": 24, "h": 16, "fl_x": 20.0, "frames": frames} | fields))
    return path


def test_every_view_of_a_file_gets_a_picture_whatever_its_name(run, tmp_path):
    names = ("", "", "..", "/", "./train/r_0", "test\\r_0", "r_0.jpg", "nul\0.png", ".hidden.png", "a" * 300)
    cameras = views_file(tmp_path / "views.json", names=names)
    assert render(run.folder, tmp_path / "out", RenderSettings(cameras=cameras), "cpu", quiet)[0] == len(names)
    drawn = {path.stem for path in (tmp_path / "out").glob("[!.]*.png")}
    assert len(drawn) == len(names) and {"train_r_0", "test_r_0", "hidden"} < drawn


def test_a_bent_lens_is_drawn_straight(run, tmp_path):
    straight, bent = views_file(tmp_path / "straight.json"), views_file(tmp_path / "bent.json", k1=0.05)
    settings = RenderSettings(cameras=straight)
    assert render(run.folder, tmp_path / "a", settings, "cpu", quiet)[1].own_sizes == ((24, 16),) * 3
    (size,) = set(render(run.folder, tmp_path / "b", replace(settings, cameras=bent), "cpu", quiet)[1].own_sizes)
    assert size != (24, 16) and all(abs(a - b) < 6 for a, b in zip(size, (24, 16), strict=True))
    assert read_photo(tmp_path / "b" / "a.png").shape == (size[1], size[0], 3)


FAR = [[[1, 0, 0, 1e200], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]] * 3


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"frames": []}, CaptureError, "no list of frames"),
        ({"w": 1e12}, PoseError, "1000000000000x16 px; need 1 to 100000 on each side"),
        ({"w": float("nan")}, PoseError, "w and h are nan and 16"),
        ({"w": 0}, PoseError, "0x16 px; need 1 to"),
        ({"w": 60_000, "h": 60_000}, ConfigError, "60000x60000 px; need 100 million at most: give a larger"),
        ({"fl_x": float("nan")}, PoseError, "fl_x is nan"),
        ({"fl_x": 1e300}, PoseError, "than numbers reach"),
        ({"matrices": FAR}, PoseError, "than numbers reach"),
        ({"matrices": [[[float("nan")] * 4] * 4] * 3}, PoseError, "must be 4x4 finite numbers"),
        ({"matrices": [[[0] * 4] * 4] * 3}, PoseError, "not a rotation and a position"),
        ({"matrices": ["here", "there", "anywhere"]}, PoseError, "no transform_matrix of numbers"),
    ],
)
def test_views_that_cannot_be_drawn_are_refused(run, tmp_path, fields, error, message):
    settings = RenderSettings(cameras=views_file(tmp_path / "views.json", **fields))
    with pytest.raises(error, match=message):
        render(run.folder, tmp_path / "out", settings, "cpu", quiet)
    assert not (tmp_path / "out").exists()


def test_large_views_may_be_drawn_smaller(run, tmp_path):
    cameras = views_file(tmp_path / "views.json", w=60_000, h=60_000, fl_x=60_000.0)
    settings = RenderSettings(cameras=cameras, downscale=1000.0)
    assert render(run.folder, tmp_path / "out", settings, "cpu", quiet)[1].own_sizes == ((60, 60),) * 3


def test_a_video_of_single_pixels_is_refused(run, tmp_path):
    with pytest.raises(ConfigError, match="1x1 px; a video needs at least 2x2"):
        render(run.folder, tmp_path / "film.mp4", RenderSettings(downscale=999.0), "cpu", quiet)
    assert not list(tmp_path.iterdir())


def test_what_is_in_the_way_is_left_alone(run, tmp_path):
    (tmp_path / "mine").write_text("a file")
    with pytest.raises(FormatError, match=r"mine is a file; give a folder for pictures, or NAME\.mp4 for a video"):
        render(run.folder, tmp_path / "mine", RenderSettings(), "cpu", quiet)
    (tmp_path / "film.mp4").mkdir()
    with pytest.raises(ConfigError, match=r"film\.mp4 is a folder; give the name of a video"):
        render(run.folder, tmp_path / "film.mp4", RenderSettings(), "cpu", quiet)
    with pytest.raises(FormatError, match="where the run keeps its own files"):
        render(run.folder, run.images, RenderSettings(), "cpu", quiet)
    assert (tmp_path / "mine").read_text() == "a file" and not list((tmp_path / "film.mp4").iterdir())


@pytest.mark.parametrize(("found", "message"), [("nothing", "does not exist"), ("a file", "is a file")])
def test_what_is_no_run_is_refused(tmp_path, found, message):
    source = tmp_path / "notes.txt"
    if found == "a file":
        source.write_text("")
    with pytest.raises(FormatError, match=rf"notes\.txt {message}; need a run folder.* in \.ply, \.spz"):
        render(source, tmp_path / "out", RenderSettings(), "cpu", quiet)


def test_a_scene_file_has_no_photos_to_walk_along(run, tmp_path):
    export(run, "splat", tmp_path / "scene.splat", 0.0, "cpu", quiet)
    for settings in (RenderSettings(path="through"), replace(RenderSettings(), path="inputs")):
        with pytest.raises(ConfigError, match="has no photos for --path"):
            render(tmp_path / "scene.splat", tmp_path / "out", settings, "cpu", quiet)
    with pytest.raises(ConfigError, match=r"scene\.splat is a scene file, .* --shutter needs a run"):
        render(tmp_path / "scene.splat", tmp_path / "out", RenderSettings(shutter=1.0), "cpu", quiet)
    with pytest.raises(FormatError, match="cannot read"):
        render(tmp_path / "nowhere.ply", tmp_path / "out", RenderSettings(), "cpu", quiet)
