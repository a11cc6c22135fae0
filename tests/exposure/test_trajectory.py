"""One path through a video: every frame sees its own stretch of it, cuts split it, the share is learned in bounds."""

import pytest
import torch

from splatdeblur.exposure import Exposure, Shutter, Timing, Tone, Trajectory
from splatdeblur.exposure.trajectory import SHARES, knots_around, pose_at, unbroken
from splatdeblur.geometry import exp, inverse, log

D = torch.float64
INTERVAL = 0.05
TWIST = torch.tensor([0.4, -0.2, 0.3, 0.5, 0.8, -0.3], dtype=D)
STAMPS = torch.arange(8, dtype=D) * INTERVAL


def steady(stamps=STAMPS):
    """Poses of a camera at constant twist."""
    return exp(stamps[:, None] * TWIST)


def make(viewmats=None, stamps=STAMPS, model=Trajectory(), shutter=Shutter(), noise=0.0, exposures=None):
    viewmats = steady(stamps) if viewmats is None else viewmats
    return Exposure(
        viewmats, viewmats.new_full((len(viewmats),), 2.0), motion=model, shutter=shutter, tone=Tone(False, False),
        noise=noise, generator=torch.Generator().manual_seed(0),
        timing=Timing(tuple(stamps.tolist()), INTERVAL, exposures),
    )  # fmt: skip


def test_each_frame_sees_its_own_stretch_of_a_steady_motion():
    exposure = make(model=Trajectory(share=0.6))
    times = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=D)
    for frame in (0, 3, 7):
        seconds = STAMPS[frame] + 0.6 * INTERVAL * (times - 0.5)
        torch.testing.assert_close(exposure.path(frame, times), steady(seconds), atol=1e-9, rtol=0)
    assert exposure.exposure_s(2) == pytest.approx(0.6 * INTERVAL)


def test_a_known_exposure_is_taken_at_its_word():
    exposure = make(exposures=tuple(0.001 * (i + 1) for i in range(8)))
    assert exposure.exposure_s(4) == pytest.approx(0.005)
    assert not exposure.motion.shared_parameters()
    ends = exposure.path(4, torch.tensor([0.0, 1.0], dtype=D))
    torch.testing.assert_close(log(ends[1] @ inverse(ends[0])), 0.005 * TWIST, atol=1e-9, rtol=0)


def test_rows_of_a_rolling_shutter_lie_on_the_same_path():
    """Reading goes on after the exposure: shutter time covers both, and the path is there for both."""
    exposure = make(model=Trajectory(share=0.5), shutter=Shutter(readout=0.8))
    ends = exposure.path(3, torch.tensor([0.0, 1.0], dtype=D))
    seconds = STAMPS[3] + torch.tensor([-0.5, 0.5], dtype=D) * 0.5 * 1.8 * INTERVAL
    torch.testing.assert_close(ends, steady(seconds), atol=1e-8, rtol=0)
    still = make(model=Trajectory(share=0.5))
    assert (exposure.path_px(100.0)[3] / still.path_px(100.0)[3]).item() == pytest.approx(1.8, rel=1e-3)
    assert exposure.blur_px(3, 100.0).item() == pytest.approx(still.blur_px(3, 100.0).item(), rel=1e-3)


def test_a_longer_exposure_sees_more_of_the_path():
    exposure = make(noise=0.01)
    ends = exposure.path(3, torch.tensor([0.0, 1.0], dtype=D), 2)
    inner = exposure.path(3, torch.tensor([-0.5, 1.5], dtype=D))
    torch.testing.assert_close(ends, inner)


def test_the_end_of_one_window_is_the_start_of_the_next_where_the_shutter_is_always_open():
    exposure = make(model=Trajectory(share=1.0, learns_share=False), noise=0.05)
    for frame in range(7):
        end, start = (exposure.path(f, torch.tensor([u], dtype=D)) for f, u in ((frame, 1.0), (frame + 1, 0.0)))
        torch.testing.assert_close(end, start)


