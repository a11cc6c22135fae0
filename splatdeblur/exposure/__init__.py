"""How one photo came to be: camera motion, shutter, tone. Handed a render function, knows no backend."""

from .exposure import Exposure, Photo, RenderFn
from .motion import Bezier, CubicSpline, Linear, Static
from .shutter import Shutter
from .tone import Tone
from .window import Window

__all__ = ["Bezier", "CubicSpline", "Exposure", "Linear", "Photo", "RenderFn", "Shutter", "Static", "Tone", "Window"]
