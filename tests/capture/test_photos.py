"""Depth, colour and EXIF of single photos."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from splatdeblur.capture.color import as_srgb8, is_srgb, space_from_icc, through_profile
from splatdeblur.capture.photos import UnreadablePhoto, decode_photo, read_header

LIGHT = np.linspace(0, 1, 64)[None, :, None] * np.ones((8, 1, 3))


def srgb_from_linear(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def write_png16(path: Path, values: np.ndarray, *tags: bytes) -> Path:
    """A 16-bit RGB PNG of values in [0, 1]."""
    pixels = np.round(values * 65535).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + b"".join(tags) + body)
    return path


def write_tiff16(path: Path, values: np.ndarray, icc: bytes | None = None) -> Path:
    """A 16-bit RGB TIFF of values in [0, 1], uncompressed."""
    pixels = np.round(values * 65535).astype("<u2")
    height, width = pixels.shape[:2]
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    fields = {256: width, 257: height, 258: (16, 16, 16), 259: 1, 262: 2, 273: 0, 277: 3, 278: height}
    fields[279] = pixels.nbytes
    for tag, value in fields.items():
        tags[tag] = value
    if icc is not None:
        tags[34675] = icc
    data = tags.tobytes(8)  # fills in where the pixels go: right behind
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + data + pixels.tobytes())
    return path


def icc_profile(gamma: float | None, primaries: np.ndarray | None = None) -> bytes:
    """A matrix profile with one gamma (None: linear) and sRGB's primaries, or others: columns are XYZ at D50."""
    matrix = (
        primaries
        if primaries is not None
        else np.array(
            [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
        )
    )

    def xyz(column: np.ndarray) -> bytes:
        return b"XYZ \0\0\0\0" + np.round(column * 65536).astype(">i4").tobytes()

    curve = b"curv\0\0\0\0" + (struct.pack(">I", 0) if gamma is None else struct.pack(">IHxx", 1, round(gamma * 256)))
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {
        b"desc": text + bytes(-len(text) % 4), b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": xyz(matrix.sum(1)),
        b"rXYZ": xyz(matrix[:, 0]), b"gXYZ": xyz(matrix[:, 1]), b"bXYZ": xyz(matrix[:, 2]),
        b"rTRC": curve, b"gTRC": curve, b"bTRC": curve,
    }  # fmt: skip
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s12s4s", size, b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ", bytes(12), b"acsp")
    head += bytes(68 - len(head)) + np.round(np.array([0.9642, 1.0, 0.8249]) * 65536).astype(">i4").tobytes()
    return head + bytes(128 - len(head)) + table + body


DISPLAY_P3 = np.array([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]])


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_16_bit_files_without_a_tag_are_srgb_at_full_depth(tmp_path, kind):
    values = LIGHT * 0.02  # within the lowest five levels of 8 bits: rounded, not cut off
    write = write_png16 if kind == "png" else write_tiff16
    picture = np.asarray(decode_photo(write(tmp_path / f"a.{kind}", values)))
    np.testing.assert_array_equal(picture, np.round(np.round(values * 65535) / 257))


@pytest.mark.parametrize(
    "tag",
    [
        chunk(b"gAMA", struct.pack(">I", 100_000)),
        chunk(b"cICP", bytes([1, 8, 0, 1])),
        chunk(b"iCCP", b"linear\0\0" + zlib.compress(icc_profile(None))),
    ],
    ids=["gAMA", "cICP", "iCCP"],
)
def test_a_16_bit_png_tagged_linear_is_read_as_light(tmp_path, tag):
    picture = np.asarray(decode_photo(write_png16(tmp_path / "a.png", LIGHT, tag)))
    np.testing.assert_allclose(picture, 255 * srgb_from_linear(LIGHT), atol=0.6)
    assert not read_header(tmp_path / "a.png").is_plain


def test_a_16_bit_tiff_with_a_linear_profile_is_read_as_light(tmp_path):
    picture = np.asarray(decode_photo(write_tiff16(tmp_path / "a.tif", LIGHT, icc_profile(None))))
    np.testing.assert_allclose(picture, 255 * srgb_from_linear(LIGHT), atol=0.6)


def test_srgb_goes_before_gamma_in_a_png(tmp_path):
    tags = chunk(b"gAMA", struct.pack(">I", 100_000)) + chunk(b"sRGB", b"\0")
    picture = np.asarray(decode_photo(write_png16(tmp_path / "a.png", LIGHT, tags)))
    np.testing.assert_allclose(picture, 255 * LIGHT, atol=0.6)


