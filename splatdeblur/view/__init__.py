"""Ways to look at a trained scene. The viewer itself (`viewer`, `page`) needs the extra `view` and is imported late."""

from .paths import PATHS, camera_path
from .stage import Stage

__all__ = ["PATHS", "Stage", "camera_path"]
