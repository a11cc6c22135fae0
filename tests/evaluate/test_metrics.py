"""Measures of likeness: known values, and what is done where one cannot be taken."""

import math

import torch

from splatdeblur.evaluate.metrics import find_lpips, psnr, score, ssim


def pictures(seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 24, 32, 3, generator=torch.Generator().manual_seed(seed))


def test_psnr_of_a_known_difference():
    truth = torch.full((1, 12, 12, 3), 0.5)
    assert math.isclose(psnr(truth + 0.1, truth).item(), 20.0, abs_tol=1e-4)


def test_equal_pictures_score_best():
    both = pictures()
    assert psnr(both, both).tolist() == [100.0, 100.0]
    assert torch.allclose(ssim(both, both), torch.ones(2))


def test_values_beyond_white_and_black_are_clipped_before_scoring():
    truth = pictures()
    loud = torch.where(truth > 0.5, 3.0, -2.0)
    assert torch.equal(psnr(loud, truth), psnr(loud.clamp(0, 1), truth))
    assert torch.equal(ssim(loud, truth), ssim(loud.clamp(0, 1), truth))


def test_ssim_falls_with_noise():
    truth = pictures()
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    values = [ssim(truth + amount * noise, truth).mean().item() for amount in (0.01, 0.1, 0.5)]
    assert values == sorted(values, reverse=True)


def test_means_are_over_the_pictures_and_names_stay():
    truth = pictures()
    found = score(("a", "b"), (truth * 0.9).unbind(), truth.unbind())
    assert list(found.psnr.per_image) == ["a", "b"]
    assert math.isclose(found.psnr.mean, sum(found.psnr.per_image.values()) / 2)


def test_a_measure_that_cannot_be_taken_is_none_with_a_reason():
    truth = pictures()[:, :8]
    found = score(("a", "b"), truth.unbind(), truth.unbind(), without_perceptual="no weights")
    assert found.lpips.mean is None and found.lpips.reason == "no weights"
    assert found.ssim.mean is None and "11 px" in found.ssim.reason


def test_lpips_is_looked_for_without_a_download(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    network, reason = find_lpips()
    assert network is None and "lpips" in reason
