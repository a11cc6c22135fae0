"""Every format gives back the scene, as exactly as its bits allow, and believes nothing that a file claims."""

import gzip
import struct
import tracemalloc
import zipfile
import zlib
from itertools import pairwise

import numpy as np
import pytest
import torch

from splatdeblur.errors import ConfigError, FormatError
from splatdeblur.geometry import Cameras
from splatdeblur.render.cpu import CpuRasterizer
from splatdeblur.scene import SCENE_FORMATS, Gaussians, load_scene, save_scene, spz

LOSSY_DB = {"ply": 150, "compressed": 45, "spz": 45, "splat": 38}  # colours without harmonics for .splat


def cloud(count=300, degree=3, seed=0):
    """Gaussians of many shapes before a camera at the origin that looks along z."""
    g = torch.Generator().manual_seed(seed)
    z = 2 + 2 * torch.rand(count, generator=g)
    xy = (torch.rand(count, 2, generator=g) - 0.5) * z[:, None]
    sh = torch.randn(count, (degree + 1) ** 2, 3, generator=g) * 0.08
    sh[:, 0] = torch.randn(count, 3, generator=g) * 0.9
    return Gaussians.from_raw(
        torch.cat([xy, z[:, None]], 1), torch.randn(count, 4, generator=g),
        -3.6 + 0.7 * torch.randn(count, 3, generator=g), 1 + 2 * torch.randn(count, generator=g), sh,
    )  # fmt: skip


def picture(scene, viewmat=None):
    K = torch.tensor([[[70.0, 0, 40], [0, 70, 30], [0, 0, 1]]])
    viewmat = torch.eye(4) if viewmat is None else viewmat
    with torch.no_grad():
        return CpuRasterizer().render(scene, Cameras(viewmat[None], K, 80, 60)).rgb.clamp(0, 1)


def psnr(a, b):
    return -10 * torch.log10((a - b).square().mean() + 1e-20).item()


def file(tmp_path, format, scene=None):
    path = tmp_path / f"scene{SCENE_FORMATS[format].suffix}"
    save_scene(cloud() if scene is None else scene, path, format)
    return path


@pytest.mark.parametrize("degree", [0, 1, 3])
@pytest.mark.parametrize("format", LOSSY_DB)
def test_a_scene_that_was_written_and_read_looks_the_same(tmp_path, format, degree):
    scene = cloud(degree=degree)
    again = load_scene(file(tmp_path, format, scene))
    seen = scene if format != "splat" else Gaussians.from_raw(
        scene.means, scene.quats, scene.params["scales"], scene.params["opacities"], scene.sh[:, :1]
    )  # fmt: skip
    assert again.sh_degree == seen.sh_degree
    assert psnr(picture(again), picture(seen)) > LOSSY_DB[format]


@pytest.mark.parametrize("format", LOSSY_DB)
def test_writing_what_was_read_loses_next_to_nothing_more(tmp_path, format):
    once = load_scene(file(tmp_path, format))
    twice = load_scene(file(tmp_path, format, once))
    assert psnr(picture(twice), picture(once)) > LOSSY_DB[format]


def test_sog_gives_the_scene_back(tmp_path):
    pytest.importorskip("gaussforge")
    scene = cloud(count=3000, degree=1)
    assert psnr(picture(load_scene(file(tmp_path, "sog", scene))), picture(scene)) > 25


@pytest.mark.parametrize("format", LOSSY_DB)
def test_one_gaussian_and_flat_ones_survive(tmp_path, format):
    scene = cloud(count=1, degree=1)
    scene.params["scales"].data[:] = -3.0
    scene.params["opacities"].data[:] = 3.0
    assert psnr(picture(load_scene(file(tmp_path, format, scene))), picture(scene)) > 35


@pytest.mark.parametrize("format", LOSSY_DB)
def test_a_scene_with_nan_or_without_gaussians_is_not_written(tmp_path, format):
    broken = cloud(count=4)
    broken.params["means"].data[2, 1] = float("nan")
    empty = Gaussians.from_raw(*(torch.zeros(0, *shape) for shape in ((3,), (4,), (3,), (), (1, 3))))
    for scene, said in ((broken, "1 of 4 Gaussians hold NaN"), (empty, "has no Gaussians")):
        with pytest.raises(FormatError, match=said):
            file(tmp_path, format, scene)
    assert not list(tmp_path.iterdir())


