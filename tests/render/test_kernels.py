"""The CPU kernels as compiled code: what is compiled when, what is cached where, same bits every time, no bad end."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numba import njit
from numba.core.dispatcher import Dispatcher
from render.scenes import cameras, case, raw_scene, slices

from splatdeblur.geometry import Cameras
from splatdeblur.render import Burst
from splatdeblur.render.cpu import CpuRasterizer
from splatdeblur.render.kernels import average, blend, colors, culling, ellipses, projection, tiles
from splatdeblur.render.kernels.cache import HERE as KERNELS
from splatdeblur.render.kernels.cache import cache_folder
from splatdeblur.render.kernels.shares import ALL, COMMON, spread
from splatdeblur.scene import Gaussians

BAD = [float("nan"), float("inf"), -float("inf"), 1e38, -1e38, 1e-45, 0.0]


def draw(raw: dict, views: Cameras, shutter: str) -> tuple:
    """A float32 picture, the scene with its gradients, and the gradient of the poses; shutter none, thin or thick."""
    scene = Gaussians.from_raw(**{k: v.float() for k, v in raw.items()})
    viewmats = views.viewmats.float().requires_grad_()
    burst = None
    if shutter != "none":
        ends = slices(views).float() if shutter == "thick" else None
        burst = Burst(torch.full((len(views),), 1 / len(views)), ends)
    out = CpuRasterizer().render(scene, views.to(dtype=torch.float32).with_viewmats(viewmats), burst=burst)
    (out.rgb.sum() + out.alpha.sum() + out.depth.sum()).backward()
    return out, scene, viewmats.grad


def specialisations() -> dict[str, int]:
    """Of every compiled function: for how many argument types it has been compiled."""
    return {
        f"{module.__name__}.{name}": len(kernel.signatures)
        for module in (average, blend, colors, culling, ellipses, projection, tiles)
        for name, kernel in vars(module).items()
        if isinstance(kernel, Dispatcher)
    }


def test_nothing_is_compiled_again_when_sizes_change():
    for shutter in ("none", "thin", "thick"):
        draw(raw_scene(20, sh_degree=1), cameras(32, 24, count=2), shutter)
    before = specialisations()
    for n, degree, count, size in [(1, 0, 1, (16, 16)), (7, 3, 3, (33, 17)), (50, 2, 1, (1, 40)), (0, 1, 2, (20, 20))]:
        for shutter in ("none", "thin", "thick"):
            draw(raw_scene(n, sh_degree=degree), cameras(*size, count=count), shutter)
    assert specialisations() == before


def test_a_second_process_compiles_nothing():
    draw(raw_scene(20), cameras(32, 24), "thick")
    script = """
from render.scenes import cameras, raw_scene
from render.test_kernels import blend, culling, draw, projection
draw(raw_scene(20), cameras(32, 24), "thick")
kernels = [culling.cull, projection.project, projection.project_backward, blend.blend, blend.blend_backward]
print(sum(len(k.stats.cache_hits) for k in kernels), sum(len(k.stats.cache_misses) for k in kernels))
"""
    tests = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script], cwd=tests, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["5", "0"]


@njit(**COMMON)
def _note_share(notes, step, share):
    if share == ALL:
        spread(2, notes.shape[0])
        return
    notes[share - 2] += step * share


def test_every_share_is_called_once_with_the_arguments_of_the_first_call():
    notes = np.zeros(1000)
    _note_share(notes, 0.5, ALL)
    np.testing.assert_array_equal(notes, 0.5 * np.arange(2, 1002))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the kernels' source with nothing compiled."""
    shutil.copytree(KERNELS, tmp_path / "render" / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(KERNELS.parent / "rasterizer.py", tmp_path / "render")
    return tmp_path / "render" / "kernels"


def test_a_constant_that_changes_in_any_file_leaves_nothing_compiled_in_use(package, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    before = cache_folder(package)
    assert cache_folder(package) == before
    for changed in (package / "tiles.py", package.parent / "rasterizer.py"):
        changed.write_text(changed.read_text() + "\nMORE = 1\n")
        after = cache_folder(package)
        assert after != before
        before = after


def test_kernels_are_cached_beside_their_source_or_in_the_users_folder(package, tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert Path(cache_folder(package)).is_relative_to(package / "__pycache__")
    shutil.rmtree(package / "__pycache__")
    (package / "__pycache__").touch()  # closed even to root, whom permissions do not stop
    assert Path(cache_folder(package)).is_relative_to(tmp_path / "home")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "asked"))
    assert Path(cache_folder(package)).is_relative_to(tmp_path / "asked")


def test_the_kernels_use_their_folder():
    draw(raw_scene(20), cameras(32, 24), "none")
    assert list(Path(cache_folder()).rglob("blend.blend-*.nbi"))


@pytest.mark.parametrize("shutter", ["none", "thin", "thick"])
def test_drawing_twice_gives_the_same_bits(shutter):
    test_case = case("crowd")
    first, scene, pose = draw(test_case.raw, test_case.cameras, shutter)
    second, same_scene, same_pose = draw(test_case.raw, test_case.cameras, shutter)
    assert torch.equal(first.rgb, second.rgb)
    assert torch.equal(pose, same_pose)
    for name, parameter in scene.params.items():
        assert torch.equal(parameter.grad, same_scene.params[name].grad), name


@pytest.mark.parametrize("key", ["means", "quats", "log_scales", "opacity_logits"])
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_shape_leaves_the_gradients_of_the_others_finite(bad, key):
    test_case = case("random")
    raw = {k: v.clone() for k, v in test_case.raw.items()}
    raw[key][0] = bad
    out, scene, pose = draw(raw, test_case.cameras, "thick")
    assert out.rgb.isfinite().all()
    assert pose.isfinite().all()
    for name, parameter in scene.params.items():
        assert parameter.grad[1:].isfinite().all(), name


@pytest.mark.parametrize("key", ["means", "quats", "log_scales", "opacity_logits", "sh"])
@pytest.mark.parametrize("bad", BAD)
def test_a_scene_of_bad_values_alone_comes_to_an_end(bad, key):
    test_case = case("random")
    raw = {k: torch.full_like(v, bad) if k == key else v for k, v in test_case.raw.items()}
    out, _, _ = draw(raw, test_case.cameras, "thick")
    assert out.alpha.isfinite().all()


@pytest.mark.parametrize("bad", BAD)
def test_bad_poses_and_lenses_come_to_an_end(bad):
    test_case = case("random")
    views = test_case.cameras
    for row, column in [(0, 0), (2, 2), (0, 3), (2, 3)]:
        viewmats, Ks = views.viewmats.clone(), views.Ks.clone()
        viewmats[0, row, column] = bad
        Ks[1, min(row, 1), min(column, 2)] = bad
        out, _, _ = draw(test_case.raw, Cameras(viewmats, Ks, views.width, views.height), "thick")
        assert out.alpha.isfinite().all()


@pytest.mark.parametrize("tiles", [12, 40, 300])
def test_every_thread_gets_its_share_of_the_tiles(tiles):
    first = [blend._first_tile.py_func(piece) for piece in range(blend.SHARES)]
    assert sorted(first) == list(range(blend.SHARES))  # each tile is drawn once
    counts = np.array([len(range(start, tiles, blend.SHARES)) for start in first])
    for threads in (2, 4):
        of_each = counts.reshape(threads, -1).sum(1)  # which do neighbouring pieces
        assert of_each.max() - of_each.min() <= 2
