"""A video in; evenly spaced upright frames with their times out."""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from ..errors import CaptureError

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".3gp", ".mts"})


def frame_interval_s(duration_s: float, max_frames: int) -> float:
    """Seconds between kept frames: two a second, more in a short video, fewer where that makes too many."""
    return max(min(0.5, duration_s / min(20, max_frames)), duration_s / max_frames)


def read_video(path: Path, *, max_frames: int) -> Iterator[tuple[float, float, Image.Image]]:
    """Yields (progress in [0, 1], seconds since the first frame, upright RGB frame), at most `max_frames`.

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
            if not container.streams.video:
                raise CaptureError(f"{path} has no video stream; give a video or a folder of photos")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if container.duration:
                duration = container.duration / av.time_base
            elif stream.average_rate and stream.frames:
                duration = float(stream.frames / stream.average_rate)
            else:
                duration = 60.0  # a stream that does not say: two frames a second until there are enough
            interval, start, count = frame_interval_s(duration, max_frames), None, 0
            for frame in container.decode(stream):
                if frame.time is None or frame.is_corrupt:
                    continue
                start = frame.time if start is None else start
                time_s = frame.time - start
                # Compared with the ideal grid, not the last kept frame, so that rounding does not add up.
                if time_s < count * interval - 1e-6:
                    continue
                yield min(1.0, time_s / duration), time_s, _upright(frame.to_image(), frame.rotation)
                count += 1
                if count >= max_frames:
                    return
    except av.error.FFmpegError as error:
        raise CaptureError(
            f"{path} cannot be decoded as video ({error}); convert it to MP4 (H.264) first"
        ) from error


def _upright(image: Image.Image, rotation_deg: int) -> Image.Image:
    """Turns a frame by its display matrix; `rotation_deg` counter-clockwise, in steps of 90 in phones."""
    turns = {
        90: Image.Transpose.ROTATE_90,
        180: Image.Transpose.ROTATE_180,
        270: Image.Transpose.ROTATE_270,
    }
    turn = turns.get(rotation_deg % 360)
    return image if turn is None else image.transpose(turn)
