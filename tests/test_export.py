"""Exports: scenes that look the same elsewhere, and sharp photos whose cameras fit them."""

import json

import pycolmap
import pytest
import torch
from PIL import Image
from runs import SIZE, make_run

from splatdeblur.errors import ConfigError, FormatError
from splatdeblur.export import CAMERA_FORMATS, export
from splatdeblur.poses.imports import load_cameras
from splatdeblur.render import RenderOptions
from splatdeblur.result import load_result
from splatdeblur.scene import load_scene
from splatdeblur.subject import load_subject

LEAST_DB = {"ply": 100, "compressed": 38, "spz": 38, "splat": 30}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="module")
def antialiased(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("antialiased"), is_antialiased=True)


def quiet(share, said):
    pass


def pictures(result, scene, options=RenderOptions()):
    with torch.no_grad():
        return result.rasterizer.render(scene, result.photos().cameras, options=options).rgb.clamp(0, 1)


def psnr(a, b):
    return -10 * torch.log10((a - b).square().mean() + 1e-12).item()


@pytest.mark.parametrize("format", LEAST_DB)
def test_a_scene_looks_the_same_from_its_file(run, tmp_path, format):
    path = tmp_path / f"scene.{'ply' if format == 'compressed' else format}"
    assert export(run, format, path, 0.0, "cpu", quiet) == [path]
    result = load_result(run, "cpu")
    assert psnr(pictures(result, load_scene(path)), pictures(result, result.scene)) > LEAST_DB[format]


def test_an_antialiased_scene_looks_the_same_to_a_plain_renderer(antialiased, tmp_path):
    export(antialiased, "ply", tmp_path / "scene.ply", 0.0, "cpu", quiet)
    result = load_result(antialiased, "cpu")
    truth = pictures(result, result.scene, result.options)
    before = psnr(pictures(result, result.scene), truth)
    assert psnr(pictures(result, load_scene(tmp_path / "scene.ply")), truth) > max(30, before + 8)


def test_a_scene_for_larger_pictures_looks_there_as_our_renders_do(run, tmp_path):
    export(run, "ply", tmp_path / "scene.ply", 0.0, "cpu", quiet, 3.0)
    subject = load_subject(run.folder, "cpu", 0.0)
    larger = subject.cameras.at(0).scaled(3.0)
    ours = subject.sharp(larger).srgb
    with torch.no_grad():
        theirs, plain = (
            subject.rasterizer.render(scene, larger).rgb[0]
            for scene in (load_scene(tmp_path / "scene.ply"), subject.scene)
        )
    assert psnr(theirs, ours) > psnr(plain, ours) + 10


def test_a_colmap_model_fits_its_sharp_images(run, tmp_path):
    export(run, "colmap", tmp_path / "out", 1.0, "cpu", quiet)
    model = pycolmap.Reconstruction(tmp_path / "out" / "sparse" / "0")
    sharp = load_result(run, "cpu").photos().cameras
    assert model.num_reg_images() == 6 and len(model.points3D) > 100
    for index, image in enumerate(sorted(model.images.values(), key=lambda image: image.name)):
        with Image.open(tmp_path / "out" / "images" / image.name) as picture:
            assert picture.size == SIZE
        camera = model.cameras[image.camera_id]
        assert (camera.width, camera.height) == SIZE
        assert camera.focal_length_x == pytest.approx(2 * sharp.Ks[index, 0, 0].item(), rel=1e-6)
        moved = torch.from_numpy(image.cam_from_world().matrix()).float() - sharp.viewmats[index, :3]
        assert moved.abs().max() < 1e-5


def test_transforms_name_pictures_that_are_there(run, tmp_path):
    export(run, "transforms", tmp_path / "out", 0.0, "cpu", quiet)
    names, cameras = load_cameras(tmp_path / "out" / "transforms.json")
    assert len(names) == 6 and all((tmp_path / "out" / name).is_file() for name in names)
    torch.testing.assert_close(cameras.viewmats.float(), load_result(run, "cpu").photos().cameras.viewmats)


