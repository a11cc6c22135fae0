"""The scene before training: sparse points where there are some, random ones in view of the cameras for the rest."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..geometry import Cameras, inverse
from ..scene import Gaussians, from_points

NEAREST, AMONG = 10, 20  # of so many times as many points in view, or more, that one tells how near a picture comes


def focus_point(cameras: Cameras) -> Float[Tensor, "3"]:
    """The point nearest to all optical axes, in world units (least squares)."""
    world_from_camera = inverse(cameras.viewmats)
    axes, centers = world_from_camera[:, :3, 2], world_from_camera[:, :3, 3]
    across = torch.eye(3).to(axes) - axes[:, :, None] * axes[:, None, :]
    # A little pull towards the cameras keeps parallel axes solvable.
    system = across.sum(0) + 1e-6 * len(cameras) * torch.eye(3).to(axes)
    right = (across @ centers[..., None]).sum(0).squeeze(-1) + 1e-6 * len(cameras) * centers.mean(0)
    return torch.linalg.solve(system, right)


def scene_depths(cameras: Cameras, points: Float[Tensor, "P 3"]) -> Float[Tensor, "camera"]:
    """A typical z-depth of the scene for each camera: of the points it sees, else of where all cameras look."""
    if len(points) >= 20:
        z = (points @ cameras.viewmats[:, 2, :3].mT + cameras.viewmats[:, 2, 3]).mT  # [camera, P]
        z = torch.where(z > 0, z, torch.full_like(z, float("nan")))
        depths = z.nanmedian(dim=1).values
    else:
        target = focus_point(cameras)
        depths = cameras.viewmats[:, 2, :3] @ target + cameras.viewmats[:, 2, 3]
    typical = depths[depths > 0].nanmedian() if (depths > 0).any() else depths.new_tensor(1.0)
    # Cameras that see none of it, or whose axes are nearly parallel, get what the others have.
    spread = (cameras.centers - cameras.centers.mean(0)).norm(dim=-1).max()
    typical = torch.clamp(typical, min=spread * 0.1 + 1e-6)
    return torch.where((depths > typical / 4) & (depths < typical * 4), depths, typical)


def nearest_depths(cameras: Cameras, points: Float[Tensor, "P 3"]) -> tuple[float, ...]:
    """How near each camera's picture comes to it: the z-depth of one of the nearest points in view, no more than a
    twentieth of them nearer, which a few wrong ones do not move; 0 where too few are in view."""
    nearest = []
    for frame in range(len(cameras)):
        depths, _, are_in_view = seen_from(cameras.at(frame), points)
        seen = depths[are_in_view]
        rank = min(NEAREST, len(seen) // AMONG)
        nearest.append(seen.kthvalue(rank).values.item() if rank > 1 else 0.0)
    return tuple(nearest)


def seen_from(
    camera: Cameras, points: Float[Tensor, "P 3"]
) -> tuple[Float[Tensor, "P"], Float[Tensor, "P 2"], Bool[Tensor, "P"]]:
    """z-depth of each point from one camera, its place in the picture in px, and whether the picture has that place."""
    local = points @ camera.viewmats[0, :3, :3].mT + camera.viewmats[0, :3, 3]
    depths, image = local[:, 2], local @ camera.Ks[0].mT
    pixels = image[:, :2] / image[:, 2:].clamp(min=1e-9)
    size = pixels.new_tensor([camera.width, camera.height])
    return depths, pixels, (depths > 0) & (pixels >= 0).all(-1) & (pixels < size).all(-1)


def scene_scale(cameras: Cameras, depths: Float[Tensor, "camera"]) -> float:
    """The unit in which position learning rates count: how far cameras stray, or a third of the depth if they don't."""
    spread = (cameras.centers - cameras.centers.mean(0)).norm(dim=-1).max() * 1.1
    return max(spread.item(), depths.median().item() / 3)


def random_points(
    cameras: Cameras, depths: Float[Tensor, "camera"], count: int, generator: torch.Generator
) -> Float[Tensor, "count 3"]:
    """Points that the cameras could see: even over their pictures, even in log depth around the scene's."""
    which = torch.randint(len(cameras), (count,), generator=generator)
    uniform = torch.rand(count, 3, generator=generator).to(depths)
    pixel = uniform[:, :2] * uniform.new_tensor(cameras.own_sizes)[which]
    z = depths[which] * 0.4 * (7.0 ** uniform[:, 2])
    K = cameras.Ks[which]
    xy = (pixel - K[:, :2, 2]) / torch.stack([K[:, 0, 0], K[:, 1, 1]], dim=-1) * z[:, None]
    local = torch.cat([xy, z[:, None], torch.ones_like(z)[:, None]], dim=-1)
    return (inverse(cameras.viewmats)[which] @ local[..., None])[:, :3, 0]


def initial_scene(
    cameras: Cameras,
    points: Float[Tensor, "P 3"],
    colors: Float[Tensor, "P 3"],
    *,
    count: int,
    sh_degree: int,
    generator: torch.Generator,
) -> Gaussians:
    """About `count` Gaussians: the sparse points (a random part if there are more), the rest at random in view."""
    depths = scene_depths(cameras, points)
    if len(points) > count:
        chosen = torch.randperm(len(points), generator=generator)[:count]
        points, colors = points[chosen], colors[chosen]
    extra = random_points(cameras, depths, max(count - len(points), 0), generator)
    grey = torch.rand(len(extra), 3, generator=generator).to(points) * 0.5 + 0.25
    return from_points(
        torch.cat([points, extra]).float(), torch.cat([colors, grey]).float(), sh_degree=sh_degree, opacity=0.1
    )
