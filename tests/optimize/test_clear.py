"""Photos that show more than the scene are not blurred, whatever was learned; blurred ones keep their blur."""

from dataclasses import replace

import pytest
import torch
from optimize.test_trainer import CONFIG, make_trainer

from splatdeblur.exposure import Bezier, Defocus, Lens, PixelKernels, Shutter
from splatdeblur.optimize import clear
from splatdeblur.optimize.causes import Cause
from splatdeblur.optimize.clear import can_clear, clear_sharp, slopes
from splatdeblur.optimize.noise import NoiseLevel
from splatdeblur.optimize.occasions import passed_before

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
    assert clear_sharp(soft) == []


def shorten_training(trainer, steps):
    """Leaves so many steps to go, and nothing besides them."""
    trainer.step_number, trainer.done = trainer.config.steps - steps, passed_before(1.0)


def test_cleared_photos_stay_sharp_through_further_training(soft):
    clear_sharp(soft)
    with torch.no_grad():  # whatever gradients do
        for frame in (0, 1):
            soft.exposure.motion.control_points[frame].copy_(torch.linspace(-1, 1, 3)[:, None] * STROKE)
            soft.exposure.lens.focus.focus[frame].fill_(0.02)
    soft.causes[1] = Cause.UNKNOWN
    shorten_training(soft, 6)
    soft.queue = []
    list(soft.run())
    points = soft.exposure.motion.control_points
    assert not points[0].any() and not soft.exposure.lens.focus.focus[0].any()
    assert points[1].any() and soft.exposure.lens.focus.focus[1].any()


def test_what_explains_its_photo_stays_though_the_photo_shows_more(soft, monkeypatch):
    monkeypatch.setattr(clear, "AS_SHARP", 0.0)
    assert BLURRED not in clear_sharp(soft)


def test_a_photo_told_to_be_sharp_too_early_blurs_again(soft):
    with torch.no_grad():
        soft.exposure.motion.control_points[BLURRED].zero_()
    soft.causes = [Cause.SHARP] * 6
    assert clear_sharp(soft) == []
    assert [frame for frame, cause in enumerate(soft.causes) if cause != Cause.SHARP] == [BLURRED]
    focal_px = soft.photos.cameras[-1].Ks[0, 0, 0].item()
    anew = soft.exposure.blur_px(BLURRED, focal_px).item()
    shorten_training(soft, 50)
    list(soft.run())
    lengths = [soft.exposure.blur_px(frame, focal_px).item() for frame in range(6)]
    assert lengths[BLURRED] > 2 * anew > 0.01 and max(lengths[:BLURRED] + lengths[BLURRED + 1 :]) < 1e-3


def test_where_detail_does_not_tell_or_paths_do_more_than_blur_nothing_is_cleared(soft, monkeypatch):
    assert can_clear(soft)
    with monkeypatch.context() as patch:
        patch.setattr(soft, "noise", [replace(soft.noise[-1], level=0.1)] * 2)
        assert not can_clear(soft)
    with monkeypatch.context() as patch:
        patch.setattr(soft, "step_number", 9 * 6)
        assert not can_clear(soft)
    for changes, expected in (
        ({}, True), ({"clears": False}, False), ({"shutter": Shutter(readout=0.5, max_subframes=8)}, False),
        ({"lens": Lens(kernels=PixelKernels())}, False),
    ):  # fmt: skip
        other = make_trainer(replace(MOVING, **changes))
        other.step_number = soft.step_number
        assert can_clear(other) == expected


def test_neither_noise_nor_the_edge_of_a_mask_passes_for_detail(soft):
    """A photo as sharp as the scene, but for noise, and with a hole."""
    keep = torch.ones(48, 64, dtype=torch.bool)
    keep[10:30, 20:40] = False
    with torch.no_grad():
        soft.exposure.motion.control_points[BLURRED].mul_(0.02)
        plain = soft.predict(-1, BLURRED).clamp(0, 1)
    noise = torch.randn(plain.shape, generator=torch.Generator().manual_seed(0))
    noisy = plain + 0.03 * noise
    hollow = torch.where(keep[..., None], plain + 0.003 * noise, torch.tensor([1.0, 0.0, 1.0]))
    for photo, mask in ((noisy, None), (hollow, keep)):
        assert slopes(photo, None) > 1.2 * slopes(plain, None)  # it would pass
        known = NoiseLevel.of([photo], [mask])
        soft.noise = [replace(known, photos=known.photos * 6)] * 2
        pictures = list(soft.photos.pictures[-1])
        pictures[BLURRED] = photo
        keeps = [mask if frame == BLURRED else None for frame in range(6)]
        soft.photos = replace(
            soft.photos, pictures=(soft.photos.pictures[0], tuple(pictures)), keeps=(soft.photos.keeps[0], tuple(keeps))
        )
        clear_sharp(soft)
        assert soft.causes[BLURRED] == Cause.MOTION


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
    monkeypatch.setattr(clear, "LEAST_VISITS", 0)
    monkeypatch.setattr("splatdeblur.optimize.refits.clear_sharp", lambda trainer: asked.append(trainer.progress) or [])
    list(make_trainer(replace(MOVING, steps=20)).run())
    assert asked == pytest.approx([0.5, 0.7])
