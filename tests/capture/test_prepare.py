import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splatdeblur.capture import Capture, PrepareConfig, prepare
from splatdeblur.errors import CaptureError
from splatdeblur.run import Run

RNG = np.random.default_rng(0)


def save_photo(path: Path, size=(40, 30), seed: int = 0, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for index in range(6):
        save_photo(folder / f"{index}.jpg", seed=index)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


def write_transforms(folder: Path, frames: list[dict], **fields) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "transforms.json"
    frames = [{"transform_matrix": np.eye(4).tolist(), **f} for f in frames]
    path.write_text(json.dumps({"fl_x": 50.0, "w": 40, "h": 30, **fields, "frames": frames}))
    return path


def test_photos_that_need_no_change_keep_their_bytes(photos, run):
    capture = prepare(photos, run)
    assert [f.name for f in capture.frames] == [f"{i}.jpg" for i in range(6)]
    assert all((run.images / f.name).read_bytes() == (photos / f.name).read_bytes() for f in capture.frames)
    assert (capture.width, capture.height, capture.skipped) == (40, 30, {})
    assert Capture.load(run.capture) == capture


def test_photos_come_in_reading_order(tmp_path, run):
    for number in (10, 9, 100):
        save_photo(tmp_path / "in" / f"img{number}.png")
    assert [f.name for f in prepare(tmp_path / "in", run).frames] == ["img9.png", "img10.png", "img100.png"]


def test_a_photo_on_its_side_is_turned_upright_and_its_exif_is_kept(tmp_path, run):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    exif.get_ifd(0x8769).update({0x829A: 0.05, 0x8827: 800, 0xA405: 26})
    for index in range(3):
        save_photo(tmp_path / "in" / f"{index}.jpg", size=(40, 30), seed=index, exif=exif, quality=95)
    capture = prepare(tmp_path / "in", run)
    assert (capture.width, capture.height) == (30, 40)
    assert [(f.exposure_s, f.iso, f.focal_35mm) for f in capture.frames] == [(0.05, 800.0, 26.0)] * 3
    stored = np.asarray(Image.open(run.images / "0.jpg")).astype(float)
    turned = np.rot90(np.asarray(Image.open(tmp_path / "in" / "0.jpg")), -1).astype(float)
    assert stored.shape == (40, 30, 3) and np.abs(stored - turned).mean() < 4
    assert Image.open(run.images / "0.jpg").getexif().get(0x0112, 1) == 1


def test_large_photos_are_reduced_and_others_are_not_enlarged(tmp_path, run):
    for index in range(3):
        save_photo(tmp_path / "in" / f"{index}.png", size=(300, 200))
    capture = prepare(tmp_path / "in", run, limits=PrepareConfig(max_size=150))
    assert (capture.width, capture.height) == (150, 100)
    assert Image.open(run.images / "0.png").size == (150, 100)


def test_every_kind_of_picture_becomes_8_bit_rgb(tmp_path, run):
    folder = tmp_path / "in"
    folder.mkdir()
    ramp = np.linspace(0, 65535, 40 * 30).reshape(30, 40)
    Image.fromarray(ramp.astype(np.uint16)).save(folder / "deep.png")
    Image.fromarray((ramp / 257).astype(np.uint8)).save(folder / "grey.png")
    rgba = np.full((30, 40, 4), 0, dtype=np.uint8)
    Image.fromarray(rgba).save(folder / "clear.webp", lossless=True)
    save_photo(folder / "tiff.tif")
    save_photo(folder / "tiff.jpg")
    capture = prepare(folder, run)
    pictures = {f.name: Image.open(run.images / f.name) for f in capture.frames}
    assert set(pictures) == {"clear.png", "deep.png", "grey.png", "tiff_2.png", "tiff.jpg"}
    assert all(p.mode == "RGB" for p in pictures.values())
    assert np.asarray(pictures["clear.png"]).min() == 255
    assert np.abs(np.asarray(pictures["deep.png"])[..., 0] - ramp / 257).max() <= 1.5


def test_preparing_again_returns_the_same_capture_and_changed_photos_are_noticed(photos, run, caplog):
    caplog.set_level("INFO")
    first = prepare(photos, run)
    stamp = (run.images / "0.jpg").stat().st_mtime_ns
    assert prepare(photos, run) == first and "already" in caplog.text
    assert (run.images / "0.jpg").stat().st_mtime_ns == stamp
    assert prepare(photos, run, downscale=2.0).downscale == 2.0
    save_photo(photos / "0.jpg", seed=99)
    assert prepare(photos, run).fingerprint != first.fingerprint


def test_an_interrupted_prepare_leaves_no_capture_and_no_rubbish(photos, run):
    def stop(fraction, message):
        if fraction and fraction > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(photos, run, on_progress=stop)
    assert not run.capture.exists() and list(run.folder.iterdir()) == []


def test_the_input_is_never_written_to(photos, run):
    for path in photos.iterdir():
        path.chmod(0o444)
    photos.chmod(0o555)
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in photos.iterdir()}
    prepare(photos, run)
    assert before == {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in photos.iterdir()}
    photos.chmod(0o755)


