from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splatdeblur.capture import prepare
from splatdeblur.capture.video import frame_interval_s
from splatdeblur.errors import CaptureError
from splatdeblur.run import Run

av = pytest.importorskip("av")


def write_video(path: Path, seconds: float, fps: int = 10) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(round(seconds * fps)):
            pixels = np.full((48, 64, 3), 20 + index, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_frames_are_evenly_spaced_and_keep_their_times(tmp_path):
    capture = prepare(write_video(tmp_path / "walk.mp4", 12), Run(tmp_path / "run"))
    times = [f.time_s for f in capture.frames]
    assert len(times) == 24 and times[0] == 0
    np.testing.assert_allclose(np.diff(times), 0.5, atol=0.11)
    levels = [np.asarray(Image.open(tmp_path / "run/images" / f.name)).mean() for f in capture.frames]
    np.testing.assert_allclose(levels, 20 + 10 * np.array(times), atol=4)


def test_a_long_video_gives_no_more_frames_than_asked_for(tmp_path):
    capture = prepare(write_video(tmp_path / "walk.mp4", 12), Run(tmp_path / "run"), max_frames=7)
    times = [f.time_s for f in capture.frames]
    assert len(times) == 7 and times[-1] > 9


def test_a_short_video_gives_frames_enough():
    assert frame_interval_s(2.0, 150) == pytest.approx(0.1)
    assert frame_interval_s(60.0, 150) == pytest.approx(0.5)
    assert frame_interval_s(300.0, 150) == pytest.approx(2.0)


def test_a_file_that_is_no_video_is_an_error(tmp_path):
    (tmp_path / "walk.mp4").write_bytes(b"nothing to see" * 100)
    with pytest.raises(CaptureError, match="cannot be decoded"):
        prepare(tmp_path / "walk.mp4", Run(tmp_path / "run"))


def test_rotation_turns_the_frame_upright():
    from splatdeblur.capture.video import _upright

    wide = Image.new("RGB", (4, 2))
    wide.putpixel((0, 0), (255, 0, 0))
    # A display matrix of 90 degrees counter-clockwise brings the top left corner to the bottom left.
    turned = _upright(wide, 90)
    assert turned.size == (2, 4) and turned.getpixel((0, 3)) == (255, 0, 0)
    assert _upright(wide, -90).getpixel((1, 0)) == (255, 0, 0)
