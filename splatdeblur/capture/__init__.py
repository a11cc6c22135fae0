"""Photos or a video in; a Capture (frames on disk and what is known of them) out."""

from .capture import Capture, Frame
from .prepare import prepare
from .store import PrepareConfig

__all__ = ["Capture", "Frame", "PrepareConfig", "prepare"]
