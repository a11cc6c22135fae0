"""Laws of out-of-focus light: it is conserved, disks have the spread of true ones, and edges keep their side."""

import pytest
import torch

from splatdeblur.exposure.spread import _Spread, edge_of, spread


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def flat(height, width, value):
    return torch.full((height, width), value, dtype=torch.float64)


def test_in_focus_nothing_changes():
    light = rand(12, 17, 3)
    torch.testing.assert_close(spread(light, flat(12, 17, 0.0), flat(12, 17, 1.0)), light)


def test_an_even_picture_stays_even_whatever_the_radii():
    light = torch.full((20, 24, 3), 0.4, dtype=torch.float64)
    torch.testing.assert_close(spread(light, 4 * rand(20, 24), rand(20, 24, seed=1)), light)


@pytest.mark.parametrize("radius", [0.3, 1.0, 1.7, 4.0, 9.0])
def test_a_point_becomes_a_disk_of_its_light_and_variance(radius):
    light = torch.zeros(41, 41, 1, dtype=torch.float64).expand(-1, -1, 3).clone()
    light[20, 20] = 5.0
    seen = spread(light, flat(41, 41, radius), flat(41, 41, 1.0))[..., 0]
    assert seen.sum() == pytest.approx(5.0, rel=1e-9)
    offsets = torch.arange(41, dtype=torch.float64) - 20
    variance = (seen.sum(0) * offsets.square()).sum() / seen.sum()
    assert variance == pytest.approx(radius**2 / 4, rel=0.03, abs=0.002)


def test_what_is_blurred_behind_does_not_reach_what_is_sharp_in_front():
    light = torch.zeros(16, 32, 3, dtype=torch.float64)
    light[:, 16:] = 1.0
    radius, nearness = flat(16, 32, 0.0), flat(16, 32, 1.0)
    radius[:, 16:], nearness[:, 16:] = 4.0, 0.2
    seen = spread(light, radius, nearness)
    assert (seen[:, :16] == 0).all()
    radius, nearness = radius.flip(1), nearness.flip(1)  # the dark half is behind now, and the bright one sharp
    assert (spread(light, radius, nearness)[:, 16:] == 1).all()


def test_what_is_blurred_in_front_lies_over_what_is_sharp_behind():
    light = torch.zeros(16, 32, 3, dtype=torch.float64)
    light[:, 16:] = 1.0
    radius, nearness = flat(16, 32, 0.0), flat(16, 32, 0.2)
    radius[:, 16:], nearness[:, 16:] = 4.0, 1.0
    seen = spread(light, radius, nearness)
    assert (seen[:, 13:16] > 0.01).all()
    assert (seen[:, :11] == 0).all()


def test_gradients_are_those_of_finite_differences():
    light, radius = rand(7, 9, 3).requires_grad_(), (0.4 + 2 * rand(7, 9, seed=1)).requires_grad_()
    nearness = rand(7, 9, seed=2)
    assert torch.autograd.gradcheck(lambda a, b: spread(a, b, nearness), (light, radius), eps=1e-7, atol=1e-4)


def test_a_radius_at_rest_still_has_a_slope_to_leave_by():
    radius = torch.tensor([[0.5]], dtype=torch.float64, requires_grad=True)
    edge_of(radius).sum().backward()
    assert radius.grad.item() > 0.01


def test_plain_torch_agrees_with_the_compiled_loops_forward_and_backward():
    light, radius, nearness = rand(20, 31, 3), 5 * rand(20, 31, seed=1) ** 3, rand(20, 31, seed=2)
    light.requires_grad_(), radius.requires_grad_()
    v = rand(20, 31, 3, seed=3)
    compiled, plain = spread(light, radius, nearness), _Spread.apply(light, edge_of(radius), nearness)
    torch.testing.assert_close(compiled, plain)
    for a, b in zip(
        torch.autograd.grad((compiled * v).sum(), (light, radius)),
        torch.autograd.grad((plain * v).sum(), (light, radius)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