def test_a_run_beside_the_photos_never_replaces_them(tmp_path):
    for index in range(3):
        save_photo(tmp_path / "images" / f"{index}.jpg", seed=index)
    before = {p.name: p.read_bytes() for p in (tmp_path / "images").iterdir()}
    for folder in (tmp_path, tmp_path / "images"):
        with pytest.raises(CaptureError, match="choose another folder"):
            prepare(folder, Run(tmp_path))
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "images").iterdir()}


def test_heic_photos_are_read_where_the_library_is_installed(tmp_path, run):
    pillow_heif = pytest.importorskip("pillow_heif")
    (tmp_path / "in").mkdir()
    for index in range(3):
        image = Image.new("RGB", (64, 48), (200, 40 * index, 30))
        pillow_heif.from_pillow(image).save(tmp_path / "in" / f"{index}.heic", quality=95)
    capture = prepare(tmp_path / "in", run)
    assert [f.name for f in capture.frames] == ["0.png", "1.png", "2.png"]
    assert np.abs(np.asarray(Image.open(run.images / "1.png")).mean((0, 1)) - (200, 40, 30)).max() < 4


def test_corrupt_and_truncated_photos_are_left_out_with_a_reason(photos, run):
    (photos / "1.jpg").write_bytes((photos / "1.jpg").read_bytes()[:-300])
    (photos / "2.jpg").write_bytes(b"no photo at all")
    (photos / "3.jpg").write_bytes(b"")
    capture = prepare(photos, run)
    assert [f.name for f in capture.frames] == ["0.jpg", "4.jpg", "5.jpg"]
    assert set(capture.skipped) == {"1.jpg", "2.jpg", "3.jpg"}
    assert "truncated" in capture.skipped["1.jpg"]
    assert {p.name for p in run.images.iterdir()} == {"0.jpg", "4.jpg", "5.jpg"}


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_photos_are_an_error_that_counts_them(tmp_path, run, count):
    (tmp_path / "in").mkdir()
    for index in range(count):
        save_photo(tmp_path / "in" / f"{index}.jpg")
    found = {0: "no photos", 1: "1 usable photo,", 2: "2 usable photos"}[count]
    with pytest.raises(CaptureError, match=found) as error:
        prepare(tmp_path / "in", run)
    assert "at least 3" in str(error.value) and not run.capture.exists()


def test_all_corrupt_is_an_error_with_the_reasons(tmp_path, run):
    (tmp_path / "in").mkdir()
    for index in range(4):
        (tmp_path / "in" / f"{index}.jpg").write_bytes(b"nothing")
    with pytest.raises(CaptureError, match=r"0 usable photos.*Left out 4.*0\.jpg"):
        prepare(tmp_path / "in", run)


def test_no_such_input_and_a_single_file_are_errors(tmp_path, run):
    with pytest.raises(CaptureError, match="does not exist"):
        prepare(tmp_path / "nowhere", run)
    with pytest.raises(CaptureError, match="single file"):
        prepare(save_photo(tmp_path / "a.jpg"), run)


def test_mixed_sizes_keep_their_own_and_are_named(photos, run):
    for index in range(3):
        save_photo(photos / f"tall{index}.jpg", size=(30, 40))
    save_photo(photos / "wide.jpg", size=(400, 100))
    capture = prepare(photos, run, limits=PrepareConfig(max_size=100))
    sizes = {f.name: capture.size_of(f) for f in capture.frames}
    assert (capture.width, capture.height) == (40, 30) and capture.frames[0].size is None
    assert sizes["0.jpg"] == (40, 30) and sizes["tall1.jpg"] == (30, 40) and sizes["wide.jpg"] == (100, 25)
    assert all(Image.open(run.images / name).size == size for name, size in sizes.items())
    assert any("6 of 40x30, 3 of 30x40, 1 of 100x25" in note for note in capture.notes)
    assert Capture.load(run.capture) == capture


