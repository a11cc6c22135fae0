"""A trained scene and the truth in; scores and the pictures that were scored out."""

from .alignment import Similarity, fit_similarity
from .compare import evaluate
from .pictures import Comparison, write_side_by_side
from .scores import Scores
from .studio import TrainedPhotos, show_side_by_side

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
