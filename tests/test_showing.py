"""What the viewer says before there is a picture."""

import subprocess
import sys

import pytest

from splatdeblur.cli import view
from splatdeblur.errors import BackendError, FormatError
from splatdeblur.result import load_result
from splatdeblur.scene import save_scene
from splatdeblur.showing import write_page


def test_without_viser_the_extra_is_named(trained):
    program = "import sys; sys.modules['viser'] = None; from splatdeblur.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "view", trained.folder], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert 'needs viser: pip install "splatdeblur[view]"' in done.stderr and "Traceback" not in done.stderr


def test_a_page_is_made_on_the_device_asked_for(trained, tmp_path):
    pytest.importorskip("viser", reason="the extra `view` is not installed")
    with pytest.raises(BackendError, match='device is "abacus"'):
        view(trained.folder, device="abacus", page=tmp_path / "scene.html")


def test_a_page_needs_a_scene_and_a_name(trained, run_copy, tmp_path):
    with pytest.raises(FormatError, match="run `splatdeblur train` on it first"):
        run_copy.checkpoint.unlink()
        write_page(run_copy.folder, tmp_path / "scene.html")
    with pytest.raises(FormatError, match=r"ends in \.html"):
        write_page(trained.folder, tmp_path / "scene.ply")


def test_a_page_is_made_of_a_scene_file_too(trained, tmp_path):
    pytest.importorskip("viser", reason="the extra `view` is not installed")
    save_scene(load_result(trained, "cpu").scene, tmp_path / "scene.spz", "spz")
    write_page(tmp_path / "scene.spz", tmp_path / "scene.html", "cpu")
    assert (tmp_path / "scene.html").stat().st_size > 100_000