def test_an_unknown_format_or_name_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match='no scene format "glb"; there are ply, compressed, spz, splat, sog'):
        save_scene(cloud(), tmp_path / "scene.glb", "glb")
    with pytest.raises(FormatError, match="no file of Gaussians by its name"):
        load_scene(tmp_path / "scene.glb")


@pytest.mark.parametrize(
    ("format", "name", "message"),
    [
        ("ply", "scene.spz", r"--format ply writes \.ply, and .*: --format spz writes \.spz"),
        ("spz", "scene.ply", r"--format spz writes \.spz, and .*: --format ply writes \.ply"),
        ("compressed", "scene.splat", r"--format compressed writes \.compressed\.ply, and .*: --format splat"),
        ("splat", "scene", r"--format splat writes \.splat, and .*: give a name that ends in \.splat"),
    ],
)
def test_a_name_that_says_another_format_is_refused(tmp_path, format, name, message):
    with pytest.raises(FormatError, match=message):
        save_scene(cloud(), tmp_path / name, format)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("format", "name"), [("compressed", "a.ply"), ("ply", "a.PLY"), ("ply", "a.compressed.ply")])
def test_any_ply_may_have_the_plain_suffix(tmp_path, format, name):
    save_scene(cloud(), tmp_path / name, format)
    assert len(load_scene(tmp_path / name)) > 0


@pytest.mark.parametrize("format", LOSSY_DB)
def test_a_missing_file_is_a_format_error(tmp_path, format):
    with pytest.raises(FormatError, match="cannot read"):
        load_scene(tmp_path / f"nowhere{SCENE_FORMATS[format].suffix}")


