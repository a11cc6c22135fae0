"""Frames to a video file that plays everywhere: H.264 in MP4, through PyAV."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ..errors import ConfigError, FormatError
from ..run import atomic_write

MAX_FPS = 240.0
WORST_CRF, BEST_CRF = 45, 8  # x264's scale of constant quality, from ugly to as good as the frames
BT709 = 1  # FFmpeg's number for the colours of HD video


def require_video(path: Path, fps: float | int, quality: float | int) -> None:
    """Raises what `write_video` would raise before its first frame: to be asked before hours of rendering."""
    if path.suffix.lower() != ".mp4":
        raise ConfigError(f"{path}: videos are written as MP4; give a name that ends in .mp4")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; give the name of a video")
    if not 0 < fps <= MAX_FPS:
        raise ConfigError(f"--fps is {fps:g}; it must be above 0 and at most {MAX_FPS:g}")
    if not 0 <= quality <= 100:
        raise ConfigError(f"--quality is {quality:g}; it must be 0 to 100")
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise FormatError(f"{path} needs PyAV: pip install 'splatdeblur[video]', or write pictures instead") from error


def write_video(
    path: Path,
    frames: Iterable[UInt8[np.ndarray, "height width 3"]],
    fps: float | int = 30,
    quality: float | int = 75,
) -> int:
    """Writes a video, whole or not at all, and returns how many frames it has.

    Args:
        path: `NAME.mp4`.
        frames: sRGB pictures of one size; they are taken one by one, so a generator keeps memory small. Odd widths
            and heights lose their last column or row: the format knows only even ones.
        fps: frames per second.
        quality: 0 (small and ugly) to 100 (large, as good as the frames); the constant quality that x264 keeps.
    Raises:
        ConfigError: `path`, `fps` or `quality` make no sense.
        FormatError: PyAV is missing, there are no frames, or they differ in size.
    """
    require_video(path, fps, quality)
    import av
    from av.video.reformatter import Colorspace

    count, shape = 0, None
    with atomic_write(path) as temporary:
        with av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
            stream.pix_fmt = "yuv420p"
            stream.options = {"crf": str(round(WORST_CRF + (BEST_CRF - WORST_CRF) * quality / 100))}
            context = stream.codec_context
            context.colorspace = context.color_primaries = context.color_trc = BT709
            for picture in frames:
                if shape is None:
                    shape = picture.shape
                    stream.height, stream.width = (side - side % 2 for side in shape[:2])
                if picture.shape != shape:
                    raise FormatError(f"frame {count} of {path} is {picture.shape[1]}x{picture.shape[0]}, the first "
                                      f"{shape[1]}x{shape[0]}; a video has one size")  # fmt: skip
                even = np.ascontiguousarray(picture[: stream.height, : stream.width])
                frame = av.VideoFrame.from_ndarray(even, format="rgb24")
                container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)))
                count += 1
            if count:
                container.mux(stream.encode(None))
        if count == 0:
            raise FormatError(f"there are no frames; {path} was not written")
    return count
