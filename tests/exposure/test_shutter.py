"""A rolling shutter's rows: their light is conserved, stands at its true time, and equals a truth drawn row by row."""

from dataclasses import replace

import pytest
import torch
from render.scenes import cameras, raw_scene

from splatdeblur.evaluate.metrics import psnr
from splatdeblur.exposure import Bezier, Exposure, Shutter, Tone, Window
from splatdeblur.exposure.motion import order_elevation
from splatdeblur.exposure.shutter import ShutterTimes
from splatdeblur.geometry import linear_from_srgb, srgb_from_linear
from splatdeblur.render import RenderOptions
from splatdeblur.render.cpu import CpuRasterizer
from splatdeblur.scene import Gaussians

CAMERA = cameras(96, 64)
SCENE = Gaussians.from_raw(**raw_scene(300, scale=(0.02, 0.12)))
ROWS = torch.linspace(0, 1, 65, dtype=torch.float64)


def times_of(readout: float, **settings) -> ShutterTimes:
    return ShutterTimes(Shutter(readout=readout, **settings), 1).double()


def make(readout: float, length_px: float, **settings) -> Exposure:
    """A photo whose path, read-out included, is `length_px` long: mostly sideways, bent, with some roll."""
    exposure = Exposure(
        CAMERA.viewmats, CAMERA.viewmats.new_tensor([3.0]), motion=Bezier(order=3), tone=Tone(False, False),
        shutter=Shutter(readout=readout, **settings), generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    curve = torch.tensor(
        [[-1, 0.2, 0, 0, 0, -0.3], [-0.5, 0.6, 0, 0, 0, 0], [0.5, 0.1, 0, 0, 0.3, 0], [1, 0, 0, 0, 0, 0.3]]
    )
    with torch.no_grad():
        order = exposure.motion.model.order
        exposure.motion.control_points[0].copy_(order_elevation(3, order).float() @ curve * 0.01)
        focal = CAMERA.Ks[0, 0, 0].item()
        exposure.motion.control_points[0].mul_(length_px / exposure.motion.length_px(0, focal))
    return exposure


def draw(viewmats, burst, camera=CAMERA):
    return CpuRasterizer().render(SCENE, camera.with_viewmats(viewmats), options=RenderOptions(), burst=burst)


def draw_waves(viewmats, burst):
    """Waves that move with the camera: unlike Gaussians, which end where they are faint, they have a slope all over."""
    x, y = torch.meshgrid(torch.arange(96.0).double(), torch.arange(64.0).double(), indexing="xy")
    moved = 100 * (viewmats[:, :2, 3] + viewmats[:, [0, 1], 2])[..., None, None]
    waves = torch.stack([torch.sin(0.3 * (x + moved[:, 0]) + k * (y + moved[:, 1])) for k in (0.1, 0.2, 0.4)], dim=-1)
    mean = torch.einsum("shwc,sh->hwc", 0.5 + 0.2 * waves, burst.weights)
    return replace(draw(viewmats[:1].detach(), None), rgb=mean[None], is_linear=True)


@torch.no_grad()
def photo_of(exposure: Exposure, num_subframes: int) -> torch.Tensor:
    return exposure(draw, 0, num_subframes, camera=CAMERA).srgb.clamp(0, 1)


@torch.no_grad()
def row_by_row(exposure: Exposure, readout: float, instants: int = 12) -> torch.Tensor:
    """Each row from sharp renders of its own window of time alone."""
    rows = []
    for row in range(CAMERA.height):
        start = readout * (row + 0.5) / CAMERA.height
        times = (start + (torch.arange(instants, dtype=torch.float64) + 0.5) / instants) / (1 + readout)
        # Drawn one row high: the camera is cropped to it.
        strip = CAMERA.cropped(0, row, CAMERA.width, 1)
        sharp = draw(exposure.motion(0, times), None, strip).rgb
        rows.append(linear_from_srgb(sharp).mean(0))
    return srgb_from_linear(torch.cat(rows)).clamp(0, 1)


@pytest.mark.parametrize("readout", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("count", [10, 13, 24])
def test_every_row_gets_all_of_its_light_at_its_own_time(readout, count):
    shutter = times_of(readout)
    weights = shutter.row_weights(ROWS, count)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(0), torch.ones_like(ROWS))
    mean_times = weights.T @ shutter.render_times(0, count)
    torch.testing.assert_close(mean_times, (ROWS * readout + 0.5) / (1 + readout))


@pytest.mark.parametrize("readout", [0.3, 1.0, 4.0])
def test_rows_spread_in_time_as_their_windows_do(readout):
    shutter, count = times_of(readout), 12
    weights, times = shutter.row_weights(ROWS, count), shutter.render_times(0, count)[:, None]
    spread = (weights * times**2).sum(0) - (weights * times).sum(0) ** 2
    smeared = spread + (shutter.thickness(count) / count) ** 2 / 12
    assert smeared.mean() == pytest.approx(1 / 12 / (1 + readout) ** 2, rel=0.02)


def test_without_readout_all_rows_are_alike_and_slices_touch():
    shutter = times_of(0.0)
    torch.testing.assert_close(shutter.row_weights(ROWS, 5), torch.full((5, len(ROWS)), 0.2, dtype=torch.float64))
    assert shutter.thickness(5) == pytest.approx(1)
    starts, ends = shutter.slices(0, 5)
    torch.testing.assert_close(starts[1:], ends[:-1])


@pytest.mark.parametrize("readout,length_px", [(0.4, 12.0), (1.0, 12.0), (3.0, 16.0)])
def test_a_rolling_shutter_equals_a_truth_drawn_row_by_row(readout, length_px):
    exposure = make(readout, length_px)
    truth = row_by_row(exposure, readout)
    count = exposure.subframe_counts(CAMERA.Ks[0, 0, 0].item())[0]
    usual, many = (psnr(photo_of(exposure, n)[None], truth[None]).item() for n in (count, 64))
    exposure.shutter.shutter = Shutter()  # global, over the same path
    globally = psnr(photo_of(exposure, 64)[None], truth[None]).item()
    assert many > 45
    assert usual > 36 and usual > globally + 8


def test_a_window_of_a_photo_is_that_part_of_the_photo():
    exposure = make(0.8, 10.0)
    whole = photo_of(exposure, 8)
    camera = CAMERA.cropped(30, 20, 40, 30)
    with torch.no_grad():
        part = exposure(
            lambda viewmats, burst: draw(viewmats, burst, camera), 0, 8,
            camera=camera, window=Window(30, 20, 40, 30, 96, 64),
        ).srgb.clamp(0, 1)
    # Where a Gaussian fades out below 1/255 depends on tiles, which begin elsewhere.
    assert psnr(part[None], whole[None, 20:50, 30:70]).item() > 55


def test_the_learned_readout_starts_where_it_is_told_and_has_the_right_slope():
    exposure = make(0.8, 10.0, learns_readout=True)
    shutter = exposure.shutter
    assert shutter.readout.item() == pytest.approx(0.8)
    probe = torch.randn(64, 96, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def value():
        return (exposure(draw_waves, 0, 7, camera=CAMERA).srgb * probe).sum()

    shutter.thickness = lambda count: 0.5  # takes no part in the gradient
    value().backward()
    step, numbers = 1e-4, []
    with torch.no_grad():
        for sign in (1, -1):
            shutter.readout_logits += sign * step
            numbers.append(value().item())
            shutter.readout_logits -= sign * step
    assert shutter.readout_logits.grad.item() == pytest.approx((numbers[0] - numbers[1]) / 2 / step, rel=1e-3)


def test_blur_is_the_part_of_the_path_that_one_row_sees():
    exposure = make(1.0, 12.0)
    focal = CAMERA.Ks[0, 0, 0].item()
    assert exposure.blur_px(0, focal).item() == pytest.approx(6.0)
    exposure.shorten(0, 3.0, focal)
    assert exposure.blur_px(0, focal).item() == pytest.approx(3.0)


def test_a_read_out_learned_by_an_older_version_is_read():
    exposure = make(0.8, 10.0, learns_readout=True)
    state = exposure.state_dict()
    known = state.pop("motion.reach")
    other = make(0.3, 10.0, learns_readout=True)
    other.load_state_dict(state)
    torch.testing.assert_close(other.motion.reach, known)
