"""A disk that is full: a clear error, nothing half-written, and what was there before stays."""

import resource
from contextlib import contextmanager

import pytest
from runs import make_run

from splatdeblur.export import FORMATS, export
from splatdeblur.renders import RenderSettings, render

MOST_BYTES = 3000  # of a file: less than any export of this run has
NAMES = {"compressed": "scene.ply", "colmap": "folder", "transforms": "folder", "trajectories": "paths.json"}


@contextmanager
def full_disk():
    """No file grows beyond MOST_BYTES: writing on fails in the middle, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def quiet(share, said):
    pass


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("export"))
    # Drawn once before the disk is full: what the renderer compiles goes to files of its own.
    render(run.folder, tmp_path_factory.mktemp("drawn"), RenderSettings(), "cpu", quiet)
    return run


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_that_does_not_fit_leaves_what_was_there(run, tmp_path, format):
    if format == "sog":
        pytest.importorskip("gaussforge", reason="the extra `sog` is not installed")
    out = tmp_path / NAMES.get(format, f"scene.{format}")
    export(run, format, out, 0.0, "cpu", quiet)
    before = files(tmp_path)
    with full_disk(), pytest.raises(OSError):
        export(run, format, out, 1.0, "cpu", quiet)
    after = files(tmp_path)
    kept = {path: content for path, content in before.items() if after.get(path) == content}
    assert after.keys() <= before.keys()  # no scraps
    assert all(after[path] == before[path] for path in after if path.name != "render.json")
    if out.is_file():
        assert kept.keys() == before.keys()
    export(run, format, out, 0.0, "cpu", quiet)  # and with space again
    assert files(tmp_path).keys() == before.keys()


@pytest.mark.parametrize("name", ["pictures", "film.mp4"])
def test_renders_that_do_not_fit_are_not_half_there(run, tmp_path, name):
    with full_disk(), pytest.raises(OSError):
        render(run.folder, tmp_path / name, RenderSettings(downscale=1.0), "cpu", quiet)
    assert {path.name for path in files(tmp_path)} <= {"render.json"}
    drawn, views = render(run.folder, tmp_path / name, RenderSettings(downscale=1.0), "cpu", quiet)
    assert drawn == len(views)
