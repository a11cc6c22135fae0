"""Photos kept for testing: found again, in their own light, without what their masks hide."""

import numpy as np
import pytest
import torch
from PIL import Image

from splatdeblur.capture.pixels import read_photo, write_picture
from splatdeblur.errors import CaptureError
from splatdeblur.evaluate.held_out import fitted_tone, score_held_out
from splatdeblur.evaluate.studio import Studio
from splatdeblur.geometry import exp, linear_from_srgb, srgb_from_linear
from splatdeblur.render import RenderOptions

NAMES = ("001.jpg", "004.jpg")


def scored(world, run, steps=25):
    studio = Studio(world.scene, world.rasterizer, RenderOptions())
    turn = torch.tensor([0.0, 0, 0, 0.01, -0.02, 0.01], dtype=torch.float64)  # about a px
    cameras = world.cameras.at([1, 4])
    cameras = cameras.with_viewmats(exp(turn) @ cameras.viewmats)
    return score_held_out(run, NAMES, cameras, studio, downscale=1.0, steps=steps, on_progress=lambda share: None)


def test_poses_and_light_are_found_before_photos_are_compared(world, trained):
    run, _ = trained
    photo = run.images / NAMES[1]
    darker = srgb_from_linear(torch.tensor([0.6, 0.7, 0.5]) * linear_from_srgb(read_photo(photo)))
    write_picture(photo, darker)
    assert scored(world, run, steps=0).scores.psnr.mean < 30
    psnr = scored(world, run).scores.psnr
    assert list(psnr.per_image) == list(NAMES) and min(psnr.per_image.values()) > 36
    drawn = read_photo(run.evaluation / "held_out" / "004.png")
    assert (drawn - darker).abs().mean() < 0.01
    assert (run.evaluation / "held_out.png").is_file()


def test_what_a_mask_hides_is_in_no_score(world, trained):
    run, _ = trained
    picture = read_photo(run.images / NAMES[0])
    picture[8:28, 10:30] = torch.tensor([1.0, 0, 1.0])
    write_picture(run.images / NAMES[0], picture)
    spoilt = scored(world, run)
    mask = np.full((36, 48), 255, np.uint8)
    mask[8:28, 10:30] = 0
    run.masks.mkdir()
    Image.fromarray(mask).save(run.masks / f"{NAMES[0]}.png")
    masked = scored(world, run)
    assert spoilt.masked == [] and masked.masked == [NAMES[0]]
    assert spoilt.scores.psnr.per_image[NAMES[0]] < 20 and masked.scores.psnr.per_image[NAMES[0]] > 36
    assert masked.scores.ssim.per_image[NAMES[0]] > 0.98 > spoilt.scores.ssim.per_image[NAMES[0]]


def test_a_photo_that_is_gone_is_a_clear_error(world, trained):
    run, _ = trained
    (run.images / NAMES[0]).unlink()
    with pytest.raises(CaptureError, match=NAMES[0]):
        scored(world, run)


def test_fitted_tone_is_exact_for_a_gain_of_each_channel():
    picture = 0.2 + 0.4 * torch.rand(4, 5, 3, generator=torch.Generator().manual_seed(0))
    photo = srgb_from_linear(torch.tensor([1.3, 0.8, 1.0]) * linear_from_srgb(picture))
    torch.testing.assert_close(fitted_tone(picture, photo), photo, atol=1e-5, rtol=0)
    keep = torch.ones(4, 5, dtype=torch.bool)
    keep[0] = False
    spoilt = torch.where(keep[..., None], photo, 0.0)
    torch.testing.assert_close(fitted_tone(picture, spoilt, keep), photo, atol=1e-5, rtol=0)
