"""Watches over a training: notices when it goes wrong, and takes it back to where it was well."""

import logging
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

from ..errors import TrainingError
from .state import restore, state_of

if TYPE_CHECKING:
    from .trainer import Trainer

logger = logging.getLogger(__name__)

KEEP_EVERY = 250  # steps between two states that training can fall back to
CHECK_EVERY = 50  # steps between two looks for numbers that are none
RECOVERIES = 3


class Watch:
    """How a training has been doing, and the last state in which it was well.

    Attributes:
        smooth_loss, best_loss: running mean of the error, and the least that it has been.
        recoveries: how often training had to go back.
        rate_factor: of all learning rates, halved each time.
        good_state: what `state_of` gave; None before the first.
    """

    def __init__(self) -> None:
        self.smooth_loss, self.best_loss = inf, inf
        self.recoveries = 0
        self.rate_factor = 1.0
        self.good_state: dict[str, Any] | None = None

    def keep(self, trainer: "Trainer") -> None:
        """Every so often, a state to go back to."""
        if trainer.step_number % KEEP_EVERY == 0 and _is_finite(trainer):
            self.good_state = state_of(trainer, is_copy=True)

    def is_lost(self, error: float) -> bool:
        """Whether a step's error is no number, or errors have grown far beyond the best they have been."""
        if not isfinite(error):
            return True
        self.smooth_loss = error if self.smooth_loss == inf else 0.95 * self.smooth_loss + 0.05 * error
        self.best_loss = min(self.best_loss, self.smooth_loss)
        return self.smooth_loss > 5 * self.best_loss + 0.05

    def finds_nonsense(self, trainer: "Trainer") -> bool:
        """Whether, at a step at which that is looked for, scene or exposures hold numbers that are none."""
        return trainer.step_number % CHECK_EVERY == 0 and not _is_finite(trainer)

    def recover(self, trainer: "Trainer") -> str:
        """Back to the last good state, with half the learning rates; a sentence that says so.

        Raises:
            TrainingError: there is none, or going back has not helped before.
        """
        self.recoveries += 1
        step, seconds = trainer.step_number, trainer.seconds
        if self.good_state is None or self.recoveries > RECOVERIES:
            raise TrainingError(
                f"the loss became {self.smooth_loss:.3g} at step {step} (best {self.best_loss:.3g}) and "
                f"{self.recoveries - 1} restarts from a good state did not help. Check the poses (`evaluate`, or the "
                "pictures in evaluation/), or let the cameras move more slowly: --set train.rates.motion=[3e-3,1e-4]"
            )
        recoveries, factor = self.recoveries, self.rate_factor
        restore(trainer, self.good_state)
        trainer.step_number, trainer.seconds = step, seconds
        self.recoveries, self.rate_factor = recoveries, factor / 2
        self.smooth_loss = inf
        note = f"the loss exploded at step {step}; back to the last good state, with half the learning rates"
        logger.warning(note)
        return note


def _is_finite(trainer: "Trainer") -> bool:
    """Whether every number of the scene and of the exposures is one; a renderer may skip those that are not."""
    return all(p.isfinite().all() for p in (*trainer.scene.params.values(), *trainer.exposure.parameters()))
