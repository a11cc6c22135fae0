"""Where the camera was while the shutter was open: one curve per photo, as a small delta on the photo's pose.

A curve is `sum_j basis_j(u) p_j` in the tangent space of SE(3) at the pose, anchored so that its middle, u = 0.5,
is the pose itself; the pose has a correction of its own. Deltas never meet the singularity of the logarithm at pi,
which absolute curves do. Control points count translation in units of the scene's depth before the camera, so that
translation and rotation of equal size move the picture by equally many pixels, and share a learning rate.
"""

from dataclasses import dataclass, replace
from functools import cache
from math import ceil, comb, cos, sin
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..geometry import exp

ORDERS_BEYOND, MOST_BEYOND = 2, 4  # of a Bezier curve, for each exposure that it lasts beyond the first; in all
UNFOLDED_AT, UNFOLDED_ORDER = 33, 3  # instants of a path that is laid out anew, and the order of what it becomes


def bernstein(times: Float[Tensor, "time"], order: int) -> Float[Tensor, "time control"]:
    """Bernstein polynomials: a Bezier curve is their sum weighted by its control points."""
    u = times[:, None]
    j = torch.arange(order + 1, dtype=times.dtype, device=times.device)
    binomials = times.new_tensor([comb(order, k) for k in range(order + 1)])
    return binomials * u**j * (1 - u) ** (order - j)


def uniform_cubic_spline(times: Float[Tensor, "time"]) -> Float[Tensor, "time 4"]:
    """The four blending functions of one segment of a uniform cubic B-spline."""
    u = times
    return torch.stack(
        [
            1 / 6 - u / 2 + u**2 / 2 - u**3 / 6,
            2 / 3 - u**2 + u**3 / 2,
            1 / 6 + u / 2 + u**2 / 2 - u**3 / 2,
            u**3 / 6,
        ],
        dim=-1,
    )


@dataclass(frozen=True)
class Static:
    """The camera stood still: photos are sharp, or their blur is not explained."""

    controls: ClassVar[int] = 0

    def basis(self, times: Float[Tensor, "time"]) -> Float[Tensor, "time control"]:
        return times.new_zeros(len(times), 0)


@dataclass(frozen=True)
class Linear:
    """Constant velocity, from one end pose to the other (BAD-Gaussians' first model)."""

    controls: ClassVar[int] = 2

    def basis(self, times: Float[Tensor, "time"]) -> Float[Tensor, "time control"]:
        return bernstein(times, 1)


@dataclass(frozen=True)
class CubicSpline:
    """One segment of a uniform cubic B-spline with four knots (BAD-Gaussians' second model)."""

    controls: ClassVar[int] = 4

    def basis(self, times: Float[Tensor, "time"]) -> Float[Tensor, "time control"]:
        return uniform_cubic_spline(times)


@dataclass(frozen=True)
class Bezier:
    """A Bezier curve (DeblurGS's model).

    Attributes:
        order: polynomial order, 1 or more; it has one control point more than that. With a read-out that is told, a
            rolling shutter's curves have up to MOST_BEYOND more, and begin with as many more where they grow.
        grows_from: each photo's curve starts at this order, and gets the next one, up to `order`, where that explains
            pixels better that were left out of the fit; 0 gives all curves their full order at once.
        bends: space is bent besides, by an affine map that follows a curve of its own (CoMoGaussian's).
    """

    order: int = 9
    grows_from: int = 0
    bends: bool = False

    @property
    def controls(self) -> int:
        return self.order + 1

    def basis(self, times: Float[Tensor, "time"]) -> Float[Tensor, "time control"]:
        return bernstein(times, self.order)


@cache
def order_elevation(lower: int, order: int) -> Float[Tensor, "control lower_control"]:
    """Takes control points of a Bezier curve to those of the same curve as one of a higher `order`."""
    return torch.tensor(
        [
            [comb(lower, i) * comb(order - lower, j - i) / comb(order, j) if j >= i else 0.0 for i in range(lower + 1)]
            for j in range(order + 1)
        ],
        dtype=torch.float64,
    )


@cache
def order_projection(lower: int, order: int) -> Float[Tensor, "control control"]:
    """Takes control points of a Bezier curve of `order` to those of the nearest curve of a lower order, elevated."""
    elevation = order_elevation(lower, order)
    return elevation @ torch.linalg.pinv(elevation)


