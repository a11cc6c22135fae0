"""Files are written whole or not at all, from many threads too, and others may read them as the user wishes."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from splatdeblur.errors import FormatError
from splatdeblur.run import Run, atomic_write


def write(path, text):
    with atomic_write(path) as temporary:
        assert temporary.parent == path.parent
        temporary.write_text(text)


def test_a_file_is_replaced_in_a_folder_that_is_made(tmp_path):
    path = tmp_path / "new" / "a.txt"
    for text in ("one", "two"):
        write(path, text)
        assert path.read_text() == text and os.listdir(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_fails_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "a.txt"
    write(path, "old")
    with pytest.raises(error), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_new_files_are_as_open_to_others_as_the_user_allows(tmp_path, monkeypatch):
    before = os.umask(0o027)
    try:
        # It is the whole process's: while one thread asked for it by setting it, the files of another would be open.
        monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask was touched"))
        write(tmp_path / "a.txt", "")
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_threads_that_write_one_file_leave_one_of_their_texts(tmp_path):
    path, texts = tmp_path / "a.txt", [str(i) * 10_000 for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: write(path, text), texts))
    assert path.read_text() in texts and os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_in_the_place_of_a_file_stays(tmp_path):
    with pytest.raises(FormatError, match=r"scene\.ply is a folder; need the name of a file"):
        (tmp_path / "scene.ply").mkdir()
        write(tmp_path / "scene.ply", "new")
    assert os.listdir(tmp_path) == ["scene.ply"]


def test_what_a_run_lacks_names_the_stage_that_makes_it(tmp_path):
    run = Run(tmp_path / "run")
    with pytest.raises(FormatError, match=r"run does not exist; need a run folder, as `splatdeblur reconstruct`"):
        run.require(run.checkpoint, "train")
    run.folder.mkdir()
    with pytest.raises(FormatError, match=r"run has no capture\.json; need a run folder"):
        run.require(run.checkpoint, "train")
    run.capture.write_text("{}")
    with pytest.raises(FormatError, match=r"run has no checkpoints/latest\.pt; run `splatdeblur train` on it first"):
        run.require(run.checkpoint, "train")
    assert run.require(run.capture, "prepare") == run.capture
    with pytest.raises(FormatError, match=r"capture\.json is a file; need a run folder"):
        Run(run.capture).require(Run(run.capture).checkpoint, "train")


def test_nothing_is_written_over_what_the_stages_keep(tmp_path, monkeypatch):
    run = Run(tmp_path / "run")
    run.images.mkdir(parents=True)
    (tmp_path / "link").symlink_to(run.folder)
    monkeypatch.chdir(run.folder)
    linked = tmp_path / "link" / "poses"
    for out in (run.folder, run.capture, run.images, run.images / "more", run.poses / "poses.html", linked, Path(".")):
        with pytest.raises(FormatError, match="is where the run keeps its own files; choose another --out"):
            run.require_apart(out)
    for out in (run.folder / "exports", run.folder / "scene.ply", tmp_path, tmp_path / "images"):
        run.require_apart(out)
