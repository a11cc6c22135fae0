"""Small videos for tests, encoded by PyAV: any codec, true times, sound, and a phone's rotation flag."""

import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np

TICKS = 600  # per second


def write_video(
    path: Path,
    pictures: Iterable[np.ndarray],
    times_s: Iterable[float],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    has_sound: bool = False,
    code_points: tuple[int, int, int, int] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encodes uint8 or uint16 RGB pictures [height, width, 3] shown at `times_s`.

    Args:
        code_points: primaries, transfer, matrix and range (1: studio) to be written, as in ITU-T H.273.
    """
    import av

    pictures = list(pictures)
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=30, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = Fraction(1, TICKS)
        if code_points is not None:
            context = stream.codec_context
            context.color_primaries, context.color_trc, context.colorspace, context.color_range = code_points
        sound = container.add_stream("aac", rate=48000, layout="mono") if has_sound else None
        for picture, time_s in zip(pictures, times_s, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24" if picture.dtype == np.uint8 else "rgb48le")
            if code_points is not None:
                matrix = 9 if code_points[2] == 9 else 1  # as swscale numbers BT.2020 and BT.709
                frame = frame.reformat(format=pix_fmt, dst_colorspace=matrix, dst_color_range="MPEG")
            frame.pts, frame.time_base = round(time_s * TICKS), Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        if sound is not None:
            noise = np.random.default_rng(0).normal(size=(1, 1024)).astype(np.float32) * 0.1
            for index in range(20):
                beep = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
                beep.rate, beep.pts = 48000, 1024 * index
                container.mux(sound.encode(beep))
            container.mux(sound.encode(None))
        container.mux(stream.encode(None))
    return path


def set_display_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Writes the rotation flag of an MP4's picture track, as phones do: x' = a x + c y, y' = b x + d y."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40
    content[start : start + 36] = struct.pack(">9i", *(v << 16 for v in (a, b, 0, c, d, 0, 0, 0)), 1 << 30)
    path.write_bytes(content)
    return path
