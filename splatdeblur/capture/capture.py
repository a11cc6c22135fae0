"""The capture: which photos there are, on disk and in order, and what is known of how each was taken."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import CaptureError
from ..run import atomic_write

MIN_PHOTOS = 3  # that poses and a scene can be found from


@dataclass(frozen=True)
class Frame:
    """One photo.

    Attributes:
        name: file name inside the run's `images/`; also its name in poses, scores and exports.
        source: where it came from, for messages.
        exposure_s: how long the shutter was open, in seconds; None if unknown.
        iso: sensor gain; None if unknown.
        focal_35mm: focal length in mm of a 36 x 24 mm camera with the same diagonal field of view; None if unknown.
        time_s: when it was taken, in seconds since the first one: by a video's clock, or by EXIF, whose dates often
            know whole seconds only; None if unknown.
        interval_s: seconds until the next frame was taken: of a video's frames the kept and the left out ones count,
            of photos those in the capture; None if unknown.
        size: width and height in px where they differ from the capture's; None where they do not.
        has_mask: whether `masks/NAME.png` says which of its pixels count.
    """

    name: str
    source: str
    exposure_s: float | None = None
    iso: float | None = None
    focal_35mm: float | None = None
    time_s: float | None = None
    interval_s: float | None = None
    size: tuple[int, int] | None = None
    has_mask: bool = False

    @property
    def shutter_share(self) -> float | None:
        """Which part of the time until the next frame the shutter was open, in (0, 1]; None if unknown."""
        if self.exposure_s is None or not self.interval_s or self.exposure_s > self.interval_s:
            return None
        return self.exposure_s / self.interval_s


@dataclass(frozen=True)
class Capture:
    """The photos of one scene.

    Attributes:
        frames: in order, of a video in order of time.
        width, height: size in px of most files in `images/`; see `size_of`.
        skipped: photos left out, name -> reason.
        known_poses: path of the file or folder that brought poses along; None if poses must be found.
        downscale: training reads photos reduced by this factor.
        held_out: how many photos the input set aside for testing; they are not here.
        fingerprint: of the input files and settings that made this; shows later stages a change.
        is_video: neighbours in `frames` are neighbours in time, taken by one camera on one walk.
        notes: sentences for people on what was changed, left aside or looks wrong.
    """

    frames: tuple[Frame, ...]
    width: int
    height: int
    skipped: dict[str, str]
    known_poses: str | None = None
    downscale: float = 1.0
    held_out: int = 0
    fingerprint: str = ""
    is_video: bool = False
    notes: tuple[str, ...] = ()

    def size_of(self, frame: Frame) -> tuple[int, int]:
        """Width and height in px of a frame's file in `images/`."""
        return frame.size or (self.width, self.height)

    def save(self, path: Path) -> None:
        """Writes `capture.json`, whole or not at all."""
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, path: Path) -> "Capture":
        """Reads `capture.json`.

        Raises:
            CaptureError: it is no such file.
        """
        try:
            raw = json.loads(path.read_text())
            frames = (Frame(**{**f, "size": f.get("size") and tuple(f["size"])}) for f in raw["frames"])
            return cls(**{**raw, "frames": tuple(frames), "notes": tuple(raw.get("notes", ()))})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CaptureError(f"{path} is not a capture.json of this version ({error}); run prepare again") from error
