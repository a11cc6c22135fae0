"""Scenes to draw: random ones whose size is known, and trained ones."""

from dataclasses import dataclass
from math import pi
from pathlib import Path

import torch

from splatdeblur.geometry import Cameras, exp
from splatdeblur.render import Burst
from splatdeblur.result import load_result
from splatdeblur.run import Run
from splatdeblur.scene import Gaussians

PATH_PX = 12.0


@dataclass(frozen=True, eq=False)
class Workload:
    """A scene and one camera that looks at it; `depth` is the median z-depth of what it sees."""

    name: str
    scene: Gaussians
    camera: Cameras
    depth: float


@dataclass(frozen=True)
class RandomScene:
    """Gaussians spread evenly over the picture.

    Attributes:
        sigma_px: standard deviation on screen along each axis; the median, as it varies by a log-normal factor.
    """

    count: int
    width: int
    height: int
    sigma_px: float


RANDOM = {
    "5k": RandomScene(5_000, 320, 240, 4.0),
    "20k": RandomScene(20_000, 640, 480, 4.0),
    "100k": RandomScene(100_000, 640, 480, 4.0),
    "100k small": RandomScene(100_000, 640, 480, 4.0 / 5**0.5),
}
LOG_STD = 0.6
DEPTHS = (2.0, 6.0)
OPACITIES = (0.05, 0.85)


def random_workload(name: str) -> Workload:
    """One of RANDOM; the same every time."""
    size = RANDOM[name]
    g = torch.Generator().manual_seed(0)
    focal = 1.2 * size.width
    K = torch.tensor([[focal, 0, size.width / 2], [0, focal, size.height / 2], [0, 0, 1]])

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(size.count, generator=g)

    z = uniform(*DEPTHS)
    pixels = torch.stack([uniform(0, size.width), uniform(0, size.height)], dim=-1)
    means = torch.cat([(pixels - K[:2, 2]) * (z / focal)[:, None], z[:, None]], dim=-1)
    # Turned about the viewing axis alone, so that the size on screen is what was asked for.
    angle = uniform(0, pi)
    quats = torch.stack([angle.cos(), 0 * angle, 0 * angle, angle.sin()], dim=-1)
    sigma = size.sigma_px * (LOG_STD * torch.randn(size.count, 3, generator=g)).exp() * (z / focal)[:, None]
    sh = torch.randn(size.count, 4, 3, generator=g) * torch.tensor([0.5, 0.1, 0.1, 0.1])[:, None]
    scene = Gaussians.from_raw(means, quats, sigma.log(), uniform(*OPACITIES).logit(), sh)
    return Workload(name, scene, Cameras(torch.eye(4)[None], K[None], size.width, size.height), z.median().item())


def trained_workload(folder: Path) -> Workload:
    """A run's scene from the middle one of its photos, at training size."""
    result = load_result(Run(folder), "cpu")
    views = result.photos().cameras
    camera = views.at(len(views) // 2)
    depths = result.scene.means @ camera.viewmats[0, 2, :3] + camera.viewmats[0, 2, 3]
    scene = result.scene.params
    sh = torch.cat([scene["sh0"], scene["shN"]], dim=1)
    leaves = Gaussians.from_raw(scene["means"], scene["quats"], scene["scales"], scene["opacities"], sh)
    return Workload("trained", leaves, camera, depths[depths > 0].median().item())


def path(workload: Workload, subframes: int, *, is_thick: bool) -> tuple[Cameras, Burst]:
    """Sub-frames of a photo whose camera moves by PATH_PX, half of it by turning, half by shifting, sideways."""
    focal = workload.camera.Ks[0, 0, 0].item()
    turn = PATH_PX / 2 / focal
    tangent = torch.tensor([turn * workload.depth, 0, 0, 0, turn, 0])
    times = torch.linspace(-0.5, 0.5, 2 * subframes + 1)
    poses = exp(times[:, None] * tangent) @ workload.camera.viewmats
    slices = torch.stack([poses[:-1:2], poses[2::2]], dim=1) if is_thick else None
    weights = torch.full((subframes,), 1 / subframes)
    return workload.camera.with_viewmats(poses[1::2]), Burst(weights, slices)
