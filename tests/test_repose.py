"""A small capture of which structure from motion is told to have lost a photo, misplaced one, and kept a stranger."""

import json
import math
import shutil
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import synthetic
import torch
from PIL import Image

from splatdeblur import pipeline, repose, search
from splatdeblur.capture import Capture
from splatdeblur.config import Config
from splatdeblur.errors import TrainingError
from splatdeblur.evaluate.alignment import fit_similarity
from splatdeblur.geometry import Cameras, exp, inverse
from splatdeblur.optimize import relocalize
from splatdeblur.poses import Posed, load_reconstruction
from splatdeblur.poses.evidence import Evidence
from splatdeblur.poses.lenses import pinhole_lens
from splatdeblur.poses.reconstruction import save_posed
from splatdeblur.run import Run

LOST, MISPLACED, STRANGER = "007.png", "013.png", "019.png"
FIRM = Evidence("plain", inliers=200, spread=1.0, error_px=0.5, slack=1e-4, link=80)
CONFIG = replace(
    Config(), downscale=1.0, device="cpu", train=replace(Config().train, steps=300, gaussians=2500)
)


@pytest.fixture(scope="module", name="shots")
def photos_along_an_arc() -> synthetic.SyntheticCapture:
    return synthetic.make_capture(
        synthetic.make_scene(3, texels=192), photos=24, size=(96, 64), blur_px=(1.5, 3, 5), subframes=6, tests=1,
        samples=1,
    )  # fmt: skip


