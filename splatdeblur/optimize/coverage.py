"""What of a place photos have shown: by where points fall in their pictures, whatever stands before them."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..geometry import Cameras, inverse
from ..render import Rasterizer, RenderOptions
from ..scene import Gaussians, from_points
from .initial import random_points

MIN_VIEWS = 2  # photos in which a place must lie to be known: one alone does not tell how far away it is
MIN_ALPHA = 0.5  # of what is drawn at a pixel, for its depth to mean anything


def views_of(cameras: Cameras, points: Float[Tensor, "P 3"]) -> Int[Tensor, "P"]:
    """In how many of the cameras' pictures each point lies."""
    count = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    for viewmat, K, (width, height) in zip(cameras.viewmats, cameras.Ks, cameras.own_sizes, strict=True):
        seen = points @ viewmat[:3, :3].mT + viewmat[:3, 3]
        projected = seen @ K.mT
        x, y = (projected[:, :2] / seen[:, 2:].clamp(min=1e-9)).unbind(1)
        count += (seen[:, 2] > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return count


@torch.no_grad()
def known_pixels(
    scene: Gaussians, rasterizer: Rasterizer, options: RenderOptions, camera: Cameras, others: Cameras
) -> Bool[Tensor, "height width"]:
    """The pixels of one camera's picture that show what at least `MIN_VIEWS` of the others' pictures show, too."""
    drawn = rasterizer.render(scene, camera, options=options)
    depth, alpha = drawn.depth[0], drawn.alpha[0]
    rows, columns = (alpha > MIN_ALPHA).nonzero(as_tuple=True)
    pixels = torch.stack([columns + 0.5, rows + 0.5, torch.ones_like(columns)], dim=-1).to(depth)
    there = pixels @ camera.Ks[0].inverse().mT * depth[rows, columns, None]
    world_from_camera = inverse(camera.viewmats[0])
    points = there @ world_from_camera[:3, :3].mT + world_from_camera[:3, 3]
    known = torch.zeros_like(alpha, dtype=torch.bool)
    known[rows, columns] = views_of(others, points) >= MIN_VIEWS
    return known


@torch.no_grad()
def extended(
    scene: Gaussians,
    seen: Cameras,
    new: Cameras,
    depths: Float[Tensor, "camera"],
    count: int,
    generator: torch.Generator,
) -> Gaussians:
    """The scene with grey Gaussians where only new cameras look, out of `count` that are spread over their views."""
    points = random_points(new, depths, count, generator)
    points = points[views_of(seen, points) < MIN_VIEWS]
    if len(points) < 2:
        return scene
    more = from_points(points, torch.full_like(points, 0.5), sh_degree=scene.sh_degree)
    both = {name: torch.cat([value.detach(), more.params[name].to(value)]) for name, value in scene.params.items()}
    sh = torch.cat([both["sh0"], both["shN"]], dim=1)
    return Gaussians.from_raw(both["means"], both["quats"], both["scales"], both["opacities"], sh)
