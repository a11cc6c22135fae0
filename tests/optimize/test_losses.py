"""Loss terms against an independent library, naive loops and finite differences."""

from functools import partial

import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from splatdeblur.optimize.losses import Loss, photometric, scene_prior, ssim, ssim_by_products, temporal
from splatdeblur.optimize.ssim_kernel import K2
from splatdeblur.scene import Gaussians


def pictures(height, width, dtype=torch.float32):
    generator = torch.Generator().manual_seed(height)
    a = torch.rand(height, width, 3, generator=generator, dtype=torch.float64)
    b = (a + 0.2 * torch.randn(height, width, 3, generator=generator, dtype=torch.float64)).clamp(0, 1)
    return a.to(dtype), b.to(dtype)


@pytest.mark.parametrize("size", [(11, 11), (23, 40), (64, 48)])
def test_ssim_equals_torchmetrics_on_whole_windows(size):
    a, b = pictures(*size)
    _, full = structural_similarity_index_measure(
        a.permute(2, 0, 1)[None], b.permute(2, 0, 1)[None], data_range=1.0, return_full_image=True
    )
    inner = full[..., 5 : size[0] - 5, 5 : size[1] - 5].mean()
    assert abs(ssim(a, b) - inner) < 1e-5
    assert abs(ssim_by_products(a, b) - inner) < 1e-5


@pytest.mark.parametrize("c2", [K2**2, 1e-4, 0.02])
@pytest.mark.parametrize("size", [(11, 11), (12, 33), (50, 37)])
def test_the_kernels_gradient_equals_autograds(size, c2):
    a, b = pictures(*size)
    kernel, plain = a.clone().requires_grad_(), a.double().requires_grad_()
    ssim(kernel, b, c2).backward()
    ssim_by_products(plain, b.double(), c2).backward()
    assert (kernel.grad - plain.grad).norm() < 1e-4 * plain.grad.norm()


def test_a_perfect_prediction_costs_nothing():
    a, _ = pictures(20, 20)
    assert abs(photometric(a, a, 0.2)) < 1e-6


def test_white_says_at_least_white():
    photo = torch.ones(16, 16, 3)
    assert photometric(photo * 3, photo, 0.0) == 0
    assert photometric(photo * 0.5, photo, 0.0) == 0.5
    grey = torch.full((16, 16, 3), 0.5)
    assert photometric(grey * 3, grey, 0.0) == 1.0


def test_beyond_white_a_prediction_is_compared_as_the_camera_would_clip_it():
    predicted, photo = pictures(40, 50)
    is_lamp = torch.zeros(40, 50, dtype=torch.bool)
    is_lamp[10:20, 15:30] = True
    photo = torch.where(is_lamp[..., None], 1.0, photo.clamp(max=0.98))
    predicted = torch.where(is_lamp[..., None], 1.0 + predicted, predicted).requires_grad_()
    loss = photometric(predicted, photo, 0.5)
    assert loss == photometric(predicted.detach().clamp(max=1), photo, 0.5)  # in SSIM's windows around the lamp, too
    loss.backward()
    assert (predicted.grad[is_lamp] == 0).all() and (predicted.grad[~is_lamp] != 0).any()


@pytest.mark.parametrize("weights", [(0.5, 0.5, 0.01), (0.0, 0.5, 0.03), (1.0, 0.0, 0.03), (0.0, 0.0, 0.03)])
@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("size", [(11, 11), (12, 70), (50, 37)])
def test_the_kernel_of_the_whole_charge_equals_plain_torch(size, is_masked, weights):
    predicted, photo = pictures(*size)
    predicted = predicted * 1.2  # beyond white here and there
    photo[:4, :5] = 1.0
    keep = torch.rand(*size, generator=torch.Generator().manual_seed(1)) > 0.1 if is_masked else None
    dssim, slopes, k2 = weights
    kernel, plain = predicted.clone().requires_grad_(), predicted.double().requires_grad_()
    ours = photometric(kernel, photo, dssim, keep, slopes, k2)
    theirs = photometric(plain, photo.double(), dssim, keep, slopes, k2)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)
    ours.backward()
    theirs.backward()
    assert (kernel.grad - plain.grad).norm() < 1e-4 * plain.grad.norm()


def test_the_smallest_picture_has_slopes_only_one_way():
    a, b = pictures(1, 5)
    expected = (a - b).abs().mean() + 0.5 * (a - b).diff(dim=1).abs().mean()
    torch.testing.assert_close(photometric(a, b, 0.0, slopes=0.5), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pixels_that_do_not_count_get_no_gradient_and_have_no_say(dtype):
    predicted, photo = pictures(40, 50, dtype)
    keep = torch.ones(40, 50, dtype=torch.bool)
    keep[10:25, 20:32] = False
    predicted.requires_grad_()
    loss = photometric(predicted, photo, 0.5, keep)
    loss.backward()
    assert (predicted.grad[~keep] == 0).all() and (predicted.grad[keep] != 0).all()
    with torch.no_grad():
        other = torch.where(keep[..., None], predicted, torch.rand_like(predicted) * 3)
        assert photometric(other, photo, 0.5, keep) == loss
        better = torch.where(keep[..., None], photo, other)
        assert abs(photometric(better, photo, 0.5, keep)) < 1e-6


def test_the_temporal_term_counts_change_between_neighbours_only():
    frames = torch.zeros(3, 4, 4, 3)
    assert temporal(frames[:1]) == 0
    frames[1:] = 0.5
    assert temporal(frames) == 0.25


def test_only_what_a_photo_shows_is_charged():
    loss, scene_scale = Loss(opacity=0.3, scale=0.2), 4.0
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(1))
    scene = Gaussians.from_raw(draw(6, 3), draw(6, 4), draw(6, 3), draw(6), draw(6, 1, 3))
    is_seen = torch.tensor([True, False, True, True, False, False])
    expected = (0.3 * scene.opacities[is_seen].sum() + 0.2 / 3 * scene.scales[is_seen].sum() / scene_scale) / 6
    torch.testing.assert_close(scene_prior(scene, loss, scene_scale, is_seen), expected)
