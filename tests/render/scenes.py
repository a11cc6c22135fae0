"""Scenes and cameras that every renderer is tested on; all from a seed, in double precision."""

from dataclasses import dataclass
from math import log, pi, sqrt

import torch
from torch import Tensor

from splatdeblur.geometry import Cameras, exp
from splatdeblur.render import Burst, Rasterizer, Render, RenderOptions
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


def cameras(width: int = 64, height: int = 48, *, count: int = 1, seed: int = 0, shake: float = 0.03) -> Cameras:
    """Cameras near the origin, along +z, moved and turned by up to `shake`; the principal point is off."""
    g = torch.Generator().manual_seed(1000 + seed)
    tangents = shake * (2 * torch.rand(count, 6, generator=g, dtype=torch.float64) - 1)
    focal = 0.9 * width
    K = torch.tensor([[focal, 0, 0.52 * width], [0, 1.04 * focal, 0.47 * height], [0, 0, 1]], dtype=torch.float64)
    return Cameras(exp(tangents), K.expand(count, 3, 3), width, height)


def slices(views: Cameras, *, length: float = 0.02, seed: int = 0) -> Tensor:
    """Start and end poses of a slice around each camera, [C, 2, 4, 4]."""
    g = torch.Generator().manual_seed(2000 + seed)
    tangents = length * torch.randn(len(views), 6, generator=g, dtype=torch.float64)
    return torch.stack([exp(-tangents / 2) @ views.viewmats, exp(tangents / 2) @ views.viewmats], dim=1)


def sliding(views: Cameras, count: int, *, shake: float = 0.03) -> Cameras:
    """Sub-frames of the first camera that slide and roll parallel to the picture: all agree on the depth order."""
    g = torch.Generator().manual_seed(3000)
    tangents = shake * (2 * torch.rand(count, 6, generator=g, dtype=torch.float64) - 1)
    tangents[:, 2:5] = 0
    return Cameras(exp(tangents) @ views.viewmats[:1], views.Ks[:1].expand(count, 3, 3), views.width, views.height)


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
        return Case(raw_scene(3000, seed=1, scale=(0.02, 0.25), opacity=(-5.0, 0.0), sh_degree=1), cameras(seed=1))
    if name == "behind":  # on both sides of the camera, across the near plane
        return Case(raw_scene(120, seed=2, depth=(-3.0, 3.0), spread=0.9), cameras(seed=2, count=2))
    if name == "huge":  # the camera stands inside some of them
        return Case(raw_scene(40, seed=3, depth=(0.05, 4.0), scale=(0.3, 20.0), opacity=(-4.0, -1.0)), cameras(seed=3))
    if name == "tiny":  # far below a pixel, and needles
        raw = _merged(raw_scene(150, seed=4, scale=(1e-4, 5e-2)), raw_scene(50, seed=5, scale=(1e-3, 0.5)))
        return Case(raw, cameras(seed=4))
    if name == "edge":  # mostly outside the picture, on a picture that fills no whole number of tiles
        return Case(raw_scene(150, seed=6, spread=2.5, scale=(0.05, 1.0)), cameras(37, 29, seed=6, count=2))
    raise ValueError(f"no scene called {name}; there are {CASES}")


CASES = ("random", "crowd", "behind", "huge", "tiny", "edge")


@dataclass(frozen=True, eq=False)
class Outcome:
    """A render, and the gradients of a random linear function of all its pictures."""

    render: Render
    gradients: dict[str, Tensor]


def outcome(rasterizer: Rasterizer, case: Case, *, options: RenderOptions, shutter: str) -> Outcome:
    """Draws `case` in single precision inputs; `shutter` is "none", "thin" or "thick"."""
    scene, views = case.scene(torch.float32).to(rasterizer.device), case.cameras
    views = views.to(rasterizer.device, torch.float32)
    viewmats = views.viewmats.clone().requires_grad_()
    around = slices(case.cameras).to(viewmats).requires_grad_()
    weights = torch.arange(1.0, len(views) + 1, device=viewmats.device)
    weights = (weights / weights.sum()).requires_grad_()
    burst = None if shutter == "none" else Burst(weights, around if shutter == "thick" else None)
    render = rasterizer.render(scene, views.with_viewmats(viewmats), options=options, burst=burst)
    g = torch.Generator().manual_seed(7)
    # The depth alone jumps from 0 to that of the first Gaussian where alpha leaves 0.
    depth = render.depth * render.alpha
    pictures = torch.cat([render.rgb, render.alpha[..., None], depth[..., None]], dim=-1)
    probe = torch.randn(pictures.shape, generator=g).to(pictures)
    leaves = {**scene.params, "means2d": render.info.means2d, "viewmats": viewmats}
    leaves |= {"weights": weights} if burst is not None else {}
    leaves |= {"slices": around} if shutter == "thick" else {}
    values = torch.autograd.grad((pictures * probe).sum(), leaves.values())
    gradients = {k: v.detach().double().cpu() for k, v in zip(leaves, values, strict=True)}
    # Where a Gaussian is not drawn its position is undefined, and so is the gradient there.
    drawn = (render.info.radii > 0).all(-1).cpu()
    gradients["means2d"] = torch.where(drawn[..., None], gradients["means2d"], 0.0)
    return Outcome(render, gradients)


def disagreement(ours: Outcome, truth: Outcome) -> dict[str, float]:
    """Largest and 99.9th-percentile error of rgb and alpha, and the relative error of each gradient.

    A pixel where a Gaussian's alpha lies just above 1/255 for one and just below for the other may differ by
    as much; hence the percentile.
    """
    errors = torch.cat(
        [
            (getattr(ours.render, k).detach().double().cpu() - getattr(truth.render, k).detach().cpu()).flatten()
            for k in ("rgb", "alpha")
        ]
    ).abs()
    table = {"image max": errors.max().item(), "image 99.9 %": errors.quantile(0.999).item()}
    for name, gradient in truth.gradients.items():
        size = gradient.norm().item()
        table[name] = (ours.gradients[name] - gradient).norm().item() / max(size, 1e-12)
    return table


def identity_camera(width=32, height=24, focal=30.0, count=1):
    K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], dtype=torch.float64)
    return Cameras(
        torch.eye(4, dtype=torch.float64).repeat(count, 1, 1), K.repeat(count, 1, 1), width, height
    )


def one_round_gaussian(z=3.0, sigma=0.3, opacity=0.8, x=0.0, y=0.0, color=(0.2, 0.5, 0.9)):
    sh = (torch.tensor([[color]], dtype=torch.float64) - 0.5) * 2 * sqrt(pi)
    return Gaussians.from_raw(
        torch.tensor([[x, y, z]], dtype=torch.float64),
        torch.tensor([[2.0, 0, 0, 0]], dtype=torch.float64),
        torch.full((1, 3), sigma, dtype=torch.float64).log(),
        torch.tensor([opacity], dtype=torch.float64).logit(),
        sh,
    )
