"""Sub-frames weighed at each pixel: even before anything is learned, a mean always, and learned from the photo."""

import torch
from render.scenes import case

from splatdeblur.exposure import Exposure, Linear, PixelWeights, Shutter, Tone
from splatdeblur.exposure.weights import SubframeWeights
from splatdeblur.geometry import linear_from_srgb
from splatdeblur.render.cpu import CpuRasterizer

TEST_CASE = case("random")
SCENE = TEST_CASE.scene()
CAMERAS = TEST_CASE.cameras
CAMERA = CAMERAS.at(0)
SUBFRAMES = torch.rand(5, 24, 33, 3, generator=torch.Generator().manual_seed(2))


def network(gate=0.0, learned=0.0):
    made = SubframeWeights(PixelWeights(gate=gate), torch.Generator().manual_seed(0))
    with torch.no_grad():
        made.weight.weight.fill_(learned)
    return made


def draw(viewmats, burst):
    return CpuRasterizer().render(SCENE, CAMERA.with_viewmats(viewmats), burst=burst)


def test_before_anything_is_learned_all_sub_frames_count_alike():
    open_gate, closed = network(gate=40.0), network(gate=-40.0)
    torch.testing.assert_close(open_gate(SUBFRAMES, False)[0][0], SUBFRAMES.mean(0))
    light = linear_from_srgb(SUBFRAMES)
    torch.testing.assert_close(open_gate(SUBFRAMES, True)[0][0], light.mean(0))
    torch.testing.assert_close(closed(SUBFRAMES, True)[0][0], light[2])


def test_what_all_sub_frames_agree_on_stays_whatever_the_weights():
    same = SUBFRAMES[:1].expand(4, -1, -1, -1)
    torch.testing.assert_close(network(learned=3.0)(same, False)[0][0], same[0])


def test_weights_differ_from_pixel_to_pixel_and_lie_between_the_sub_frames():
    mixed, share = network(gate=40.0, learned=1.0)(SUBFRAMES, False)
    assert (mixed <= SUBFRAMES.amax(0) + 1e-6).all() and (mixed >= SUBFRAMES.amin(0) - 1e-6).all()
    assert (mixed[0] - SUBFRAMES.mean(0)).abs().max() > 0.05
    assert share.shape == SUBFRAMES.shape[1:3]


def test_a_photo_teaches_the_network_and_the_path():
    exposure = Exposure(
        CAMERAS.viewmats, CAMERAS.viewmats.new_full((len(CAMERAS),), 3.0), motion=Linear(),
        shutter=Shutter(sampling="ends", is_thick=False, is_linear=False, weights=PixelWeights()), tone=Tone(),
        noise=0.05, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    with torch.no_grad():
        exposure.weights.weight.weight.fill_(0.1)  # at zero what looks at the sub-frames cannot learn yet
    photo = exposure(draw, 0, 5, camera=CAMERA)
    (photo.srgb.square().sum() + photo.weighed.sum()).backward()
    for parameter in (*exposure.weights.weight.parameters(), *exposure.weights.gate.parameters()):
        assert parameter.grad.isfinite().all()
    assert exposure.weights.weight.weight.grad.abs().max() > 0
    assert exposure.weights.gate.weight.grad.abs().max() > 0
    assert exposure.weights.look[0].weight.grad.abs().max() > 0
    assert exposure.motion.control_points[0].grad.abs().max() > 0


def test_one_sub_frame_needs_no_weights():
    exposure = Exposure(
        CAMERAS.viewmats, CAMERAS.viewmats.new_full((len(CAMERAS),), 3.0), motion=Linear(),
        shutter=Shutter(weights=PixelWeights()), tone=Tone(), generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert exposure(draw, 0, 1, camera=CAMERA).weighed is None
