"""Laws of an exposure: no motion is a sharp render, light is conserved, reversing time changes nothing."""

from dataclasses import replace

import pytest
import torch
from render.scenes import case

from splatdeblur.exposure import Bezier, CubicSpline, Exposure, Linear, Shutter, Static, Tone
from splatdeblur.exposure.motion import bernstein, uniform_cubic_spline
from splatdeblur.exposure.shutter import ShutterTimes
from splatdeblur.geometry import inverse, linear_from_srgb, log
from splatdeblur.render import RenderOptions
from splatdeblur.render.cpu import CpuRasterizer

TEST_CASE = case("random")
SCENE = TEST_CASE.scene()
CAMERAS = TEST_CASE.cameras
CAMERA = CAMERAS.at(0)
MOTIONS = (Linear(), CubicSpline(), Bezier(order=3), Bezier(order=9))


def make(motion, shutter=Shutter(), tone=Tone(), noise=0.0):
    generator = torch.Generator().manual_seed(1)
    depths = CAMERAS.viewmats.new_full((len(CAMERAS),), 3.0)
    return Exposure(
        CAMERAS.viewmats, depths, motion=motion, shutter=shutter, tone=tone, noise=noise, generator=generator
    )


def draw(viewmats, burst):
    return CpuRasterizer().render(SCENE, CAMERAS.at(0).with_viewmats(viewmats), options=RenderOptions(), burst=burst)


@pytest.mark.parametrize("motion", (Static(), *MOTIONS))
def test_zero_motion_equals_one_sharp_render(motion):
    sharp = CpuRasterizer().render(SCENE, CAMERAS.at(0)).rgb[0]
    photo = make(motion)(draw, 0, 3, camera=CAMERA).srgb
    torch.testing.assert_close(photo, sharp, atol=1e-9, rtol=0)


@pytest.mark.parametrize("motion", MOTIONS)
def test_the_middle_of_the_exposure_stays_the_photos_pose(motion):
    exposure = make(motion, noise=0.05)
    torch.testing.assert_close(exposure.sharp_viewmat(1), CAMERAS.viewmats[1], atol=1e-12, rtol=0)
    moved = log(exposure.sharp_viewmat(1, 0.0) @ inverse(CAMERAS.viewmats[1]))
    assert moved.norm() > 1e-3


@pytest.mark.parametrize("is_thick", [False, True])
@pytest.mark.parametrize("motion", MOTIONS)
def test_reversing_time_leaves_the_photo_unchanged(motion, is_thick):
    exposure = make(motion, Shutter(is_thick=is_thick), noise=0.02)
    forward = exposure(draw, 0, 4, camera=CAMERA).srgb
    with torch.no_grad():
        exposure.motion.control_points[0].copy_(exposure.motion.control_points[0].flip(0))
    torch.testing.assert_close(exposure(draw, 0, 4, camera=CAMERA).srgb, forward, atol=1e-9, rtol=0)


def test_a_moving_photo_is_the_mean_of_its_instants_in_linear_light():
    exposure = make(Bezier(order=3), Shutter(is_thick=False), noise=0.02)
    times = torch.tensor([1 / 6, 3 / 6, 5 / 6], dtype=torch.float64)
    instants = [draw(exposure.motion(0, times[i : i + 1]), None).rgb[0] for i in range(3)]
    mean = torch.stack([linear_from_srgb(x) for x in instants]).mean(0)
    torch.testing.assert_close(linear_from_srgb(exposure(draw, 0, 3, camera=CAMERA).srgb), mean, atol=1e-6, rtol=1e-6)


def test_gains_scale_light_and_average_to_one():
    exposure = make(Static(), tone=Tone(learns_gain=True))
    with torch.no_grad():
        exposure.tone.log_gains[0].fill_(0.6)
    gains = exposure.tone.gains()
    assert abs(gains.log().mean()) < 1e-7
    plain = make(Static())(draw, 0, 1, camera=CAMERA).srgb
    expected = linear_from_srgb(plain) * gains[0].double()
    torch.testing.assert_close(
        linear_from_srgb(exposure(draw, 0, 1, camera=CAMERA).srgb), expected, atol=1e-6, rtol=1e-6
    )


