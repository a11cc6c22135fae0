"""Motion and focus are told apart by what they leave unexplained, and what was blamed on the wrong one is put right."""

from dataclasses import replace

import pytest
import torch
from optimize.test_trainer import CONFIG, everything, make_trainer

from splatdeblur.exposure import Bezier, Defocus, Lens, Shutter, Static, Window
from splatdeblur.optimize import Looks
from splatdeblur.optimize.causes import Cause, Verdict, simplest
from splatdeblur.optimize.fits import Fit, smeared
from splatdeblur.optimize.judging import can_judge, judge_photos, telling
from splatdeblur.optimize.occasions import passed_before

WITH_LENS = replace(
    CONFIG, motion=Bezier(order=3), lens=Lens(focus=Defocus()), shutter=Shutter(max_subframes=12, spacing_px=1.0)
)


@pytest.fixture(scope="module")
def trained():
    trainer = make_trainer(replace(WITH_LENS, steps=60, looks_back=False))
    for _ in trainer.run():
        pass
    return trainer.state()


def make_young(trained, config=WITH_LENS):
    """A trainer whose scene is known already, and whose photos all look blurred."""
    trainer = make_trainer(replace(config, steps=60), blur_px=[4.0] * 6)
    trainer.load_state({**trained, "judgements": 0})
    for frame in range(6):
        blame(trainer, frame)
    return trainer


@torch.no_grad()
def blame(trainer, frame, velocity_px=(0.0, 0.0), radius_px=0.0):
    """Explains a photo by an even path and by disks of one size."""
    focal_px = trainer.photos.cameras[-1].Ks[0, 0, 0].item()
    trainer.exposure.motion.trace(frame, torch.tensor(velocity_px) / focal_px, torch.zeros(2))
    trainer.exposure.lens.focus.start(frame, radius_px / focal_px)


def take(trainer, causes):
    """Replaces the photos by those that the scene gives with a velocity and a radius each, grainy as photos are."""
    for frame, cause in enumerate(causes):
        blame(trainer, frame, *cause)
    noise = torch.Generator().manual_seed(0)
    levels = []
    for level, pictures in enumerate(trainer.photos.pictures):
        with torch.no_grad():
            photos = [trainer.predict(level, frame, 12) for frame in range(6)]
        levels.append(tuple((p + 0.01 * torch.randn(p.shape, generator=noise)).clamp(0, 1) for p in photos))
        assert levels[-1][0].shape == pictures[0].shape
    trainer.photos = replace(trainer.photos, pictures=tuple(levels))


@pytest.mark.parametrize(
    ("errors", "disks", "cause"),
    [
        ((1.0, 0.995, 0.997, 0.995), 0.2, Cause.UNKNOWN),  # nothing explains the photo
        ((1.0, 0.6, 0.8, 0.59), 0.9, Cause.MOTION),
        ((1.0, 0.8, 0.6, 0.59), 0.1, Cause.FOCUS),
        ((1.0, 1.0, 0.9, 0.9), 0.1, Cause.UNKNOWN),  # what looks like motion may still have to find its path
        ((1.0, 0.95, 0.9, 0.9), 0.1, Cause.MOTION),
        ((1.0, 1.0, 0.9, 0.9), 0.5, Cause.FOCUS),
        ((1.0, 0.96, 0.88, 0.88), 0.26, Cause.FOCUS),  # disks nearly as likely as not need explain little
        ((1.0, 0.96, 0.88, 0.88), 0.1, Cause.MOTION),
        ((1.0, 0.8, 0.8, 0.5), 0.2, Cause.BOTH),
        ((1.0, 0.6, 0.58, 0.58), 0.2, Cause.MOTION),  # between equals, looks decide
        ((1.0, 0.58, 0.6, 0.58), 0.5, Cause.FOCUS),
        ((1.0, 0.8, 0.8, 0.5), 0.1, Cause.BOTH),  # beside a path, disks hardly show
        ((1.0, 0.2, 0.6, 0.15), 0.2, Cause.BOTH),  # most is explained, and yet a quarter of what is left is not
    ],
)
def test_the_simplest_cause_is_taken_that_explains_as_much_as_any(errors, disks, cause):
    assert simplest(*errors, disks) == cause


def test_photos_that_surely_moved_are_not_out_of_focus_alone():
    errors = 1.0, 0.7, 0.5, 0.5
    assert simplest(*errors, 0.5) == Cause.FOCUS
    assert simplest(*errors, 0.5, is_moved=True) == Cause.BOTH
    errors = 1.0, 0.7, 0.2, 0.21  # the path that grew back leaves more than none
    assert simplest(*errors, 0.5, is_moved=True) == Cause.FOCUS
    errors = 1.0, 0.6, 0.65, 0.59  # disks that show no more than that are none
    assert simplest(*errors, 0.5) == Cause.FOCUS
    assert simplest(*errors, 0.5, is_moved=True) == Cause.MOTION


