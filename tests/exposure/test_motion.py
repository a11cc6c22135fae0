"""Curves of a lower order inside those of a higher one, space that bends along the path, and longer shutter times."""

import pytest
import torch

from splatdeblur.exposure import Bezier, CubicSpline, Exposure, Linear, Shutter, Tone
from splatdeblur.exposure.motion import Motion, bernstein, lasting, order_elevation, order_projection
from splatdeblur.geometry import exp, inverse

TIMES = torch.linspace(0, 1, 9, dtype=torch.float64)
VIEWMATS = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)


def make(model, noise=0.05, reach=None):
    depths = VIEWMATS.new_full((2,), 2.0)
    return Motion(model, VIEWMATS, depths, noise=noise, generator=torch.Generator().manual_seed(3), reach=reach)


@pytest.mark.parametrize(("lower", "order"), [(1, 2), (1, 5), (3, 4), (4, 9), (5, 5)])
def test_a_curve_of_lower_order_is_exactly_one_of_higher_order(lower, order):
    points = torch.randn(lower + 1, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    times = torch.linspace(0, 1, 16, dtype=torch.float64)
    curve = bernstein(times, lower) @ points
    raised = torch.linalg.lstsq(bernstein(times, order), curve).solution
    torch.testing.assert_close(bernstein(times, order) @ raised, curve, atol=1e-9, rtol=0)
    torch.testing.assert_close(order_projection(lower, order) @ raised, raised, atol=1e-9, rtol=0)
    torch.testing.assert_close(order_elevation(lower, order) @ points, raised, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("shutter", "order"),
    [
        (Shutter(), 3),
        (Shutter(readout=0.5), 4),
        (Shutter(readout=1.5), 6),
        (Shutter(readout=20.0), 7),  # enough is enough
        (Shutter(readout=1.5, learns_readout=True), 3),  # which may turn out to be short
    ],
)
def test_curves_that_last_longer_bend_more_often(shutter, order):
    def controls(model):
        exposure = Exposure(
            VIEWMATS, VIEWMATS.new_full((2,), 2.0), motion=model, shutter=shutter, tone=Tone(),
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        return [len(points) for points in exposure.motion.control_points]

    assert controls(Bezier(order=3)) == [order + 1] * 2
    assert controls(Linear()) == [2, 2]


def test_curves_that_grow_begin_with_as_many_more():
    assert lasting(Bezier(order=4, grows_from=1), 1.5) == Bezier(order=7, grows_from=4)
    assert lasting(Bezier(order=3, grows_from=3), 1.5) == Bezier(order=6)
    assert lasting(Bezier(order=3), 0.0) == Bezier(order=3)


def test_a_photo_gets_a_curve_of_the_order_that_it_has_by_now():
    motion = make(Bezier(order=5, grows_from=1))
    straight = bernstein(TIMES, 5) @ motion.points(0)
    torch.testing.assert_close(straight.diff(dim=0)[1:], straight.diff(dim=0)[:-1], atol=1e-12, rtol=0)
    motion.orders[0] = 3
    cubic = bernstein(TIMES, 5) @ motion.points(0)
    assert (cubic - straight).abs().max() > 1e-3
    assert cubic.diff(n=4, dim=0).abs().max() < 1e-12
    assert motion.state_dict()["orders"].tolist() == [3, 1]


def test_a_curve_stays_the_same_when_its_order_grows():
    motion = make(Bezier(order=4, grows_from=1))
    with torch.no_grad():
        motion.control_points[0].copy_(motion.points(0))
    before = motion(0, TIMES)
    motion.orders[0] = 2
    torch.testing.assert_close(motion(0, TIMES), before, atol=1e-12, rtol=0)


def test_orders_that_do_not_grow_leave_no_trace():
    assert "orders" not in make(Bezier(order=3)).state_dict()
    assert torch.equal(make(Bezier(order=3)).points(0), make(Bezier(order=3)).control_points[0])


def test_bending_leaves_poses_alone_and_is_nothing_in_the_middle():
    rigid, bending = make(Bezier(order=3)), make(Bezier(order=3, bends=True))
    assert rigid.bent(VIEWMATS, 0, TIMES[:2]) is VIEWMATS
    poses = bending(0, TIMES)
    torch.testing.assert_close(poses @ inverse(poses), VIEWMATS[:1].expand(9, 4, 4), atol=1e-12, rtol=0)
    bent = bending.bent(poses, 0, TIMES)
    torch.testing.assert_close(bent[4], poses[4], atol=1e-12, rtol=0)
    assert (bent[0] - poses[0]).abs().max() > 1e-3
    torch.testing.assert_close(bending.bent(poses, 0, TIMES, 0), poses)


def test_turning_is_no_bending_and_stretching_is():
    motion = make(Bezier(order=1, bends=True), noise=0.0)
    turn = exp(torch.tensor([0, 0, 0, 0, 0, 0.2], dtype=torch.float64))[:3, :3] - torch.eye(3)
    for matrix, is_bent in ((turn, False), (torch.diag(turn.new_tensor([0.2, 0, 0])), True)):
        with torch.no_grad():
            motion.control_points[0][:, 6:] = torch.stack([-matrix.flatten(), matrix.flatten()])
        assert (motion.strain(0, TIMES[-1:]) > 1e-3) == is_bent


@pytest.mark.parametrize("model", [Linear(), CubicSpline(), Bezier(order=3)])
def test_a_path_stays_where_it_is_in_time_when_shutter_time_covers_more_of_it(model):
    elastic = make(model, reach=1.5)
    within, whole = elastic(0, TIMES, 1.0), elastic(0, TIMES, 1.5)
    torch.testing.assert_close(whole, elastic(0, TIMES), atol=1e-12, rtol=0)
    torch.testing.assert_close(within, elastic(0, 0.5 + (TIMES - 0.5) / 1.5), atol=1e-12, rtol=0)
    elastic.cover(2.0)
    torch.testing.assert_close(elastic(0, TIMES, 1.0), within, atol=1e-9, rtol=0)
    torch.testing.assert_close(elastic(0, TIMES, 1.5), whole, atol=1e-9, rtol=0)
    assert elastic.length_px(0, 100.0, 2.0) > elastic.length_px(0, 100.0, 1.5)
    assert "reach" in elastic.state_dict() and "reach" not in make(model).state_dict()


@pytest.mark.parametrize(("model", "reach"), [(Linear(), None), (CubicSpline(), None), (Bezier(order=3), 1.5)])
def test_a_camera_goes_at_the_speed_it_is_told(model, reach):
    motion = make(model, reach=reach)
    velocity, span = torch.tensor([0.02, -0.01, 0.03, 0.004, 0.006, -0.005], dtype=torch.float64), 2.5
    motion.go(1, velocity, span)
    exposures = (TIMES - 0.5) * span
    moved = inverse(VIEWMATS[1]) @ exp(exposures[:, None] * velocity)  # from camera to world
    torch.testing.assert_close(inverse(motion(1, TIMES, span)), moved, atol=1e-9, rtol=0)


@pytest.mark.parametrize("hinge", [5 / 16, 11 / 16])
def test_an_end_of_a_path_is_turned_and_the_rest_stays(hinge):
    motion = make(Bezier(order=9), noise=0.0)
    times = torch.linspace(0, 1, 17, dtype=torch.float64)
    with torch.no_grad():
        motion.control_points[0].copy_(torch.linspace(-1, 1, 10)[:, None] * torch.tensor([0, 0, 0, 0, 0.01, 0]))
    before = motion(0, times).detach()
    motion.turn_end(0, hinge, 0.5 * torch.pi)
    shifts = (motion(0, times) @ inverse(before)).detach()
    right, down = shifts[:, 0, 2], shifts[:, 1, 2]  # of what lies ahead, in radians
    end, rest = (times > hinge, times < hinge) if hinge > 0.5 else (times < hinge, times > hinge)
    assert right[rest].abs().max() < 5e-4 and down[rest].abs().max() < 5e-4
    arm = 0.02 * (times - hinge)[end]
    torch.testing.assert_close(right[end], -arm, atol=5e-4, rtol=0)
    torch.testing.assert_close(down[end], arm, atol=5e-4, rtol=0)
    assert not motion.pose_deltas[1].any()


def test_a_path_that_was_folded_is_laid_out_once_along_its_extent():
    motion = make(Bezier(order=9), noise=0.0)
    times = torch.linspace(0, 1, 33, dtype=torch.float64)
    there_and_back_and_there = torch.zeros(33, 6, dtype=torch.float64)
    there_and_back_and_there[:, 4] = 0.01 * torch.cos(3 * torch.pi * times)
    points = torch.linalg.lstsq(bernstein(times, 9), there_and_back_and_there).solution
    with torch.no_grad():
        motion.control_points[0].copy_(points)
    before = motion(0, times).detach()
    assert motion.folding(0) > 2.8
    motion.unfold(0)
    assert motion.folding(0) < 1.02
    right_before, right = ((m @ inverse(VIEWMATS[0].expand(33, 4, 4)))[:, 0, 2] for m in (before, motion(0, times)))
    for extreme in (torch.amin, torch.amax):
        torch.testing.assert_close(extreme(right, 0), extreme(right_before, 0), atol=2e-3, rtol=0)
    assert not motion.pose_deltas[1].any()


def test_a_straight_path_stays_as_it_is_when_it_is_unfolded():
    motion = make(Bezier(order=9), noise=0.0)
    with torch.no_grad():
        motion.control_points[0].copy_(torch.linspace(-1, 1, 10)[:, None] * torch.tensor([0, 0, 0, 0.004, 0.01, 0]))
    before = motion(0, TIMES).detach()
    assert motion.folding(0) == pytest.approx(1, abs=1e-6)
    motion.unfold(0)
    after = motion(0, TIMES)
    assert min((after - before).abs().max(), (after.flip(0) - before).abs().max()) < 1e-9
