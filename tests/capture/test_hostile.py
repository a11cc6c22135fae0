"""Broken and hostile input: a clear error or a report, no crash, and the input is as it was."""

import hashlib
import os
import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splatdeblur.capture import Capture, PrepareConfig, prepare
from splatdeblur.errors import CaptureError
from splatdeblur.run import Run


def save_photo(path: Path, seed: int = 0, size=(40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def digest(folder: Path) -> dict[str, tuple[str, int]]:
    """Content and time of change of every file."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns) for p in files}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for index in range(4):
        save_photo(tmp_path / "in" / f"{index}.jpg", seed=index)
    return tmp_path / "in"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


@pytest.fixture(autouse=True)
def nothing_changes_the_input(request):
    if "photos" not in request.fixturenames:
        yield
        return
    folder = request.getfixturevalue("photos")
    seen = {}
    request.node.before = lambda: seen.update(digest(folder))
    yield
    assert not seen or digest(folder) == seen


@pytest.fixture
def prepared(request, photos, run):
    """Prepares the photos as they then are."""

    def call(**options) -> Capture:
        request.node.before()
        return prepare(photos, run, **options)

    return call


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")


def test_a_png_that_claims_100000_by_100000_pixels_is_refused_without_room_for_them(photos, prepared):
    (photos / "bomb.png").write_bytes(bomb(100_000, 100_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    capture = prepared()
    assert "refused" in capture.skipped["bomb.png"] and len(capture.frames) == 4
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB; the pixels are 28 GiB


def test_a_mask_that_is_a_bomb_is_refused(photos, prepared):
    (photos / "masks").mkdir()
    (photos / "masks/0.png").write_bytes(bomb(100_000, 75_000))
    assert any("mask 0.png cannot be read" in note for note in prepared().notes)


def test_gifs_are_named_whatever_they_are_called(photos, prepared):
    pictures = [Image.new("P", (40, 30), color) for color in (1, 2, 3)]
    pictures[0].save(photos / "walk.gif", save_all=True, append_images=pictures[1:])
    (photos / "also.jpg").write_bytes((photos / "walk.gif").read_bytes())
    capture = prepared()
    assert len(capture.frames) == 4
    assert ".gif is not read" in capture.skipped["walk.gif"] and "GIF" in capture.skipped["also.jpg"]


def test_a_gif_as_the_input_is_an_error(tmp_path, run):
    Image.new("P", (40, 30)).save(tmp_path / "walk.gif")
    with pytest.raises(CaptureError, match="single file"):
        prepare(tmp_path / "walk.gif", run)


def test_an_animated_png_is_left_out(photos, prepared):
    pictures = [Image.new("RGB", (40, 30), (40 * i, 0, 0)) for i in range(3)]
    pictures[0].save(photos / "walk.png", save_all=True, append_images=pictures[1:])
    assert "animation of 3" in prepared().skipped["walk.png"]


def test_text_named_jpg_is_left_out_with_the_reason(photos, prepared):
    (photos / "notes.jpg").write_text("Milk, eggs, bread\n" * 20)
    assert "no JPEG, PNG" in prepared().skipped["notes.jpg"]


def test_photos_are_read_by_content_whatever_they_are_called(photos, prepared):
    (photos / "png.jpg").write_bytes(save_photo(photos.parent / "a.png").read_bytes())
    capture = prepared()
    assert len(capture.frames) == 5 and capture.skipped == {}


def test_an_animated_heic_gives_its_main_picture_with_a_note(photos, prepared, run):
    pillow_heif = pytest.importorskip("pillow_heif")
    heif = pillow_heif.from_pillow(Image.new("RGB", (40, 30), "red"))
    heif.add_from_pillow(Image.new("RGB", (40, 30), "blue"))
    heif.save(photos / "burst.heic")
    capture = prepared()
    assert any("burst.heic: 2 pictures" in note for note in capture.notes)
    assert np.asarray(Image.open(run.images / "burst.png"))[15, 20, 0] > 200


def test_half_a_heic_is_left_out(photos, prepared):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.new("RGB", (400, 300), "red")).save(photos / "a.heic")
    whole = (photos / "a.heic").read_bytes()
    (photos / "a.heic").write_bytes(whole[: len(whole) // 2])
    assert "a.heic" in prepared().skipped


@pytest.mark.parametrize(
    "name, stored",
    [
        ("my photo.jpg", "my_photo.jpg"),
        ("beach 🏖️.jpg", "beach_.jpg"),
        ("line\nbreak.jpg", "line_break.jpg"),
        ("-rf.jpg", "-rf.jpg"),
        ("été.jpg", "été.jpg"),
        ("%03d.jpg", "_03d.jpg"),
        ("x" * 200 + ".jpg", "x" * 60 + ".jpg"),
    ],
)
def test_odd_file_names_become_plain_ones(photos, prepared, run, name, stored):
    save_photo(photos / name)
    capture = prepared()
    assert stored in [f.name for f in capture.frames] and (run.images / stored).is_file()
    assert Capture.load(run.capture) == capture


def test_names_in_messages_cannot_break_lines_or_the_encoding(photos, prepared, run):
    for name in (b"no\nphoto\x1b[31m.jpg", b"\xff\xfe.jpg"):
        Path(os.fsdecode(os.fsencode(photos) + b"/" + name)).write_text("text")
    capture = prepared()
    assert len(capture.frames) == 4 and len(capture.skipped) == 2
    for name, reason in capture.skipped.items():
        assert name.isprintable() and reason.isprintable() and (name + reason).encode()
    assert Capture.load(run.capture) == capture


def test_a_name_that_is_no_unicode_can_be_prepared(photos, prepared, run):
    source = save_photo(photos / "a.png")
    source.rename(Path(os.fsdecode(os.fsencode(photos) + b"/caf\xe9.png")))
    capture = prepared()
    assert "caf_.png" in [f.name for f in capture.frames] and Capture.load(run.capture) == capture


def test_a_link_out_of_the_folder_is_not_followed(photos, prepared, run):
    secret = save_photo(photos.parent / "secret.jpg", seed=9)
    (photos / "link.jpg").symlink_to(secret)
    (photos / "inside.jpg").symlink_to(photos / "0.jpg")
    (photos / "nowhere.jpg").symlink_to(photos / "gone.jpg")
    capture = prepared()
    assert [f.name for f in capture.frames] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "inside.jpg"]
    assert "leaves the folder" in capture.skipped["link.jpg"]
    assert all(p.read_bytes() != secret.read_bytes() for p in run.images.iterdir())


def test_three_photos_are_enough_to_prepare(photos, prepared):
    (photos / "3.jpg").unlink()
    assert len(prepared().frames) == 3


def test_of_2000_photos_so_many_are_used_as_memory_allows(tmp_path, run):
    source = save_photo(tmp_path / "in" / "0.jpg", size=(16, 12)).read_bytes()
    for index in range(1, 2000):
        (tmp_path / "in" / f"{index}.jpg").write_bytes(source)
    capture = prepare(tmp_path / "in", run)
    assert len(capture.frames) == 300 == PrepareConfig().max_photos
    numbers = [int(Path(f.source).stem) for f in capture.frames]
    assert numbers[0] == 0 and numbers[-1] == 1999 and set(np.diff(numbers)) == {6, 7}
    assert any("2000 photos: 300 of them" in note and "prepare.max_photos" in note for note in capture.notes)
    assert len(list(run.images.iterdir())) == 300


def test_a_place_that_cannot_be_written_is_a_clear_error(photos, request):
    request.node.before()
    blocked = photos.parent / "file.txt"
    blocked.write_text("mine")
    with pytest.raises(CaptureError, match=r"cannot be written.*--out"):
        prepare(photos, Run(blocked / "run"))
    assert blocked.read_text() == "mine"


def test_no_permission_is_a_clear_error(photos, run, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(CaptureError, match="Permission denied"):
        prepare(photos, run)


def test_a_photo_that_cannot_be_opened_is_left_out(photos, run, monkeypatch):
    whole = open

    def refuse(path, *args, **kwargs):
        if str(path).endswith("1.jpg"):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path, *args, **kwargs)

    monkeypatch.setattr("builtins.open", refuse)
    assert "Permission denied" in prepare(photos, run).skipped["1.jpg"]


def test_exif_dates_tell_times_and_the_shutters_share_of_the_gaps(tmp_path, run):
    stamps = [("2026:05:01 10:00:00", "0"), ("2026:05:01 10:00:00", "25"), ("2026:05:01 10:00:01", "5")]
    for index, (date, part) in enumerate(stamps):
        exif = Image.Exif()
        exif.get_ifd(0x8769).update({0x829A: 0.1, 0x9003: date, 0x9291: part})
        path = tmp_path / "in" / f"{index}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30), (index, 0, 0)).save(path, exif=exif)
    capture = prepare(tmp_path / "in", run)
    assert [f.time_s for f in capture.frames] == [0, 0.25, 1.5]
    assert [f.interval_s for f in capture.frames] == [0.25, 1.25, None]
    assert [f.shutter_share for f in capture.frames] == [pytest.approx(0.4), pytest.approx(0.08), None]
    assert not capture.is_video


def test_dates_that_are_all_the_same_tell_nothing(tmp_path, run):
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x9003: "1970:01:01 00:00:00"})
    for index in range(3):
        path = tmp_path / "in" / f"{index}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30)).save(path, exif=exif)
    assert [f.time_s for f in prepare(tmp_path / "in", run).frames] == [None] * 3
