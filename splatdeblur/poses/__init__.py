"""A Capture in; where its cameras were (a Reconstruction) out."""

from .find import find_poses
from .imports import load_cameras, read_poses
from .page import write_page
from .reconstruction import Posed, Reconstruction, load_reconstruction, photo_path

__all__ = [
    "Posed",
    "Reconstruction",
    "find_poses",
    "load_cameras",
    "load_reconstruction",
    "photo_path",
    "read_poses",
    "write_page",
]
