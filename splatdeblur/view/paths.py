"""Camera paths made from the photos' own cameras, or around a scene that came without any."""

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ConfigError
from ..geometry import Cameras, interpolate, look_at
from ..scene import Gaussians

PATHS = ("inputs", "through", "orbit", "spiral")
LOOP_FRAMES, BETWEEN = 90, 8  # frames of a closed path, and from one photo to the next
SMOOTHING = 1.0  # standard deviation, in photos, of the window that evens a walk out
TURNS = 2  # of a spiral
SURROUNDED = 0.5  # cameras whose middle is nearer to what they show than this part of their distance stand around it
SCENE_FOV_DEG, SCENE_SIZE = 50.0, (960, 720)  # where no photo says how to look


def camera_path(cameras: Cameras, name: str, target: Float[Tensor, "3"], frames: int = 0) -> Cameras:
    """The views of a path.

    Args:
        cameras: of the photos, sharp poses.
        name: "inputs" (the photos' own views), "through" (a smooth walk along them), "orbit" (a circle looking at
            `target`: around it if the photos were taken all around, else in their midst) or "spiral" (two turns of
            that, going nearer and back).
        target: what the photos show, in world units.
        frames: how many views; 0 for 90 in a circle or spiral, and 8 from each photo to the next. "inputs" has as
            many as there are photos.
    Raises:
        ConfigError: no such path.
    """
    if name == "inputs":
        return cameras
    if name == "through":
        frames = frames or BETWEEN * (len(cameras) - 1) + 1
        return cameras.at(0).with_viewmats(_walk(cameras.viewmats[_nearest_order(cameras)], frames))
    if name == "orbit":
        return _circle(cameras, target, frames or LOOP_FRAMES, turns=1, depth=0.0)
    if name == "spiral":
        return _circle(cameras, target, frames or LOOP_FRAMES, turns=TURNS, depth=0.25)
    raise ConfigError(f'no path "{name}"; there are {", ".join(PATHS)}, or give --cameras FILE')


def around_scene(scene: Gaussians, frames: int = 0, up: tuple[float, float, float] = (0.0, -1.0, 0.0)) -> Cameras:
    """A circle around a scene without photos, looking at its middle from a little above.

    Up is -y, as in most captures, unless told otherwise; of the Gaussians only where the opaque ones lie counts.
    """
    opaque = scene.means[scene.opacities > 0.5] if (scene.opacities > 0.5).sum() > 10 else scene.means
    middle = opaque.median(0).values
    # Half of them within the radius: a few far ones, as sky has them, must not push the camera away.
    radius = (opaque - middle).norm(dim=-1).median().clamp(min=1e-6)
    angles = torch.arange(frames or LOOP_FRAMES).to(middle) * (2 * math.pi / (frames or LOOP_FRAMES))
    above, right = middle.new_tensor(up), middle.new_tensor([1.0, 0.0, 0.0])
    ahead = torch.linalg.cross(above, right)
    way = angles.sin()[:, None] * right + 0.4 * above - angles.cos()[:, None] * ahead
    eyes = middle + 3 * radius * torch.nn.functional.normalize(way, dim=-1)
    viewmats = look_at(eyes, middle.expand_as(eyes), above)
    width, height = SCENE_SIZE
    focal = width / 2 / math.tan(math.radians(SCENE_FOV_DEG) / 2)
    K = middle.new_tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return Cameras(viewmats, K.expand(len(viewmats), 3, 3), width, height)


def _nearest_order(cameras: Cameras) -> list[int]:
    """A short walk through all camera centres, each next one the nearest that is left."""
    centers = cameras.centers
    left, order = set(range(1, len(cameras))), [0]
    while left:
        nearest = min(left, key=lambda i: (centers[i] - centers[order[-1]]).norm().item())
        left.remove(nearest)
        order.append(nearest)
    return order


def _walk(stops: Float[Tensor, "stop 4 4"], frames: int) -> Float[Tensor, "frame 4 4"]:
    """Poses at even pace along stops, each the mean of the way nearby, so that no stop is a corner."""
    if len(stops) == 1:
        return stops.expand(frames, 4, 4)
    times = torch.arange(BETWEEN).to(stops) / BETWEEN
    legs = [interpolate(a.expand(BETWEEN, 4, 4), b.expand(BETWEEN, 4, 4), times) for a, b in pairwise(stops)]
    dense = torch.cat([*legs, stops[-1:]])
    places = torch.arange(len(dense)).to(stops) / BETWEEN
    wanted = torch.linspace(0, len(stops) - 1, frames).to(stops)
    # Narrow at both ends, so that the walk begins and ends at a photo.
    width = (torch.minimum(wanted, len(stops) - 1 - wanted) / 2 + 1 / BETWEEN / 2).clamp(max=SMOOTHING)
    weights = torch.softmax(-0.5 * ((wanted[:, None] - places) / width[:, None]).square(), dim=1)
    # Positions and axes are averaged in the world; the rotation nearest to the mean of some is their chordal mean.
    rotations = dense[:, :3, :3].mT
    centers = -(rotations @ dense[:, :3, 3:])[..., 0]
    u, _, vh = torch.linalg.svd(torch.einsum("fp,pij->fij", weights, rotations))
    flip = torch.ones(frames, 3).to(stops)
    flip[:, 2] = torch.linalg.det(u @ vh)
    rotation = (u * flip[:, None] @ vh).mT
    viewmats = torch.eye(4).to(stops).repeat(frames, 1, 1)
    viewmats[:, :3, :3] = rotation
    viewmats[:, :3, 3] = -(rotation @ (weights @ centers)[..., None])[..., 0]
    return viewmats


def _circle(cameras: Cameras, target: Float[Tensor, "3"], frames: int, *, turns: int, depth: float) -> Cameras:
    """A closed path looking at `target`: around it if the cameras stand around it, as far and as high as they do;
    else around their middle, half as wide as they stand. It goes nearer and back by `depth` of the distance."""
    centers = cameras.centers
    middle, distance = centers.mean(0), (centers - target).norm(dim=-1).median()
    up = -torch.nn.functional.normalize(cameras.viewmats[:, 1, :3].mean(0), dim=0)
    if (middle - target).norm() < SURROUNDED * distance:
        axis, start = up, centers[0] - target
        middle = target + ((centers - target) @ up).median() * up
        radius = torch.linalg.cross(centers - target, up.expand_as(centers)).norm(dim=-1).median()
    else:
        axis, start = torch.nn.functional.normalize(middle - target, dim=0), torch.linalg.cross(up, middle - target)
        radius = 0.5 * (centers - middle).norm(dim=-1).median()
    right = torch.nn.functional.normalize(start - (start @ axis) * axis, dim=0)
    above = torch.linalg.cross(axis, right)
    share = torch.arange(frames).to(middle) / frames
    angles = 2 * torch.pi * turns * share
    eyes = middle + radius * (angles.cos()[:, None] * right + angles.sin()[:, None] * above)
    eyes = eyes + depth * (0.5 - 0.5 * (2 * torch.pi * share).cos())[:, None] * (target - eyes)
    return cameras.at(0).with_viewmats(look_at(eyes, target.expand_as(eyes), up))
