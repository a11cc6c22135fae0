"""How one photo came to be: camera motion, shutter, lens, tone. Handed a render function, knows no backend."""

from .exposure import Exposure, Photo, RenderFn
from .lens import Defocus, Focused, Lens, LensBlur, NoKernels, PixelKernels
from .motion import Bezier, CubicSpline, Linear, Static
from .shutter import Shutter
from .tone import Tone
from .trajectory import Timing, Trajectory, pose_at
from .window import Window

__all__ = [
    "Bezier", "CubicSpline", "Defocus", "Exposure", "Focused", "Lens", "LensBlur", "Linear", "NoKernels", "Photo",
    "PixelKernels", "RenderFn", "Shutter", "Static", "Timing", "Tone", "Trajectory", "Window",
    "pose_at",
]  # fmt: skip
