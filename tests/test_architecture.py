"""A module imports only what stands earlier in the list below; a few more rules, read off the source."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LAYERS = [
    "errors", "run", "geometry", "blur", "capture", "poses", "doctor", "scene", "render", "exposure", "optimize",
    "evaluate", "view", "config", "result", "subject", "renders", "export", "starting", "search_starts", "search",
    "repose", "pipeline", "showing", "cli",
]  # fmt: skip
# Layers that do not know each other though their order would allow it: scenes, renderers and exposures are
# handed what they need, whatever photos it came from; a viewer only reads snapshots.
STRANGERS = {
    "scene": {"capture", "poses"},
    "render": {"capture", "poses"},
    "exposure": {"capture", "poses"},
    "view": {"evaluate", "optimize"},
}
# Third-party packages by layer, where the layer promises to need no others.
NEEDS_ONLY = {"errors": set(), "run": set(), "geometry": {"torch", "jaxtyping"},
              "blur": {"torch", "numpy", "jaxtyping", "PIL"}}
PRINTS = {"cli"}

PACKAGE = Path(__file__).resolve().parent.parent / "splatdeblur"
MODULES = sorted(PACKAGE.rglob("*.py"))


def layer(module: str) -> str:
    """The layer of a dotted name inside the package: `render` for `render.kernels.tiles`."""
    return module.split(".")[0]


def name_of(path: Path) -> str:
    """Dotted name inside the package, without `__init__`; empty for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Absolute dotted names of all that a module imports, inside functions too."""
    here = ["splatdeblur", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = here[: len(here) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            # `from . import ply` imports a module, `from .ply import read` a name: take the longer for both.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def inner_imports(path: Path) -> Iterator[str]:
    """Dotted names inside the package of what a module imports from it."""
    for name in imports(path):
        if layer(name) == "splatdeblur" and "." in name:
            yield name.split(".", 1)[1]


def test_every_module_has_a_layer():
    assert {layer(name_of(path)) for path in MODULES} - {""} <= set(LAYERS)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_only_to_earlier_layers(path):
    mine = layer(name_of(path))
    if not mine:
        assert not list(inner_imports(path)), "importing the package itself must stay cheap"
        return
    allowed = LAYERS[: LAYERS.index(mine) + 1]
    for target in inner_imports(path):
        if layer(target) in LAYERS:
            assert layer(target) in allowed, (
                f"{name_of(path)} imports {target}, which stands later in the list"
            )
        assert layer(target) not in STRANGERS.get(mine, set()), f"{name_of(path)} imports {target}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_need_only_what_their_layer_promises(path):
    outside = {layer(name) for name in imports(path)} - set(sys.stdlib_module_names) - {"splatdeblur"}
    assert not outside & {"scripts", "tests", "synthetic"}
    promised = NEEDS_ONLY.get(layer(name_of(path)))
    if promised is not None:
        assert outside <= promised


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_prints_but_the_command_line(path):
    calls = (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call))
    prints = [n.lineno for n in calls if isinstance(n.func, ast.Name) and n.func.id == "print"]
    assert layer(name_of(path)) in PRINTS or not prints, f"print in lines {prints}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_shapes_are_not_hidden_from_the_checker(path):
    assert "__future__.annotations" not in set(imports(path)), "it blinds jaxtyping"


def test_imports_are_seen_wherever_they_hide(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    module = tmp_path / "scene" / "ply.py"
    module.parent.mkdir()
    module.write_text(
        "import numpy as np, splatdeblur.cli\n"
        "from .. import view\n"
        "from ..render.cpu import Cpu\n"
        "from . import gaussians\n"
        "def late():\n    from splatdeblur.poses import sfm\n"
    )
    assert sorted(inner_imports(module)) == ["cli", "poses.sfm", "render.cpu.Cpu", "scene.gaussians", "view"]
    assert "numpy" in set(imports(module))
