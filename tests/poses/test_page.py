import numpy as np
import pytest
import torch
from PIL import Image

from splatdeblur.capture import prepare
from splatdeblur.geometry import Cameras, look_at
from splatdeblur.poses import Reconstruction, write_page
from splatdeblur.poses.evidence import Evidence
from splatdeblur.run import Run

NAMES = ("a.png", "found.png", "held_loosely.png", "lost.png")
FIRM = Evidence("plain", inliers=200, spread=1.0, error_px=0.5, slack=1e-4, link=80)


@pytest.fixture(name="page")
def page_of_four_photos(tmp_path) -> str:
    rng, folder = np.random.default_rng(0), tmp_path / "photos"
    folder.mkdir()
    for name in NAMES:
        Image.fromarray(rng.integers(0, 255, (60, 90, 3), dtype=np.uint8)).save(folder / name)
    run = Run(tmp_path / "run")
    capture = prepare(folder, run)
    run.poses.mkdir()
    kept = tuple(frame.name for frame in capture.frames if frame.name != NAMES[3])
    eyes = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]], dtype=torch.float64)
    ahead = torch.tensor([0.0, 0, 5], dtype=torch.float64)
    viewmats = look_at(eyes, eyes + ahead, torch.tensor([0.0, -1, 0], dtype=torch.float64))
    cameras = Cameras(viewmats, torch.eye(3, dtype=torch.float64).expand(3, 3, 3), 90, 60)
    evidence = {
        kept[0]: FIRM,
        NAMES[1]: Evidence.by_rendering(1.1),
        NAMES[2]: Evidence("shaped", inliers=8, spread=0.3, error_px=1.0, slack=0.01, link=8),
    }
    points = torch.rand(40, 3, dtype=torch.float64) + ahead
    reconstruction = Reconstruction(
        kept, cameras, points, points, {NAMES[3]: "too <plain>"}, 0.5, ("plain: 3 of 4 photos",), evidence
    )
    return write_page(run, capture, reconstruction).read_text()


def test_the_page_says_what_became_of_each_photo_and_why(page):
    assert all(name in page for name in NAMES)
    assert "1 firm, 1 found by rendering, 1 doubtful, 1 no pose" in page
    assert "too &lt;plain&gt;" in page and "only 8 points" in page and "residual 1.10" in page
    assert "plain: 3 of 4 photos" in page


def test_the_page_needs_nothing_from_elsewhere(page):
    assert page.count("data:image/jpeg;base64,") == 4
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page


def test_cameras_stand_in_a_row_before_the_points(page):
    corners = [part.split('"')[0] for part in page.split('points="')[1:]]
    tips = [tuple(map(float, corner.split(" ")[0].split(","))) for corner in corners]
    assert len(tips) == 3
    x, y = np.array(tips).T
    assert np.ptp(y) < 1 and np.allclose(np.diff(x), np.diff(x)[0], atol=1) and np.diff(x)[0] > 10
    dots = [float(part.split('"')[0]) for part in page.split('cy="')[1:]]
    assert len(dots) == 40 and max(dots) < y.min()  # ahead is up
