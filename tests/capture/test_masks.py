import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splatdeblur.capture import PrepareConfig, prepare
from splatdeblur.errors import CaptureError
from splatdeblur.run import Run

WIDTH, HEIGHT = 40, 30


def write_photos(folder: Path, count: int = 4, **options) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        pixels = np.random.default_rng(index).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.jpg", **options)


def write_mask(path: Path, left: int = 10, size=(WIDTH, HEIGHT), keep: int = 255) -> Path:
    """Black in the columns before `left`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.full(size[::-1], keep, np.uint8)
    mask[:, :left] = 0
    Image.fromarray(mask).save(path)
    return path


def stored(run: Run, name: str) -> np.ndarray:
    return np.asarray(Image.open(run.masks / f"{name}.png"))


@pytest.mark.parametrize(
    "photos, mask",
    [
        ("", "masks/1.png"),
        ("", "masks/1.jpg.png"),  # as COLMAP names them
        ("images", "masks/1.png"),
        ("images", "images/masks/1.jpg.png"),
    ],
)
def test_masks_lie_beside_or_inside_the_photos(tmp_path, photos, mask):
    folder, run = tmp_path / "in", Run(tmp_path / "run")
    write_photos(folder / photos)
    write_mask(folder / mask)
    capture = prepare(folder, run)
    assert [f.has_mask for f in capture.frames] == [False, True, False, False]
    assert any("1 of 4 photos have a mask" in note for note in capture.notes)
    keep = stored(run, "1.jpg")
    assert keep.shape == (HEIGHT, WIDTH) and not keep[:, :10].any() and (keep[:, 10:] == 255).all()


def test_any_value_but_black_counts(tmp_path):
    write_photos(tmp_path / "in")
    write_mask(tmp_path / "in/masks/0.png", keep=1)
    prepare(tmp_path / "in", Run(tmp_path / "run"))
    assert (stored(Run(tmp_path / "run"), "0.jpg")[:, 10:] == 255).all()


def test_a_reduced_pixel_counts_only_if_all_it_was_made_from_does(tmp_path):
    write_photos(tmp_path / "in")
    write_mask(tmp_path / "in/masks/0.png", left=11)
    prepare(tmp_path / "in", Run(tmp_path / "run"), limits=PrepareConfig(max_size=WIDTH // 2))
    keep = stored(Run(tmp_path / "run"), "0.jpg")
    assert keep.shape == (HEIGHT // 2, WIDTH // 2)
    assert not keep[:, :6].any() and (keep[1:-1, 7:-1] == 255).all() and set(np.unique(keep)) == {0, 255}


def test_a_mask_is_turned_with_its_photo_if_it_was_made_of_the_unturned_one(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turn clockwise: the left columns come to the top
    write_photos(tmp_path / "in", exif=exif)
    write_mask(tmp_path / "in/masks/0.png")
    write_mask(tmp_path / "in/masks/1.png", size=(HEIGHT, WIDTH))
    run = Run(tmp_path / "run")
    prepare(tmp_path / "in", run)
    assert not stored(run, "0.jpg")[:10].any() and stored(run, "0.jpg")[10:].all()
    assert not stored(run, "1.jpg")[:, :10].any() and stored(run, "1.jpg")[:, 10:].all()


def test_a_mask_of_another_shape_or_of_no_shape_is_named_and_not_used(tmp_path):
    write_photos(tmp_path / "in")
    write_mask(tmp_path / "in/masks/0.png", size=(WIDTH, WIDTH))
    (tmp_path / "in/masks/1.png").write_text("no picture")
    capture = prepare(tmp_path / "in", Run(tmp_path / "run"))
    assert len(capture.frames) == 4 and not any(f.has_mask for f in capture.frames)
    assert sum("all of the photo is used" in note for note in capture.notes) == 2


def test_a_mask_that_is_named_but_missing_is_told(tmp_path):
    write_photos(tmp_path / "in")
    frames = [{"file_path": f"{i}.jpg", "transform_matrix": np.eye(4).tolist()} for i in range(4)]
    content = {"fl_x": 50, "w": WIDTH, "h": HEIGHT, "frames": [{**frames[0], "mask_path": "gone.png"}, *frames[1:]]}
    (tmp_path / "in/transforms.json").write_text(json.dumps(content))
    capture = prepare(tmp_path / "in", Run(tmp_path / "run"))
    assert len(capture.frames) == 4 and any("gone.png, but there is no such file" in note for note in capture.notes)


def test_a_photo_of_which_nothing_is_left_is_left_out(tmp_path):
    write_photos(tmp_path / "in")
    write_mask(tmp_path / "in/masks/0.png", left=WIDTH)
    run = Run(tmp_path / "run")
    capture = prepare(tmp_path / "in", run)
    assert "leaves nothing" in capture.skipped["0.jpg"] and not (run.images / "0.jpg").exists()


def test_masks_that_change_make_the_run_prepare_again(tmp_path):
    write_photos(tmp_path / "in")
    run = Run(tmp_path / "run")
    mask = write_mask(tmp_path / "in/masks/0.png")
    first = prepare(tmp_path / "in", run)
    write_mask(mask, left=20)
    assert prepare(tmp_path / "in", run).fingerprint != first.fingerprint
    assert not stored(run, "0.jpg")[:, :20].any()
    mask.unlink()
    assert not any(f.has_mask for f in prepare(tmp_path / "in", run).frames) and not run.masks.exists()


def test_masks_of_the_users_in_the_run_folder_are_not_replaced(tmp_path):
    write_photos(tmp_path / "in")
    prepare(tmp_path / "in", Run(tmp_path / "run"))
    mine = write_mask(tmp_path / "run/masks/mine.png")
    write_photos(tmp_path / "in", count=5)
    with pytest.raises(CaptureError, match="did not put there"):
        prepare(tmp_path / "in", Run(tmp_path / "run"))
    assert mine.exists()
