from copy import deepcopy

import pytest
import torch

from splatdeblur.optimize.visits import VisitAdam


def visit(optimizer, parameter, gradient):
    optimizer.zero_grad(set_to_none=True)
    parameter.grad = gradient.clone()
    optimizer.step()


def test_one_photo_alone_moves_as_by_adam():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.zeros(4, 6)) for _ in range(2))
    optimizers = VisitAdam([ours], lr=0.01), torch.optim.Adam([theirs], lr=0.01, eps=1e-15)
    # Gradients that differ little keep Adam's steps below the rate, where ours are cut off.
    for _ in range(20):
        gradient = 1 + 0.1 * torch.rand(4, 6, generator=generator).sort(dim=0, descending=True).values
        for optimizer, parameter in zip(optimizers, (ours, theirs), strict=True):
            visit(optimizer, parameter, gradient)
    assert ours.detach().allclose(theirs.detach(), rtol=2e-2) and ours.abs().min() > 0.15


def test_a_photo_with_little_to_gain_moves_little_and_none_further_than_the_rate():
    busy, quiet, unseen = (torch.nn.Parameter(torch.zeros(3)) for _ in range(3))
    optimizer = VisitAdam([busy, quiet, unseen], lr=0.1)
    for _ in range(10):
        before = busy.detach().clone()
        visit(optimizer, busy, torch.full((3,), 5.0))
        assert (busy - before).abs().max() <= 0.1 * 1.0001
        visit(optimizer, quiet, torch.full((3,), 0.05))
    # 0.05 over the usual gradient, 5 / sqrt(2), while the busy one is held to the rate.
    assert quiet.detach().allclose(busy.detach() * 0.014, rtol=0.05)
    assert not unseen.any()


def test_without_rest_those_not_visited_move_as_by_a_gradient_of_zero():
    def fresh():
        return [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]

    ours, theirs = fresh(), fresh()
    optimizers = VisitAdam(ours, lr=0.01, rests=False), VisitAdam(theirs, lr=0.01)
    generator = torch.Generator().manual_seed(0)
    for step in range(30):
        visited, gradient = step % 2, torch.randn(2, generator=generator) + 1
        for index, parameter in enumerate(theirs):
            parameter.grad = gradient.clone() if index == visited else torch.zeros(2)
        optimizers[1].step()
        visit(optimizers[0], ours[visited], gradient)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.detach().allclose(other.detach(), rtol=0.02)
    assert not ours[2].any() and ours[0].abs().min() > 0.05
    before = ours[0].detach().clone()
    visit(optimizers[0], ours[1], torch.ones(2))
    assert not torch.equal(ours[0].detach(), before)


@pytest.mark.parametrize("rests", [True, False])
def test_it_goes_on_from_its_state_as_if_never_stopped(rests):
    parameters = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    optimizer = VisitAdam(parameters, lr=0.1, rests=rests)
    visit(optimizer, parameters[0], torch.tensor([1.0, -2.0]))
    copies = [torch.nn.Parameter(p.detach().clone()) for p in parameters]
    other = VisitAdam(copies, lr=0.0, rests=rests)
    other.load_state_dict(deepcopy(optimizer.state_dict()))
    for pair in ((optimizer, parameters), (other, copies)):
        visit(pair[0], pair[1][1], torch.tensor([0.5, 0.5]))
        visit(pair[0], pair[1][0], torch.tensor([0.5, 0.5]))
    assert all(torch.equal(a, b) for a, b in zip(parameters, copies, strict=True))
