import torch

from splatdeblur.optimize.optimizers import RestlessAdam


def test_a_visit_plays_out_in_the_steps_after_it():
    def fresh():
        return [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]

    ours, theirs = fresh(), fresh()
    restless, plain = RestlessAdam(ours, lr=0.01), torch.optim.Adam(theirs, lr=0.01)
    generator = torch.Generator().manual_seed(0)
    for step in range(12):
        gradient = torch.randn(2, generator=generator) + 1
        for parameter, index in zip(theirs, range(3), strict=True):
            parameter.grad = gradient.clone() if index == step % 2 else torch.zeros(2)
        plain.step()
        restless.zero_grad(set_to_none=True)
        ours[step % 2].grad = gradient.clone()
        before = ours[1 - step % 2].detach().clone()
        restless.step()
        assert step == 0 or not torch.equal(ours[1 - step % 2].detach(), before)
    torch.testing.assert_close(ours, theirs)
    assert not ours[2].any() and ours[0].abs().min() > 0.01
