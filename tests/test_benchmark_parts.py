"""What the ablation of `auto` leaves out is something that `auto` has."""

import importlib.util
from pathlib import Path

import pytest

from splatdeblur.config import checked, load_preset, with_settings

PATH = Path(__file__).resolve().parent.parent / "scripts" / "benchmark" / "parts.py"
SPEC = importlib.util.spec_from_file_location("parts", PATH)
MODULE = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(MODULE)


@pytest.mark.parametrize("part", MODULE.PARTS)
def test_leaving_a_part_out_is_a_setting_that_differs(part):
    auto = load_preset("auto")
    for setting in MODULE.PARTS[part]:
        assert with_settings(auto, (setting,)) != auto
    checked(with_settings(auto, MODULE.PARTS[part]))
