"""Camera paths made from the photos' own cameras."""

from itertools import pairwise

import torch

from ..errors import ConfigError
from ..geometry import Cameras, interpolate, look_at

PATHS = ("inputs", "through", "orbit")
ORBIT_FRAMES, BETWEEN = 90, 8


def _nearest_order(cameras: Cameras) -> list[int]:
    """A short walk through all camera centres, each next one the nearest that is left."""
    centers = cameras.centers
    left, order = set(range(1, len(cameras))), [0]
    while left:
        nearest = min(left, key=lambda i: (centers[i] - centers[order[-1]]).norm().item())
        left.remove(nearest)
        order.append(nearest)
    return order


def camera_path(cameras: Cameras, name: str, target: torch.Tensor) -> Cameras:
    """The views of a path.

    Args:
        cameras: of the photos, sharp poses.
        name: "inputs" (the photos' own views), "through" (a walk along them) or "orbit" (a circle in their midst,
            looking at `target`).
        target: [3], what the photos show, in world units.
    Raises:
        ConfigError: no such path.
    """
    if name == "inputs":
        return cameras
    if name == "through":
        order = _nearest_order(cameras)
        times = torch.arange(BETWEEN).to(cameras.viewmats) / BETWEEN
        legs = [
            interpolate(cameras.viewmats[a].expand(BETWEEN, 4, 4), cameras.viewmats[b].expand(BETWEEN, 4, 4), times)
            for a, b in pairwise(order)
        ]
        return cameras.at(0).with_viewmats(torch.cat([*legs, cameras.viewmats[order[-1:]]]))
    if name == "orbit":
        middle = cameras.centers.mean(0)
        up = -torch.nn.functional.normalize(cameras.viewmats[:, 1, :3].mean(0), dim=0)
        axis = torch.nn.functional.normalize(middle - target, dim=0)
        right = torch.nn.functional.normalize(torch.linalg.cross(up, axis), dim=0)
        above = torch.linalg.cross(axis, right)
        radius = 0.5 * (cameras.centers - middle).norm(dim=-1).median()
        angles = torch.arange(ORBIT_FRAMES).to(middle) * (2 * torch.pi / ORBIT_FRAMES)
        eyes = middle + radius * (angles.cos()[:, None] * right + angles.sin()[:, None] * above)
        return cameras.at(0).with_viewmats(look_at(eyes, target.expand_as(eyes), up))
    raise ConfigError(f'no path "{name}"; there are {", ".join(PATHS)}, or give --cameras FILE')
