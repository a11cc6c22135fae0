"""A video in; evenly spaced upright sRGB frames with their times out. Sound and cover pictures are left alone."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..errors import CaptureError
from .color import as_srgb8, space_from_cicp

if TYPE_CHECKING:
    import av

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".3gp", ".mts"})
HD_HEIGHT_PX = 720  # from here on, players take BT.709 for granted where a file is silent
UNSPECIFIED = 2  # in the code points of ITU-T H.273


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One kept frame.

    Attributes:
        time_s: when it is shown, in seconds since the first frame, by the file's own clock.
        interval_s: seconds until the file's next frame, kept or not: the time in which this one was exposed.
        image: upright, 8-bit sRGB.
    """

    time_s: float
    interval_s: float | None
    image: Image.Image


def frame_interval_s(duration_s: float, max_frames: int) -> float:
    """Seconds between kept frames: two a second, more in a short video, fewer where that makes too many."""
    return max(min(0.5, duration_s / min(20, max_frames)), duration_s / max_frames)


def read_video(path: Path, *, max_frames: int, notes: list[str]) -> Iterator[tuple[float, VideoFrame]]:
    """Yields (progress in [0, 1], frame), at most `max_frames`, at most one in each of as many equal stretches.

    A file that is cut off or damaged gives the frames that can be decoded.

    Args:
        notes: gets a sentence for what was lost, and for colours that were changed.

    Raises:
        CaptureError: PyAV is missing, or the file holds no video that it can decode.
    """
    try:
        import av
    except ImportError as error:
        raise CaptureError(
            f"{path} is a video; it needs PyAV: pip install 'splatdeblur[video]', or give a folder of photos"
        ) from error
    try:
        with av.open(str(path)) as container:
            stream = _picture_stream(container)
            if stream is None:
                raise CaptureError(
                    f"{path} has no video stream that can be read; if copying it was cut short, copy it again, "
                    "else give another video or a folder of photos"
                )
            stream.thread_type = "AUTO"
            duration = _duration_s(container, stream)
            interval, due_s, count = frame_interval_s(duration, max_frames), 0.0, 0
            for time_s, frame, next_s in _with_next_time(_decoded(path, container, stream, duration, notes)):
                if time_s < due_s - 1e-6:
                    continue
                if count == max_frames:
                    break
                if not count:
                    notes += _note_on_colors(frame)
                image = Image.fromarray(_upright(_srgb(frame), _display_matrix(frame)))
                yield min(1.0, time_s / duration), VideoFrame(time_s, next_s and next_s - time_s, image)
                count += 1
                # The next stretch, not the last kept frame's time plus one: rounding and gaps do not add up.
                due_s = (int(time_s / interval + 1e-6) + 1) * interval
    except av.error.FFmpegError as error:
        raise CaptureError(
            f"{path} cannot be decoded as video ({error}); if copying it was cut short, copy it again, "
            "else convert it to MP4 (H.264) first"
        ) from error


def _picture_stream(container: "av.container.InputContainer") -> "av.VideoStream | None":
    """The largest video stream that is no cover picture."""
    from av.stream import Disposition

    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    return max(streams, key=lambda s: (s.width or 0) * (s.height or 0), default=None)


def _duration_s(container: "av.container.InputContainer", stream: "av.VideoStream") -> float:
    if stream.duration and stream.time_base:
        return max(float(stream.duration * stream.time_base), 1e-3)
    if container.duration:
        return max(container.duration / 1e6, 1e-3)
    if stream.average_rate and stream.frames:
        return float(stream.frames / stream.average_rate)
    return 60.0  # a stream that does not say: two frames a second until there are enough


def _decoded(
    path: Path,
    container: "av.container.InputContainer",
    stream: "av.VideoStream",
    duration_s: float,
    notes: list[str],
) -> Iterator[tuple[float, "av.VideoFrame"]]:
    """All sound frames with their times since the first, in order of time."""
    import av

    start, last_s, lost, trouble = None, 0.0, 0, ""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            trouble = f" ({error})"
            break
        if packet is None:
            break
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            lost += 1
            continue
        for frame in frames:
            if frame.time is None or frame.is_corrupt:
                lost += 1
                continue
            start = frame.time if start is None else start
            if frame.time - start >= last_s:
                last_s = frame.time - start
                yield last_s, frame
    if start is None:
        raise CaptureError(
            f"{path} holds no frame that can be decoded{trouble}; if copying it was cut short, copy it again, "
            "else convert it to MP4 (H.264) first"
        )
    if last_s < 0.95 * duration_s - 0.5 or trouble:
        notes.append(
            f"{path.name} is cut off: it ends after {last_s:.1f} of {duration_s:.1f} s{trouble}; "
            "the frames up to there are used"
        )
    if lost:
        notes.append(f"{lost} packets or frames of {path.name} are damaged and were passed over")


def _with_next_time(
    frames: Iterator[tuple[float, "av.VideoFrame"]],
) -> Iterator[tuple[float, "av.VideoFrame", float | None]]:
    """Each frame with the time of the one after it; None after the last."""
    held = None
    for time_s, frame in frames:
        if held is not None:
            yield *held, time_s
        held = (time_s, frame)
    if held is not None:
        yield *held, None


def _note_on_colors(frame: "av.VideoFrame") -> list[str]:
    space = space_from_cicp(int(frame.color_primaries), int(frame.color_trc))
    if space is None or not space.is_hdr:
        return []
    return [f"the video is {space.name}: its diffuse white became sRGB's white, and what is brighter was clipped"]


def _srgb(frame: "av.VideoFrame") -> np.ndarray:
    """8-bit sRGB pixels as stored, not yet upright."""
    space = space_from_cicp(int(frame.color_primaries), int(frame.color_trc))
    # Without a word on its YUV matrix, a file is taken as players take it.
    is_silent = int(frame.colorspace) == UNSPECIFIED
    matrix = ("ITU709" if frame.height >= HD_HEIGHT_PX else "ITU601") if is_silent else None
    if space is None:
        return frame.to_ndarray(format="rgb24", src_colorspace=matrix)
    return as_srgb8(frame.to_ndarray(format="rgb48le", src_colorspace=matrix), space)


def _display_matrix(frame: "av.VideoFrame") -> tuple[int, int, int, int]:
    """Signs of (a, b, c, d) in `shown = (a x + c y, b x + d y)`, x to the right, y down; (1, 0, 0, 1) is upright."""
    for side in frame.side_data:
        if side.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = struct.unpack("=5i", bytes(side)[:20])
            if abs(a) + abs(d) > abs(b) + abs(c):
                return int(np.sign(a)), 0, 0, int(np.sign(d))
            return 0, int(np.sign(b)), int(np.sign(c)), 0
    return 1, 0, 0, 1


def _upright(pixels: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Turns and mirrors a picture by its display matrix, in steps of 90 degrees."""
    a, b, c, d = matrix
    if b and c:  # what ran along x runs along y
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    pixels = pixels[:, ::-1] if a < 0 else pixels
    pixels = pixels[::-1] if d < 0 else pixels
    return np.ascontiguousarray(pixels)
