"""Runs that benchmarks make through the command line, keep, and score against a capture with truth."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

COMMAND = (sys.executable, "-m", "splatdeblur.cli")


def with_sharp_photos(capture: Path, folder: Path) -> Path:
    """The capture with its sharp photos in place of the blurred ones, in `folder`."""
    if not folder.exists():
        shutil.copytree(capture, folder, ignore=shutil.ignore_patterns("images"))
        shutil.copytree(capture / "sharp", folder / "images")
    return folder


def with_found_poses(capture: Path, run: Path) -> Path:
    """A run folder with the poses that are found from the capture's photos alone, made unless it is there."""
    if not (run / "poses" / "poses.json").exists():
        subprocess.run([*COMMAND, "prepare", str(capture / "images"), "--out", str(run)], check=True)
        subprocess.run([*COMMAND, "pose", str(run)], check=True)
    return run


def training_task(run: Path, capture: Path, posed: Path | None) -> list[object]:
    """The command that fills the run folder `run`: from the capture and its own poses, or from the run `posed`."""
    if posed is None:
        return ["reconstruct", capture, "--out", run]
    if not run.exists():
        run.mkdir(parents=True)
        for part in ("capture.json", "images", "poses"):
            (shutil.copytree if (posed / part).is_dir() else shutil.copy)(posed / part, run / part)
    return ["train", run]


def scored(run: Path, task: Sequence[object], settings: Sequence[str], reference: Path) -> dict:
    """The scores of the run folder `run`, made by the command `task` unless they are there; RUN.log has what it said.

    A training that was interrupted goes on where it stopped.

    Args:
        settings: any settings, as "train.steps=3000".
    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    scores = run / "scores.json"
    if not scores.exists():
        options = [part for setting in settings for part in ("--set", setting)]
        with open(run.with_name(f"{run.name}.log"), "w") as log:
            for command in ([*task, *options], ["evaluate", run, "--reference", reference]):
                subprocess.run([*COMMAND, *map(str, command)], check=True, stdout=log, stderr=log)
    return json.loads(scores.read_text())
