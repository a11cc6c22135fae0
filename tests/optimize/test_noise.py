"""Noise is measured, and a noisy photo is charged so that the truth costs least, in the darks and at white too."""

import pytest
import torch

from splatdeblur.geometry import linear_from_srgb, srgb_from_linear
from splatdeblur.optimize.losses import Loss
from splatdeblur.optimize.noise import Noise, NoiseLevel, estimate_noise, noise_weighted


def taken(light, noise, seed=0):
    """A photo of `light` in 8 bits."""
    generator = torch.Generator().manual_seed(seed)
    noisy = light + (noise.shot * light + noise.read).sqrt() * torch.randn(light.shape, generator=generator)
    return (srgb_from_linear(noisy.clamp(0, 1)) * 255).round() / 255


def shading(height=120, width=160):
    """Walls of several brightnesses with edges between them, and a textured third."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    light = 0.1 + 0.5 * x + 0.2 * ((6 * y).floor() % 2)
    light = torch.where(y > 0.67, light * (0.6 + 0.4 * torch.rand(height, width)), light)
    return light[..., None].expand(-1, -1, 3).contiguous()


@pytest.mark.parametrize("noise", [Noise(0.003, 1e-5), Noise(0.015, 1e-4), Noise(0.0, 4e-4)])
def test_a_known_noise_is_found(noise):
    light = shading()
    found = estimate_noise(taken(light, noise))
    brightness = torch.tensor([0.15, 0.4, 0.8])
    torch.testing.assert_close(found.std(brightness), noise.std(brightness), rtol=0.2, atol=0)


def test_a_clean_photo_has_none_to_speak_of_and_leaves_the_loss_alone():
    photos = [taken(shading(), Noise(0.0, 0.0), seed) for seed in range(3)]
    assert estimate_noise(photos[0]).level(photos[0]) < 0.01
    loss = Loss()
    quiet = NoiseLevel.of(photos)
    assert not quiet.is_loud(loss) and quiet.heard_by(loss).slopes == loss.slopes
    assert loss.k2 < quiet.heard_by(loss).k2 < 0.03
    loud = NoiseLevel.of([*photos[:1], *(taken(shading(), Noise(0.01, 0.0), i) for i in range(2))])
    assert loud.is_loud(loss) and loud.heard_by(loss).slopes == 0 and loud.heard_by(loss).k2 > 2 * loud.level


def test_photos_with_too_few_unclipped_blocks_do_not_tell_their_noise():
    generator = torch.Generator().manual_seed(0)
    nearly_black = torch.zeros(40, 40, 3)
    nearly_black[:8, :24] = 0.2 + 0.6 * torch.rand(8, 24, 3, generator=generator)
    for photo in (torch.zeros(40, 40, 3), torch.ones(40, 40, 3), torch.rand(16, 16, 3), nearly_black):
        assert estimate_noise(photo) is None
    assert NoiseLevel.of([torch.zeros(40, 40, 3)]) is None


def test_a_photo_that_does_not_tell_its_noise_is_taken_for_a_usual_one():
    grainy = [taken(shading(), Noise(0.01, 0.0), seed) for seed in range(3)]
    found = NoiseLevel.of([*grainy, torch.zeros_like(grainy[0])])
    assert found.photos[3] in found.photos[:3]


def test_what_a_mask_hides_is_no_proof_of_no_noise():
    photo = taken(shading(), Noise(0.01, 0.0))
    keep = torch.ones(photo.shape[:2], dtype=torch.bool)
    keep[: len(keep) // 2] = False
    blanked = torch.where(keep[..., None], photo, photo.mean((0, 1)))
    assert estimate_noise(blanked, keep).shot == pytest.approx(0.01, rel=0.4)


def fitted(photos, loss):
    """The grey that gradients of the cost against all photos come to rest at."""
    low, high = 1e-4, 1.5
    for _ in range(14):
        grey = torch.tensor((low + high) / 2, requires_grad=True)
        sum(loss(srgb_from_linear(grey).expand_as(photo), photo) for photo in photos).backward()
        low, high = (low, grey.item()) if grey.grad > 0 else (grey.item(), high)
    return low


@pytest.mark.parametrize("light", [0.01, 0.3, 0.97])
def test_training_comes_to_rest_at_the_truth_even_where_noise_is_cut_off(light):
    noise = Noise(0.01, 6e-4)
    photos = [taken(torch.full((60, 60, 3), light), noise, seed) for seed in range(2)]
    ours = fitted(photos, lambda predicted, photo: noise_weighted(predicted, photo, noise))
    assert ours == pytest.approx(light, abs=0.002)
    if light != 0.3:  # a mean of what was cut off is wrong by more than that
        plain = fitted(photos, lambda a, b: (linear_from_srgb(a) - linear_from_srgb(b)).square().mean())
        assert abs(plain - light) > 0.005


def test_far_beyond_white_costs_nothing_and_far_below_grows_in_proportion():
    noise, white = Noise(0.01, 1e-4), torch.ones(4, 4, 3)
    assert noise_weighted(white * 1.6, white, noise) < 1e-6
    half, quarter = (noise_weighted(white * x, white, noise) for x in (0.5, 0.25))
    assert half.isfinite() and quarter > half > 1


def test_gradients_are_finite_everywhere_and_none_where_pixels_do_not_count():
    values = torch.tensor([0.0, 1e-8, 0.3, 1.0, 3.0])
    predicted = values.repeat(5, 1)[..., None].repeat(1, 1, 3).requires_grad_()
    photo = values[:, None].repeat(1, 5)[..., None].repeat(1, 1, 3).clamp(max=1)
    keep = torch.ones(5, 5, dtype=torch.bool)
    keep[2] = False
    noise_weighted(predicted, photo, Noise(0.01, 1e-4), keep).backward()
    assert predicted.grad.isfinite().all()
    assert (predicted.grad[2] == 0).all() and predicted.grad[0, 4, 0] > 0
