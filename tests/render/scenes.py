"""Scenes and cameras that every renderer is tested on; all from a seed, in double precision."""

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from splatdeblur.geometry import Cameras, exp
from splatdeblur.scene import Gaussians


def raw_scene(
    n: int,
    *,
    seed: int = 0,
    depth: tuple[float, float] = (1.5, 6.0),
    spread: float = 0.6,
    scale: tuple[float, float] = (0.03, 0.3),
    opacity: tuple[float, float] = (-1.0, 3.0),
    sh_degree: int = 3,
) -> dict[str, Tensor]:
    """Raw values of n random Gaussians before the origin; depths are evenly spaced, in random order.

    `spread` is the largest |x / z| and |y / z|; `scale` bounds the standard deviations, `opacity` the logits.
    """
    g = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=g, dtype=torch.float64)

    # Even spacing keeps single and double precision from disagreeing on the order of two Gaussians.
    z = torch.linspace(*depth, n, dtype=torch.float64)[torch.randperm(n, generator=g)]
    means = torch.cat([uniform(-spread, spread, n, 2) * z[:, None], z[:, None]], dim=-1)
    sh = 0.3 * torch.randn(n, (sh_degree + 1) ** 2, 3, generator=g, dtype=torch.float64)
    return {
        "means": means,
        "quats": torch.randn(n, 4, generator=g, dtype=torch.float64),
        "log_scales": uniform(log(scale[0]), log(scale[1]), n, 3),
        "opacity_logits": uniform(*opacity, n),
        "sh": sh,
    }


def cameras(
    width: int = 64, height: int = 48, *, count: int = 1, seed: int = 0, shake: float = 0.03
) -> Cameras:
    """Cameras near the origin, along +z, moved and turned by up to `shake`; the principal point is off."""
    g = torch.Generator().manual_seed(1000 + seed)
    tangents = shake * (2 * torch.rand(count, 6, generator=g, dtype=torch.float64) - 1)
    focal = 0.9 * width
    K = torch.tensor(
        [[focal, 0, 0.52 * width], [0, 1.04 * focal, 0.47 * height], [0, 0, 1]], dtype=torch.float64
    )
    return Cameras(exp(tangents), K.expand(count, 3, 3), width, height)


def slices(views: Cameras, *, length: float = 0.02, seed: int = 0) -> Tensor:
    """Start and end poses of a slice around each camera, [C, 2, 4, 4]."""
    g = torch.Generator().manual_seed(2000 + seed)
    tangents = length * torch.randn(len(views), 6, generator=g, dtype=torch.float64)
    return torch.stack([exp(-tangents / 2) @ views.viewmats, exp(tangents / 2) @ views.viewmats], dim=1)


@dataclass(frozen=True, eq=False)
class Case:
    """One test scene with its cameras."""

    raw: dict[str, Tensor]
    cameras: Cameras

    def scene(self, dtype: torch.dtype = torch.float64) -> Gaussians:
        return Gaussians.from_raw(**{k: v.to(dtype) for k, v in self.raw.items()})


def _merged(*parts: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: torch.cat([part[k] for part in parts]) for k in parts[0]}


def case(name: str) -> Case:
    """The scene called `name`, one of CASES."""
    if name == "random":
        return Case(raw_scene(60), cameras(count=2))
    if name == "crowd":  # thousands that overlap, so that blending stops early in most pixels
        return Case(
            raw_scene(3000, seed=1, scale=(0.02, 0.25), opacity=(-5.0, 0.0), sh_degree=1), cameras(seed=1)
        )
    if name == "behind":  # on both sides of the camera, across the near plane
        return Case(raw_scene(120, seed=2, depth=(-3.0, 3.0), spread=0.9), cameras(seed=2, count=2))
    if name == "huge":  # the camera stands inside some of them
        return Case(
            raw_scene(40, seed=3, depth=(0.05, 4.0), scale=(0.3, 20.0), opacity=(-4.0, -1.0)), cameras(seed=3)
        )
    if name == "tiny":  # far below a pixel, and needles
        raw = _merged(raw_scene(150, seed=4, scale=(1e-5, 2e-2)), raw_scene(50, seed=5, scale=(1e-6, 0.5)))
        return Case(raw, cameras(seed=4))
    if name == "edge":  # mostly outside the picture, on a picture that fills no whole number of tiles
        return Case(raw_scene(150, seed=6, spread=2.5, scale=(0.05, 1.0)), cameras(37, 29, seed=6, count=2))
    raise ValueError(f"no scene called {name}; there are {CASES}")


CASES = ("random", "crowd", "behind", "huge", "tiny", "edge")
