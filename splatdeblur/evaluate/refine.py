"""Poses refined against their pictures with the scene frozen, so that a score does not measure a pose's pixel of error.

Only poses move: a focal length that the run estimated wrongly is part of its scene's error and stays in the score.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..capture.pixels import resize_area, resize_photo
from ..geometry import Cameras, exp
from ..render import Rasterizer, RenderOptions
from ..scene import Gaussians

PIXELS_PER_CALL = 8_000_000  # bounds the memory of one render call with its gradient
COARSE_SHARE = 0.4  # of the steps, spent at half size on smoothed pictures
COARSE_SIGMA_PX = 1.5
MIN_COARSE_PX = 24  # no coarse stage for pictures that would become smaller than this
STEP_PX = (0.6, 0.02)  # how far one step moves the picture, at first and at last, in full-size px


@dataclass(frozen=True, eq=False)
class Refined:
    """Cameras after refinement; losses are mean absolute sRGB differences at full size, never above the start's."""

    cameras: Cameras
    start_loss: Float[Tensor, "camera"]
    loss: Float[Tensor, "camera"]


def batches(cameras: Cameras) -> list[slice]:
    """Cut into calls that fit in memory."""
    size = max(1, PIXELS_PER_CALL // (cameras.width * cameras.height))
    return [slice(i, min(i + size, len(cameras))) for i in range(0, len(cameras), size)]


def median_depths(depth: Float[Tensor, "camera height width"]) -> Float[Tensor, "camera"]:
    """Median z-depth of what each picture shows; of all pictures where one shows nothing; 1 where none does."""
    drawn = depth > 0
    overall = depth[drawn].median() if drawn.any() else depth.new_tensor(1.0)
    return torch.stack([d[m].median() if m.any() else overall for d, m in zip(depth, drawn, strict=True)])


def _smoothed(pictures: Float[Tensor, "camera height width 3"]) -> Float[Tensor, "camera height width 3"]:
    reach = math.ceil(3 * COARSE_SIGMA_PX)
    x = torch.arange(-reach, reach + 1, dtype=pictures.dtype, device=pictures.device)
    kernel = (-0.5 * (x / COARSE_SIGMA_PX) ** 2).exp()
    kernel = (kernel / kernel.sum()).expand(3, 1, -1)
    padded = F.pad(pictures.movedim(-1, 1), (reach,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel[..., None], groups=3)
    return F.conv2d(rows, kernel[..., None, :], groups=3).movedim(1, -1)


class _Stage:
    """Adam on one delta per camera against pictures of one size; remembers the best pose of each camera."""

    def __init__(
        self,
        scene: Gaussians,
        rasterizer: Rasterizer,
        options: RenderOptions,
        depths: Float[Tensor, "camera"],
        on_step: Callable[[], None],
    ) -> None:
        self.scene, self.rasterizer, self.options, self.depths = scene, rasterizer, options, depths
        self.on_step = on_step

    def _losses(self, cameras: Cameras, truths: Tensor, weights: Tensor, is_smoothed: bool) -> Float[Tensor, "camera"]:
        rgb = self.rasterizer.render(self.scene, cameras, options=self.options).rgb.clamp(0, 1)
        if is_smoothed:
            rgb = _smoothed(rgb)
        errors = (rgb - truths).abs().mean(dim=-1)
        return (errors * weights).sum(dim=(1, 2)) / weights.sum(dim=(1, 2)).clamp(min=1e-6)

    def loss(self, cameras: Cameras, truths: Tensor, weights: Tensor) -> Float[Tensor, "camera"]:
        """How far the renders are from the pictures now."""
        with torch.no_grad():
            return self._losses(cameras, truths, weights, is_smoothed=False)

    def run(
        self,
        cameras: Cameras,
        truths: Float[Tensor, "camera height width 3"],
        weights: Float[Tensor, "camera height width"],
        *,
        steps: int,
        step_px: tuple[float, float],
        is_smoothed: bool = False,
    ) -> tuple[Cameras, Float[Tensor, "camera"]]:
        """The best poses met on the way and their losses; the start is among them."""
        focal = cameras.Ks[:, 0, 0].mean().item()
        delta = torch.zeros(len(cameras), 6, device=cameras.viewmats.device, requires_grad=True)
        # A translation counts in scene depths, so that one step moves the picture as far as one of a rotation does.
        units = torch.cat([self.depths[:, None].expand(-1, 3), torch.ones_like(self.depths)[:, None].expand(-1, 3)], 1)
        optimizer = torch.optim.Adam([delta], lr=step_px[0] / focal, betas=(0.9, 0.99))
        best = torch.full((len(cameras),), math.inf, device=delta.device)
        best_viewmats = cameras.viewmats.clone()
        for step in range(steps + 1):
            moved = exp(delta * units) @ cameras.viewmats
            losses = self._losses(cameras.with_viewmats(moved), truths, weights, is_smoothed)
            is_better = losses.detach() < best
            best = torch.where(is_better, losses.detach(), best)
            best_viewmats = torch.where(is_better[:, None, None], moved.detach(), best_viewmats)
            if step == steps:
                break
            optimizer.param_groups[0]["lr"] = step_px[0] * (step_px[1] / step_px[0]) ** (step / max(1, steps)) / focal
            optimizer.zero_grad()
            losses.sum().backward()
            delta.grad.nan_to_num_(0.0, 0.0, 0.0)
            optimizer.step()
            self.on_step()
        return cameras.with_viewmats(best_viewmats), best


def _refine_batch(stage: _Stage, cameras: Cameras, truths: Tensor, weights: Tensor, steps: int) -> Refined:
    start_loss = stage.loss(cameras, truths, weights)
    start = cameras
    first, last = STEP_PX
    coarse = cameras.scaled(0.5)
    if min(coarse.width, coarse.height) >= MIN_COARSE_PX:
        coarse_steps = round(steps * COARSE_SHARE)
        steps -= coarse_steps
        small = torch.stack([resize_photo(t, coarse.width, coarse.height) for t in truths])
        counted = resize_area(weights.movedim(0, -1), coarse.width, coarse.height).movedim(-1, 0)
        found, _ = stage.run(
            coarse, _smoothed(small), counted, steps=coarse_steps, step_px=(first, first / 4), is_smoothed=True
        )
        first /= 2
        is_better = stage.loss(cameras.with_viewmats(found.viewmats), truths, weights) < start_loss
        start = cameras.with_viewmats(torch.where(is_better[:, None, None], found.viewmats, cameras.viewmats))
    refined, loss = stage.run(start, truths, weights, steps=steps, step_px=(first, last))
    return Refined(refined, start_loss, loss)


def refine_poses(
    scene: Gaussians,
    rasterizer: Rasterizer,
    cameras: Cameras,
    truths: Float[Tensor, "camera height width 3"],
    *,
    depths: Float[Tensor, "camera"],
    options: RenderOptions,
    steps: int,
    weights: Float[Tensor, "camera height width"] | None = None,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Refined:
    """Moves each camera (6 degrees of freedom) to where its render is nearest to its picture, coarse to fine.

    All cameras move in the same render calls, each by its own loss; one that finds nothing better stays.

    Args:
        truths: sRGB, of the cameras' size.
        depths: median z-depth of what each camera sees, in world units.
        steps: render calls with gradient, a part of them at half size; 0 moves nothing.
        weights: how much each pixel counts; None for all alike.
        on_progress: told the share that is done after each step.
    """
    frozen = scene.detached()
    weights = torch.ones_like(truths[..., 0]) if weights is None else weights
    cut = batches(cameras)
    done = 0

    def on_step() -> None:
        nonlocal done
        done += 1
        on_progress(done / (steps * len(cut)))

    parts = [
        _refine_batch(
            _Stage(frozen, rasterizer, options, depths[b], on_step), cameras.at(b), truths[b], weights[b], steps
        )
        for b in cut
    ]
    return Refined(
        cameras.with_viewmats(torch.cat([p.cameras.viewmats for p in parts])),
        torch.cat([p.start_loss for p in parts]),
        torch.cat([p.loss for p in parts]),
    )
