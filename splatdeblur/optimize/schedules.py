"""Everything that changes during training, as pure functions of progress in [0, 1]."""

from dataclasses import dataclass
from math import exp, log


def geometric(start: float, end: float, progress: float) -> float:
    """From `start` to `end` at a constant rate per progress; both > 0."""
    return exp((1 - progress) * log(start) + progress * log(end))


def ramp(progress: float, start: float, end: float) -> float:
    """0 before `start`, 1 after `end`, straight between."""
    if end <= start:
        return float(progress >= start)
    return min(max((progress - start) / (end - start), 0.0), 1.0)


@dataclass(frozen=True)
class LearningRates:
    """Of Adam, per step. Positions are in units of the scene's scale.

    The scene's are twice those of 3DGS, and positions slow down by a factor of 10 instead of 100: made for thousands
    of steps where 3DGS takes 30,000, and for detail that blur lets through only faintly.

    Attributes:
        means: start and end of the positions' geometric decay.
        motion: start and end for the curves of motion, in radians and scene depths.
        pose: start and end for the corrections of the poses.
        trajectory: start and end for the path of a video's camera, in radians and scene depths.
        share: start and end for the logit of the part of the time between frames that a video's shutter is open.
        found_poses: factor of `pose` and `trajectory` where structure from motion found the poses in blurred photos,
            which leaves them rougher than poses that came along.
        focus: start and end for aperture and focus of photos, in radians.
        kernels: of networks: the one that finds kernels, and those that widen Gaussians or weigh sub-frames.
        tone: start and end for the log of gains: a photo is seen a few dozen times only, and gains differ by factors.
        readout: start and end for the logit of the read-out's part of the largest.
        response: start and end for the log slopes of the response and the log of the light lost in the corners.
        by_visits: photos share the second moment of Adam (`visits.VisitAdam`), so that those with little to gain move
            little.
        camera_start: share of the training before which cameras rest, so that the scene can take shape.
        camera_ramp: share of the training over which camera learning rates rise from 0.
    """

    means: tuple[float, float] = (3.2e-4, 6.4e-5)
    quats: float = 2e-3
    scales: float = 1e-2
    opacities: float = 0.1
    sh0: float = 5e-3
    shN: float = 2.5e-4
    motion: tuple[float, float] = (1e-2, 3e-4)
    pose: tuple[float, float] = (1e-3, 1e-4)
    trajectory: tuple[float, float] = (1e-3, 1e-4)
    share: tuple[float, float] = (3e-2, 1e-3)
    found_poses: float = 3.0
    tone: tuple[float, float] = (1e-2, 1e-4)
    times: float = 3e-3
    focus: tuple[float, float] = (3e-3, 1e-4)
    kernels: float = 5e-4
    readout: tuple[float, float] = (6e-2, 2e-3)
    response: tuple[float, float] = (1e-2, 3e-4)
    by_visits: bool = True
    camera_start: float = 0.0
    camera_ramp: float = 0.0


@dataclass(frozen=True)
class Resolution:
    """Coarse to fine: blur shrinks with the picture, and small pictures are quick.

    Attributes:
        levels: reduction of the photos in each stage; less where they would become smaller than 80 px.
        until: progress at which each stage but the last ends.
    """

    levels: tuple[int, ...] = (4, 2, 1)
    until: tuple[float, ...] = (0.1, 0.2)

    def level(self, progress: float) -> int:
        """Index of the stage at `progress`."""
        return sum(progress >= end for end in self.until)