MotionModel = Static | Linear | CubicSpline | Bezier


def lasting(model: MotionModel, readout: float) -> MotionModel:
    """The model for curves that go on beyond the exposure, for `readout` times as long: what a curve does in the time
    of one exposure takes its whole order."""
    if not isinstance(model, Bezier):
        return model
    more = min(ceil(ORDERS_BEYOND * readout), MOST_BEYOND)
    grows_from = model.grows_from + more if 0 < model.grows_from < model.order else 0
    return replace(model, order=model.order + more, grows_from=grows_from)


def _in_picture(curve: Float[Tensor, "time column"]) -> Float[Tensor, "time 2"]:
    """Where a curve takes a point on the optical axis, in radians right and down, by moving the world or turning it."""
    return torch.stack([curve[:, 0] + curve[:, 4], curve[:, 1] - curve[:, 3]], dim=1)


def _least_squares(rows: Float[Tensor, "row column"], values: Float[Tensor, "row value"]) -> Tensor:
    """[column, value]; on the CPU, as CUDA's solver knows no rows that depend on each other."""
    return torch.linalg.lstsq(rows.cpu(), values.cpu(), driver="gelsd").solution.to(values)


def path_length_px(curve: Float[Tensor, "time 6"], focal_px: float) -> Float[Tensor, ""]:
    """About how long a blur is, in px: the path of a point at the scene's depth, near the optical axis, for a curve in
    radians and scene depths."""
    # Turning about the axis moves points off it by the angle times their distance: a quarter focal length, say.
    path = torch.cat([_in_picture(curve), 0.25 * curve[:, 5:6]], dim=1)
    squared = path.diff(dim=0).square().sum(-1)
    return focal_px * (squared + 1e-14).sqrt().sum()  # the small number keeps the gradient finite at rest


Span = float | Float[Tensor, ""]
"""How many exposures shutter time covers, more than one with a rolling shutter."""


