"""Kernels per pixel: the compiled loops against plain torch, and what a mean of neighbours must keep."""

import pytest
import torch

from splatdeblur.exposure.mixing import _Mix, mix, mix_by_shifts


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("size", "grid"), [(3, (1, 1)), (5, (3, 4)), (9, (2, 1)), (3, (9, 14))])
def test_compiled_loops_agree_with_plain_torch_forward_and_backward(size, grid):
    padded = rand(3, 9 + size - 1, 14 + size - 1).requires_grad_()
    weights = rand(size * size, *grid, seed=1).requires_grad_()
    v = rand(3, 9, 14, seed=2)
    ours, plain = _Mix.apply(padded, weights), mix_by_shifts(padded, weights)
    torch.testing.assert_close(ours, plain)
    for a, b in zip(
        torch.autograd.grad((ours * v).sum(), (padded, weights)),
        torch.autograd.grad((plain * v).sum(), (padded, weights)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_the_middle_tap_alone_changes_nothing():
    weights = torch.zeros(25, 4, 5, dtype=torch.float64)
    weights[12] = 1
    light = rand(16, 20, 3)
    torch.testing.assert_close(mix(light, weights), light)


def test_a_tap_takes_from_the_neighbour_it_is_named_for():
    weights = torch.zeros(9, 1, 1, dtype=torch.float64)
    weights[3 * 2 + 0] = 1  # one row below, one column to the left
    light = rand(8, 10, 3)
    seen = mix(light, weights)
    torch.testing.assert_close(seen[:-1, 1:], light[1:, :-1])


def test_even_pictures_stay_even_at_the_border_too():
    weights = rand(25, 3, 3).softmax(0)
    light = torch.full((12, 12, 3), 0.7, dtype=torch.float64)
    torch.testing.assert_close(mix(light, weights), light)
