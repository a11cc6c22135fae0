"""Gaussians and their files."""

from .gaussians import Gaussians, from_points

__all__ = ["Gaussians", "from_points"]
