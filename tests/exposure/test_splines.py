"""Laws of smooth curves: exact where nothing bends, through every pose, C2, with the right gradients."""

import pytest
import torch

from splatdeblur.exposure.splines import PosePath, cubic_b_spline
from splatdeblur.geometry import exp, inverse, log

D = torch.float64
KNOTS = torch.tensor([-3.0, -2, -1, 0, 1, 1.5, 2, 6, 7, 8, 9, 10], dtype=D)


def twists(count, seed=0, size=0.3):
    return size * torch.randn(count, 6, generator=torch.Generator().manual_seed(seed), dtype=D)


def winding(times):
    """Poses of a camera that turns and moves this way and that."""
    rate, shift = twists(2, 1, 0.8)
    return exp(torch.sin(times[:, None] * rate + shift)) @ exp(times[:, None] * rate)


def spline(times, points):
    first, weights = cubic_b_spline(times, KNOTS)
    return (weights[..., None] * points[first[:, None] + torch.arange(4)]).sum(1)


def test_weights_of_a_spline_are_positive_and_sum_to_one():
    _, weights = cubic_b_spline(torch.linspace(-1, 9, 101, dtype=D), KNOTS)
    torch.testing.assert_close(weights.sum(-1), torch.ones(101, dtype=D))
    assert (weights >= -1e-12).all()


def test_control_points_on_a_line_give_the_line_whatever_the_knots():
    places = (KNOTS[1:-3] + KNOTS[2:-2] + KNOTS[3:-1]) / 3  # where each control point stands for (Greville)
    times = torch.linspace(0, 7, 50, dtype=D)
    torch.testing.assert_close(spline(times, places[:, None])[:, 0], times)


@pytest.mark.parametrize("knot", [1.0, 1.5, 2.0, 6.0])
def test_a_spline_is_twice_continuously_differentiable_at_its_knots(knot):
    points = twists(8)
    h = 1e-3
    before, after = (spline(knot + sign * h * torch.arange(4, dtype=D), points) for sign in (-1, 1))
    torch.testing.assert_close(before[0], after[0])
    slopes = [(-11 * y[0] + 18 * y[1] - 9 * y[2] + 2 * y[3]) / (6 * h) for y in (before, after)]
    torch.testing.assert_close(-slopes[0], slopes[1], atol=1e-7, rtol=0)
    bends = [(2 * y[0] - 5 * y[1] + 4 * y[2] - y[3]) / h**2 for y in (before, after)]
    torch.testing.assert_close(bends[0], bends[1], atol=1e-6, rtol=0)


def test_a_splines_weights_have_the_gradient_that_finite_differences_say():
    times = torch.tensor([0.2, 1.2, 1.7, 4.0, 6.9], dtype=D, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: cubic_b_spline(t, KNOTS)[1], times)


def test_a_path_at_constant_twist_is_exact_everywhere():
    twist, start = twists(2)
    stamps = torch.tensor([0.0, 0.3, 1.0, 1.1, 2.0], dtype=D)
    path = PosePath(exp(stamps[:, None] * twist) @ exp(start), stamps)
    times = torch.linspace(-1, 3, 41, dtype=D)
    torch.testing.assert_close(path(times), exp(times[:, None] * twist) @ exp(start))


def test_a_path_goes_through_every_pose_and_stays_near_a_smooth_motion():
    stamps = torch.tensor([0.0, 0.11, 0.2, 0.32, 0.4, 0.5, 0.61], dtype=D)
    path = PosePath(winding(stamps), stamps)
    torch.testing.assert_close(path(stamps), winding(stamps))
    times = torch.linspace(0.15, 0.45, 31, dtype=D)
    off = log(path(times) @ inverse(winding(times))).norm(dim=-1).max()
    assert off < 0.01 * log(winding(stamps[1:]) @ inverse(winding(stamps[:-1]))).norm(dim=-1).max()


def test_a_path_is_twice_continuously_differentiable_at_its_poses():
    stamps = torch.tensor([0.0, 0.4, 1.0, 1.5, 2.2], dtype=D)
    poses = winding(stamps * 2)
    path = PosePath(poses, stamps)
    h = 1e-3
    for k in range(5):
        y = log(path(stamps[k] + h * torch.arange(-3, 4, dtype=D)) @ inverse(poses[k]))
        before, after = y[:4].flip(0), y[3:]
        slopes = [(-11 * y[0] + 18 * y[1] - 9 * y[2] + 2 * y[3]) / (6 * h) for y in (before, after)]
        torch.testing.assert_close(-slopes[0], slopes[1], atol=1e-4, rtol=0)
        bends = [(2 * y[0] - 5 * y[1] + 4 * y[2] - y[3]) / h**2 for y in (before, after)]
        torch.testing.assert_close(bends[0], bends[1], atol=0.1, rtol=0)
        assert k in (0, 4) or bends[0].norm() > 1  # it does bend there


def test_one_pose_alone_stands_still():
    pose = exp(twists(1))
    path = PosePath(pose, torch.tensor([2.0], dtype=D))
    torch.testing.assert_close(path(torch.tensor([0.0, 2.0, 5.0], dtype=D)), pose.expand(3, 4, 4))