@pytest.mark.parametrize("format", LOSSY_DB)
def test_cutting_a_file_anywhere_is_noticed(tmp_path, format):
    path = file(tmp_path, format, cloud(count=5, degree=1))
    content = path.read_bytes()
    for length in range(0, len(content), max(1, len(content) // 60)):
        if format == "splat" and length and length % 32 == 0:
            continue  # a shorter .splat is a smaller scene
        path.write_bytes(content[:length])
        with pytest.raises(FormatError):
            load_scene(path)


@pytest.mark.parametrize("format", LOSSY_DB)
def test_random_damage_is_either_refused_or_gives_finite_gaussians(tmp_path, format):
    path = file(tmp_path, format, cloud(count=5, degree=1))
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(content)
        for at in rng.integers(0, len(content), 3):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            scene = load_scene(path)
        except FormatError:
            continue
        assert all(value.isfinite().all() for value in scene.params.values())


def test_infinite_opacities_which_others_write_are_opaque_or_invisible(tmp_path):
    scene = cloud(count=2, degree=0)
    path = file(tmp_path, "ply", scene)
    content = path.read_bytes()
    for value, expected in ((np.inf, 1.0), (-np.inf, 0.0)):
        changed = content.replace(struct.pack("<f", scene.params["opacities"][0].item()), struct.pack("<f", value))
        path.write_bytes(changed)
        assert load_scene(path).opacities[0].item() == pytest.approx(expected, abs=1e-6)


# ---- SPZ


def test_spz_is_turned_to_its_own_axes_and_back(tmp_path):
    """As a viewer with y up and z back reads it: the file's numbers, seen by a camera that was turned as well."""
    scene = cloud(degree=3)
    path = file(tmp_path, "spz", scene)
    header, blocks = spz._unzipped(path, path.read_bytes())
    fixed = np.frombuffer(blocks, np.uint8, 9 * header.count).reshape(-1, 3, 3)
    stored = (fixed @ (1 << np.array([0, 8, 16]))).astype(np.int64)
    stored = np.where(stored >= 2**23, stored - 2**24, stored) / 2**header.fractional_bits
    np.testing.assert_allclose(stored, scene.means.detach().numpy() * [1, -1, -1], atol=1e-4)
    turned = Gaussians.from_raw(
        scene.means * torch.from_numpy(spz._TURN), scene.quats * torch.from_numpy(spz._TURN_QUAT),
        scene.params["scales"], scene.params["opacities"],
        torch.cat([scene.sh[:, :1], scene.sh[:, 1:] * torch.from_numpy(spz._TURN_SH)], 1),
    )  # fmt: skip
    half_turn = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    assert psnr(picture(turned, half_turn), picture(scene)) > 100


def raw_spz(count=3, *, version=3, degree=0, bits=12, magic=spz.MAGIC, size=None):
    rotation = 4 if version >= 3 else 3
    size = count * (16 + rotation + 3 * spz.HARMONICS[min(degree, 3)]) if size is None else size
    body = np.random.default_rng(0).integers(1, 255, size).astype(np.uint8).tobytes()
    return spz._HEADER.pack(magic, version, count, degree, bits, 0, 0) + body


def test_spz_of_version_2_keeps_three_bytes_of_rotation(tmp_path):
    path = tmp_path / "old.spz"
    quats = np.array([[0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0], [0.8, 0, 0.6, 0]])  # wxyz
    content = bytearray(raw_spz(version=2))
    content[16 + 16 * 3 :] = np.round((quats[:, 1:] * [1, -1, -1] + 1) * 127.5).astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(bytes(content)))
    np.testing.assert_allclose(load_scene(path).quats.detach().numpy(), quats, atol=0.01)


def test_spz_of_version_4_is_read(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    scene = load_scene(file(tmp_path, "spz"))
    header, blocks = spz._unzipped(tmp_path / "scene.spz", (tmp_path / "scene.spz").read_bytes())
    cut = np.cumsum([0, *header.blocks()])
    parts = [blocks[a:b] for a, b in pairwise(cut)]
    packed = [zstandard.compress(part) for part in parts]
    content = spz._HEADER.pack(spz.MAGIC, 4, header.count, header.degree, header.fractional_bits, 0, len(parts))
    content += struct.pack("<I", 32) + bytes(12)
    content += b"".join(struct.pack("<QQ", len(z), len(part)) for z, part in zip(packed, parts, strict=True))
    path = tmp_path / "new.spz"
    path.write_bytes(content + b"".join(packed))
    again = load_scene(path)
    assert all(torch.equal(again.params[name], value) for name, value in scene.params.items())
    for length in range(0, path.stat().st_size, 997):
        (tmp_path / "cut.spz").write_bytes((content + b"".join(packed))[:length])
        with pytest.raises(FormatError):
            load_scene(tmp_path / "cut.spz")


def zstd_spz(*streams):
    """Version 4, three Gaussians without harmonics, as the header says, but in these streams."""
    table = b"".join(struct.pack("<QQ", len(stream), 0) for stream in streams)
    head = spz._HEADER.pack(spz.MAGIC, 4, 3, 0, 12, 0, len(streams)) + struct.pack("<I", 32) + bytes(12)
    return head + table + b"".join(streams)


ZSTD_OF_A_TERABYTE = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 2**40) + b"\x01\x00\x00"
HOSTILE_ZSTD = {
    "a zstd bomb": lambda zstandard: zstandard.compress(bytes(50_000_000)),
    "a terabyte": lambda zstandard: ZSTD_OF_A_TERABYTE,
    "one byte more": lambda zstandard: zstandard.compress(bytes(28)),
    "one byte less": lambda zstandard: zstandard.compress(bytes(26)),
}

HOSTILE_SPZ = {
    "a gzip bomb": (gzip.compress(raw_spz(count=2_000_000_000, size=0) + bytes(50_000_000)), "so tightly"),
    "a quiet gzip bomb": (gzip.compress(raw_spz() + bytes(50_000_000)), None),
    "no gzip": (b"PK\x03\x04" + bytes(40), "not an SPZ"),
    "another magic": (gzip.compress(raw_spz(magic=7)), "not an SPZ"),
    "version 1": (gzip.compress(raw_spz(version=1)), "version 1; this program reads"),
    "version 9": (gzip.compress(raw_spz(version=9)), "version 9"),
    "degree 4": (gzip.compress(raw_spz(degree=4)), "degree 4; need 0 to 3"),
    "200 fractional bits": (gzip.compress(raw_spz(bits=200)), "200 fractional bits"),
    "no Gaussians": (gzip.compress(raw_spz(count=0)), "no Gaussians"),
    "too little data": (gzip.compress(raw_spz(size=30)), "cut short"),
    "a wrong checksum": (gzip.compress(raw_spz())[:-8] + bytes(8), "damaged"),
}


@pytest.mark.parametrize("kind", HOSTILE_SPZ)
def test_a_hostile_spz_is_refused_without_the_memory_it_claims(tmp_path, kind):
    refuse_within_5_mb(tmp_path, *HOSTILE_SPZ[kind])


@pytest.mark.parametrize("kind", HOSTILE_ZSTD)
def test_a_hostile_spz_of_version_4_is_refused_without_the_memory_it_claims(tmp_path, kind):
    zstandard = pytest.importorskip("zstandard")
    others = [zstandard.compress(bytes(3 * size)) for size in (1, 3, 3, 4)]
    refuse_within_5_mb(tmp_path, zstd_spz(HOSTILE_ZSTD[kind](zstandard), *others), "damaged")


def refuse_within_5_mb(tmp_path, content, message):
    path = tmp_path / "hostile.spz"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        if message is None:  # what follows the Gaussians is not looked at
            assert len(load_scene(path)) == 3
        else:
            with pytest.raises(FormatError, match=message):
                load_scene(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


# ---- compressed PLY, .splat, SOG


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("element chunk 1", "element chunk 2", "cut short"),
        ("element vertex 20", "element vertex 10", "need one for every 256|20 of 10|10 Gaussians"),
        ("element vertex 20", "element vertex 99999999999", "cut short"),
        ("float min_x", "float mad_x", "lacks min_x"),
        ("float max_b", "float max_q", "lacks max_b"),
        ("uint packed_scale", "float packed_scale", "packed_scale is stored as float; need uint"),
        ("uchar f_rest_3", "uchar f_rest_9", "9 harmonics"),
        ("uchar f_rest_3", "char f_rest_3", "f_rest_3 is stored as char"),
    ],
)
def test_a_hostile_compressed_ply_is_refused(tmp_path, old, new, message):
    scene = cloud(count=20, degree=1)
    scene.params["opacities"].data[:] = 1.0
    path = file(tmp_path, "compressed", scene)
    content = path.read_bytes()
    assert old.encode() in content
    path.write_bytes(content.replace(old.encode(), new.encode()))
    with pytest.raises(FormatError, match=message):
        load_scene(path)


