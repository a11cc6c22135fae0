"""A camera path recorded view by view: smooth between the views, and through every one of them."""

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ConfigError
from ..geometry import Cameras, exp, interpolate, inverse, log


@dataclass(frozen=True, eq=False)
class Route:
    """Views to pass through, in order.

    Attributes:
        views: one camera each; all with the lens and picture size of the first.
    """

    views: tuple[Cameras, ...] = ()

    def __len__(self) -> int:
        return len(self.views)

    def with_view(self, view: Cameras) -> "Route":
        """The route, going on to where one more camera stands."""
        return replace(self, views=(*self.views, (*self.views, view)[0].with_viewmats(view.viewmats)))

    def cameras(self, frames: int) -> Cameras:
        """`frames` views along the route, as many from each view to the next; smooth, and through every view.

        Raises:
            ConfigError: the route has fewer than two views.
        """
        if len(self.views) < 2:
            raise ConfigError(f"the path has {len(self.views)} views; record at least 2, from different places")
        stops = torch.cat([view.viewmats for view in self.views]).double()
        legs = _legs(stops)
        places = torch.linspace(0, len(legs), frames)
        which = places.long().clamp(max=len(legs) - 1)
        along = (places - which).double()
        viewmats = torch.cat([_bezier(leg, along[which == i]) for i, leg in enumerate(legs)])
        return self.views[0].with_viewmats(viewmats.float())


def _legs(stops: Float[Tensor, "stop 4 4"]) -> list[list[Float[Tensor, "4 4"]]]:
    """Control poses of a cubic from each stop to the next; at each stop the speed is half the way around it.

    Source: Catmull & Rom 1974, carried to rigid motions by the logarithm.
    """
    padded = torch.cat([stops[:1], stops, stops[-1:]])
    speeds = [log(inverse(before) @ after) / 2 for before, after in zip(padded, padded[2:], strict=False)]
    return [
        [a, a @ exp(speed_a / 3), b @ exp(-speed_b / 3), b]
        for (a, b), (speed_a, speed_b) in zip(pairwise(stops), pairwise(speeds), strict=True)
    ]


def _bezier(controls: list[Float[Tensor, "4 4"]], times: Float[Tensor, "time"]) -> Float[Tensor, "time 4 4"]:
    """De Casteljau's algorithm with rigid motions."""
    poses = [control.expand(len(times), 4, 4) for control in controls]
    while len(poses) > 1:
        poses = [interpolate(a, b, times) for a, b in pairwise(poses)]
    return poses[0]