@pytest.mark.parametrize("format", CAMERA_FORMATS)
def test_an_interrupted_export_goes_on(run, tmp_path, format):
    export(run, format, tmp_path / "out", 0.0, "cpu", quiet)
    first = tmp_path / "out" / "images" / "000.png"
    before = first.stat().st_mtime_ns
    (tmp_path / "out" / "images" / "003.png").unlink()
    export(run, format, tmp_path / "out", 0.0, "cpu", quiet)
    assert first.stat().st_mtime_ns == before and (tmp_path / "out" / "images" / "003.png").exists()


MINE = [("transforms", "transforms.json"), ("transforms", "points.ply"), ("colmap", "sparse/0/images.bin")]


@pytest.mark.parametrize(("format", "name"), [*MINE, ("colmap", "sparse/0/cameras.txt")])
def test_the_users_cameras_are_not_overwritten(run, tmp_path, format, name):
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(FormatError, match=f"{mine.name} is there already .* choose another --out"):
        export(run, format, tmp_path / "out", 0.0, "cpu", quiet)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [mine] and mine.read_text() == "mine"


def test_cameras_in_both_formats_may_share_a_folder(run, tmp_path):
    for format in (*CAMERA_FORMATS, *CAMERA_FORMATS):
        export(run, format, tmp_path / "out", 0.0, "cpu", quiet)
    assert load_cameras(tmp_path / "out" / "transforms.json") and load_cameras(tmp_path / "out" / "sparse" / "0")
    listed = json.loads((tmp_path / "out" / "render.json").read_text())["files"]
    written = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert written - {"render.json"} <= set(listed)


def test_trajectories_pass_through_the_sharp_poses(run, tmp_path):
    written = export(run, "trajectories", tmp_path / "paths.json", 0.0, "cpu", quiet)
    assert [path.name for path in written] == ["paths.json", "paths.tum"] and all(p.exists() for p in written)
    photos = json.loads((tmp_path / "paths.json").read_text())["photos"]
    sharp = load_result(run, "cpu").photos().cameras.viewmats
    for photo, viewmat in zip(photos, sharp, strict=True):
        middle = torch.tensor(photo["world_from_camera"][photo["shutter_time"].index(0.5)])
        torch.testing.assert_close(middle @ viewmat, torch.eye(4), atol=1e-5, rtol=0)


def test_what_cannot_be_written_is_an_error(run, tmp_path):
    with pytest.raises(ConfigError, match=r'no export format "glb"; there are ply, .*, trajectories'):
        export(run, "glb", tmp_path / "scene.glb", 0.0, "cpu", quiet)
    (tmp_path / "mine").write_text("a file")
    with pytest.raises(FormatError, match="mine is a file; --format colmap writes a folder"):
        export(run, "colmap", tmp_path / "mine", 0.0, "cpu", quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("downscale", [-2.0, float("nan"), 1e9])
def test_a_size_without_sense_is_refused(run, tmp_path, downscale):
    with pytest.raises(ConfigError, match=r"--downscale is .*; it must be 0 to 1000"):
        export(run, "colmap", tmp_path / "out", downscale, "cpu", quiet)
    with pytest.raises(ConfigError, match="million at most: give a larger --downscale"):
        export(run, "transforms", tmp_path / "out", 0.001, "cpu", quiet)
    assert not list(tmp_path.iterdir())


def test_the_runs_own_files_are_not_exported_over(run):
    before = run.capture.read_bytes()
    for format, out in (("trajectories", run.capture), ("ply", run.images / "scene.ply"), ("colmap", run.folder)):
        with pytest.raises(FormatError, match="where the run keeps its own files"):
            export(run, format, out, 0.0, "cpu", quiet)
    assert run.capture.read_bytes() == before and not (run.folder / "sparse").exists()
