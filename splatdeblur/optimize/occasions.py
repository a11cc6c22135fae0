"""What a training does at a few moments besides its steps, in the order in which it is done where moments coincide."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .causes import JUDGE_AT
from .idle import IDLE_AT, take_out_idle, wants_idle_out
from .judging import judge_photos
from .look_back import LOOK_BACK_AT, look_back
from .obstructions import OBSTRUCTIONS_AT, take_out_obstructions, wants_obstructions_out
from .orders import GROW_AT, grow_curves
from .readout import READOUT_AT
from .refits import REFIT_AT, refit_paths

if TYPE_CHECKING:
    from .trainer import Trainer


@dataclass(frozen=True)
class Occasion:
    """Something that is done at some moments of a training.

    Attributes:
        at: progress of the training at which it is done, in order. Of moments that a training under a clock went past
            at once only the last counts, and the others as if they had been kept.
        is_wanted: whether it is to be done, by settings, photos and how the training stands.
        do: does it; a sentence on that, or nothing.
    """

    at: tuple[float, ...]
    is_wanted: Callable[["Trainer"], bool]
    do: Callable[["Trainer"], str]

    def passed(self, progress: float) -> int:
        """How many of its moments a training has reached."""
        return sum(progress >= moment for moment in self.at)


OCCASIONS: dict[str, Occasion] = {
    "looks": Occasion(LOOK_BACK_AT, lambda t: t.config.looks_back, look_back),
    "readouts": Occasion(READOUT_AT, lambda t: t.config.looks_back and t.config.shutter.learns_readout, look_back),
    "growths": Occasion(GROW_AT, lambda t: t.exposure.motion.grows, grow_curves),
    "judgements": Occasion(JUDGE_AT, lambda t: t.judges, judge_photos),
    "refits": Occasion(REFIT_AT, lambda t: t.refits_paths, refit_paths),
    "idles": Occasion(IDLE_AT, wants_idle_out, take_out_idle),
    "unblocked": Occasion(OBSTRUCTIONS_AT, wants_obstructions_out, take_out_obstructions),
}


def passed_before(progress: float) -> dict[str, int]:
    """How many moments of each occasion lie behind a training that comes as far as that, that very moment not."""
    return {name: sum(moment < progress for moment in occasion.at) for name, occasion in OCCASIONS.items()}


def attend(trainer: "Trainer") -> Iterator[str]:
    """Does what the training has come to by now, one after the other; sentences on that."""
    for name, occasion in OCCASIONS.items():
        if (passed := occasion.passed(trainer.progress)) > trainer.done[name]:
            trainer.done[name] = passed
            if occasion.is_wanted(trainer) and (sentence := occasion.do(trainer)):
                yield sentence
