"""The whole road on a tiny traced capture with given poses, through the command line."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import av
import pytest
import synthetic
import torch
import yaml

from splatdeblur.capture import Capture
from splatdeblur.capture.pixels import read_photo
from splatdeblur.config import Config
from splatdeblur.pipeline import make_trainer
from splatdeblur.run import Run
from splatdeblur.scene import ply

SIZE = (96, 64)


def splatdeblur(*arguments, expect=0):
    """Runs the command; its stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "splatdeblur.cli", *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == expect, done.stderr
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())  # without the line breaks of an 80-column terminal


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("capture")
    shots = synthetic.make_capture(synthetic.make_scene(0), photos=8, size=SIZE, blur_px=(1, 3), subframes=8, tests=2)
    shots.save(folder)
    return folder


@pytest.fixture(scope="module")
def run(capture, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    splatdeblur("reconstruct", capture, "--out", folder, "--steps", 150, "--downscale", 1, "--seed", 1)
    return folder


def test_the_run_folder_holds_what_the_stages_hand_on(run):
    for name in ("capture.json", "images", "poses/poses.json", "config.yaml", "events.jsonl", "checkpoints/latest.pt"):
        assert (run / name).exists(), name
    poses = json.loads((run / "poses/poses.json").read_text())
    assert len(poses["registered"]) == 8 and poses["missing"] == {}
    assert (run / "evaluation/side_by_side.png").stat().st_size > 1000


def test_every_setting_given_counts(run, tmp_path):
    shutil.copytree(run, tmp_path / "again")
    settings = ("--set", "train.loss.dssim=0.25", "--set", "train.steps=3", "--set", "train.gaussians=1234")
    splatdeblur("train", tmp_path / "again", "--downscale", 2, *settings)
    train = yaml.safe_load((tmp_path / "again" / "config.yaml").read_text())["train"]
    assert (train["loss"]["dssim"], train["steps"], train["gaussians"]) == (0.25, 3, 1234)


def test_training_again_finds_the_scene_finished(run):
    before = (run / "checkpoints/latest.pt").read_bytes()
    said = splatdeblur("train", run, "--steps", 150, "--downscale", 1, "--seed", 1)
    assert "is trained already" in said
    assert (run / "checkpoints/latest.pt").read_bytes() == before


def test_poses_that_were_found_are_corrected_faster_than_poses_that_came_along(run, tmp_path):
    def pose_rate(folder):
        return make_trainer(Run(folder), replace(Config(), downscale=1.0)).learning_rates(0.5)["pose"]

    found = tmp_path / "found"
    shutil.copytree(run, found)
    shots = Capture.load(Run(run).capture)
    replace(shots, known_poses=None).save(Run(found).capture)
    assert pose_rate(found) == pytest.approx(Config().train.rates.found_poses * pose_rate(run))


def test_scores_follow_the_contract(run, capture):
    splatdeblur("evaluate", run, "--reference", capture)
    scores = json.loads((run / "scores.json").read_text())
    for kind in ("aligned", "unaligned"):
        novel = scores["novel_view"][kind]
        assert set(novel["psnr"]["per_image"]) == {"000.png", "001.png"}
        assert novel["psnr"]["mean"] > 12
        assert {"ssim", "lpips"} <= set(novel)
    assert scores["deblurred_inputs"]["psnr"]["mean"] > 14
    assert {"ate", "path_error_px"} <= set(scores["trajectory"])
    assert {"alignment", "settings", "seconds"} <= set(scores)
    assert len(list((run / "evaluation/novel_view/aligned").glob("*.png"))) == 2


def test_renders_have_the_size_asked_for(run, capture, tmp_path):
    splatdeblur("render", run, "--path", "inputs", "--out", tmp_path / "inputs")
    assert len(list((tmp_path / "inputs").glob("*.png"))) == 8
    splatdeblur("render", run, "--cameras", capture / "transforms.json", "--out", tmp_path / "file")
    picture = read_photo(next((tmp_path / "file").rglob("*.png")))
    assert picture.shape == (SIZE[1], SIZE[0], 3)
    assert picture.std() > 0.05
    assert "there are inputs, through, orbit, spiral" in splatdeblur(
        "render", run, "--path", "helix", "--out", tmp_path / "no", expect=2
    )


def test_the_exported_file_is_the_scene(run, tmp_path):
    splatdeblur("export", run, "--format", "ply", "--out", tmp_path / "scene.ply")
    scene = ply.read(tmp_path / "scene.ply")
    assert len(scene) > 100
    assert torch.isfinite(scene.means).all()
    splatdeblur("render", tmp_path / "scene.ply", "--path", "orbit", "--frames", 5, "--out", tmp_path / "film.mp4")
    with av.open(str(tmp_path / "film.mp4")) as film:
        assert len([None for _ in film.decode(video=0)]) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "scene.ply"]
    said = splatdeblur("export", run, "--format", "glb", "--out", tmp_path / "scene.glb", expect=2)
    assert 'no export format "glb"' in said


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (("train", "{empty}"), "{empty} has no capture.json; need a run folder"),
        (("pose", "{empty}"), "{empty} has no capture.json; need a run folder"),
        (("render", "{empty}", "--out", "{empty}/x"), "{empty} has no capture.json; need a run folder"),
        (("reconstruct", "{empty}", "--out", "{empty}/run"), "{empty}"),
        (("reconstruct", "{empty}/nowhere", "--out", "{empty}/run"), "nowhere"),
        (("reconstruct", "{empty}", "--out", "{empty}/run", "--preset", "brags"), "no preset"),
        (("reconstruct", "{empty}", "--out", "{empty}/run", "--steps", "-1"), "train.steps is -1"),
        (("reconstruct", "{empty}", "--out", "{empty}/run", "--downscale", "nan"), "1 or more, or 0"),
        (("reconstruct", "{empty}/[red]", "--out", "{empty}/run"), "{empty}/[red] does not exist"),
    ],
)
def test_errors_are_a_sentence_that_says_what_to_do(arguments, needed, tmp_path):
    filled = [a.format(empty=tmp_path) for a in arguments]
    said = splatdeblur(*filled, expect=2)
    assert needed.format(empty=tmp_path) in said


