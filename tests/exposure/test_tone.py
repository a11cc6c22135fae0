"""Laws of tone: it starts as sRGB, never falls, keeps its fixed points, and finds what a camera did."""

import pytest
import torch

from splatdeblur.exposure import Tone, Window
from splatdeblur.exposure.tone import ToneCurve
from splatdeblur.geometry import srgb_from_linear

WINDOW = Window.whole(24, 16)
LIGHT = torch.rand(16, 24, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1.5
FULL = Tone(response_pieces=8, learns_vignetting=True)


def test_it_starts_as_the_srgb_curve():
    tone = ToneCurve(FULL, 2).double()
    torch.testing.assert_close(tone(LIGHT, 0, True, WINDOW), srgb_from_linear(LIGHT))


def test_the_response_rises_and_passes_through_its_fixed_points_whatever_is_learned():
    tone = ToneCurve(FULL, 1).double()
    with torch.no_grad():
        tone.log_slopes.copy_(2 * torch.randn(2, 4, generator=torch.Generator().manual_seed(1)))
    values = torch.linspace(0, 1.5, 301, dtype=torch.float64)
    assert (tone.response(values).diff() > 0).all()
    fixed = torch.tensor([0, 0.5, 1], dtype=torch.float64)
    torch.testing.assert_close(tone.response(fixed), fixed)


def test_vignetting_is_one_in_the_middle_and_goes_by_place_in_the_whole_photo():
    tone = ToneCurve(FULL, 1).double()
    with torch.no_grad():
        tone.falloff.copy_(torch.tensor([0.3, 0.2]))
    whole = tone.vignetting(Window.whole(25, 17))
    assert whole[8, 12] == 1
    assert whole[0, 0].log().item() == pytest.approx(-0.5, rel=0.2)  # the corner pixel's middle lies a little inside
    part = Window(5, 3, 7, 6, 25, 17)
    torch.testing.assert_close(tone.vignetting(part), whole[3:9, 5:12])
    assert torch.equal(part.of(whole), whole[3:9, 5:12])


def test_a_known_camera_is_found_from_photos_of_several_brightnesses():
    generator = torch.Generator().manual_seed(2)
    true, found = ToneCurve(FULL, 4).double(), ToneCurve(FULL, 4).double()
    with torch.no_grad():
        true.log_slopes.copy_(0.6 * torch.randn(2, 4, generator=generator))
        true.falloff.copy_(torch.tensor([0.25, 0.1]))
        for i, gain in enumerate((-0.6, -0.2, 0.2, 0.6)):
            true.log_gains[i].fill_(gain)
        light = [torch.rand(16, 24, 3, generator=generator, dtype=torch.float64) for _ in range(4)]
        photos = [true(light[i], i, True, WINDOW) for i in range(4)]
    optimizer = torch.optim.Adam(found.parameters(), lr=0.03)
    for _ in range(200):
        loss = sum((found(light[i], i, True, WINDOW) - photos[i]).abs().mean() for i in range(4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    values = torch.linspace(0, 1, 50, dtype=torch.float64)
    torch.testing.assert_close(found.response(values), true.response(values), atol=0.02, rtol=0)
    torch.testing.assert_close(found.gains(), true.gains(), atol=0.03, rtol=0)
    torch.testing.assert_close(found.vignetting(WINDOW), true.vignetting(WINDOW), atol=0.02, rtol=0)


def test_the_gain_of_one_photo_is_its_row_and_asks_no_other_for_a_gradient():
    tone = ToneCurve(Tone(), 3).double()
    with torch.no_grad():
        for index, log_gains in enumerate(tone.log_gains):
            log_gains.copy_(torch.tensor([0.1, 0.5, -0.3]) * (index + 1))
    torch.testing.assert_close(torch.stack([tone.gain(i) for i in range(3)]), tone.gains())
    tone.gain(1).sum().backward()
    assert [log_gains.grad is None for log_gains in tone.log_gains] == [True, False, True]


def test_what_some_photo_shows_below_white_can_be_recovered():
    tone = ToneCurve(Tone(), 3)
    with torch.no_grad():
        tone.log_gains[0].fill_(-0.6)
        tone.log_gains[2].fill_(0.6)
    assert tone.recoverable() == pytest.approx(1.8221, rel=1e-3)
    assert ToneCurve(Tone(False, False), 3).recoverable() == 1


def test_strain_is_none_at_the_start_and_pulls_back():
    tone = ToneCurve(FULL, 1).double()
    assert tone.strain() == 0
    with torch.no_grad():
        tone.log_slopes[0, 0] += 0.4
        tone.falloff[1] += 0.2
    tone.strain().backward()
    assert tone.log_slopes.grad[0, 0] > 0 and tone.falloff.grad[1] > 0
    assert ToneCurve(Tone(), 1).strain() == 0
