"""Gaussians and their files."""

from .formats import SCENE_FORMATS, is_scene_file, load_scene, save_scene
from .gaussians import Gaussians, from_points

__all__ = ["SCENE_FORMATS", "Gaussians", "from_points", "is_scene_file", "load_scene", "save_scene"]
