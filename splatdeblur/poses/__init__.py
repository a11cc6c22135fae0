"""A Capture in; where its cameras were (a Reconstruction) out."""

from .reconstruction import Reconstruction

__all__ = ["Reconstruction"]
