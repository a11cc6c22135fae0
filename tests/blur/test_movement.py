import math

import pytest
import torch
from blurring import shapes, streaked

from splatdeblur.blur.movement import movement


@pytest.fixture(scope="module")
def scene() -> torch.Tensor:
    return shapes(120, 180, seed=1)


@pytest.mark.parametrize("dx, dy", [(0, 0), (3, 0), (12, 5), (0, 20)])
def test_a_shifted_picture_has_moved_so_far(scene, dx, dy):
    before, after = scene[10:90, 10:138, 0], scene[10 + dy : 90 + dy, 10 + dx : 138 + dx, 0]
    assert movement(before, after) * 128 == pytest.approx(math.hypot(dx, dy), abs=0.3)


def test_blur_hides_no_movement(scene):
    after = streaked(scene, 8, 30)
    moved = movement(scene[10:90, 10:138, 0], after[14:94, 20:148, 0]) * 128
    assert moved == pytest.approx(math.hypot(10, 4), abs=1.5)


def test_coming_nearer_moves_the_corners(scene):
    whole = torch.nn.functional.interpolate(scene[None, ..., 0][None], scale_factor=1.06, mode="bilinear")[0, 0]
    near = whole[4:84, 6:134]
    assert 0.005 < movement(scene[:80, :128, 0], near) < 0.04


def test_unlike_pictures_give_no_answer():
    generator = torch.Generator().manual_seed(0)
    one, other = torch.rand(80, 128, generator=generator), torch.rand(80, 128, generator=generator)
    assert math.isnan(movement(one, other))
    assert math.isnan(movement(torch.zeros(80, 128), torch.zeros(80, 128)))
