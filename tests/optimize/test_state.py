"""A training that was interrupted goes on as if it had not been."""

from dataclasses import replace

import pytest
import torch
from optimize.test_trainer import CONFIG, everything, make_trainer

from splatdeblur.exposure import Bezier, PixelWeights, Tone, Widened
from splatdeblur.optimize import checkpoint
from splatdeblur.optimize.density import MCMC


@pytest.mark.parametrize("density", [CONFIG.density, MCMC(every=10, start=0.05)])
def test_resuming_equals_an_uninterrupted_run_bit_for_bit(density, tmp_path):
    config = replace(CONFIG, density=density)
    straight = make_trainer(config)
    for _ in straight.run():
        pass
    first = make_trainer(config)
    for _ in range(33):
        first.step()
    checkpoint.save(first, tmp_path / "latest.pt", {})
    second = make_trainer(config)
    second.load_state(checkpoint.load(tmp_path / "latest.pt").state)
    for _ in second.run():
        pass
    assert torch.equal(everything(second), everything(straight))


def test_the_cameras_own_settings_are_learned_and_resume_bit_for_bit(tmp_path):
    shutter, tone = replace(CONFIG.shutter, learns_readout=True), Tone(response_pieces=4, learns_vignetting=True)
    config = replace(CONFIG, steps=30, shutter=shutter, tone=tone, crop_pixels=1500)
    straight = make_trainer(config)
    shared = [*straight.exposure.shutter.shared_parameters(), *straight.exposure.tone.shared_parameters()]
    before = [p.detach().clone() for p in shared]
    for _ in straight.run():
        pass
    assert len(shared) == 3 and all((a != b).any() for a, b in zip(shared, before, strict=True))
    first, second = make_trainer(config), make_trainer(config)
    for _ in range(17):
        first.step()
    checkpoint.save(first, tmp_path / "latest.pt", {})
    second.load_state(checkpoint.load(tmp_path / "latest.pt").state)
    for _ in second.run():
        pass
    torch.testing.assert_close(everything(second), everything(straight), atol=0, rtol=0)


def test_networks_are_learned_and_resume_bit_for_bit(tmp_path):
    shutter = replace(CONFIG.shutter, max_subframes=3, spacing_px=0.0, weights=PixelWeights())
    config = replace(CONFIG, steps=24, sight=Widened(copies=1), motion=Bezier(order=2, bends=True), shutter=shutter)
    straight = make_trainer(config)
    before = [p.detach().clone() for p in straight.exposure.networks()]
    list(straight.run())
    changed = [(a != b).any() for a, b in zip(straight.exposure.networks(), before, strict=True)]
    assert all(changed[:10]) and any(changed[10:])
    first, second = make_trainer(config), make_trainer(config)
    for _ in range(13):
        first.step()
    checkpoint.save(first, tmp_path / "latest.pt", {})
    saved = checkpoint.load(tmp_path / "latest.pt")
    second.load_state(saved.state)
    list(second.run())
    torch.testing.assert_close(everything(second), everything(straight), atol=0, rtol=0)
    read, kept = saved.exposure(config).state_dict(), first.exposure.state_dict()
    assert read.keys() == kept.keys() and all(torch.equal(read[key], kept[key]) for key in kept)
