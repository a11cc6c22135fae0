"""Photos that show more than the scene are not blurred, whatever was learned; blurred ones keep their blur."""

from dataclasses import replace

import pytest
import torch
from optimize.test_trainer import CONFIG, everything, make_trainer

from splatdeblur.exposure import Bezier, Defocus, Lens, Shutter
from splatdeblur.optimize import clear
from splatdeblur.optimize.causes import Cause
from splatdeblur.optimize.clear import clear_sharp, slopes

MOVING = replace(
    CONFIG, motion=Bezier(order=2), lens=Lens(focus=Defocus()), shutter=Shutter(max_subframes=8, spacing_px=1.0)
)
STROKE = torch.tensor([0.04, 0, 0, 0, 0, 0])  # from its middle to either end: 4 px in all
BLURRED = 2  # the photo that moved


@pytest.fixture
def soft():
    """A trainer whose scene is softer than its photos, all of which it takes for blurred; one is."""
    trainer = make_trainer(MOVING)
    list(trainer.run())
    focal_px = trainer.photos.cameras[-1].Ks[0, 0, 0].item()
    motion, focus = trainer.exposure.motion, trainer.exposure.lens.focus.focus
    with torch.no_grad():
        for frame in range(6):
            motion.control_points[frame].zero_()
            focus[frame].zero_()
        sharp = [trainer.predict(-1, frame).clamp(0, 1) for frame in range(6)]
        for frame in range(6):
            motion.control_points[frame].copy_(torch.linspace(-1, 1, 3)[:, None] * STROKE)
        moved = trainer.predict(-1, BLURRED, 8).clamp(0, 1)
        for frame in range(6):
            if frame != BLURRED:
                focus[frame].copy_(torch.tensor([0.0, 0.3]) / focal_px)
                motion.control_points[frame].mul_(0.1)
    checks = torch.tensor([[0.0, 0.12], [0.12, 0.0]]).repeat(24, 32)[..., None]  # which the scene does not show
    photos = [moved if frame == BLURRED else (sharp[frame] * 0.88 + checks).clamp(0, 1) for frame in range(6)]
    trainer.photos = replace(trainer.photos, pictures=(*trainer.photos.pictures[:-1], tuple(photos)))
    trainer.causes = [Cause.MOTION] * 6
    return trainer


def test_only_photos_that_show_more_than_the_scene_are_cleared(soft):
    kept = soft.exposure.motion.control_points[BLURRED].clone()
    assert clear_sharp(soft) == [0, 1, 3, 4, 5]
    for frame, points in enumerate(soft.exposure.motion.control_points):
        is_blurred = frame == BLURRED
        assert soft.causes[frame] == (Cause.MOTION if is_blurred else Cause.SHARP)
        assert points.any() == is_blurred
        assert (points in soft.optimizers["motion"].state) == is_blurred
        assert not soft.exposure.lens.focus.focus[frame].any()
    assert torch.equal(soft.exposure.motion.control_points[BLURRED], kept)
    before = everything(soft)
    assert clear_sharp(soft) == [] and torch.equal(everything(soft), before)


def test_cleared_photos_stay_sharp_through_further_training(soft):
    clear_sharp(soft)
    soft.step_number, soft.looks_back_at = soft.config.steps // 2, ()
    soft.judgements = soft.refits = 3
    list(soft.run())
    lengths = soft.exposure.path_px(soft.photos.cameras[-1].Ks[0, 0, 0].item())
    assert [frame for frame, length in enumerate(lengths.tolist()) if length > 1e-3] == [BLURRED]
    assert not torch.stack(list(soft.exposure.lens.focus.focus))[[0, 1, 3, 4, 5]].any()


def test_what_explains_its_photo_stays_though_the_photo_shows_more(soft, monkeypatch):
    monkeypatch.setattr(clear, "AS_SHARP", 0.0)
    assert BLURRED not in clear_sharp(soft)


def test_a_photo_told_to_be_sharp_too_early_may_blur_again(soft):
    soft.causes = [Cause.SHARP] * 6
    assert clear_sharp(soft) == []
    assert [frame for frame, cause in enumerate(soft.causes) if cause != Cause.SHARP] == [BLURRED]


def test_where_noise_is_loud_or_the_shutter_rolls_nothing_is_told(soft, monkeypatch):
    loud = replace(soft.noise[-1], level=0.1)
    with monkeypatch.context() as patch:
        patch.setattr(soft, "noise", [loud, loud])
        assert clear_sharp(soft) == []
    rolling = make_trainer(replace(MOVING, shutter=Shutter(readout=0.5, max_subframes=8)))
    rolling.photos, rolling.causes = soft.photos, list(soft.causes)
    assert clear_sharp(rolling) == []


def test_slopes_are_of_the_pixels_that_count():
    picture = torch.zeros(8, 8, 3)
    picture[:, 4:] = 0.5
    keep = torch.zeros(8, 8, dtype=torch.bool)
    keep[:, :2] = True
    assert slopes(picture, keep) == 0 and slopes(picture, None) == pytest.approx((0.25 / 7) ** 0.5)
    assert slopes(picture, torch.zeros_like(keep)) == slopes(picture, None)


def test_noise_is_no_detail():
    picture = torch.linspace(0.2, 0.8, 64).repeat(48, 1)[..., None].expand(48, 64, 3)
    noisy = picture + 0.02 * torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    assert slopes(noisy, None) > 3 * slopes(picture, None)
    assert slopes(noisy, None, 0.02) == pytest.approx(slopes(picture, None), rel=0.3)
    assert slopes(noisy, None, 0.03) == 0


def test_a_training_asks_twice(monkeypatch):
    asked = []
    monkeypatch.setattr("splatdeblur.optimize.refits.clear_sharp", lambda trainer: asked.append(trainer.progress) or [])
    list(make_trainer(replace(MOVING, steps=20)).run())
    assert asked == pytest.approx([0.5, 0.7])
