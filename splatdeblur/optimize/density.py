"""How many Gaussians, and where: gsplat's strategies behind one small protocol, on the CPU as well.

Sub-frames arrive as cameras of one call: each sub-frame's screen gradient carries 1 / S of the photo's, the
strategies multiply by the number of cameras and average over those that see a Gaussian, so thresholds keep the
meaning that they have for single renders.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import gsplat.strategy.ops as gsplat_ops
import torch
from gsplat.strategy import DefaultStrategy, MCMCStrategy
from jaxtyping import Float
from torch import Tensor

from ..geometry import matrix_from_quat
from ..render import Render
from ..scene import Gaussians
from .schedules import geometric, ramp

ROUNDS = 60  # to which even a short training is divided, with a refinement in each ...
LEAST_APART = 50  # ... in steps: gradients of fewer photos tell little
SPENT_AT = 0.9  # of the time between start and stop: the budget may be full
DUE = 2  # of all step numbers that gsplat's strategies are told, the one at which they refine
REFERENCE_HEIGHT_PX = 800  # of the photos that the field's gradient thresholds were tuned on


@dataclass(frozen=True)
class Default:
    """3DGS's density control: split and clone where screen gradients are large, prune the transparent.

    The budget is spent evenly over the time between start and stop, on what pulls most by then: were it spent at once,
    it would go to what is wrong in a scene without detail, and nothing be left for what detail still lacks.

    Attributes:
        threshold: start and end of the gradient threshold's annealing (DeblurGS's GDA), for photos 800 px high.
        by_magnitude: gradients are summed by their magnitudes over the pixels. A Gaussian that stands for many small
            things is pulled in all directions at once, so that its plain gradient is small; this has it split all the
            same (AbsGS, Ye et al. 2024). Thresholds are larger then.
        anneal_until: progress at which the end is reached.
        start, stop: progress between which it works.
        every: steps between two refinements; fewer where that is more than 1 / ROUNDS of the training.
        prune_opacity: Gaussians fainter than this are removed.
        idle: four times until half of the training, Gaussians which hardly show in any photo are removed, as many as
            together have less than this share of what all photos show (`idle.py`); 0 keeps them. Not where looking
            at every photo takes long beside the training.
        reset_every: steps between two resets of all opacities; 0 never.
    """

    threshold: tuple[float, float] = (4.5e-4, 3e-4)
    by_magnitude: bool = True
    anneal_until: float = 0.3
    start: float = 0.03
    stop: float = 0.6
    every: int = 100
    prune_opacity: float = 0.005
    idle: float = 0.002
    reset_every: int = 0


@dataclass(frozen=True)
class MCMC:
    """3DGS-MCMC: dead Gaussians move to where live ones are, noise explores.

    Attributes:
        start, stop: progress between which it works.
        every: steps between two relocations; fewer where that is more than 1 / ROUNDS of the training.
        noise: strength of the exploration.
        min_opacity: fainter Gaussians are dead.
    """

    start: float = 0.03
    stop: float = 0.8
    every: int = 100
    noise: float = 5e5
    min_opacity: float = 0.005


@torch.no_grad()
def relocation(
    opacities: Float[Tensor, "N"],
    scales: Float[Tensor, "N 3"],
    ratios: Tensor,
    binoms: Float[Tensor, "M M"],
) -> tuple[Float[Tensor, "N"], Float[Tensor, "N 3"]]:
    """Opacity and scales of each of `ratios` copies that together look like the one Gaussian they replace.

    Source: Kheradmand et al. 2024, equation 9. gsplat has it as a CUDA kernel only.
    """
    copies = ratios.long().clamp(1, len(binoms))
    new_opacities = 1 - (1 - opacities) ** (1 / copies)
    # denominator = sum_{i=1..n} sum_{k=0..i-1} C(i-1, k) (-1)^k o^{k+1} / sqrt(k+1)
    k = torch.arange(len(binoms), device=opacities.device, dtype=opacities.dtype)
    signed = binoms.to(opacities) * (-1) ** k / (k + 1).sqrt()  # [i - 1, k]
    powers = new_opacities[:, None] ** (k + 1)
    totals = (powers @ signed.mT).cumsum(-1)  # entry i - 1 sums all up to i
    denominator = totals.gather(1, (copies - 1)[:, None])
    return new_opacities, scales * (opacities[:, None] / denominator)


def _covariances(
    quats: Float[Tensor, "N 4"], scales: Float[Tensor, "N 3"], **_: bool
) -> tuple[Float[Tensor, "N 3 3"], None]:
    """What gsplat's `quat_scale_to_covar_preci` gives, covariances only."""
    axes = matrix_from_quat(quats) * scales[:, None, :]
    return axes @ axes.mT, None


@contextmanager
def _without_cuda(device: torch.device) -> Iterator[None]:
    """gsplat's strategy with plain torch in place of its two CUDA kernels, where those cannot run."""
    if device.type == "cuda":
        yield
        return
    with (
        patch.object(gsplat_ops, "compute_relocation", relocation),
        patch.object(gsplat_ops, "quat_scale_to_covar_preci", _covariances),
    ):
        yield


