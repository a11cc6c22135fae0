"""PLY files: the reference's layout byte for byte, exact round trips, and no trust in what a header says."""

import struct
import tracemalloc

import numpy as np
import pytest
import torch
from plyfile import PlyData

from splatdeblur.errors import FormatError
from splatdeblur.geometry import Cameras
from splatdeblur.render.cpu import CpuRasterizer
from splatdeblur.scene import Gaussians, ply, splat


def random_gaussians(count=5, degree=3, seed=0):
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=g)

    sh = draw(count, (degree + 1) ** 2, 3)
    return Gaussians.from_raw(draw(count, 3), draw(count, 4), draw(count, 3), draw(count), sh)


def reference_names(rest):
    return [
        "x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", *(f"f_rest_{i}" for i in range(rest)),
        "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3",
    ]  # fmt: skip


def ply_bytes(names, rows, *, count=None, kind="float", encoding="binary_little_endian"):
    header = f"ply\nformat {encoding} 1.0\nelement vertex {len(rows) if count is None else count}\n"
    header += "".join(f"property {kind} {name}\n" for name in names) + "end_header\n"
    return header.encode() + np.asarray(rows, "<f4").tobytes()


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_writing_and_reading_gives_every_bit_back(tmp_path, degree):
    scene = random_gaussians(degree=degree)
    ply.write(scene, tmp_path / "scene.ply")
    again = ply.read(tmp_path / "scene.ply")
    assert again.sh_degree == degree
    for name, value in scene.params.items():
        assert torch.equal(again.params[name], value), name


@pytest.mark.parametrize("degree", [0, 3])
def test_the_file_is_the_reference_implementations_byte_for_byte(tmp_path, degree):
    scene = random_gaussians(count=3, degree=degree)
    ply.write(scene, tmp_path / "scene.ply")
    rows = []
    p = scene.params
    for i in range(3):
        row = [*p["means"][i].tolist(), 0, 0, 0, *p["sh0"][i, 0].tolist()]
        for channel in range(3):
            row += p["shN"][i, :, channel].tolist()
        row += [p["opacities"][i].item(), *p["scales"][i].tolist(), *p["quats"][i].tolist()]
        rows.append(row)
    expected = ply_bytes(reference_names(3 * ((degree + 1) ** 2 - 1)), rows)
    assert (tmp_path / "scene.ply").read_bytes() == expected


def by_plyfile_alone(path):
    """The scene as plyfile's own users read it, one property after the other."""
    vertices = PlyData.read(str(path))["vertex"]

    def columns(*names):
        return torch.tensor(np.stack([vertices[name] for name in names], axis=1))

    means, opacity = columns("x", "y", "z"), columns("opacity")[:, 0]
    quats, scales = columns(*(f"rot_{i}" for i in range(4))), columns(*(f"scale_{i}" for i in range(3)))
    harmonics = torch.zeros(len(means), 16, 3)
    for channel in range(3):
        harmonics[:, 0, channel] = columns(f"f_dc_{channel}")[:, 0]
        for k in range(15):
            harmonics[:, k + 1, channel] = columns(f"f_rest_{15 * channel + k}")[:, 0]
    return Gaussians.from_raw(means, quats, scales, opacity, harmonics)


def by_gaussforge(path):
    """The scene as another package reads it, handed on as .splat, which it writes itself."""
    gaussforge = pytest.importorskip("gaussforge")
    made = gaussforge.GaussForge().convert(path.read_bytes(), "ply", "splat")
    path.with_suffix(".splat").write_bytes(made["data"])
    return splat.read(path.with_suffix(".splat"))


@pytest.mark.parametrize(("read", "degree", "least_db"), [(by_plyfile_alone, 3, 150), (by_gaussforge, 0, 35)])
def test_other_readers_show_the_same_picture(tmp_path, read, degree, least_db):
    scene = random_gaussians(count=40, degree=degree)
    scene.params["means"].data[:, 2] += 5
    scene.params["scales"].data -= 1.5
    scene.params["quats"].data = torch.nn.functional.normalize(scene.quats.data, dim=1)  # gaussforge wants them so
    ply.write(scene, tmp_path / "scene.ply")
    K = torch.tensor([[[60.0, 0, 32], [0, 60, 24], [0, 0, 1]]])
    with torch.no_grad():
        ours, theirs = (
            CpuRasterizer().render(shown, Cameras(torch.eye(4)[None], K, 64, 48)).rgb.clamp(0, 1)
            for shown in (scene, read(tmp_path / "scene.ply"))
        )
    assert ours.std() > 0.1
    assert -10 * torch.log10((ours - theirs).square().mean() + 1e-20) > least_db


def test_the_order_of_properties_and_extra_ones_do_not_matter(tmp_path):
    scene = random_gaussians(count=2, degree=1)
    ply.write(scene, tmp_path / "scene.ply")
    data = (tmp_path / "scene.ply").read_bytes()
    rows = np.frombuffer(data[data.index(b"end_header\n") + 11 :], "<f4").reshape(2, -1)
    names = [*reference_names(9), "extra"]
    order = np.random.default_rng(0).permutation(len(names))
    mixed = np.c_[rows, [7, 8]][:, order]
    (tmp_path / "mixed.ply").write_bytes(ply_bytes([names[i] for i in order], mixed))
    again = ply.read(tmp_path / "mixed.ply")
    for name, value in scene.params.items():
        assert torch.equal(again.params[name], value), name


