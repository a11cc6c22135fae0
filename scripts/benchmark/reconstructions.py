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


def scored(run: Path, task: Sequence[object], settings: Sequence[str], reference: Path) -> dict:
    """The scores of the run folder `run`, made by the command `task` unless they are there; RUN.log has what it said.

    Args:
        settings: any settings, as "train.steps=3000".
    """
    scores = run / "scores.json"
    if not scores.exists():
        options = [part for setting in settings for part in ("--set", setting)]
        with open(run.with_name(f"{run.name}.log"), "w") as log:
            for command in ([*task, *options], ["evaluate", run, "--reference", reference]):
                subprocess.run([*COMMAND, *map(str, command)], check=True, stdout=log, stderr=log)
    return json.loads(scores.read_text())
