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

    All parameters of a group have one shape. Those without a gradient rest, and so does their momentum; or, if
    `rests` is False, theirs is one of zero: the momentum of a visit plays out in the steps after it, and as the second
    moment knows those zeros, a visit moves a parameter by several rates.
    Source of Adam itself: Kingma and Ba 2015.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        rests: bool = True,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "steps": 0, "square": None})
        self.rests = rests

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One step of all parameters that have a gradient, or of all if that moves those without one as well."""
        for group in self.param_groups:
            visited = [p for p in group["params"] if p.grad is not None]
            moving = visited if self.rests else group["params"]
            if moving:
                self._move(moving, visited, group)

    def _move(self, moving: list[Tensor], visited: list[Tensor], group: dict) -> None:
        momentum, memory = group["betas"]
        # As part of the group it is read back wherever it was saved from, which may be another device.
        square = torch.zeros_like(moving[0]) if group["square"] is None else group["square"].to(moving[0])
        square *= memory ** (len(moving) - len(visited))
        for parameter in visited:
            square.lerp_(parameter.grad.square(), 1 - memory)
        group["square"], group["steps"] = square, group["steps"] + len(moving)
        usual = (square / (1 - memory ** group["steps"])).sqrt() + EPS
        states = [self.state[parameter] for parameter in moving]
        for parameter, state in zip(moving, states, strict=True):
            if not state:
                state["steps"], state["mean"] = 0, torch.zeros_like(parameter)
            state["steps"] += 1
        means = [state["mean"] for state in states]
        torch._foreach_mul_(means, momentum)
        for parameter in visited:
            self.state[parameter]["mean"].add_(parameter.grad, alpha=1 - momentum)
        shares = square.new_tensor([1 - momentum ** state["steps"] for state in states])
        moves = (torch.stack(means) / shares.view(-1, *[1] * square.dim()) / usual).clamp(-1, 1) * group["lr"]
        torch._foreach_sub_(moving, list(moves.unbind()))
