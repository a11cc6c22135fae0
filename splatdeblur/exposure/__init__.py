"""How one photo came to be: camera motion, shutter, lens, tone. Handed a render function, knows no backend."""

from .exposure import Exposure, Photo, RenderFn
from .lens import Defocus, Focused, Lens, LensBlur, NoKernels, PixelKernels
from .motion import Bezier, CubicSpline, Linear, Motion, Static
from .shutter import Shutter
from .sight import SeenAs, Unchanged, Widened, as_it_is
from .tone import Tone
from .trajectory import Timing, Trajectory, pose_at
from .weights import EvenWeights, PixelWeights
from .window import Window

__all__ = [
    "Bezier", "CubicSpline", "Defocus", "EvenWeights", "Exposure", "Focused", "Lens", "LensBlur", "Linear",
    "Motion", "NoKernels", "Photo", "PixelKernels", "PixelWeights", "RenderFn", "SeenAs", "Shutter", "Static", "Timing",
    "Tone", "Trajectory", "Unchanged", "Widened", "Window", "as_it_is", "pose_at",
]  # fmt: skip
