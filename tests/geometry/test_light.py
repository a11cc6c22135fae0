"""The sRGB curve, below, at and beyond white."""

import pytest
import torch
from torch.autograd import gradcheck

from splatdeblur.geometry import linear_from_srgb, srgb_from_linear

PRECISIONS = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_encoding_undoes_decoding_from_below_black_to_far_beyond_white(dtype):
    srgb = torch.linspace(-0.5, 4, 2001, dtype=dtype)
    torch.testing.assert_close(srgb_from_linear(linear_from_srgb(srgb)), srgb, rtol=2e-6, atol=1e-6)


def test_known_values_of_the_standard():
    srgb = torch.tensor([0.0, 0.04045, 0.5, 188 / 255, 1.0], dtype=torch.float64)
    linear = torch.tensor([0.0, 0.0031308, 0.21404114, 0.50288646, 1.0], dtype=torch.float64)
    torch.testing.assert_close(linear_from_srgb(srgb), linear, rtol=0, atol=1e-7)


@pytest.mark.parametrize("at", [0.04045, 1.0])
def test_decoding_is_continuous_in_value_and_slope(at):
    step = 1e-6
    x = torch.tensor([at - step, at, at + step], dtype=torch.float64, requires_grad=True)
    linear = linear_from_srgb(x)
    (slope,) = torch.autograd.grad(linear.sum(), x)
    assert linear.diff().max() < 3 * step
    # The standard's own constants leave a kink of 2 % where the straight foot ends.
    assert slope.max() / slope.min() < 1.03


def test_light_grows_with_the_signal_everywhere():
    assert (linear_from_srgb(torch.linspace(-1, 3, 4001, dtype=torch.float64)).diff() > 0).all()
    assert (srgb_from_linear(torch.linspace(-1, 9, 4001, dtype=torch.float64)).diff() > 0).all()


def test_below_black_both_are_straight():
    x = torch.tensor([-1.0, -0.25], dtype=torch.float64)
    torch.testing.assert_close(linear_from_srgb(x), x / 12.92)
    torch.testing.assert_close(srgb_from_linear(x), x * 12.92)


def test_gradients_are_exact_on_either_side_and_finite_at_black():
    x = torch.tensor([-0.2, 0.0, 0.02, 0.3, 1.0, 2.5], dtype=torch.float64, requires_grad=True)
    assert gradcheck(linear_from_srgb, x)
    assert gradcheck(srgb_from_linear, x)
