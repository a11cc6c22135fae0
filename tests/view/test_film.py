"""Videos: what goes in comes out, in colour and number, and nothing half written stays."""

import numpy as np
import pytest

from splatdeblur.errors import ConfigError, FormatError
from splatdeblur.view.film import write_video

av = pytest.importorskip("av")


def pictures(count=12, size=(64, 48)):
    """Soft pictures in strong colours, brighter from one to the next."""
    y, x = np.mgrid[: size[1], : size[0]]
    for i in range(count):
        yield np.stack([60 + 2 * x, 200 - 2 * y, np.full_like(x, 20 * i)], -1).astype(np.uint8)


def read(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [f.reformat(format="rgb24", src_colorspace="itu709").to_ndarray() for f in container.decode(stream)]
        return frames, stream.average_rate


def test_every_frame_comes_back_with_its_colours(tmp_path):
    assert write_video(tmp_path / "film.mp4", pictures(), fps=24, quality=90) == 12
    frames, rate = read(tmp_path / "film.mp4")
    assert len(frames) == 12 and rate == 24
    for frame, picture in zip(frames, pictures(), strict=True):
        assert abs(frame.astype(float) - picture).mean() < 2


def test_more_quality_is_nearer_to_the_frames_and_larger(tmp_path):
    rng = np.random.default_rng(0)
    noisy = [rng.integers(0, 255, (48, 64, 3)).astype(np.uint8) for _ in range(5)]
    sizes, errors = [], []
    for quality in (10, 60, 100):
        write_video(tmp_path / "film.mp4", noisy, quality=quality)
        sizes.append((tmp_path / "film.mp4").stat().st_size)
        pairs = zip(read(tmp_path / "film.mp4")[0], noisy, strict=True)
        errors.append(np.mean([abs(frame.astype(float) - picture).mean() for frame, picture in pairs]))
    assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True)


def test_odd_sizes_lose_one_row_and_column(tmp_path):
    write_video(tmp_path / "film.mp4", pictures(size=(65, 49)))
    assert read(tmp_path / "film.mp4")[0][0].shape == (48, 64, 3)


def test_a_film_that_fails_halfway_leaves_the_old_one(tmp_path):
    path = tmp_path / "film.mp4"
    write_video(path, pictures())
    before = path.read_bytes()

    def breaking():
        yield from pictures(3)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_video(path, breaking())
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["film.mp4"]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"path": "film.avi"}, ConfigError, "ends in .mp4"),
        ({"fps": 0.0}, ConfigError, "--fps is 0"),
        ({"fps": float("nan")}, ConfigError, "--fps is nan"),
        ({"quality": 101.0}, ConfigError, "--quality is 101"),
        ({"frames": []}, FormatError, "no frames"),
        ({"frames": [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 10, 3), np.uint8)]}, FormatError, "10x8"),
    ],
)
def test_nonsense_is_refused(tmp_path, settings, error, message):
    arguments = {"path": "film.mp4", "frames": list(pictures()), "fps": 30.0, "quality": 50.0} | settings
    with pytest.raises(error, match=message):
        write_video(tmp_path / arguments.pop("path"), **arguments)
    assert not list(tmp_path.iterdir())