def test_display_p3_becomes_srgb_in_8_and_in_16_bits(tmp_path):
    profile = icc_profile(2.2, DISPLAY_P3)
    p3 = np.array([0.7, 0.4, 0.3])
    values = np.tile(p3, (8, 64, 1))
    d50_from_srgb = np.array(
        [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
    )
    expected = 255 * srgb_from_linear(np.linalg.inv(d50_from_srgb) @ DISPLAY_P3 @ p3**2.2)
    assert np.abs(expected - 255 * p3).max() > 5  # or the test would show nothing
    write_tiff16(tmp_path / "a.tif", values, profile)
    Image.fromarray(np.round(values * 255).astype(np.uint8)).save(tmp_path / "a.jpg", quality=100, icc_profile=profile)
    for name, tolerance in (("a.tif", 1.0), ("a.jpg", 3.0)):
        np.testing.assert_allclose(np.asarray(decode_photo(tmp_path / name))[4, 32], expected, atol=tolerance)
    assert not read_header(tmp_path / "a.jpg").is_plain


def test_curves_of_profiles_are_read_as_littlecms_reads_them():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (icc_profile(None), icc_profile(1.8, DISPLAY_P3), srgb):
        space = space_from_icc(profile)
        assert space is not None
        ramp = np.arange(0, 256, 5)
        grey = Image.fromarray(np.repeat(ramp[None, :, None], 3, 2).astype(np.uint8))
        theirs = np.asarray(through_profile(grey, profile)).astype(int)
        assert np.abs(as_srgb8(np.asarray(grey), space).astype(int) - theirs)[:, 4:].max() <= 2


def test_a_profile_that_is_srgb_leaves_the_bytes_alone(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", icc_profile=srgb)
    assert is_srgb(srgb) and not is_srgb(icc_profile(2.2, DISPLAY_P3)) and read_header(tmp_path / "a.jpg").is_plain
    Image.new("RGB", (8, 8)).save(tmp_path / "b.jpg", icc_profile=b"no profile at all")
    assert decode_photo(tmp_path / "b.jpg").size == (8, 8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(tmp_path, orientation):
    upright = np.zeros((8, 12, 3), np.uint8)
    upright[:3, :5] = 255  # top left
    # How the sensor stored it, by EXIF's definition of where row 0 and column 0 are.
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright, 1), 7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    assert (read_header(tmp_path / "a.png").width, read_header(tmp_path / "a.png").height) == (12, 8)
    np.testing.assert_array_equal(np.asarray(decode_photo(tmp_path / "a.png")), upright)


def save_with_exif(path: Path, camera: dict, orientation: int = 1) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif.get_ifd(0x8769).update(camera)
    Image.new("RGB", (40, 30)).save(path, exif=exif)
    return path


def test_the_focal_length_is_found_by_the_size_of_the_sensors_pixels_too(tmp_path):
    # 40 px at 2 px/mm: 20 mm wide, 25 mm in the diagonal.
    camera = {0x920A: 50.0, 0xA20E: 20.0, 0xA210: 3}
    exif = read_header(save_with_exif(tmp_path / "a.jpg", camera)).exif
    assert exif.focal_35mm == pytest.approx(50 * np.hypot(36, 24) / 25, rel=1e-3)


def test_exif_that_lies_counts_as_unknown(tmp_path):
    camera = {
        0x829A: TiffImagePlugin.IFDRational(0, 0), 0x8827: 0, 0xA405: 0, 0x920A: 0.0,
        0x9003: "9999:99:99 99:99:99", 0x9291: "x",
    }  # fmt: skip
    header = read_header(save_with_exif(tmp_path / "a.jpg", camera, orientation=99))
    assert (header.width, header.height) == (40, 30)
    exif = header.exif
    assert (exif.orientation, exif.exposure_s, exif.iso, exif.focal_35mm, exif.taken_s) == (1, None, None, None, None)
    assert decode_photo(tmp_path / "a.jpg").size == (40, 30)


def test_a_photo_with_damaged_exif_is_a_photo_without(tmp_path):
    path = save_with_exif(tmp_path / "a.jpg", {0x829A: 0.05})
    content = bytearray(path.read_bytes())
    start = content.index(b"Exif\0\0") + 14
    content[start : start + 12] = b"\xff" * 12
    path.write_bytes(content)
    assert read_header(path).exif.exposure_s in (None, 0.05) and decode_photo(path).size == (40, 30)


def test_hdr_and_wide_gamut_heic_become_srgb(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    grey = np.full((64, 64, 3), round(0.75 * 65535), np.uint16)  # HLG's diffuse white
    image = pillow_heif.from_bytes("RGB;16", (64, 64), grey.tobytes())
    image.save(tmp_path / "a.heic", quality=100, color_primaries=9, transfer_characteristics=18)
    assert np.asarray(decode_photo(tmp_path / "a.heic")).min() >= 250
    assert "HDR (HLG)" in read_header(tmp_path / "a.heic").note
    image.save(tmp_path / "b.heic", quality=100)
    assert abs(np.asarray(decode_photo(tmp_path / "b.heic")).astype(int) - 191).max() <= 3


def test_heic_without_its_library_names_the_extra(tmp_path, monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.new("RGB", (64, 48))).save(tmp_path / "a.heic")
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(UnreadablePhoto, match=r"splatdeblur\[heic\]"):
        decode_photo(tmp_path / "a.heic")


def test_16_bit_rgb_without_its_library_names_the_extra(tmp_path, monkeypatch):
    write_png16(tmp_path / "a.png", LIGHT)
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(UnreadablePhoto, match=r"splatdeblur\[video\]"):
        decode_photo(tmp_path / "a.png")
