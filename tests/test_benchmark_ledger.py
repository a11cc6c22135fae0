"""Outcomes of benchmark runs that are kept."""

import importlib.util
import json
import math
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SPEC = importlib.util.spec_from_file_location("ledger", ROOT / "scripts" / "benchmark" / "ledger.py")
MODULE = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(MODULE)


def test_what_is_kept_comes_back_with_its_gaps_and_its_commits(tmp_path):
    ledger = MODULE.Ledger(tmp_path / "kept.json")
    ledger.put("b", {"psnr": 30.5, "path": math.nan}, "abc")
    ledger.put("a", {"psnr": 20.0, "path": 1.0}, "abc")
    again = MODULE.Ledger(tmp_path / "kept.json")
    assert again.get("a") == {"psnr": 20.0, "path": 1.0} and again.get("c") is None
    assert math.isnan(again.get("b")["path"])
    assert again.commits(["a", "b", "c"]) == "abc"
    assert list(json.loads((tmp_path / "kept.json").read_text())) == ["a", "b"]  # sorted, for diffs that can be read


def test_without_a_file_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ledger = MODULE.Ledger(None)
    ledger.put("a", {"psnr": 20.0}, "abc")
    assert ledger.get("a") == {"psnr": 20.0} and list(tmp_path.iterdir()) == []


def test_a_name_stands_for_one_run_only():
    ledger = MODULE.Ledger(None)
    ledger.put("a", {"psnr": 20.0}, "abc", ["train.loss.dssim=0"])
    assert ledger.get("a", ["train.loss.dssim=0"]) == {"psnr": 20.0}
    with pytest.raises(SystemExit, match="another name"):
        ledger.get("a", ["train.loss.dssim=1"])