def test_nothing_visible_is_not_written_as_compressed_ply(tmp_path):
    scene = cloud(count=3)
    scene.params["opacities"].data[:] = -9.0
    with pytest.raises(FormatError, match="fainter than 1/255"):
        file(tmp_path, "compressed", scene)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: b"", "0 bytes"),
        (lambda content: content + b"x", "32 for each Gaussian"),
        (lambda content: struct.pack("<f", np.nan) + content[4:], "1 of 300 Gaussians"),
        (lambda content: content[:12] + struct.pack("<f", -1) + content[16:], "1 of 300 Gaussians"),
        (lambda content: content[:28] + bytes([128] * 4) + content[32:], "rotation of length zero"),
    ],
)
def test_a_hostile_splat_is_refused(tmp_path, change, message):
    path = file(tmp_path, "splat")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(FormatError, match=message):
        load_scene(path)


def test_a_hostile_sog_is_refused(tmp_path):
    pytest.importorskip("gaussforge")
    path = tmp_path / "hostile.sog"
    for name, content, message in [
        ("nothing.txt", b"", "not a readable SOG"),
        ("meta.json", b"[1]", "not a readable SOG"),
        ("meta.json", b'{"count": 900000000}', "damaged or hostile"),
        ("meta.json", bytes(30_000_000), "unpacks to far more"),
    ]:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
        with pytest.raises(FormatError, match=message):
            load_scene(path)
    path.write_bytes(b"PK no zip")
    with pytest.raises(FormatError, match="not a readable SOG"):
        load_scene(path)


def png_header(width, height):
    """The start of a PNG file that says how large the picture is."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT")
    parts = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("kind", ["a huge picture", "broken deflate", "broken LZMA", "an infinite count"])
def test_a_sog_of_which_a_part_cannot_be_read_is_refused(tmp_path, kind):
    pytest.importorskip("gaussforge")
    path = tmp_path / "hostile.sog"
    meta = b'{"count": 3}' if kind != "an infinite count" else b'{"count": 1e999}'
    method = zipfile.ZIP_LZMA if kind == "broken LZMA" else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("meta.json", meta)
        archive.writestr("means_l.webp", png_header(50_000, 50_000))
    if kind.startswith("broken"):
        content = bytearray(path.read_bytes())
        start = 39 if kind == "broken deflate" else 48  # 30 bytes of header, 9 of the name; LZMA has 9 of its own
        content[start : start + 5] = b"\xff" * 5
        path.write_bytes(content)
    with pytest.raises(FormatError, match="not a readable SOG"):
        load_scene(path)
