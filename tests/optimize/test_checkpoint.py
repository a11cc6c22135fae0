"""Checkpoints are whole or not there, and only data."""

import subprocess

import pytest
import torch
from optimize.test_trainer import make_trainer

from splatdeblur.errors import FormatError
from splatdeblur.optimize import checkpoint


def test_a_checkpoint_cut_short_is_named_and_says_what_to_do(tmp_path):
    path = tmp_path / "latest.pt"
    checkpoint.save(make_trainer(), path, {})
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError, match="cut short"):
            checkpoint.load(path)


def test_a_checkpoint_runs_no_code_of_its_own(tmp_path):
    class Evil:
        def __reduce__(self):
            return subprocess.run, (["touch", str(tmp_path / "harm")],)

    torch.save({"version": 1, "state": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(FormatError):
        checkpoint.load(tmp_path / "evil.pt")
    assert not (tmp_path / "harm").exists()


def test_a_full_disk_leaves_the_old_checkpoint_whole(tmp_path, monkeypatch):
    path = tmp_path / "latest.pt"
    trainer = make_trainer()
    checkpoint.save(trainer, path, {})
    before = path.read_bytes()

    def full(content, target):
        target.write_bytes(b"half of it")
        raise RuntimeError("PytorchStreamWriter failed writing file: No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(trainer, path, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
