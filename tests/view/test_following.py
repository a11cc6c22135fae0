"""The viewer beside a training, as commands in processes of their own, in a browser with no other page to draw."""

import os
import re
import signal
import socket
import subprocess
import sys

import pytest

pytest.importorskip("viser", reason="the extra `view` is not installed")

LOW_WINDOW = {"width": 800, "height": 200}  # few pixels to draw in software
# Imports take longer than what is tested here: they are done ahead, and the command begins at a line of input.
READY = "import sys, splatdeblur.view.viewer; from splatdeblur.cli import main; sys.stdin.readline() and main()"


def ready(*arguments):
    """A process that waits for `go` to run this command."""
    return subprocess.Popen(
        [sys.executable, "-c", READY, *map(str, arguments)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def go(process):
    process.stdin.write("go\n")
    process.stdin.flush()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_it_follows_a_training_and_survives_being_killed(browser, run_copy):
    run = run_copy
    run.checkpoint.unlink()
    port = free_port()
    settings = ("--set", "train.steps=100000", "--set", "checkpoint_every=1", "--downscale", 1)
    view, train, second_view = processes = (
        ready("view", run.folder, "--port", port),
        ready("train", run.folder, *settings),
        ready("view", run.folder, "--port", port),
    )
    try:
        go(view)
        assert "only this machine" in "".join(view.stderr.readline() for _ in range(2))
        page = browser.new_page(viewport=LOW_WINDOW)
        page.goto(f"http://127.0.0.1:{port}")
        page.get_by_text("step 0").wait_for(timeout=60_000)
        go(train)
        page.get_by_text(re.compile(r"step [1-9]")).wait_for(timeout=60_000)
        assert train.poll() is None
        for process in (train, view):
            process.send_signal(signal.SIGKILL)
            process.wait()
        run.checkpoint.unlink()
        go(second_view)
        page.get_by_text("step 0").wait_for(timeout=60_000)
        page.close()
    finally:
        for process in processes:
            process.kill()
            process.wait()