def test_learned_times_rise_from_start_to_end_and_start_uniform():
    exposure = make(Bezier(), Shutter(sampling="ends", is_thick=False, max_subframes=7, learns_times=True))
    uniform = torch.linspace(0, 1, 7, dtype=torch.float64)
    torch.testing.assert_close(exposure.shutter.render_times(0, 7), uniform, atol=1e-6, rtol=0)
    with torch.no_grad():
        exposure.shutter.log_durations[0].copy_(torch.linspace(-2, 2, 7))
    times = exposure.shutter.render_times(0, 7)
    assert times[0] == 0 and abs(times[-1] - 1) < 1e-6 and (times.diff() > 0).all()


def test_every_parameter_of_the_photo_gets_a_gradient_and_no_other_photos():
    shutter = Shutter(sampling="ends", is_thick=False, learns_times=True, max_subframes=4)
    exposure = make(Bezier(order=3), shutter, Tone(learns_white_balance=True), noise=0.01)
    exposure(draw, 0, 4, camera=CAMERA).srgb.square().sum().backward()
    for group in (exposure.motion.control_points, exposure.motion.pose_deltas, exposure.shutter.log_durations):
        assert group[0].grad.isfinite().all() and group[0].grad.abs().max() > 0
        assert group[1].grad is None


@pytest.mark.parametrize("noise", [0.0, 1e-8])
def test_gradients_at_and_near_rest_are_finite(noise):
    exposure = make(Bezier(order=9), noise=noise)
    exposure(draw, 0, 3, camera=CAMERA).srgb.sum().backward()
    assert all(p.grad.isfinite().all() for p in exposure.motion.control_points[:1])


def test_paths_in_px_follow_the_projection():
    exposure = make(Linear())
    with torch.no_grad():
        exposure.motion.control_points[0][1, 0] = 0.1  # a tenth of the depth to the side
    focal = 100.0
    assert exposure.motion.path_px(focal)[0] == pytest.approx(10.0, rel=1e-5)
    assert exposure.motion.path_px(focal)[1] < 1e-3
    counts = replace(exposure.shutter.shutter, spacing_px=2.0, max_subframes=4)
    exposure.shutter.shutter = counts
    assert exposure.subframe_counts(focal) == [4, 1]


def test_a_told_readout_takes_more_subframes():
    def count(**settings):
        return ShutterTimes(Shutter(spacing_px=2.0, max_subframes=100, **settings), 1).count(36.0, progress=0.1)

    assert (count(), count(readout=0.5), count(readout=0.5, learns_readout=True)) == (18, 30, 18)


def test_curve_bases_are_partitions_of_one():
    times = torch.linspace(0, 1, 9, dtype=torch.float64)
    for basis in (bernstein(times, 9), uniform_cubic_spline(times)):
        torch.testing.assert_close(basis.sum(-1), torch.ones_like(times))
        assert (basis >= -1e-12).all()


def test_a_shutter_that_hardly_opens_gives_the_sharp_render():
    exposure = make(Bezier(order=3), tone=Tone(False, False), noise=0.05)
    sharp = CpuRasterizer().render(SCENE, CAMERAS.at(0)).rgb[0]
    for count in (1, 3):
        torch.testing.assert_close(exposure(draw, 0, count, camera=CAMERA, open_for=0).srgb, sharp, atol=1e-9, rtol=0)
    assert (exposure(draw, 0, 3, camera=CAMERA).srgb - sharp).abs().max() > 1e-3


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_shorter_exposure_is_the_middle_of_the_path(motion):
    exposure = make(motion, noise=0.05)
    times = torch.linspace(0, 1, 5, dtype=torch.float64)
    torch.testing.assert_close(exposure.path(1, times, 0.5), exposure.motion(1, 0.25 + times / 2))
    assert torch.equal(exposure.path(1, times), exposure.motion(1, times))


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_longer_exposure_moves_the_camera_so_much_farther(motion):
    exposure = make(motion, noise=0.05)
    times = torch.linspace(0, 1, 5, dtype=torch.float64)
    middle = inverse(CAMERAS.viewmats[1])
    once, thrice = (log(exposure.path(1, times, factor) @ middle) for factor in (1, 3))
    torch.testing.assert_close(thrice, 3 * once)
