"""A trained scene and the truth in; scores and the pictures that were scored out."""

from .alignment import Similarity, fit_similarity
from .compare import TrainedPhotos, evaluate, show_side_by_side
from .pictures import Comparison, write_side_by_side
from .scores import Scores

__all__ = [
    "Comparison",
    "Scores",
    "Similarity",
    "TrainedPhotos",
    "evaluate",
    "fit_similarity",
    "show_side_by_side",
    "write_side_by_side",
]