def test_a_reduction_that_leaves_nothing_is_an_error(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    before = (copy / "checkpoints/latest.pt").read_bytes()
    assert "leaves photos of 1x1" in splatdeblur("train", copy, "--downscale", 50, expect=2)
    assert (copy / "checkpoints/latest.pt").read_bytes() == before


def test_other_settings_keep_every_old_scene_and_settings_that_train_nothing_continue(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    same = ("--downscale", 1, "--seed", 1, "--steps", 150, "--set", "evaluate.refine_steps=7")
    assert "is trained already" in splatdeblur("train", copy, *same)
    for seed in (2, 1):
        said = splatdeblur("train", copy, "--downscale", 1, "--seed", seed, "--steps", 3)
        assert "keeping the old scene" in said
    assert {p.name for p in (copy / "checkpoints").iterdir()} == {"latest.pt", "other-1.pt", "other-2.pt"}
    assert (copy / "checkpoints/other-1.pt").read_bytes() == (run / "checkpoints/latest.pt").read_bytes()


def test_a_checkpoint_that_lacks_a_part_is_an_error(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    content = torch.load(copy / "checkpoints/latest.pt")
    del content["state"]["exposure"]
    torch.save(content, copy / "checkpoints/latest.pt")
    train = ("train", copy, "--downscale", 1, "--seed", 1, "--steps", 150)
    for command in (train, ("render", copy, "--out", copy / "x")):
        assert "lacks exposure; delete it and train again" in splatdeblur(*command, expect=2)


def test_an_unknown_device_is_an_error(run):
    assert "it must be auto, cpu or cuda" in splatdeblur("train", run, "--device", "tpu", expect=2)


def test_a_damaged_checkpoint_is_named_and_nothing_is_lost(run, capture, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    latest = copy / "checkpoints/latest.pt"
    latest.write_bytes(latest.read_bytes()[:1000])
    said = splatdeblur("evaluate", copy, "--reference", capture, expect=2)
    assert "cut short" in said
    assert latest.stat().st_size == 1000


def test_interrupting_saves_and_the_same_command_continues(capture, tmp_path):
    command = ["reconstruct", capture, "--out", tmp_path / "run", "--steps", "100000", "--downscale", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "splatdeblur.cli", *map(str, command)], stderr=subprocess.PIPE, text=True,
        # Where the tests run in the background, the shell has told them, and so their children, to ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    events = tmp_path / "run/events.jsonl"
    deadline = time.monotonic() + 120
    while not (events.exists() and events.stat().st_size) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "the same command continues" in said
    checkpoint = torch.load(tmp_path / "run/checkpoints/latest.pt")
    assert checkpoint["state"]["step"] > 0
