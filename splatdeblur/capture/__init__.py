"""Photos or a video in; a Capture (frames on disk and what is known of them) out."""

from .capture import Capture, Frame

__all__ = ["Capture", "Frame"]
