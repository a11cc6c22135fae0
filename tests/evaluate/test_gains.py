"""A view's own brightness is found whatever else is wrong with it, and undone."""

import torch

from splatdeblur.evaluate.gains import fit_gains, with_gains
from splatdeblur.evaluate.metrics import psnr

PICTURES = torch.rand(2, 20, 30, 3, generator=torch.Generator().manual_seed(0))
GAINS = torch.tensor([[0.6, 0.7, 0.8], [1.5, 1.0, 1.2]])


def test_known_gains_are_found_and_applied():
    truths = with_gains(PICTURES, GAINS).clamp(0, 1)
    found = fit_gains(PICTURES, truths)
    torch.testing.assert_close(found, GAINS, atol=1e-3, rtol=0)
    assert (psnr(with_gains(PICTURES, found), truths) > 60).all()


def test_a_part_that_is_otherwise_wrong_does_not_pull_them():
    truths = with_gains(PICTURES, GAINS).clamp(0, 1)
    truths[:, :4] = 0.5
    torch.testing.assert_close(fit_gains(PICTURES, truths), GAINS, atol=0.03, rtol=0)


def test_black_and_white_pictures_tell_no_gain():
    truths = torch.stack([torch.zeros(20, 30, 3), torch.ones(20, 30, 3)])
    assert torch.equal(fit_gains(PICTURES, truths), torch.ones(2, 3))
