from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from videos import set_display_matrix, write_video

from splatdeblur.capture import Capture, PrepareConfig, prepare
from splatdeblur.capture.video import frame_interval_s
from splatdeblur.errors import CaptureError
from splatdeblur.run import Run

av = pytest.importorskip("av")

SIZE = (48, 64)  # height, width


def flat(level: float, size=SIZE) -> np.ndarray:
    return np.full((*size, 3), level, np.uint8)


def cornered(top_left: tuple[int, int, int] = (255, 0, 0)) -> np.ndarray:
    """Grey, with a coloured block in the top left corner."""
    picture = flat(128)
    picture[:16, :16] = top_left
    return picture


def steady(path: Path, seconds: float, fps: int = 10, **options) -> Path:
    times = np.arange(round(seconds * fps)) / fps
    return write_video(path, [flat(20 + i) for i in range(len(times))], times, **options)


def pictures_of(run: Run, capture: Capture) -> list[np.ndarray]:
    return [np.asarray(Image.open(run.images / f.name)).astype(int) for f in capture.frames]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


@pytest.mark.parametrize(
    "name, codec, pix_fmt",
    [
        ("h264.mp4", "libx264", "yuv420p"),
        ("hevc.mov", "libx265", "yuv420p10le"),
        ("vp9.webm", "libvpx-vp9", "yuv420p"),
        ("mpeg4.avi", "mpeg4", "yuv420p"),
    ],
)
def test_frames_are_evenly_spaced_and_keep_their_times(tmp_path, run, name, codec, pix_fmt):
    quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    capture = prepare(steady(tmp_path / name, 12, codec=codec, pix_fmt=pix_fmt, options=quiet), run)
    times = [f.time_s for f in capture.frames]
    assert capture.is_video and len(times) == 24 and times[0] == 0
    np.testing.assert_allclose(np.diff(times), 0.5, atol=0.11)
    assert all(f.interval_s == pytest.approx(0.1, abs=2e-3) for f in capture.frames)
    np.testing.assert_allclose([p.mean() for p in pictures_of(run, capture)], 20 + 10 * np.array(times), atol=4)


def test_a_long_video_gives_no_more_frames_than_asked_for(tmp_path, run):
    capture = prepare(steady(tmp_path / "walk.mp4", 12), run, limits=PrepareConfig(max_frames=7))
    times = [f.time_s for f in capture.frames]
    assert len(times) == 7 and times[-1] > 9


def test_frames_of_a_variable_rate_keep_the_clock_of_the_file(tmp_path, run):
    times = np.cumsum([0, 0.1, 0.02, 0.2, 0.05, 0.9, 0.1, 0.03, 0.4, 0.2])
    path = write_video(tmp_path / "walk.mp4", [flat(20 * (i + 1)) for i in range(10)], times, has_sound=True)
    capture = prepare(path, run)
    kept = [round(p.mean() / 20) - 1 for p in pictures_of(run, capture)]
    assert len(kept) >= 7
    np.testing.assert_allclose([f.time_s for f in capture.frames], times[kept], atol=2e-3)
    gaps = np.append(np.diff(times), np.nan)[kept]
    for frame, gap in zip(capture.frames, gaps, strict=True):
        assert frame.interval_s is None if np.isnan(gap) else frame.interval_s == pytest.approx(gap, abs=2e-3)
    # A gap takes one frame, and is not made up for by a hurry behind it.
    assert np.diff([f.time_s for f in capture.frames]).min() > 0.015
    assert Capture.load(run.capture) == capture


def test_a_short_video_gives_frames_enough():
    assert frame_interval_s(2.0, 150) == pytest.approx(0.1)
    assert frame_interval_s(60.0, 150) == pytest.approx(0.5)
    assert frame_interval_s(300.0, 150) == pytest.approx(2.0)


@pytest.mark.parametrize(
    "matrix, corner",
    [
        ((1, 0, 0, 1), (0, 0)),
        ((0, 1, -1, 0), (0, -1)),  # a phone held upright: a quarter turn clockwise
        ((-1, 0, 0, -1), (-1, -1)),
        ((0, -1, 1, 0), (-1, 0)),
        ((-1, 0, 0, 1), (0, -1)),  # a front camera's mirror
    ],
)
def test_frames_are_turned_upright_by_the_rotation_flag(tmp_path, run, matrix, corner):
    path = write_video(tmp_path / "walk.mp4", [cornered()] * 4, np.arange(4) / 10)
    capture = prepare(set_display_matrix(path, *matrix), run)
    picture = pictures_of(run, capture)[0]
    turned = matrix[0] == 0
    assert (capture.width, capture.height) == (SIZE if turned else SIZE[::-1])
    rows, columns = (slice(2, 12) if end == 0 else slice(-12, -2) for end in corner)
    block = picture[rows, columns].mean((0, 1))
    assert block[0] > 200 and block[1] < 60
    assert np.abs(picture.mean((0, 1)) - cornered().mean((0, 1))).max() < 6