def test_the_part_of_a_photo_that_lost_the_most_detail_is_looked_at():
    sharp = torch.rand(150, 240, 3, generator=torch.Generator().manual_seed(0))
    photo = sharp.clone()
    photo[60:140, 130:230] = 0.5 + 0.2 * (photo[60:140, 130:230] - 0.5)
    window = telling(photo, sharp, None)
    assert 4700 < window.width * window.height <= 5000
    assert window.width / window.height == pytest.approx(240 / 150, abs=0.05)
    assert window.left >= 130 and window.left + window.width <= 230
    assert window.top >= 60 and window.top + window.height <= 140
    keep = torch.ones(150, 240, dtype=torch.bool)
    keep[:, 120:] = False
    photo[10:30, 10:30] = 0.5
    assert telling(photo, sharp, keep).left < 30
    rough = sharp + torch.rand(150, 240, 3, generator=torch.Generator().manual_seed(1))  # more detail than there was
    assert telling(rough, sharp, keep).left + 89 <= 120
    assert telling(photo[:60, :80], sharp[:60, :80], None) == Window.whole(80, 60)


def test_a_path_that_grew_back_is_kept(trained):
    trainer = make_young(trained)
    trainer.photos = replace(trainer.photos, looks=(Looks(4.0, 4.0, 0.4),) * 6)
    take(trainer, [((0.0, 0.0), 2.5)] * 6)
    for frame in range(6):  # which could be no more than a stand-in
        blame(trainer, frame, (4.0, 0.0))
    trainer.causes[1], trainer.causes[3] = Cause.FOCUS, Cause.BOTH
    focal_px = trainer.photos.cameras[-1].Ks[0, 0, 0].item()
    judge_photos(trainer)
    assert [cause == Cause.FOCUS for cause in trainer.causes] == [True, False, True, False, True, True]
    for frame in range(6):
        length = trainer.exposure.blur_px(frame, focal_px).item()
        assert length > 2 if frame in (1, 3) else length < 1


def test_a_smeared_picture_is_what_the_path_makes_of_the_scene(trained):
    trainer = make_young(trained)
    camera = trainer.photos.cameras[-1].at(0)
    focal_px = camera.Ks[0, 0, 0]
    path = torch.tensor([[5.0, 2.0], [-3.0, 4.0]])
    trainer.exposure.motion.trace(0, *(path / focal_px))
    render, window = trainer.render_fn(camera), Window.whole(camera.width, camera.height)
    with torch.no_grad():
        sharp = render(trainer.exposure.sharp_viewmat(0)[None], None)
        moved, _ = trainer.exposure.gathered(render, 0, 12, window=window)
        still = sharp.rgb[0] if sharp.is_linear else ((sharp.rgb[0] + 0.055) / 1.055).clamp(min=0) ** 2.4
        inner = slice(8, -8), slice(8, -8)
        off = (smeared(still, path) - moved.rgb[0])[inner].abs().mean()
        turned = (smeared(still, path * torch.tensor([1.0, -1.0])) - moved.rgb[0])[inner].abs().mean()
    assert off < 0.01
    assert turned > 2 * off  # it can tell directions


def test_what_was_blamed_on_the_wrong_cause_is_put_right(trained):
    trainer = make_young(trained)
    trainer.photos = replace(trainer.photos, looks=(Looks(4.0, 4.0, 0.4),) * 6)  # which leave it open
    take(trainer, [((6.0, 0.0), 0.0), ((0.0, 0.0), 2.5)] * 3)
    for frame in range(6):  # each by the other
        blame(trainer, frame, *([((0.0, 0.0), 2.0), ((3.0, 3.0), 0.0)][frame % 2]))
    note = judge_photos(trainer)
    assert trainer.causes == [Cause.MOTION, Cause.FOCUS] * 3
    assert "motion 3, focus 3" in note
    focal_px = trainer.photos.cameras[-1].Ks[0, 0, 0].item()
    for frame in range(6):
        aperture, vergence = trainer.exposure.lens.focus.focus[frame].detach() * focal_px
        length = trainer.exposure.blur_px(frame, focal_px).item()
        if frame % 2:
            assert abs(vergence - aperture) == pytest.approx(2.5, abs=0.6)
        else:
            assert aperture == vergence == 0
            assert length == pytest.approx(6, abs=1.5)


