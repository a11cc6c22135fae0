"""Where the time of a training step goes."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import torch

from splatdeblur import pipeline
from splatdeblur.config import config_from_plain
from splatdeblur.optimize import Trainer, checkpoint, trainer
from splatdeblur.optimize.visits import VisitAdam
from splatdeblur.render import Rasterizer, Render
from splatdeblur.run import Run

MIDDLE = 0.4  # progress at which steps are watched: cameras move, and Gaussians are still added and removed


class StepClock:
    """Splits the time of training steps by watching the trainer's parts from outside.

    A gradient that arrives at the rendered picture ends the loss's backward pass (and the tone curve's) and begins
    the renderer's; one that arrives at the poses ends that, and what is left of the pass is the motion model's.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._since, self._part = 0.0, ""

    def begin(self, part: str) -> None:
        """Of the backward pass; what ran until now is counted for the part before."""
        now = time.perf_counter()
        self.seconds[self._part] += now - self._since
        self._since, self._part = now, part

    def add(self, part: str, seconds: float) -> None:
        self.seconds[part] += seconds

    def _timed(self, part: str, function: Callable) -> Callable:
        def call(*arguments, **settings):
            began = time.perf_counter()
            result = function(*arguments, **settings)
            self.add(part, time.perf_counter() - began)
            return result

        return call

    def _backward(self, function: Callable) -> Callable:
        def call(*arguments, **settings):
            self._since, self._part = time.perf_counter(), "loss"
            function(*arguments, **settings)
            self.begin("")

        return call

    @contextmanager
    def watching(self, training: Trainer) -> Iterator[None]:
        """Counts the steps made inside."""
        adam, density = torch.optim.Adam, training.density
        with ExitStack() as patches:
            for owner, name, part in [
                (trainer, "photometric", "loss"), (trainer, "scene_prior", "loss"), (trainer, "temporal", "loss"),
                (adam, "step", "optimizer"), (adam, "zero_grad", "optimizer"),
                (VisitAdam, "step", "optimizer"), (VisitAdam, "zero_grad", "optimizer"),
                (density, "before_backward", "density control"), (density, "after_backward", "density control"),
            ]:  # fmt: skip
                patches.enter_context(patch.object(owner, name, self._timed(part, getattr(owner, name))))
            patches.enter_context(patch.object(torch.Tensor, "backward", self._backward(torch.Tensor.backward)))
            patches.enter_context(patch.object(training, "rasterizer", _WatchedRasterizer(training.rasterizer, self)))
            yield


class _WatchedRasterizer:
    """A renderer whose calls, and the arrival of gradients at their outputs and inputs, are noted."""

    def __init__(self, inner: Rasterizer, clock: StepClock) -> None:
        self.name, self.device = inner.name, inner.device
        self._inner, self._clock = inner, clock

    def render(self, scene, cameras, **settings) -> Render:
        if cameras.viewmats.requires_grad:
            cameras.viewmats.register_hook(lambda _: self._clock.begin("exposure, backward"))
        began = time.perf_counter()
        drawn = self._inner.render(scene, cameras, **settings)
        self._clock.add("render, forward", time.perf_counter() - began)
        drawn.rgb.register_hook(lambda _: self._clock.begin("render, backward"))
        return drawn


def training_in(folder: Path) -> Trainer:
    """The training of a run folder, set back to MIDDLE with the scene that it ended with."""
    run = Run(folder)
    saved = checkpoint.load(run.require(run.checkpoint, "train"))
    training = pipeline.make_trainer(run, config_from_plain(saved.settings))
    training.load_state(saved.state)
    training.step_number, training.seconds = int(MIDDLE * training.config.steps), 0.0
    return training


def step_shares(training: Trainer, steps: int, warm_up: int = 5) -> tuple[float, dict[str, float]]:
    """Seconds per step, and each part's share of them."""
    for _ in range(warm_up):
        training.step()
    clock = StepClock()
    with clock.watching(training):
        began = time.perf_counter()
        for _ in range(steps):
            training.step()
        total = time.perf_counter() - began
    shares = {part: seconds / total for part, seconds in clock.seconds.items()}
    shares["everything else"] = 1 - sum(shares.values())
    return total / steps, dict(sorted(shares.items(), key=lambda item: -item[1]))
