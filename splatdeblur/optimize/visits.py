"""Adam for parameters that belong to photos, each of which is seen only now and then."""

from collections.abc import Iterable

import torch
from torch import Tensor

EPS = 1e-15


class VisitAdam(torch.optim.Optimizer):
    """Adam whose second moment is shared by the parameters of all photos.

    With a second moment of its own, each photo's first steps are as long as the rate whatever its gradient, and in
    a few dozen visits a photo takes hardly any others. Measured by what gradients are over all photos, one with
    little to gain (it is sharp, say) moves little. No element moves further than the rate in one step.

    All parameters of a group have one shape; those without a gradient rest, and so does their momentum.
    Source of Adam itself: Kingma and Ba 2015.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "steps": 0, "square": None})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One step of all parameters that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)

    def _move(self, parameter: Tensor, group: dict) -> None:
        momentum, memory = group["betas"]
        state = self.state[parameter]
        if not state:
            state["steps"], state["mean"] = 0, torch.zeros_like(parameter)
        # As part of the group it is read back wherever it was saved from, which may be another device.
        group["square"] = torch.zeros_like(parameter) if group["square"] is None else group["square"].to(parameter)
        state["steps"] += 1
        group["steps"] += 1
        state["mean"].lerp_(parameter.grad, 1 - momentum)
        group["square"].lerp_(parameter.grad.square(), 1 - memory)
        mean = state["mean"] / (1 - momentum ** state["steps"])
        square = group["square"] / (1 - memory ** group["steps"])
        parameter.sub_(group["lr"] * (mean / (square.sqrt() + EPS)).clamp(-1, 1))