@pytest.mark.parametrize(
    "file_path", ["../secret.jpg", "images/../../secret.jpg", "/etc/passwd", "C:\\secret.jpg"]
)
def test_a_file_path_that_leaves_its_folder_is_an_error(tmp_path, run, file_path):
    save_photo(tmp_path / "secret.jpg")
    folder = tmp_path / "in"
    save_photo(folder / "images" / "a.jpg")
    write_transforms(folder, [{"file_path": "images/a.jpg"}, {"file_path": file_path}])
    with pytest.raises(CaptureError, match="leaves the folder"):
        prepare(folder, run)


@pytest.mark.parametrize("file_path", ["images/\0.jpg", "images/\ud800.jpg"])
def test_a_file_path_that_no_file_can_have_is_an_error(tmp_path, run, file_path):
    write_transforms(tmp_path / "in", [{"file_path": file_path}])
    with pytest.raises(CaptureError, match="is no file name"):
        prepare(tmp_path / "in", run)


def test_a_link_that_leaves_the_folder_is_an_error(tmp_path, run):
    save_photo(tmp_path / "secret.jpg")
    write_transforms(tmp_path / "in", [{"file_path": "a.jpg"}])
    os.symlink(tmp_path / "secret.jpg", tmp_path / "in" / "a.jpg")
    with pytest.raises(CaptureError, match="leaves the folder"):
        prepare(tmp_path / "in", run)


def test_transforms_bring_their_training_photos_only(tmp_path, run):
    folder = tmp_path / "in"
    names = [f"images/{i}.png" for i in range(5)]
    for name in names:
        save_photo(folder / name)
    write_transforms(folder, [{"file_path": n} for n in names], test_filenames=names[:1])
    capture = prepare(folder, run)
    assert [f.name for f in capture.frames] == ["1.png", "2.png", "3.png", "4.png"] and capture.held_out == 1
    assert capture.known_poses == str(folder / "transforms.json")
    write_transforms(folder, [{"file_path": n, "split": "test" if n == names[4] else "train"} for n in names])
    assert [f.name for f in prepare(folder, run).frames] == ["0.png", "1.png", "2.png", "3.png"]


def test_transforms_that_train_on_nothing_say_so(tmp_path, run):
    folder = tmp_path / "capture"
    names = [save_photo(folder / f"{i}.png", seed=i).name for i in range(4)]
    write_transforms(folder, [{"file_path": n} for n in names], train_filenames=["elsewhere.png"])
    with pytest.raises(CaptureError, match="all of its 4 photos aside"):
        prepare(folder, run)


def test_a_run_folder_that_is_a_file_is_an_error_and_stays(photos, tmp_path):
    taken = tmp_path / "notes.txt"
    taken.write_text("mine")
    with pytest.raises(CaptureError, match="is a file"):
        prepare(photos, Run(taken))
    assert taken.read_text() == "mine"


def test_backslashes_missing_suffixes_and_equal_names_are_understood(tmp_path, run):
    folder = tmp_path / "in"
    save_photo(folder / "a" / "0.png", seed=1)
    save_photo(folder / "b" / "0.png", seed=2)
    save_photo(folder / "b" / "1.png", seed=3)
    paths = ["a\\0.png", "./b/0", "./b/1", "b/2.png"]
    write_transforms(folder, [{"file_path": p} for p in paths])
    capture = prepare(folder, run)
    assert [f.name for f in capture.frames] == ["a_0.png", "b_0.png", "1.png"]
    assert "no such file" in capture.skipped["b/2.png"]


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"frames": []}', '{"frames": [{"x": 1}]}', '{"frames": [3]}']
)
def test_a_broken_transforms_file_is_an_error(tmp_path, run, content):
    (tmp_path / "transforms.json").write_text(content)
    with pytest.raises(CaptureError, match=r"transforms\.json"):
        prepare(tmp_path, run)


def test_llff_photos_that_are_held_out_stay_out(tmp_path, run):
    for index in range(9):
        save_photo(tmp_path / "images" / f"{index}.png")
    np.save(tmp_path / "poses_bounds.npy", np.zeros((9, 17)))
    (tmp_path / "hold=8").touch()
    capture = prepare(tmp_path, run)
    assert [f.name for f in capture.frames] == [f"{i}.png" for i in range(1, 8)] and capture.held_out == 2


def test_names_with_spaces_become_names_that_colmap_can_list(tmp_path, run):
    for index in range(3):
        save_photo(tmp_path / "in" / f"my photo ({index}).jpg")
    assert [f.name for f in prepare(tmp_path / "in", run).frames] == [f"my_photo_({i}).jpg" for i in range(3)]
