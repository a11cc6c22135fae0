from copy import deepcopy

import torch

from splatdeblur.optimize.visits import VisitAdam, haste, hastened
from splatdeblur.scene import Gaussians


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


def test_it_goes_on_from_its_state_as_if_never_stopped():
    parameters = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    optimizer = VisitAdam(parameters, lr=0.1)
    visit(optimizer, parameters[0], torch.tensor([1.0, -2.0]))
    copies = [torch.nn.Parameter(p.detach().clone()) for p in parameters]
    other = VisitAdam(copies, lr=0.0)
    other.load_state_dict(deepcopy(optimizer.state_dict()))
    for pair in ((optimizer, parameters), (other, copies)):
        visit(pair[0], pair[1][1], torch.tensor([0.5, 0.5]))
        visit(pair[0], pair[1][0], torch.tensor([0.5, 0.5]))
    assert all(torch.equal(a, b) for a, b in zip(parameters, copies, strict=True))


def test_seldom_seen_gaussians_get_as_far_in_a_round_as_others():
    """Two of one kind, the first about which every step is, the second only every ninth, by the same gradients."""
    raw = {"means": torch.zeros(2, 3), "quats": torch.rand(2, 4), "scales": torch.zeros(2, 3)}
    scene = Gaussians.from_raw(*raw.values(), torch.zeros(2), torch.zeros(2, 1, 3))
    moved = {}
    for most in (1.0, 9.0):
        means = scene.params["means"]
        with torch.no_grad():
            means.zero_()
        optimizer = torch.optim.Adam([means], lr=0.01, eps=1e-15)
        factors = haste(torch.tensor([1.0, 1 / 9]), most)
        for step in range(900):
            means.grad = torch.tensor([[1.0], [float(step % 9 == 0)]]).expand(2, 3).clone()
            with hastened(scene, factors):
                optimizer.step()
        moved[most] = -means.detach()[:, 0].clone()
    assert torch.allclose(moved[1.0], torch.tensor([9.0, 3.0]), rtol=0.05)
    assert torch.allclose(moved[9.0], torch.tensor([9.0, 9.0]), rtol=0.05)


def test_haste_has_bounds_and_leaves_out_what_was_never_seen():
    assert haste(torch.tensor([1.0, 0.25, 1e-4, 0.0]), most=5.0).tolist() == [1.0, 2.0, 5.0, 1.0]
