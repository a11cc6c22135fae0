"""Scene and exposures, fitted together to the photos."""

from .initial import initial_scene
from .photos import Looks, PhotoSet
from .trainer import TrainConfig, Trainer, TrainEvent

__all__ = ["Looks", "PhotoSet", "TrainConfig", "TrainEvent", "Trainer", "initial_scene"]