@contextmanager
def _seeded(generator: torch.Generator) -> Iterator[None]:
    """gsplat draws from torch's global generator: lend it a seed of ours, and put the global state back after."""
    seed = int(torch.randint(2**62, (1,), generator=generator))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


class DensityControl:
    """One of the two strategies, working on a budget."""

    def __init__(self, config: Default | MCMC, *, budget: int, scene_scale: float, steps: int) -> None:
        self.config = config
        self.budget = budget
        self.steps = steps
        if isinstance(config, Default):
            self._strategy = DefaultStrategy(
                prune_opa=config.prune_opacity, refine_start_iter=0, refine_stop_iter=2**60,
                refine_every=DUE, reset_every=2**60, absgrad=config.by_magnitude,
            )  # fmt: skip
            self.state: dict[str, Any] = self._strategy.initialize_state(scene_scale=scene_scale)
        else:
            self._strategy = MCMCStrategy(
                cap_max=budget, noise_lr=config.noise, refine_start_iter=0, refine_stop_iter=2**60,
                refine_every=DUE, min_opacity=config.min_opacity,
            )  # fmt: skip
            self.state = self._strategy.initialize_state()
        self.state["refined"] = [0, 0.0]  # step and progress of the last refinement

    def needs_magnitudes(self, progress: float) -> bool:
        """Whether a render at this progress is to keep the magnitudes of its screen gradients."""
        config = self.config
        return isinstance(config, Default) and config.by_magnitude and config.start <= progress < config.stop

    def before_backward(self, render: Render) -> None:
        """Keeps the gradient of the screen positions, where the strategy needs it."""
        if isinstance(self.config, Default) and render.info.means2d.requires_grad:
            render.info.means2d.retain_grad()

    def after_backward(
        self,
        scene: Gaussians,
        optimizers: dict[str, torch.optim.Optimizer],
        render: Render,
        *,
        step: int,
        progress: float,
        means_lr: float,
        generator: torch.Generator,
    ) -> None:
        """Counts, and every so often refines; the scene's parameters may be replaced by others."""
        config = self.config
        is_working = config.start <= progress < config.stop
        is_due = is_working and self._is_due(step, progress)
        own_step = DUE if is_due else DUE - 1
        if isinstance(config, MCMC):
            # Between refinements, and outside of its time, the strategy still explores.
            with _seeded(generator), _without_cuda(scene.means.device):
                self._strategy.step_post_backward(
                    scene.params, optimizers, self.state, own_step, info={}, lr=means_lr
                )
            return
        if not is_working:
            return
        info = render.info
        if is_due:
            self._strategy.grow_grad2d = self._threshold(scene, progress, info.height)
        with _seeded(generator):
            self._strategy.step_post_backward(
                scene.params, optimizers, self.state, own_step,
                info={
                    "means2d": info.means2d, "radii": info.radii, "width": info.width, "height": info.height,
                    "n_cameras": len(info.radii), "gaussian_ids": None,
                },
            )  # fmt: skip
        if config.reset_every and step > 0 and step % config.reset_every == 0:
            # Not left to the strategy: in gsplat 1.5.3 its own condition is never true.
            gsplat_ops.reset_opa(scene.params, optimizers, self.state, value=2 * config.prune_opacity)

    def _is_due(self, step: int, progress: float) -> bool:
        """Whether it is time to refine again; if so, that is noted."""
        last_step, last_progress = self.state.get("refined", (0, 0.0))
        if last_step > step:  # the training was taken back
            last_step, last_progress = 0, 0.0
        if self.state.get("grad2d", ()) is None:  # what one photo tells is little
            self.state["refined"] = [step, progress]
            return False
        is_time = progress - last_progress >= 1 / ROUNDS and step - last_step >= LEAST_APART
        is_due = is_time or step - last_step >= self.config.every
        if is_due:
            self.state["refined"] = [step, progress]
        return is_due

    def _threshold(self, scene: Gaussians, progress: float, height_px: int) -> float:
        """The annealed threshold at this resolution, raised as far as the budget demands."""
        config = self.config
        # The loss is a mean over pixels: on a smaller picture each Gaussian has a larger share in it.
        scale = REFERENCE_HEIGHT_PX / height_px
        threshold = geometric(*config.threshold, ramp(progress, 0, config.anneal_until)) * scale
        room = self._allowed(len(scene), progress) - len(scene)
        means = self.state["grad2d"] / self.state["count"].clamp(min=1)
        if room <= 0:
            return float("inf")
        if room < len(means):
            threshold = max(threshold, means.topk(room).values[-1].item())
        return threshold

    def _allowed(self, count: int, progress: float) -> int:
        """How much of the budget may be spent by now; `count` Gaussians there are."""
        start, stop = self.config.start, self.config.stop
        first = self.state.setdefault("first", count)
        return round(first + (self.budget - first) * ramp(progress, start, start + SPENT_AT * (stop - start)))
