"""Pictures as files: exact in each format, kept when made from the same, never mixed, never taken from the user."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from splatdeblur.errors import FormatError
from splatdeblur.geometry import linear_from_srgb
from splatdeblur.view.frames import FrameFiles, Picture, depth_colors, write_frames

NAMES = ("a", "b", "c")


class Painter:
    """Draws random pictures, and remembers which."""

    def __init__(self, fails_at=None):
        self.drawn, self.fails_at = [], fails_at

    def __call__(self, index):
        if index == self.fails_at:
            raise KeyboardInterrupt
        self.drawn.append(index)
        g = torch.Generator().manual_seed(index)
        return Picture(1.2 * torch.rand(6, 8, 3, generator=g), 4 * torch.rand(6, 8, generator=g))


def write(out, painter=None, files=FrameFiles(), made_from="this", names=NAMES, beside=()):
    painter = painter or Painter()
    write_frames(names, painter, out, files, made_from=made_from, on_progress=lambda *_: None, beside=beside)
    return painter.drawn


def test_png_holds_rounded_clipped_values(tmp_path):
    write(tmp_path)
    for index, name in enumerate(NAMES):
        expected = (Painter()(index).srgb.clamp(0, 1) * 255).round().numpy()
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"{name}.png")), expected)


def test_png16_holds_16_bits_as_other_programs_read_them(tmp_path):
    av = pytest.importorskip("av")
    write(tmp_path, files=FrameFiles("png16"))
    with av.open(str(tmp_path / "b.png")) as container:
        frame = next(container.decode(video=0))
    assert frame.format.name == "rgb48be"
    expected = (Painter()(1).srgb.clamp(0, 1).double() * 65535).round().numpy()
    np.testing.assert_allclose(frame.to_ndarray(), expected, atol=1)


def test_exr_holds_linear_light_brighter_than_white_and_depth(tmp_path):
    OpenEXR = pytest.importorskip("OpenEXR")
    write(tmp_path, files=FrameFiles("exr"))
    channels = OpenEXR.File(str(tmp_path / "a.exr")).channels()
    picture = Painter()(0)
    assert channels["RGB"].pixels.max() > 1
    np.testing.assert_allclose(channels["RGB"].pixels, linear_from_srgb(picture.srgb).numpy(), rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(channels["Z"].pixels, picture.depth.numpy())


def test_exr_says_up_to_where_its_light_is_known(tmp_path):
    OpenEXR = pytest.importorskip("OpenEXR")
    write(tmp_path, files=FrameFiles("exr", known_light=1.5))
    assert OpenEXR.File(str(tmp_path / "a.exr")).header()["knownLightUpTo"] == 1.5
    assert json.loads((tmp_path / "render.json").read_text())["light"]["known_up_to"] == 1.5


def test_depth_comes_with_its_scale(tmp_path):
    write(tmp_path, files=FrameFiles(max_depth=5.0))
    steps = np.asarray(Image.open(tmp_path / "depth" / "c.png")).astype(float)
    scale = json.loads((tmp_path / "render.json").read_text())["depth"]["world_units_per_step"]
    np.testing.assert_allclose(steps * scale, Painter()(2).depth.numpy(), atol=scale)
    assert (tmp_path / "depth_colors" / "c.png").exists()


def test_near_is_pale_far_is_dark_and_nothing_is_black():
    colors = depth_colors(torch.tensor([[0.0, 0.1, 1.0, 2.0, 3.0, 99.0]]), 4.0).sum(-1)[0]
    assert colors[0] == 0 and (np.diff(colors[1:].astype(int)) < 0).all()


def test_an_interrupted_render_goes_on_where_it_was(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, Painter(fails_at=2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "render.json"]
    assert write(tmp_path) == [2]
    assert write(tmp_path) == []


def test_a_view_that_lacks_a_file_is_drawn_again(tmp_path):
    files = FrameFiles(max_depth=5.0)
    write(tmp_path, files=files)
    (tmp_path / "depth" / "b.png").unlink()
    assert write(tmp_path, files=files) == [1]


def test_other_settings_draw_everything_anew_even_if_interrupted(tmp_path):
    write(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, Painter(fails_at=1), made_from="other")
    assert write(tmp_path, made_from="other") == [1, 2]


def files_in(out):
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def test_files_of_an_earlier_render_do_not_stay_among_the_new_ones(tmp_path):
    write(tmp_path, files=FrameFiles(max_depth=5.0), beside=("notes.txt",))
    (tmp_path / "notes.txt").write_text("ours")
    (tmp_path / "mine.txt").write_text("mine")
    write(tmp_path, made_from="other", names=("a", "d"))
    assert files_in(tmp_path) == ["a.png", "d.png", "mine.txt", "render.json"]
    assert json.loads((tmp_path / "render.json").read_text())["files"] == ["a.png", "d.png"]


def test_files_beside_stay_while_the_renders_are_the_same(tmp_path):
    write(tmp_path, beside=("one.txt",))
    (tmp_path / "one.txt").write_text("ours")
    assert write(tmp_path, beside=("two.txt",)) == []
    assert write(tmp_path, beside=("one.txt",)) == []
    assert (tmp_path / "one.txt").read_text() == "ours"


@pytest.mark.parametrize("manifested", ["../mine.png", "/MINE", "link/mine.png", ".", 5, "a\0b"])
def test_a_manifest_has_no_say_on_files_elsewhere(tmp_path, manifested):
    out, mine = tmp_path / "out", tmp_path / "mine.png"
    out.mkdir()
    mine.write_bytes(b"mine")
    (out / "link").symlink_to(tmp_path)
    listed = str(mine) if manifested == "/MINE" else manifested
    (out / "render.json").write_text(json.dumps({"made_from": "that", "files": [listed]}))
    write(out)
    assert mine.read_bytes() == b"mine"
    assert json.loads((out / "render.json").read_text())["files"] == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize(("names", "files"), [(("a", "mine"), FrameFiles()), (NAMES[:1], FrameFiles(folder="mine"))])
def test_a_picture_of_the_user_is_no_render_though_all_else_is_the_same(tmp_path, names, files):
    write(tmp_path, names=("a",))
    mine = files.paths(tmp_path, names[-1])[0]
    mine.parent.mkdir(exist_ok=True)
    mine.write_bytes(b"mine")
    with pytest.raises(FormatError, match="is there already"):
        write(tmp_path, names=names, files=files)
    assert mine.read_bytes() == b"mine"


def test_a_file_beside_that_is_not_ours_is_left_alone(tmp_path):
    write(tmp_path)
    (tmp_path / "points.ply").write_bytes(b"mine")
    painter = Painter()
    with pytest.raises(FormatError, match=r"points\.ply is there already"):
        write(tmp_path, painter, made_from="other", beside=("points.ply",))
    assert (tmp_path / "points.ply").read_bytes() == b"mine" and not painter.drawn and (tmp_path / "a.png").exists()


@pytest.mark.parametrize("manifest", [None, "no json", "{}", '{"files": []}'])
def test_a_picture_that_is_not_ours_is_left_alone(tmp_path, manifest):
    (tmp_path / "b.png").write_bytes(b"mine")
    if manifest is not None:
        (tmp_path / "render.json").write_text(manifest)
    with pytest.raises(FormatError, match=r"b\.png is there already"):
        write(tmp_path)
    assert (tmp_path / "b.png").read_bytes() == b"mine" and not (tmp_path / "a.png").exists()
