"""A view's own brightness is found whatever else is wrong with it, and undone."""

import torch

from splatdeblur.evaluate.metrics import psnr
from splatdeblur.exposure.gains import fit_gains, with_gains

PICTURES = torch.rand(2, 20, 30, 3, generator=torch.Generator().manual_seed(0))
GAINS = torch.tensor([[0.6, 0.7, 0.8], [1.5, 1.0, 1.2]])


def taken():
    return torch.stack(list(map(with_gains, PICTURES, GAINS))).clamp(0, 1)


def fitted(truths, keeps=(None, None)):
    return torch.stack(list(map(fit_gains, PICTURES, truths, keeps)))


def test_known_gains_are_found_and_applied():
    truths = taken()
    found = fitted(truths)
    torch.testing.assert_close(found, GAINS, atol=1e-3, rtol=0)
    again = torch.stack(list(map(with_gains, PICTURES, found)))
    assert (psnr(again, truths) > 60).all()


def test_a_part_that_is_otherwise_wrong_does_not_pull_them():
    truths = taken()
    truths[:, :4] = 0.5
    torch.testing.assert_close(fitted(truths), GAINS, atol=0.03, rtol=0)
    keep = torch.ones(20, 30, dtype=torch.bool)
    keep[:4] = False
    torch.testing.assert_close(fitted(truths, (keep, keep)), GAINS, atol=1e-3, rtol=0)


def test_black_and_white_pictures_tell_no_gain():
    truths = torch.stack([torch.zeros(20, 30, 3), torch.ones(20, 30, 3)])
    assert torch.equal(fitted(truths), torch.ones(2, 3))