class Motion(nn.Module):
    """The curves of all photos.

    Parameters, one tensor per photo so that an optimizer moves only the photo at hand, in radians and scene depths:
        control_points: [control, 6] each; [control, 15] where space bends, the last nine of an affine map's matrix.
        pose_deltas: [6] each, corrections of the poses themselves.
    Buffers:
        orders: of each photo's curve, where orders grow.
        reach: how many exposures the curves cover, where shutter time may come to cover more or fewer of them.
    """

    is_reversible: ClassVar[bool] = True  # blur alone leaves open which way a path ran

    def __init__(
        self,
        model: MotionModel,
        viewmats: Float[Tensor, "frame 4 4"],
        depths: Float[Tensor, "frame"],
        *,
        noise: float,
        generator: torch.Generator,
        reach: float | None = None,
    ) -> None:
        """`depths`: typical z-depth of the scene in each photo; `noise`: std of the initial control points.

        `reach`: how many exposures the curves cover at first; None: all of shutter time, whatever that is.
        """
        super().__init__()
        self.model = model
        self.bends = isinstance(model, Bezier) and model.bends
        self.grows = isinstance(model, Bezier) and 0 < model.grows_from < model.order
        columns = 15 if self.bends else 6
        noises = noise * torch.randn((len(viewmats), model.controls, columns), generator=generator).to(viewmats)
        self.control_points = nn.ParameterList(nn.Parameter(points) for points in noises)
        self.pose_deltas = nn.ParameterList(nn.Parameter(viewmats.new_zeros(6)) for _ in viewmats)
        self.register_buffer("poses", viewmats.clone())
        self.register_buffer("units", viewmats.new_ones(len(viewmats), 6))
        self.units[:, :3] = depths[:, None]
        if self.grows:
            self.register_buffer("orders", torch.full((len(viewmats),), model.grows_from))
        if reach is not None:
            self.register_buffer("reach", viewmats.new_tensor(reach))

    @property
    def is_elastic(self) -> bool:
        """Whether shutter time may cover more or less than the curves."""
        return hasattr(self, "reach")

    def points(self, frame: int) -> Float[Tensor, "control column"]:
        """A photo's control points, of a curve of the order that it has by now."""
        points = self.control_points[frame]
        if not self.grows:
            return points
        return order_projection(self.orders[frame].item(), self.model.order).to(points) @ points

    def _on_curve(self, times: Float[Tensor, "time"], span: Span | None) -> Float[Tensor, "time"]:
        """Where on the curves, which cover [0, 1], shutter times are."""
        return 0.5 + (times - 0.5) * (span / self.reach) if self.is_elastic and span is not None else times

    def _curve(
        self, frame: int, times: Float[Tensor, "time"], span: Span | None = None
    ) -> Float[Tensor, "time column"]:
        """0 in the middle of the exposure."""
        basis = self.model.basis(self._on_curve(times, span))
        return (basis - self.model.basis(times.new_tensor([0.5]))) @ self.points(frame)

    def of_photos(self) -> dict[str, list[nn.Parameter]]:
        """Parameters that move only when a photo they are about is seen, by the name of their learning rate."""
        return {"motion": list(self.control_points), "pose": list(self.pose_deltas)}

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those of the camera, for all photos: none."""
        return []

    def pose_delta(self, frame: int) -> Float[Tensor, "6"]:
        """By how much the middle of a photo's exposure has left the pose that training started from."""
        return self.pose_deltas[frame]

    def forward(
        self, frame: int, times: Float[Tensor, "time"], span: Span | None = None
    ) -> Float[Tensor, "time 4 4"]:
        """View matrices of photo `frame` at shutter times, of which [0, 1] covers `span` exposures; None: the curve."""
        delta = self.pose_deltas[frame].expand(len(times), 6)
        if self.model.controls:
            delta = delta + self._curve(frame, times, span)[:, :6]
        return exp(delta * self.units[frame]) @ self.poses[frame]

    def bent(
        self, viewmats: Float[Tensor, "time 4 4"], frame: int, times: Float[Tensor, "time"], factor: float | int = 1
    ) -> Float[Tensor, "time 4 4"]:
        """View matrices with the bending of space at these times, `factor` times as strong; as they are without any.

        They are what is drawn, no poses any more.
        """
        if not self.bends:
            return viewmats
        affine = torch.eye(4).to(viewmats).repeat(len(times), 1, 1)
        affine[:, :3, :3] += factor * self._curve(frame, times)[:, 6:].view(-1, 3, 3)
        return affine @ viewmats

    @torch.no_grad()
    def cover(self, span: float) -> None:
        """Makes the curves cover so many exposures; they stay where they are, in so far as they are polynomials."""
        if not (self.is_elastic and self.model.controls):
            return
        times = torch.linspace(0, 1, 4 * self.model.controls, dtype=torch.float64)
        longer = self.model.basis(0.5 + (times - 0.5) * (span / self.reach.item()))
        change = _least_squares(self.model.basis(times), longer).to(self.poses)
        for points in self.control_points:
            points.copy_(change @ points)
        self.reach.fill_(span)

    def strain(self, frame: int, times: Float[Tensor, "time"]) -> Float[Tensor, ""]:
        """How far space bends from rotating: mean of |A A^T - I| over the times and entries (CoMoGaussian's L_o)."""
        eye = torch.eye(4).to(times)
        affine = self.bent(eye.expand(len(times), 4, 4), frame, times)[:, :3, :3]
        return (affine @ affine.mT - eye[:3, :3]).abs().mean()

    def length_px(
        self, frame: int, focal_px: float, span: Span | None = None, num_times: int = 17
    ) -> Float[Tensor, ""]:
        """About how long a photo's path is, in px."""
        if not self.model.controls:
            return self.units.new_zeros(())
        times = self._on_curve(torch.linspace(0, 1, num_times).to(self.units), span)
        return path_length_px((self.model.basis(times) @ self.points(frame))[:, :6], focal_px)

    @torch.no_grad()
    def shorten(self, frame: int, longest_px: float, focal_px: float, span: Span | None = None) -> None:
        """Scales a photo's curve down to `longest_px` where it is longer."""
        length = self.length_px(frame, focal_px, span).item()
        if length > longest_px:
            self.control_points[frame].mul_(longest_px / length)

    @torch.no_grad()
    def begin(self, frame: int, noise: float, generator: torch.Generator) -> None:
        """Draws a photo's curve anew, as all are at first: none at all would have no gradient."""
        points = self.control_points[frame]
        points.copy_(noise * torch.randn(points.shape, generator=generator).to(points))

    @torch.no_grad()
    def trace(self, frame: int, velocity: Float[Tensor, "2"], acceleration: Float[Tensor, "2"]) -> None:
        """Makes a photo's curve the turning of the camera that moves points at the optical axis, in radians right and
        down at time u, by velocity (u - 1/2) + acceleration (u - 1/2)^2, as nearly as the model can."""
        times = torch.linspace(0, 1, 17).to(self.units)
        since = times[:, None] - 0.5
        x, y = (since * velocity + since**2 * acceleration).T
        curve = torch.zeros(len(times), 6).to(x)
        curve[:, 3], curve[:, 4] = -y, x
        self._follow(frame, times, curve)

    @torch.no_grad()
    def go(self, frame: int, velocity: Float[Tensor, "6"], span: Span) -> None:
        """Makes a photo's curve, which covers `span` exposures, that of a camera that moves by `velocity` per exposure:
        world units and radians, along and about its own OpenCV axes."""
        if not self.model.controls:
            return
        times = torch.linspace(0, 1, 17).to(self.units)
        turned = -velocity.to(self.units) / self.units[frame]  # the world moves the other way
        self._follow(frame, times, (times[:, None] - 0.5) * (self.reach if self.is_elastic else span) * turned)

    @torch.no_grad()
    def turn_end(self, frame: int, hinge: float, angle: float) -> None:
        """Turns the shorter end of a photo's curve, from time `hinge` on or up to it, by an angle in the picture. The
        rest stays where it was, as nearly as the model can follow."""
        times = torch.linspace(0, 1, 17).to(self.units)
        curve, (fixed,) = (self._curve(frame, t)[:, :6] for t in (times, times.new_tensor([hinge])))
        arm = curve - fixed
        across, down = _in_picture(arm).T
        is_end = times > hinge if hinge > 0.5 else times < hinge
        curve[:, 4] += is_end * (cos(angle) * across - sin(angle) * down - across)
        curve[:, 3] -= is_end * (sin(angle) * across + cos(angle) * down - down)
        self._follow_with_pose(frame, times, curve)

    @torch.no_grad()
    def folding(self, frame: int) -> float:
        """How often a photo's path covers its own extent: once if it is straight, twice if it goes there and back."""
        path = _in_picture(self._curve(frame, torch.linspace(0, 1, UNFOLDED_AT).to(self.units)))
        return (path.diff(dim=0).norm(dim=1).sum() / torch.cdist(path, path).max().clamp(min=1e-9)).item()

    @torch.no_grad()
    def unfold(self, frame: int) -> None:
        """Lays a photo's path out anew: once along its longest extent, smoothly, where it ran."""
        times = torch.linspace(0, 1, UNFOLDED_AT).to(self.units)
        curve = self._curve(frame, times)[:, :6]
        path = _in_picture(curve)
        longest = torch.linalg.svd(path - path.mean(0), full_matrices=False).Vh[0]
        smooth = bernstein(times, UNFOLDED_ORDER)
        curve = smooth @ _least_squares(smooth, curve[(path @ longest).argsort()])
        self._follow_with_pose(frame, times, curve)

    def _follow(self, frame: int, times: Float[Tensor, "time"], curve: Float[Tensor, "time 6"]) -> None:
        points = self.control_points[frame]
        points.zero_()
        points[:, :6] = _least_squares(self.model.basis(times), curve)

    def _follow_with_pose(self, frame: int, times: Float[Tensor, "time"], curve: Float[Tensor, "time 6"]) -> None:
        """The same for a curve around the pose that the photo has; as curves count from their own middle, that moves
        along."""
        self._follow(frame, times, curve)
        self.pose_deltas[frame] += self.model.basis(times.new_tensor([0.5]))[0] @ self.control_points[frame][:, :6]

    @torch.no_grad()
    def path_px(self, focal_px: float, span: Span | None = None) -> Float[Tensor, "frame"]:
        """`length_px` of every photo."""
        return torch.stack([self.length_px(frame, focal_px, span) for frame in range(len(self.units))])
