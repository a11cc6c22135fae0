"""Photos or a video in; a Capture (frames on disk and what is known of them) out."""

from .capture import Capture, Frame
from .prepare import prepare

__all__ = ["Capture", "Frame", "prepare"]
