"""Scene and exposures, fitted together to the photos."""

from .config import TrainConfig
from .initial import initial_scene, nearest_depths
from .photos import Looks, PhotoSet
from .trainer import Trainer, TrainEvent

__all__ = ["Looks", "PhotoSet", "TrainConfig", "TrainEvent", "Trainer", "initial_scene", "nearest_depths"]
