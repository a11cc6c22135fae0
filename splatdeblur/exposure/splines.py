"""Smooth curves through time: cubic B-splines on any knots, and a path of poses through given ones."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..geometry import exp, inverse, log


def cubic_b_spline(
    times: Float[Tensor, "time"], knots: Float[Tensor, "knot"]
) -> tuple[Int[Tensor, "time"], Float[Tensor, "time 4"]]:
    """Number of the first of the four control points that count at each time, and the weights of all four.

    Between `knots[3]` and `knots[-4]`, rising, the sum of weighted control points is twice continuously
    differentiable; outside, each end goes on as it is at its last instant. There are 4 control points fewer than knots.
    Source: Cox 1972 and de Boor 1972.
    """
    times = times.clamp(knots[3], knots[-4])
    span = torch.searchsorted(knots, times.detach().contiguous(), right=True).clamp(4, len(knots) - 4) - 1
    before = [times - knots[span - i] for i in range(3)]
    after = [knots[span + 1 + i] - times for i in range(3)]
    weights = [torch.ones_like(times)]
    for degree in range(1, 4):
        higher, carried = [], torch.zeros_like(times)
        for i, weight in enumerate(weights):
            part = weight / (after[i] + before[degree - 1 - i])
            higher.append(carried + after[i] * part)
            carried = before[degree - 1 - i] * part
        weights = [*higher, carried]
    return span - 3, torch.stack(weights, dim=-1)


class PosePath(nn.Module):
    """A path through given poses, twice continuously differentiable, exact where the twist is constant.

    Around each pose runs the parabola, in the tangent space there, through its two neighbours; between two poses
    their parabolas are blended by a step whose first two derivatives vanish at both. Before the first and after the
    last pose it goes on at constant twist. All is local: a wrong pose bends the path to its neighbours' neighbours.

    Source of blended parabolas: Overhauser 1968; on SE(3), with the smoother step, our own.
    """

    def __init__(self, viewmats: Float[Tensor, "pose 4 4"], times: Float[Tensor, "pose"]) -> None:
        """`times`: of the poses, rising."""
        super().__init__()
        self.register_buffer("poses", viewmats.clone())
        self.register_buffer("times", times.double())
        speed = viewmats.new_zeros(len(viewmats), 6)
        bend = torch.zeros_like(speed)
        if len(viewmats) > 1:
            gaps = times.diff().to(viewmats)[:, None]
            onward = log(viewmats[1:] @ inverse(viewmats[:-1])) / gaps
            back = log(viewmats[:-1] @ inverse(viewmats[1:])) / gaps
            bend[1:-1] = (onward[1:] + back[:-1]) / (gaps[1:] + gaps[:-1])
            speed[:-1] = onward - bend[:-1] * gaps
            speed[-1] = -back[-1]
        self.register_buffer("speed", speed)
        self.register_buffer("bend", bend)

    def forward(self, times: Float[Tensor, "time"]) -> Float[Tensor, "time 4 4"]:
        """View matrices at times."""
        last = len(self.times) - 1
        start = (torch.searchsorted(self.times, times.detach().contiguous(), right=True) - 1).clamp(0, max(last - 1, 0))
        nearby = torch.stack([start, (start + 1).clamp(max=last)])
        since = times - self.times[nearby]
        x = (since[0] / (since[0] - since[1]).clamp(min=1e-9)).clamp(0, 1).to(self.poses)
        tau = since[..., None].to(self.poses)
        one, other = exp(tau * (self.speed[nearby] + tau * self.bend[nearby])) @ self.poses[nearby]
        step = x**3 * (10 - 15 * x + 6 * x**2)
        return exp(step[:, None] * log(other @ inverse(one))) @ one
