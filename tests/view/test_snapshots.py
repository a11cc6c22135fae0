"""A viewer sees each new checkpoint once, and lives through broken ones."""

import logging

import pytest

from splatdeblur.errors import FormatError
from splatdeblur.run import atomic_write
from splatdeblur.view.snapshots import Snapshots


def reader(path):
    def load():
        text = path.read_text() if path.exists() else "none"
        if text == "broken":
            raise FormatError("it is damaged")
        return text

    return load


def write(path, text):
    with atomic_write(path) as temporary:
        temporary.write_text(text)


def test_each_newer_file_is_read_once(tmp_path):
    path = tmp_path / "latest.pt"
    snapshots = Snapshots(reader(path), (path,))
    assert snapshots.first() == "none"
    assert snapshots.poll() is None
    for text in ("one", "two"):  # of one size
        write(path, text)
        assert snapshots.poll() == text
        assert snapshots.poll() is None
    path.unlink()
    assert snapshots.poll() == "none"


def test_a_broken_file_is_said_once_and_a_good_one_shown_again(tmp_path, caplog):
    path = tmp_path / "latest.pt"
    snapshots = Snapshots(reader(path), (path,))
    snapshots.first()
    write(path, "broken")
    with caplog.at_level(logging.WARNING):
        assert snapshots.poll() is None
        assert snapshots.poll() is None
    assert [r.getMessage() for r in caplog.records] == ["still showing the scene from before: it is damaged"]
    write(path, "good")
    assert snapshots.poll() == "good"


def test_a_run_that_cannot_be_read_at_first_is_an_error(tmp_path):
    path = tmp_path / "latest.pt"
    write(path, "broken")
    with pytest.raises(FormatError, match="damaged"):
        Snapshots(reader(path), (path,)).first()
