"""Photos of two sizes, one of them masked, from files to pictures of the finished scene."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import synthetic
import torch
from PIL import Image
from plyfile import PlyData, PlyElement

from splatdeblur import pipeline, renders, showing
from splatdeblur.capture.choices import Choices, Use
from splatdeblur.config import Config, plain
from splatdeblur.errors import ConfigError
from splatdeblur.optimize import checkpoint
from splatdeblur.poses import load_reconstruction
from splatdeblur.renders import RenderSettings
from splatdeblur.run import Run
from splatdeblur.view.pictures import predicted

SIZE, UPRIGHT = (96, 64), (44, 64)
CUT_PX = (SIZE[0] - UPRIGHT[0]) // 2


def silent(*said) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    """Every third photo is cut to its upright middle."""
    folder = tmp_path_factory.mktemp("capture")
    shots = synthetic.make_capture(synthetic.make_scene(0), photos=8, size=SIZE, blur_px=(1, 3), subframes=8, tests=1)
    shots.save(folder)
    content = json.loads((folder / "transforms.json").read_text())
    for index, frame in enumerate(content["frames"]):
        if index % 3 == 0 and frame["file_path"].startswith("images"):
            path = folder / frame["file_path"]
            Image.open(path).crop((CUT_PX, 0, CUT_PX + UPRIGHT[0], UPRIGHT[1])).save(path)
            frame |= {"w": UPRIGHT[0], "h": UPRIGHT[1], "cx": float(shots.K[0, 2]) - CUT_PX}
    rows = [(*p, *c) for p, c in zip(shots.points, np.round(shots.point_colors * 255), strict=True)]
    kinds = [(k, "f8") for k in "xyz"] + [(k, "u1") for k in ("red", "green", "blue")]
    PlyData([PlyElement.describe(np.array(rows, dtype=kinds), "vertex")]).write(folder / "points.ply")
    content["ply_file_path"] = "points.ply"  # or they would be searched for, which takes seconds
    (folder / "transforms.json").write_text(json.dumps(content))
    (folder / "masks").mkdir()
    mask = np.full(SIZE[::-1], 255, np.uint8)
    mask[20:40, 30:60] = 0
    Image.fromarray(mask).save(folder / "masks/001.png")
    return folder


@pytest.fixture(scope="module")
def result(capture, tmp_path_factory):
    run, config = Run(tmp_path_factory.mktemp("runs") / "run"), Config(downscale=1.0)
    config = replace(config, train=replace(config.train, steps=25, gaussians=800))
    return pipeline.reconstruct(capture, run, config, silent, silent)


def sizes_of(count: int = 8) -> list[tuple[int, int]]:
    return [UPRIGHT if i % 3 == 0 else SIZE for i in range(count)]


def test_every_photo_keeps_its_camera_to_the_end(result):
    assert list(result.cameras.own_sizes) == sizes_of()
    assert (result.run.evaluation / "side_by_side.png").stat().st_size > 1000
    trainer = pipeline.make_trainer(result.run, result.config)
    assert [k is None for k in trainer.photos.keeps[-1]] == [i != 1 for i in range(8)]


def test_pictures_of_the_inputs_have_the_inputs_sizes(result, tmp_path):
    for downscale, factor in ((0.0, 1), (2.0, 2)):
        out = tmp_path / str(factor)
        _, views = renders.render(result.run.folder, out, RenderSettings(downscale=downscale), "cpu", silent)
        sizes = [(w // factor, h // factor) for w, h in sizes_of()]
        assert [Image.open(path).size for path in sorted(out.glob("*.png"))] == sizes == list(views.own_sizes)
    _, orbit = renders.render(result.run.folder, tmp_path / "o", RenderSettings(path="orbit", frames=2), "cpu", silent)
    assert orbit.sizes is None


def test_a_photo_left_out_leaves_the_masks_of_the_others(result):
    gone = result.names[0]
    Choices().with_use(gone, Use.LEFT_OUT).save(result.run.choices)
    trainer = pipeline.make_trainer(result.run, result.config)
    result.run.choices.unlink()
    assert checkpoint.load(result.run.checkpoint).without({gone}, steps=1).state["masks"] == trainer.photos.mask_marks
    assert any(trainer.photos.mask_marks)


@pytest.mark.parametrize("is_trained", [True, False])
def test_the_viewer_shows_every_photo_with_its_own_lens(result, tmp_path, is_trained):
    shutil.copytree(result.run.folder, tmp_path / "run")
    run, config = Run(tmp_path / "run"), replace(result.config, downscale=2.0)
    run.checkpoint.unlink()
    if is_trained:
        Choices().with_use("000.png", Use.LEFT_OUT).with_use("001.png", Use.LEFT_OUT).save(run.choices)
        checkpoint.save(pipeline.make_trainer(run, config), run.checkpoint, plain(config))
    stage = showing.stage(run.folder, "cpu")
    full = load_reconstruction(run).cameras
    factor = 2 if is_trained else 1
    assert len(stage.other_names) == (2 if is_trained else 0) and len(stage.all_names) == 8
    for index, name in enumerate(stage.all_names):
        camera, number = stage.camera(index), int(name[:3])
        photo = stage.read_photo(name)
        width, height = sizes_of()[number]
        assert (camera.width, camera.height) == photo.shape[1::-1] == (width // factor, height // factor)
        torch.testing.assert_close(camera.Ks[0, :2], full.Ks[number, :2].float() / factor)
        if index < len(stage.names):
            assert predicted(stage, index, camera).srgb.shape == photo.shape


def test_a_video_of_photos_of_many_sizes_is_refused_before_it_is_drawn(result, tmp_path):
    with pytest.raises(ConfigError, match="2 sizes and a video has one: give --path through or orbit"):
        renders.render(result.run.folder, tmp_path / "film.mp4", RenderSettings(), "cpu", silent)
    assert not list(tmp_path.iterdir())


def test_training_starts_anew_where_masks_have_changed(result, capture, tmp_path, caplog):
    mask = capture / "masks/001.png"
    before = mask.read_bytes()
    Image.new("L", SIZE, 255).save(mask)
    shutil.copytree(result.run.folder, tmp_path / "run")
    run = Run(tmp_path / "run")
    pipeline.prepare(capture, run, result.config, silent)
    pipeline.pose(run, result.config, silent)
    pipeline.train(run, result.config, silent)
    mask.write_bytes(before)
    assert "starting anew" in caplog.text


def test_photos_of_two_sizes_are_scored_each_at_its_own(result, capture):
    """A render stands in for each sharp photo, so that scores are perfect; but for what the mask hides."""
    sharp = capture / "sharp"
    before = sharp.rename(capture / "sharp-of-before") if sharp.exists() else None
    renders.render(result.run.folder, sharp, RenderSettings(), "cpu", silent)
    spoilt = np.array(Image.open(sharp / "001.png"))
    spoilt[20:40, 30:60] = 255
    Image.fromarray(spoilt).save(sharp / "001.png")
    scores = pipeline.evaluate(result.run, capture, "cpu", silent)
    shutil.rmtree(sharp)
    if before is not None:
        before.rename(sharp)
    inputs = scores.deblurred_inputs
    assert inputs.masked == ["001.png"]
    assert min(inputs.unaligned.psnr.per_image.values()) > 50  # 8 bits of the sharp photos
    assert min(inputs.unaligned.ssim.per_image.values()) > 0.998
    assert inputs.photos.psnr.per_image.keys() == set(result.names)
    assert scores.paths.error_px.keys() == set(result.names) and scores.novel_view is not None
    drawn = result.run.evaluation / "deblurred_inputs"
    assert [Image.open(drawn / name).size for name in result.names] == sizes_of()


def test_photos_kept_for_testing_are_scored_without_a_reference(result, tmp_path):
    shutil.copytree(result.run.folder, tmp_path / "run")
    run = Run(tmp_path / "run")
    with pytest.raises(ConfigError, match="give --reference with the truth, or keep photos for testing"):
        pipeline.evaluate(run, None, "cpu", silent)
    Choices().with_use("000.png", Use.TEST).with_use("001.png", Use.TEST).save(run.choices)
    with pytest.raises(ConfigError, match="nothing to score"):  # the scene has seen both
        pipeline.evaluate(run, None, "cpu", silent)
    checkpoint.save(pipeline.make_trainer(run, result.config), run.checkpoint, plain(result.config))
    scores = pipeline.evaluate(run, None, "cpu", silent)
    assert set(scores.held_out.scores.psnr.per_image) == set(scores.held_out.blur_px) == {"000.png", "001.png"}
    assert scores.held_out.masked == ["001.png"]
    assert Image.open(run.evaluation / "held_out" / "000.png").size == UPRIGHT
    assert json.loads(run.scores.read_text())["trajectory"] is None
