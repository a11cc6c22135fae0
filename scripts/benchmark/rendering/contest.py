"""Contestants drawing the same scene in turns, and where the renderer's time goes."""

import importlib
import pkgutil
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

import numba
import torch
from numba.core.dispatcher import Dispatcher

from splatdeblur.render import Burst, cpu, kernels

from .scalar import ScalarRender
from .workloads import Workload, path

STAGES = {
    "culling": "projection", "projection": "projection", "tiles": "tile lists",
    "blend": "blending", "average": "blending",
}  # fmt: skip


@dataclass(frozen=True)
class Lap:
    """One forward and one backward pass.

    Attributes:
        forward_s, backward_s: by the clock on the wall.
        processor_s: of both together, summed over threads; other work on the machine hardly changes it.
        stages_s: of the stages in both together, by the clock on the wall.
    """

    forward_s: float
    backward_s: float
    processor_s: float
    stages_s: dict[str, float] = field(default_factory=dict)

    @property
    def total_s(self) -> float:
        return self.forward_s + self.backward_s


@dataclass(frozen=True)
class Quartiles:
    """Median, and the quartiles on both sides of it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Quartiles":
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def text(self, scale: float = 1.0, digits: int = 1) -> str:
        low, median, high = (f"{x * scale:.{digits}f}" for x in (self.low, self.median, self.high))
        return f"{median} [{low}, {high}]"


def _stage(kernel: Dispatcher) -> str:
    module = kernel.__module__.rpartition(".")[2]
    return "sort" if "sort" in kernel.__name__ else STAGES.get(module, module)


def summary(laps: list[Lap]) -> dict[str, Quartiles | dict[str, float]]:
    """Quartiles of the seconds, and each stage's median share of them."""
    return {
        "forward_s": Quartiles.of([lap.forward_s for lap in laps]),
        "backward_s": Quartiles.of([lap.backward_s for lap in laps]),
        "processor_s": Quartiles.of([lap.processor_s for lap in laps]),
        "shares": {stage: share_of(stage, laps).median for stage in laps[0].stages_s},
    }


def share_of(stage: str, laps: list[Lap]) -> Quartiles:
    """Of the time of forward and backward together."""
    return Quartiles.of([lap.stages_s.get(stage, 0.0) / lap.total_s for lap in laps])


class KernelClock:
    """Adds up the time inside the renderer's compiled functions, by stage and by function."""

    def __init__(self) -> None:
        self.stages_s: dict[str, float] = defaultdict(float)
        self.kernels_s: dict[str, float] = defaultdict(float)

    def _timed(self, kernel: Dispatcher) -> Callable:
        def call(*arguments):
            began = time.perf_counter()
            try:
                return kernel(*arguments)
            finally:
                seconds = time.perf_counter() - began
                self.stages_s[_stage(kernel)] += seconds
                self.kernels_s[kernel.__name__] += seconds

        return call

    @contextmanager
    def running(self) -> Iterator["KernelClock"]:
        """Watches the compiled functions that are called from Python, from outside.

        Not those that kernels call: compiled code must find them as they are.
        """
        found = pkgutil.iter_modules(kernels.__path__, kernels.__name__ + ".")
        modules = [importlib.import_module(item.name) for item in found]
        with ExitStack() as patches:
            for module in modules:
                for name, value in list(vars(module).items()):
                    if isinstance(value, Dispatcher) and not value.targetoptions.get("no_cpython_wrapper"):
                        patches.enter_context(patch.object(module, name, self._timed(value)))
            yield self


class ScalarContestant:
    """The plain loop, from projected ellipses in depth order."""

    threads = 1

    def __init__(self, render: ScalarRender, v_rgb: torch.Tensor, v_alpha: torch.Tensor) -> None:
        self.render, self.gradients = render, (v_rgb[0].numpy(), v_alpha[0].numpy())

    def lap(self) -> Lap:
        processor, began = time.process_time(), time.perf_counter()
        self.render.forward()
        middle = time.perf_counter()
        self.render.backward(*self.gradients)
        return Lap(middle - began, time.perf_counter() - middle, time.process_time() - processor)


class CpuContestant:
    """The renderer as training calls it, from the scene's raw values, and back to them and to the poses."""

    def __init__(
        self, workload: Workload, threads: int, v_rgb: torch.Tensor, v_alpha: torch.Tensor,
        subframes: int = 0, is_thick: bool = False,
    ) -> None:  # fmt: skip
        """`subframes` of a burst; 0 for a single sharp view."""
        self.threads = threads
        self._workload, self._gradients = workload, [v_rgb, v_alpha]
        self._cameras, self._burst = workload.camera, None
        if subframes:
            self._cameras, self._burst = path(workload, subframes, is_thick=is_thick)

    def lap(self) -> Lap:
        numba.set_num_threads(self.threads)
        torch.set_num_threads(self.threads)
        self._workload.scene.params.zero_grad(set_to_none=True)
        cameras, burst = self._with_gradients()
        with KernelClock().running() as clock:
            processor, began = time.process_time(), time.perf_counter()
            drawn = cpu.CpuRasterizer().render(self._workload.scene, cameras, burst=burst)
            middle = time.perf_counter()
            torch.autograd.backward([drawn.rgb, drawn.alpha], self._gradients)
            end, processor = time.perf_counter(), time.process_time() - processor
        self.drawn = drawn.rgb.detach(), drawn.alpha.detach()
        return Lap(middle - began, end - middle, processor, dict(clock.stages_s))

    def _with_gradients(self) -> tuple:
        cameras = self._cameras.with_viewmats(self._cameras.viewmats.clone().requires_grad_())
        if self._burst is None or self._burst.slices is None:
            return cameras, self._burst
        return cameras, Burst(self._burst.weights, self._burst.slices.clone().requires_grad_())


def compete(contestants: dict[str, ScalarContestant | CpuContestant], rounds: int) -> dict[str, list[Lap]]:
    """Every contestant once per round, so that what else the machine does meets them all; a first round is not kept."""
    laps: dict[str, list[Lap]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, contestant in contestants.items():
            lap = contestant.lap()
            if number:
                laps[name].append(lap)
    return laps