def test_sound_and_cover_pictures_are_left_alone(tmp_path, run):
    capture = prepare(steady(tmp_path / "walk.mp4", 2, has_sound=True), run)
    assert len(capture.frames) == 20 and capture.notes == ()


@pytest.mark.parametrize("transfer, name", [(18, "HLG"), (16, "PQ")])
def test_hdr_becomes_srgb_with_its_diffuse_white_as_white(tmp_path, run, transfer, name):
    # Linear light of the patches relative to white, in BT.2020's own primaries: grey stays grey, red gets redder.
    light = np.array([0.0, 0.05, 0.18, 0.5, 1.0, 3.0])
    signal = hlg_signal(light) if transfer == 18 else pq_signal(light)
    patches = np.repeat(np.round(signal * 65535).astype(np.uint16), 16)
    picture = np.repeat(np.repeat(patches[None, :, None], 48, 0), 3, 2)
    path = write_video(
        tmp_path / "walk.mov", [picture] * 4, np.arange(4) / 10, codec="libx265", pix_fmt="yuv420p10le",
        code_points=(9, transfer, 9, 1), options={"x265-params": "log-level=none:qp=4"},
    )  # fmt: skip
    capture = prepare(path, run)
    assert any(name in note and "white" in note for note in capture.notes)
    picture = pictures_of(run, capture)[1]
    seen = [picture[:, 16 * i + 5 : 16 * i + 11].mean() for i in range(6)]
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(seen, 255 * np.minimum(srgb, 1), atol=3)


def hlg_signal(light: np.ndarray) -> np.ndarray:
    """BT.2100's OETF, white at 0.75 of the signal."""
    scene = light * 0.26496
    above = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), above)


def pq_signal(light: np.ndarray) -> np.ndarray:
    """ST 2084's inverse EOTF, white at 203 cd/m2."""
    y = (light * 203 / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


@pytest.mark.parametrize("height", [64, 720])
def test_a_file_that_does_not_name_its_colour_matrix_is_read_as_players_read_it(tmp_path, run, height):
    green = np.tile(np.array([30, 200, 60], np.uint8), (height, 64, 1))
    frame = av.VideoFrame.from_ndarray(green, format="rgb24")
    matrix = "ITU709" if height == 720 else "ITU601"
    planes = frame.reformat(format="yuv420p", dst_colorspace=matrix).to_ndarray()
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, height, "yuv420p"
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(stream.encode(None))
    picture = pictures_of(run, prepare(tmp_path / "a.mp4", run))[0]
    np.testing.assert_allclose(picture.mean((0, 1)), green[0, 0], atol=5)


def test_a_video_cut_off_gives_the_frames_up_to_there_and_says_so(tmp_path, run):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8) for _ in range(40)]
    path = write_video(
        tmp_path / "walk.mp4", pictures, np.arange(40) / 10, container_options={"movflags": "faststart"}
    )
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10])
    capture = prepare(path, run)
    assert 8 <= len(capture.frames) < 20
    assert any("cut off" in note and "of 3.9 s" in note for note in capture.notes)
    assert path.read_bytes() == whole[: len(whole) * 6 // 10]


def test_a_video_without_its_index_is_an_error(tmp_path, run):
    path = steady(tmp_path / "walk.mp4", 3)
    path.write_bytes(path.read_bytes()[:-900])  # the index is at the end
    with pytest.raises(CaptureError, match=r"walk\.mp4.*copy it again"):
        prepare(path, run)
    assert not run.capture.exists() and list(run.folder.iterdir()) == []


def test_a_damaged_stretch_is_passed_over(tmp_path, run):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8) for _ in range(20)]
    path = write_video(tmp_path / "walk.avi", pictures, np.arange(20) / 10, codec="mjpeg", pix_fmt="yuvj420p")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle - 4000 : middle + 4000] = bytes(8000)
    path.write_bytes(content)
    capture = prepare(path, run)
    assert 5 <= len(capture.frames) < 20


def test_a_file_that_is_no_video_is_an_error(tmp_path, run):
    (tmp_path / "walk.mp4").write_bytes(b"nothing to see" * 100)
    with pytest.raises(CaptureError, match="cannot be decoded"):
        prepare(tmp_path / "walk.mp4", run)


def test_sound_alone_is_an_error(tmp_path, run):
    with av.open(str(tmp_path / "talk.mp4"), "w") as container:
        sound = container.add_stream("aac", rate=48000, layout="mono")
        beep = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        beep.rate = 48000
        container.mux(sound.encode(beep))
        container.mux(sound.encode(None))
    with pytest.raises(CaptureError, match="no video stream"):
        prepare(tmp_path / "talk.mp4", run)
