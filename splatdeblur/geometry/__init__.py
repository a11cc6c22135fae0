"""Pure tensor maths of poses and cameras. This page is the project's conventions.

- `viewmats` are world-to-camera 4x4, OpenCV axes: x right, y down, z forward. Any other pair is named
  `a_from_b`, so that neighbours match in `@`: `camera_from_world = camera_from_body @ body_from_world`.
- `Ks` are 3x3 intrinsics in pixels; the centre of the first pixel lies at (0.5, 0.5).
- `quats` are wxyz, of any norm. (COLMAP speaks xyzw; `poses.reconstruction` alone converts.)
- A tangent of SE(3) is `[..., 6]`: translation part first, then rotation vector in radians.
- A camera moved by a delta `D` has `viewmat = exp(D) @ viewmat`: deltas live in the camera's own frame.
- *Shutter time* runs over [0, 1]; 0.5 is the middle of the exposure, and a photo's pose is its pose there.
- z-depth, not distance along the ray. World units are the reconstruction's own.
"""

from .camera import Cameras, look_at
from .light import linear_from_srgb, srgb_from_linear
from .se3 import exp, interpolate, inverse, log
from .so3 import matrix_from_quat, quat_from_matrix

__all__ = [
    "Cameras",
    "exp",
    "interpolate",
    "inverse",
    "linear_from_srgb",
    "log",
    "look_at",
    "matrix_from_quat",
    "quat_from_matrix",
    "srgb_from_linear",
]
