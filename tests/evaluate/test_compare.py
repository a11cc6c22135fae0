"""The whole evaluation: a perfect run scores perfectly, in whatever world it lives; what is not there is said."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from splatdeblur.capture.pixels import read_photo
from splatdeblur.errors import PoseError
from splatdeblur.evaluate import Similarity, evaluate, show_side_by_side
from splatdeblur.evaluate.studio import TrainedPhotos
from splatdeblur.geometry import matrix_from_quat, quat_from_matrix
from splatdeblur.render import RenderOptions
from splatdeblur.scene import Gaussians


def carried(scene: Gaussians, similarity: Similarity) -> Gaussians:
    """The scene in another world (colours without direction)."""
    rotations = similarity.rotation.float() @ matrix_from_quat(scene.quats)
    shift = torch.tensor(similarity.scale).log()
    return Gaussians.from_raw(
        similarity.points(scene.means),
        quat_from_matrix(rotations),
        scene.params["scales"] + shift,
        scene.params["opacities"],
        scene.sh,
    )


def replace_colors(scene: Gaussians, sh: torch.Tensor) -> Gaussians:
    return Gaussians.from_raw(
        *(scene.params[name].detach() for name in ("means", "quats", "scales", "opacities")), sh.detach()
    )


def score(world, run, photos, reference, scene=None, **settings):
    return evaluate(
        run,
        reference,
        scene=scene or world.scene,
        rasterizer=world.rasterizer,
        photos=photos,
        options=RenderOptions(),
        **{"downscale": 1.0, "refine_steps": 2, **settings},
    )


def test_a_perfect_run_in_another_world_scores_perfectly(world, reference, trained):
    run, photos = trained
    other = Similarity(
        3.0,
        matrix_from_quat(torch.tensor([0.3, 0.8, -0.4, 0.2], dtype=torch.float64)),
        torch.tensor([5.0, -3.0, 2.0], dtype=torch.float64),
    )
    moved = TrainedPhotos(photos.names, other.cameras(photos.cameras), other.viewmats(photos.paths), photos.times)
    stages = []
    scores = score(
        world,
        run,
        moved,
        reference,
        scene=carried(world.scene, other),
        inputs_refine_steps=1,
        on_progress=lambda stage, share: stages.append(share),
    )
    assert scores.novel_view.unaligned.psnr.mean > 50  # 8 bits of the reference pictures
    assert scores.novel_view.aligned.psnr.mean > 50
    assert scores.novel_view.exposed.psnr.mean > 50
    assert all(abs(gain - 1) < 0.01 for gains in scores.novel_view.gains.values() for gain in gains)
    assert scores.deblurred_inputs.unaligned.psnr.mean > 50
    assert scores.deblurred_inputs.photos.psnr.mean == 100
    assert scores.centers.ate < 1e-6
    assert scores.paths.median_px < 1e-6
    assert abs(scores.alignment.scale - 3) < 1e-6
    assert scores.alignment.outliers == []
    assert stages == sorted(stages) and stages[-1] == 1


def test_scores_json_is_laid_out_as_promised(world, reference, trained):
    run, photos = trained
    half = replace(photos, cameras=photos.cameras.scaled(0.5))
    score(world, run, half, reference, downscale=2.0)
    found = json.loads(run.scores.read_text())
    for kind in ("aligned", "unaligned"):
        assert set(found["novel_view"][kind]) == {"psnr", "ssim", "lpips"}
        assert list(found["novel_view"][kind]["psnr"]["per_image"]) == ["000.png", "001.png", "002.png"]
    assert found["novel_view"]["aligned"]["lpips"]["mean"] is None
    assert found["novel_view"]["aligned"]["lpips"]["reason"] == found["settings"]["lpips"]
    assert found["deblurred_inputs"]["psnr"]["per_image"].keys() == set(photos.names)
    assert found["deblurred_inputs"]["aligned"] is None
    assert found["trajectory"]["path_error_px"] < 1e-6
    assert found["trajectory"]["ate"] < 1e-6
    assert found["settings"]["size"] == [24, 18]
    for name in ("novel_view/aligned/002", "novel_view/unaligned/000", "deblurred_inputs/005", "side_by_side"):
        assert (run.evaluation / f"{name}.png").is_file()


def test_parts_without_truth_are_null_with_a_reason(world, reference, trained):
    run, photos = trained
    (reference / "trajectories.npz").unlink()
    shutil.rmtree(reference / "sharp")
    transforms = json.loads((reference / "transforms.json").read_text())
    transforms["frames"] = [f for f in transforms["frames"] if f["split"] == "train"]
    transforms["test_filenames"] = []
    (reference / "transforms.json").write_text(json.dumps(transforms))
    score(world, run, photos, reference)
    found = json.loads(run.scores.read_text())
    assert found["novel_view"] is None
    assert found["deblurred_inputs"] is None
    assert found["trajectory"]["path_error_px"] is None
    assert found["trajectory"]["ate"] < 1e-6
    assert set(found["missing"]) == {"novel_view", "deblurred_inputs", "path_error_px"}


def test_a_run_that_knows_no_motion_has_no_path_error(world, reference, trained):
    run, photos = trained
    scores = score(world, run, replace(photos, paths=None, times=None), reference)
    assert scores.paths is None
    assert "no motion" in scores.missing["path_error_px"]


def test_photos_of_the_run_alone_are_scored(world, reference, trained):
    run, photos = trained
    kept = [5, 1, 3, 2]
    some = TrainedPhotos(
        tuple(photos.names[i] for i in kept), photos.cameras.at(kept), photos.paths[kept], photos.times
    )
    scores = score(world, run, some, reference)
    assert list(scores.deblurred_inputs.unaligned.psnr.per_image) == ["005.jpg", "001.jpg", "003.jpg", "002.jpg"]
    assert scores.deblurred_inputs.unaligned.psnr.mean > 50
    assert scores.paths.median_px < 1e-6
    assert scores.alignment.without_pose == ["images/000.png", "images/004.png"]


def test_a_folder_that_is_no_reference_is_a_clear_error(world, trained, tmp_path):
    run, photos = trained
    with pytest.raises(PoseError, match=r"transforms\.json"):
        score(world, run, photos, tmp_path)
    assert not run.scores.exists()


def test_the_reference_of_another_capture_is_a_clear_error(world, reference, trained):
    run, photos = trained
    strangers = replace(photos, names=tuple(f"img_{name}" for name in photos.names))
    with pytest.raises(PoseError, match="same file names"):
        score(world, run, strangers, reference)


def test_a_run_without_a_reference_has_its_side_by_side(world, trained):
    run, photos = trained
    path = show_side_by_side(
        run, scene=world.scene, rasterizer=world.rasterizer, photos=photos, options=RenderOptions(), downscale=1.0
    )
    assert path == run.evaluation / "side_by_side.png" and path.is_file()


def test_a_render_is_as_bright_as_the_photo_that_it_stands_beside(world, trained):
    run, photos = trained
    darker = replace_colors(world.scene, world.scene.sh - 0.3)
    settings = {"rasterizer": world.rasterizer, "photos": photos, "options": RenderOptions(), "downscale": 1.0}
    sheets = [read_photo(show_side_by_side(run, scene=scene, **settings)) for scene in (world.scene, darker)]
    photo, render = sheets[1].chunk(2, dim=1)
    assert render.mean().item() == pytest.approx(photo.mean().item(), rel=0.05)
    assert sheets[0].mean().item() == pytest.approx(sheets[1].mean().item(), rel=0.03)
