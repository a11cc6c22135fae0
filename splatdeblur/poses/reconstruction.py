"""Where the cameras were: poses, lenses and sparse points, from COLMAP or from a file that brought them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..geometry import Cameras


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Posed photos and the sparse points seen by them.

    Attributes:
        names: file names of the registered photos, in the order of `cameras`.
        cameras: their poses at mid-exposure and pinhole intrinsics (photos are undistorted), at full photo size.
        points, colors: sparse points in world units and their sRGB colours in [0, 1]; may be empty.
        missing: photos without a pose, name -> reason.
        reprojection_px: mean reprojection error of the points; None where poses came from a file.
        attempts: what was tried, in order, each a sentence with its result.
    """

    names: tuple[str, ...]
    cameras: Cameras
    points: Float[Tensor, "P 3"]
    colors: Float[Tensor, "P 3"]
    missing: dict[str, str]
    reprojection_px: float | None
    attempts: tuple[str, ...]
