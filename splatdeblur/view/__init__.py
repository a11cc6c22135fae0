"""Ways to look at a trained scene."""

from .paths import PATHS, camera_path

__all__ = ["PATHS", "camera_path"]