def test_the_lens_is_found_of_cameras_that_stood_still():
    still = replace(WITH_LENS, motion=Static(), looks_back=False)
    trainer = make_trainer(still, blur_px=[4.0] * 6)
    list(trainer.run())
    focal_px, focus = trainer.photos.cameras[-1].Ks[0, 0, 0].item(), trainer.exposure.lens.focus
    assert can_judge(trainer.exposure)

    def start(radii):
        for frame, radius in enumerate(radii):
            focus.start(frame, radius / focal_px)

    with torch.no_grad():
        start([0.0, 1.2] * 3)  # which explain less than they would have to, could it have been motion
        grain = 0.01 * torch.randn(6, 48, 64, 3, generator=torch.Generator().manual_seed(0))
        photos = tuple((trainer.predict(-1, frame) + grain[frame]).clamp(0, 1) for frame in range(6))
        start([0.0] * 6)
    looks = (Looks(4.0, 4.0, 0.1),) * 6  # more like motion, of which there is none
    trainer.photos = replace(trainer.photos, pictures=(*trainer.photos.pictures[:-1], photos), looks=looks)
    judge_photos(trainer)
    assert trainer.causes == [Cause.UNKNOWN, Cause.FOCUS] * 3
    for frame in range(6):
        aperture, vergence = focus.focus[frame].detach() * focal_px
        assert abs(vergence - aperture) == pytest.approx(1.2 * (frame % 2), abs=0.4)


def test_photos_that_look_sharp_are_not_asked_and_stay_as_they_are(trained):
    trainer = make_young(trained)
    trainer.photos = replace(trainer.photos, looks=(Looks(0.1, 0.2, 0.3),) * 6)
    before = everything(trainer)
    judge_photos(trainer)
    assert torch.equal(before, everything(trainer))


def test_photos_that_show_more_than_the_scene_are_not_asked_again(trained):
    trainer = make_young(trained)
    take(trainer, [((0.0, 0.0), 2.5)] * 6)
    for frame in range(6):
        blame(trainer, frame)
    trainer.causes = [Cause.UNKNOWN] + [Cause.SHARP] * 5
    judge_photos(trainer)
    assert trainer.causes[0] in (Cause.FOCUS, Cause.BOTH) and trainer.causes[1:] == [Cause.SHARP] * 5
    have_disks = [bool(focus.any()) for focus in trainer.exposure.lens.focus.focus]
    assert have_disks == [True] + [False] * 5


def test_photos_out_of_focus_keep_hardly_any_path(trained):
    trainer = make_young(trained)
    trainer.causes[2], trainer.done = Cause.FOCUS, passed_before(1.0)
    for frame in (2, 3):
        blame(trainer, frame, (6.0, 0.0))
    trainer.step_number, trainer.queue = 40, [3, 2]
    for _ in range(2):
        trainer.step()
    focal_px = trainer.photos.cameras[-1].Ks[0, 0, 0].item()
    lengths = [trainer.exposure.blur_px(frame, focal_px).item() for frame in (2, 3)]
    assert lengths[0] <= 64 / 400 * 1.01 < 3 < lengths[1]


def test_a_lens_that_fits_a_part_only_is_looked_for_in_the_whole(trained, monkeypatch):
    trainer = make_young(trained)
    take(trainer, [((0.0, 0.0), 2.5)] * 3 + [((0.0, 0.0), 0.0)] * 3)
    for frame in range(6):
        blame(trainer, frame, (2.0, 0.0))
    far_off = Verdict(Cause.FOCUS, Fit(torch.tensor([0.4, 0.4]), 0.0))
    monkeypatch.setattr("splatdeblur.optimize.judging.judge", lambda *_, **__: far_off)
    judge_photos(trainer)
    assert trainer.causes == [Cause.FOCUS] * 3 + [Cause.UNKNOWN] * 3, "of photos in focus nothing is believed"
    focal_px = trainer.photos.cameras[-1].Ks[0, 0, 0].item()
    for frame in range(6):
        aperture, vergence = trainer.exposure.lens.focus.focus[frame].detach() * focal_px
        length = trainer.exposure.blur_px(frame, focal_px).item()
        assert abs(vergence - aperture) == pytest.approx(2.5 if frame < 3 else 0.0, abs=0.6)
        assert length < 0.2 if frame < 3 else length == pytest.approx(2.0, abs=0.2)


def test_what_explains_a_part_of_a_photo_and_not_the_whole_is_not_believed(trained, monkeypatch):
    trainer = make_young(trained)
    verdict = Verdict(Cause.FOCUS, Fit(torch.tensor([0.4, 0.4]), 0.0))
    monkeypatch.setattr("splatdeblur.optimize.judging.judge", lambda *_, **__: verdict)
    before = everything(trainer)
    judge_photos(trainer)
    assert trainer.causes == [Cause.UNKNOWN] * 6
    assert torch.equal(everything(trainer), before)