def test_double_precision_is_read_and_written_as_float(tmp_path):
    scene = random_gaussians(count=2, degree=0)
    double = Gaussians.from_raw(*(x.double() for x in (
        scene.means, scene.quats, scene.params["scales"], scene.params["opacities"], scene.sh)))  # fmt: skip
    ply.write(double, tmp_path / "scene.ply")
    again = ply.read(tmp_path / "scene.ply")
    assert again.means.dtype == torch.float32
    assert torch.equal(again.means, scene.means)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["means", "shN", "opacities", "quats"])
def test_a_broken_scene_is_not_written_and_the_old_file_stays(tmp_path, name, value):
    path = tmp_path / "scene.ply"
    path.write_bytes(b"old")
    scene = random_gaussians()
    with torch.no_grad():
        scene.params[name][1] = value
    with pytest.raises(FormatError, match="1 of 5 Gaussians hold NaN"):
        ply.write(scene, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


NAMES = reference_names(0)
ROW = np.ones((1, len(NAMES)), "<f4")


def with_nan(column):
    row = ROW.copy()
    row[0, NAMES.index(column)] = np.nan
    return row


HOSTILE = {
    "no PLY at all": (b"\x89PNG\r\n\x1a\n", "not a PLY"),
    "empty": (b"", "not a PLY"),
    "header without end": (b"ply\nformat binary_little_endian 1.0\n" + b"comment x\n" * 10_000, "no end"),
    "a million million vertices": (ply_bytes(NAMES, ROW, count=10**12), "cut short"),
    "40 million Gaussians of a 10 GB file": (ply_bytes(reference_names(45), np.ones((1, 62)), count=40_000_000), "cut"),
    "as much beside the vertices": (
        ply_bytes(NAMES, ROW).replace(b"end_", b"element more 9999999999\nproperty double x\nend_"), "cut short"
    ),
    "a count beyond counting": (ply_bytes(NAMES, ROW, count=10**30), "no header line"),
    "a negative count": (ply_bytes(NAMES, ROW, count=-1), "no header line"),
    "cut short": (ply_bytes(NAMES, ROW)[:-1], "cut short"),
    "no vertices": (ply_bytes(NAMES, ROW[:0]), "no vertices"),
    "a missing property": (ply_bytes([n for n in NAMES if n != "rot_2"], ROW[:, 1:]), "lacks rot_2"),
    "a mere point cloud": (ply_bytes(["x", "y", "z"], ROW[:, :3]), "not of Gaussians"),
    "a property twice": (ply_bytes([*NAMES, "x"], np.ones((1, len(NAMES) + 1))), "no header line"),
    "integers": (ply_bytes(NAMES, ROW, kind="int"), "stored as int"),
    "an unknown type": (ply_bytes(NAMES, ROW, kind="quad"), "no header line"),
    "a list": (ply_bytes(NAMES, ROW, kind="list uchar float"), "no header line"),
    "text": (ply_bytes(NAMES, ROW, encoding="ascii"), "found ascii; need binary little-endian"),
    "big endian": (ply_bytes(NAMES, ROW, encoding="binary_big_endian"), "binary little-endian"),
    "an odd number of harmonics": (ply_bytes([*NAMES, "f_rest_0"], np.ones((1, len(NAMES) + 1))), "1 f_rest"),
    "NaN in a position": (ply_bytes(NAMES, with_nan("y")), "1 of 1 Gaussians in .* hold NaN"),
    "NaN in an opacity": (ply_bytes(NAMES, with_nan("opacity")), "hold NaN"),
    "NaN in a colour": (ply_bytes(NAMES, with_nan("f_dc_1")), "hold NaN"),
    "garbage in the header": (b"ply\n\xff\xfe\x00\n" + ply_bytes(NAMES, ROW)[4:], "no header line"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_and_named(tmp_path, kind):
    content, message = HOSTILE[kind]
    path = tmp_path / "hostile.ply"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=message) as caught:
            ply.read(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert "hostile.ply" in str(caught.value)


def test_a_missing_file_is_a_format_error(tmp_path):
    with pytest.raises(FormatError, match="cannot read"):
        ply.read(tmp_path / "nowhere.ply")


def test_cutting_a_file_anywhere_is_noticed(tmp_path):
    whole = tmp_path / "whole.ply"
    ply.write(random_gaussians(count=2, degree=0), whole)
    content = whole.read_bytes()
    path = tmp_path / "cut.ply"
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(FormatError):
            ply.read(path)


def test_random_damage_is_either_refused_or_gives_finite_gaussians(tmp_path):
    whole = tmp_path / "whole.ply"
    ply.write(random_gaussians(count=2, degree=0), whole)
    content = whole.read_bytes()
    path = tmp_path / "damaged.ply"
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(content)
        for at in rng.integers(0, len(content), 3):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            scene = ply.read(path)
        except FormatError:
            continue
        assert all(value.isfinite().all() for value in scene.params.values())


def test_a_double_too_large_for_a_float_is_refused(tmp_path):
    header = "ply\nformat binary_little_endian 1.0\nelement vertex 1\n"
    header += "".join(f"property double {name}\n" for name in NAMES) + "end_header\n"
    values = struct.pack(f"<{len(NAMES)}d", *[1e300] * len(NAMES))
    (tmp_path / "double.ply").write_bytes(header.encode() + values)
    with pytest.raises(FormatError, match="NaN or infinity"):
        ply.read(tmp_path / "double.ply")