@pytest.fixture(scope="module", name="posed")
def posed_run(shots, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("photos")
    for index, photo in enumerate(shots.photos):
        Image.fromarray((photo * 255).astype(np.uint8)).save(folder / f"{index:03d}.png")
    noise = np.random.default_rng(0).integers(0, 255, (16, 24, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((96, 64)).save(folder / STRANGER)
    run = Run(tmp_path_factory.mktemp("runs") / "run")
    capture = pipeline.prepare(folder, run, CONFIG, lambda *_: None)
    lens = pinhole_lens(torch.from_numpy(shots.K), 96, 64)
    names = [frame.name for frame in capture.frames]
    viewmats = torch.from_numpy(shots.viewmats).clone()
    away = names.index(MISPLACED)
    viewmats[away] = exp(torch.tensor([0.3, 0.1, 0.0, 0, 0.1, 0], dtype=torch.float64)) @ viewmats[away]
    rows = [row for row, name in enumerate(names) if name not in (LOST, STRANGER)]
    kept = tuple(names[row] for row in rows)
    save_posed(
        Posed(
            kept, viewmats[rows], (lens,) * len(rows),
            torch.from_numpy(shots.points), torch.from_numpy(shots.point_colors),
            missing={LOST: "too blurred", STRANGER: "too plain"},
            evidence={name: replace(FIRM, slack=0.1 if name == MISPLACED else 1e-4) for name in kept},
            lost_lenses={LOST: lens, STRANGER: lens},
        ),
        run, made_from=f"{capture.fingerprint} seed 0", on_progress=lambda *_: None,
    )  # fmt: skip
    return run


def test_poses_with_doubts_are_not_trained_on(posed):
    names = pipeline.make_trainer(posed, CONFIG).photos.names
    assert len(names) == 21 and MISPLACED not in names
    assert list(load_reconstruction(posed).doubtful) == [MISPLACED]


def test_a_scene_that_explains_nothing_finds_nothing(posed, tmp_path, monkeypatch):
    run = Run(shutil.copytree(posed.folder, tmp_path / "run"))
    for name, value in {"STEPS": 2, "STEPS_PER_PHOTO": 0, "TRIES": 1, "PROBES": 2}.items():
        monkeypatch.setattr(search, name, value)
    monkeypatch.setattr(relocalize, "STEPS", (10,))
    found = repose.find_by_rendering(run, CONFIG, lambda *_: None)
    assert STRANGER in found.missing and STRANGER not in found.names


def test_lost_and_misplaced_photos_are_found_by_rendering_and_strangers_are_not(posed, shots, monkeypatch):
    # Less effort than photos of usual sizes need.
    monkeypatch.setattr(search, "PROBES", 2)
    monkeypatch.setattr(relocalize, "STEPS", (25,))
    messages = []
    found = pipeline.pose(posed, CONFIG, lambda fraction, message: messages.append(message))
    assert LOST in found.names and MISPLACED in found.names and STRANGER in found.missing
    assert found.doubtful == {} and "no render explains it" in found.missing[STRANGER]
    rows = [int(name[:3]) for name in found.names]
    true = Cameras(torch.from_numpy(shots.viewmats[rows]), found.cameras.Ks, 96, 64)
    fitted = fit_similarity(found.cameras, true)
    extent = torch.pdist(true.centers).max().item()
    errors = dict(zip(found.names, (fitted.residuals / extent).tolist(), strict=True))
    assert errors[LOST] < 0.03 and errors[MISPLACED] < 0.03
    assert found.evidence[LOST].found_by == "rendering" and found.evidence[LOST].residual < 2.5
    assert any("looking for photo" in message for message in messages)
    assert any("looking at photo 1 of 1" in message for message in messages)  # the misplaced one, where it was placed
    facts = json.loads((posed.poses / "poses.json").read_text())
    assert LOST in facts["registered"] and STRANGER in facts["missing"] and facts["doubtful"] == {}
    again = load_reconstruction(posed)
    torch.testing.assert_close(again.cameras.viewmats, found.cameras.viewmats, atol=1e-6, rtol=1e-6)
    assert again.evidence == found.evidence and again.missing == found.missing
    # What was found is not looked for again, nor is the rest ...
    assert repose.find_by_rendering(posed, CONFIG, pytest.fail).names == found.names
    # ... unless there is more time than there was.
    longer = replace(CONFIG, pose=replace(CONFIG.pose, render_limit=CONFIG.pose.render_limit + 1))
    looked_for: list[list[str]] = []
    monkeypatch.setattr(search.Search, "run_through", lambda search, lost: looked_for.append(lost))
    monkeypatch.setattr(search.Search, "result", lambda search: found)
    repose.find_by_rendering(posed, longer, lambda *_: None)
    assert looked_for == [[STRANGER]]


def test_why_a_photo_is_not_found_is_told_once_and_in_words():
    stand_in = SimpleNamespace(before=SimpleNamespace(missing={"a": "too blurred"}), failures={"a": 3.14})
    stand_in.before.missing["a"] = search.Search._why(stand_in, "a")
    assert stand_in.before.missing["a"] == "too blurred; and no render explains it: 3.1 times as much is left as may be"
    stand_in.failures["a"] = math.inf
    told = search.Search._why(stand_in, "a")
    assert told == "too blurred; and no render explains it: the photos with a pose show too little of what it shows"


def test_a_search_begins_with_the_least_doubtful_where_few_are_firm_and_believes_them_no_more_than_before(
    posed, tmp_path, monkeypatch
):
    run = Run(shutil.copytree(posed.folder, tmp_path / "run"))
    facts = json.loads((run.poses / "poses.json").read_text()) | {"searched_s": 0.0}
    names = sorted(facts["evidence"])
    for rank, name in enumerate(names):
        facts["evidence"][name] |= {"link": 80 if rank < 4 else rank, "residual": None, "found_by": "plain"}
    (run.poses / "poses.json").write_text(json.dumps(facts))
    before = load_reconstruction(run)
    begun_with: list[tuple[str, ...]] = []

    def begin_and_let_go_of_one(self, lost):
        begun_with.append(self.names)
        self._train()
        self._rejoin({}, self.seeds[:1])
        self._train()

    monkeypatch.setattr(search.Search, "run_through", begin_and_let_go_of_one)
    for name, value in {"STEPS": 2, "STEPS_PER_PHOTO": 0}.items():
        monkeypatch.setattr(search, name, value)
    found = repose.find_by_rendering(run, CONFIG, lambda *_: None)
    assert begun_with == [(*names[:4], *names[-2:])]
    assert found.doubtful.keys() == before.doubtful.keys()


def test_photos_that_the_small_scene_explains_badly_get_paths_anew_the_worst_first(posed, tmp_path, monkeypatch):
    run = Run(shutil.copytree(posed.folder, tmp_path / "run"))
    for name, value in {"STEPS": 2, "STEPS_PER_PHOTO": 0, "BADLY": 0.0}.items():
        monkeypatch.setattr(search, name, value)
    given: list[int] = []
    monkeypatch.setattr(search, "fit_anew", lambda trainer, frames: given.extend(frames) or given)
    looked = Mock(wraps=search.Search._look_at_trained)
    monkeypatch.setattr(search.Search, "_look_at_trained", lambda self: looked(self))
    before = load_reconstruction(run)
    begun = search.Search(run, CONFIG, before, [n for n in before.names if n not in before.doubtful], lambda *_: None)
    begun._train()
    left = [begun.residuals[begun.names[frame]] for frame in given]
    assert len(left) == min(len(begun.names), search.MOST_ANEW) and left == sorted(left, reverse=True)
    assert looked.call_count == 2  # again, as they changed
    begun.deadline = 0.0
    given.clear()
    begun._train()
    assert not given


@pytest.mark.parametrize(("allowance", "of_unseen"), [(None, None), (0.2, 1.5), (0.6, None)])
def test_unseen_photos_tell_of_trained_ones_where_the_scene_explains_them(allowance, of_unseen):
    stand_in = SimpleNamespace(residuals={"a": 2.0}, unexplained={"a": 0.3}, allowance=allowance)
    assert search.Search._left_of(stand_in, "a") == (2.0, of_unseen and pytest.approx(of_unseen))


def test_what_a_search_began_with_has_to_be_found_once_others_were():
    names = tuple("abcdef")
    began = SimpleNamespace(
        seeds=["a", "b"], names=names, residuals=dict.fromkeys(names, 1.0), tries=dict.fromkeys(names, 0),
        allowance=None,
    )  # fmt: skip
    began._left_of = partial(search.Search._left_of, began)
    assert search.Search._doubted(began) == []
    began.names += ("g",)
    began.residuals["g"], began.tries["g"] = 1.0, 1
    assert search.Search._doubted(began) == ["a", "b"]
    began.residuals["c"] = 9.0
    assert search.Search._doubted(began) == ["c"]  # with a and b, too few would be left
    began.seeds = []
    assert search.Search._doubted(began) == ["c"]
    began.residuals["c"], began.unexplained, began.allowance = 2.6, dict.fromkeys(began.names, 0.2), 0.3
    assert search.Search._doubted(began) == []  # no more is left of it than of photos that the scene has not seen
    began.unexplained["c"] = 0.4
    assert search.Search._doubted(began) == ["c"]


def test_nobody_looks_where_no_time_is_given(posed, tmp_path, monkeypatch):
    config = replace(CONFIG, pose=replace(CONFIG.pose, render_limit=0.0))
    monkeypatch.setattr(search, "make_trainer", lambda *_: pytest.fail("trained"))
    before = load_reconstruction(posed)
    assert repose.find_by_rendering(posed, config, lambda *_: None).names == before.names
    assert Capture.load(posed.capture).frames
    assert inverse(before.cameras.viewmats).isfinite().all()


def test_what_was_found_is_kept_when_a_later_round_fails(posed, tmp_path, monkeypatch):
    run = Run(shutil.copytree(posed.folder, tmp_path / "run"))
    facts = json.loads((run.poses / "poses.json").read_text()) | {"searched_s": 0.0}
    (run.poses / "poses.json").write_text(json.dumps(facts))
    monkeypatch.setattr(search, "STEPS", 2)
    monkeypatch.setattr(search, "STEPS_PER_PHOTO", 0)

    def explode(self, names):
        raise TrainingError("the loss became nan")

    monkeypatch.setattr(search.Search, "_round", explode)
    assert repose.find_by_rendering(run, CONFIG, lambda *_: None).searched_s == CONFIG.pose.render_limit