def test_only_control_points_around_a_frame_have_a_gradient_and_it_is_right():
    exposure = make(noise=0.02)
    times = torch.tensor([0.1, 0.8], dtype=D)
    points = list(exposure.motion.control_points)
    target = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(1), dtype=D)

    def total():
        return (exposure.path(3, times) * target).sum()

    total().backward()
    touched = [i for i, p in enumerate(points) if p.grad is not None]
    assert 4 <= len(touched) <= 5 and touched == list(range(touched[0], touched[-1] + 1))
    for parameter in (points[touched[1]], exposure.motion.share_logits):
        for index in range(len(parameter)):
            with torch.no_grad():
                parameter[index] += 1e-6
                high = total()
                parameter[index] -= 2e-6
                low = total()
                parameter[index] += 1e-6
            assert parameter.grad[index] == pytest.approx((high - low).item() / 2e-6, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("logit", [-1e3, 0.0, 1e3])
def test_a_learned_share_stays_within_its_bounds(logit):
    exposure = make(model=Trajectory(share=0.5))
    assert exposure.motion.share.item() == pytest.approx(0.5)
    with torch.no_grad():
        exposure.motion.share_logits.fill_(logit)
    assert SHARES[0] <= exposure.motion.share.item() <= SHARES[1]


def test_frames_far_apart_do_not_tell_the_share():
    exposure = make(stamps=STAMPS * 5)
    assert not exposure.motion.shared_parameters()
    assert exposure.motion.share.item() == 0.5


def test_gaps_and_jumps_cut_the_path_and_both_sides_go_on_alone():
    stamps = torch.cat([STAMPS, STAMPS + 5.0])
    poses = steady(stamps % 5.0)
    poses[4:8] = poses[4:8] @ exp(torch.tensor([1.0, 0, 0, 0, 0.5, 0], dtype=D))
    assert unbroken(poses, stamps, Trajectory()) == [[0, 1, 2, 3], [4, 5, 6, 7], list(range(8, 16))]
    exposure = make(poses, stamps)
    for frame in (3, 4, 7, 8):  # as steady as without any cut
        ends = exposure.path(frame, torch.tensor([0.0, 1.0], dtype=D))
        torch.testing.assert_close(log(ends[1] @ inverse(ends[0])), 0.5 * INTERVAL * TWIST)


def test_frames_may_come_in_any_order():
    order = torch.tensor([3, 0, 7, 1, 6, 2, 5, 4])
    shuffled, sorted_ = make(steady()[order], STAMPS[order]), make()
    times = torch.tensor([0.0, 1.0], dtype=D)
    for new, old in enumerate(order.tolist()):
        torch.testing.assert_close(shuffled.path(new, times), sorted_.path(old, times))


def test_knots_stand_at_frames_and_around_them_only():
    dense = knots_around(STAMPS, INTERVAL, 1)[3:-3]
    torch.testing.assert_close(dense, torch.arange(-1, 9, dtype=D) * INTERVAL)
    sparse = knots_around(STAMPS[:3] * 10, INTERVAL, 1)[3:-3] / INTERVAL
    torch.testing.assert_close(sparse, torch.tensor([-1.0, 0, 1, 9, 10, 11, 19, 20, 21], dtype=D))
    assert len(knots_around(STAMPS, INTERVAL, 2)) > 1.7 * len(dense)


def test_paths_are_read_back_as_they_were():
    exposure = make(noise=0.03)
    again = make(noise=0.0)
    again.load_state_dict(exposure.state_dict())
    times = torch.tensor([0.0, 0.3, 1.0], dtype=D)
    assert torch.equal(again.path(2, times), exposure.path(2, times))


def test_a_lost_frame_is_looked_for_where_the_path_passed_and_not_beyond_its_ends():
    known = [0, 1, 2, 4, 5, 6, 7]
    found = pose_at(steady()[known], STAMPS[known], STAMPS[3].item())
    torch.testing.assert_close(found, steady()[3], atol=1e-9, rtol=0)
    assert pose_at(steady()[known], STAMPS[known], -0.01) is None
    stamps = torch.cat([STAMPS, STAMPS + 5.0])
    assert pose_at(steady(stamps), stamps, 3.0) is None
