"""The capture: which photos there are, on disk and in order, and what is known of how each was taken."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import CaptureError
from ..run import atomic_write


@dataclass(frozen=True)
class Frame:
    """One photo.

    Attributes:
        name: file name inside the run's `images/`; also its name in poses, scores and exports.
        source: where it came from, for messages.
        exposure_s: how long the shutter was open, in seconds; None if unknown.
        iso: sensor gain; None if unknown.
        focal_35mm: focal length in mm of a 36 x 24 mm camera with the same field of view; None if unknown.
        time_s: when it was taken, in seconds since the first frame; None for photos without order.
    """

    name: str
    source: str
    exposure_s: float | None = None
    iso: float | None = None
    focal_35mm: float | None = None
    time_s: float | None = None


@dataclass(frozen=True)
class Capture:
    """The photos of one scene, all of one size.

    Attributes:
        frames: in order.
        width, height: size of the files in `images/`, in px.
        skipped: photos left out, name -> reason.
        known_poses: path of the file or folder that brought poses along; None if poses must be found.
        downscale: training reads photos reduced by this factor.
        held_out: how many photos the input set aside for testing; they are not here.
        fingerprint: of the input files and settings that made this; shows later stages a change.
    """

    frames: tuple[Frame, ...]
    width: int
    height: int
    skipped: dict[str, str]
    known_poses: str | None = None
    downscale: float = 1.0
    held_out: int = 0
    fingerprint: str = ""

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
            return cls(**{**raw, "frames": tuple(Frame(**f) for f in raw["frames"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CaptureError(
                f"{path} is not a capture.json of this version ({error}); run prepare again"
            ) from error
