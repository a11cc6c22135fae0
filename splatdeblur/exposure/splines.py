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


def spline_speeds(
    gaps: Float[Tensor, "gap"], rates: Float[Tensor, "gap axis"]
) -> tuple[Float[Tensor, "knot axis"], Float[Tensor, "knot axis"]]:
    """First and second derivatives at the knots of the cubic spline whose mean slopes between knots are `rates`; in
    its first and its last piece it is a parabola.

    Source: de Boor 1978, "A practical guide to splines", chapter IV.
    """
    count = len(gaps) + 1
    if count < 3:
        speeds = rates.mean(0, keepdim=True).nan_to_num().expand(count, -1)
        return speeds, torch.zeros_like(speeds)
    before, after = gaps[:-1], gaps[1:]
    inner = torch.arange(1, count - 1, device=gaps.device)
    system = torch.eye(count, dtype=gaps.dtype, device=gaps.device)
    system[0, 1] = system[-1, -2] = 1
    system[inner, inner - 1], system[inner, inner], system[inner, inner + 1] = after, 2 * (before + after), before
    mixed = 3 * (after[:, None] * rates[:-1] + before[:, None] * rates[1:])
    speeds = torch.linalg.solve(system, torch.cat([2 * rates[:1], mixed, 2 * rates[-1:]]))
    bends = (6 * rates - 4 * speeds[:-1] - 2 * speeds[1:]) / gaps[:, None]
    return speeds, torch.cat([bends, bends[-1:]])


class PosePath(nn.Module):
    """A path through given poses, twice continuously differentiable, exact where the twist is constant.

    Speed and acceleration at each pose are those of a cubic spline, which makes a parabola in the tangent space
    there; between two poses their parabolas are blended by a step whose first two derivatives vanish at both. Before
    the first and after the last pose theirs go on.

    Source of blended parabolas: Overhauser 1968; with speeds of a spline and the smoother step, our own.
    """

    def __init__(self, viewmats: Float[Tensor, "pose 4 4"], times: Float[Tensor, "pose"]) -> None:
        """`times`: of the poses, rising."""
        super().__init__()
        self.register_buffer("poses", viewmats.clone())
        self.register_buffer("times", times.double())
        gaps = times.double().diff()
        steps = log(viewmats[1:].double() @ inverse(viewmats[:-1].double()))
        speeds, bends = spline_speeds(gaps, steps / gaps[:, None])
        self.register_buffer("speeds", speeds.to(viewmats))
        self.register_buffer("bends", bends.to(viewmats))

    def forward(self, times: Float[Tensor, "time"]) -> Float[Tensor, "time 4 4"]:
        """View matrices at times."""
        last = len(self.times) - 1
        start = (torch.searchsorted(self.times, times.detach().contiguous(), right=True) - 1).clamp(0, max(last - 1, 0))
        nearby = torch.stack([start, (start + 1).clamp(max=last)])
        since = times - self.times[nearby]
        x = (since[0] / (since[0] - since[1]).clamp(min=1e-9)).clamp(0, 1).to(self.poses)
        tau = since[..., None].to(self.poses)
        one, other = exp(tau * (self.speeds[nearby] + tau / 2 * self.bends[nearby])) @ self.poses[nearby]
        step = x**3 * (10 - 15 * x + 6 * x**2)
        return exp(step[:, None] * log(other @ inverse(one))) @ one
