"""The contestant to beat: splatting as a plain loop, one thread, one pixel at a time, as portable C++ code does it.

Every pixel keeps the list of the Gaussians that were blended into it, and the backward pass walks that list from the
back. Single precision throughout, the C library's exp, no vector instructions asked for. Its inputs are screen
ellipses that are already in depth order, and the places for its lists are already counted: projecting, sorting and
growing lists cost it nothing.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit

from splatdeblur.geometry import Cameras
from splatdeblur.render import RenderOptions, reference
from splatdeblur.render.rasterizer import ALPHA_MAX, ALPHA_MIN, TRANSMITTANCE_MIN
from splatdeblur.scene import Gaussians

HALF, ONE, ZERO = np.float32(0.5), np.float32(1), np.float32(0)
WEAKEST, STRONGEST, OPAQUE = np.float32(ALPHA_MIN), np.float32(ALPHA_MAX), np.float32(TRANSMITTANCE_MIN)


@dataclass(frozen=True, eq=False)
class Ellipses:
    """A scene on the screen, front to back, float32.

    Attributes:
        means2d [N, 2] in px, conics [N, 3] (xx, xy, yy of the inverse covariance in px^-2), opacities [N],
        colors [N, 3].
        boxes [N, 4]: first and one past the last column, then row, that a footprint may touch.
        inside [H, W]: how many footprints hold a pixel's centre, whether or not it is opaque before.
        sources: what the arrays were made from, still part of torch's graph, in the scene's own order.
        order: indices of the drawn Gaussians in that order, front to back.
    """

    means2d: np.ndarray
    conics: np.ndarray
    opacities: np.ndarray
    colors: np.ndarray
    boxes: np.ndarray
    inside: np.ndarray
    sources: tuple[torch.Tensor, ...]
    order: torch.Tensor


def ellipses_of(scene: Gaussians, camera: Cameras) -> Ellipses:
    """The scene as one camera sees it, projected by the reference renderer."""
    splats = reference._project(scene, camera.to(dtype=torch.float64), RenderOptions(), None)
    drawn = (splats.radii[0] > 0).all(-1).nonzero().squeeze(-1)
    order = drawn[splats.depths[0, drawn].argsort(stable=True)]
    sources = (splats.means2d, splats.conics, splats.opacities, splats.colors)
    means2d, conics, opacities, colors = (x[0].detach()[order].float().contiguous().numpy() for x in sources)
    radii = splats.radii[0, order].numpy()
    low, high = np.floor(means2d - radii), np.ceil(means2d + radii)
    size = np.array([camera.width, camera.height])
    low, high = np.clip(low, 0, size).astype(np.int64), np.clip(high, 0, size).astype(np.int64)
    boxes = np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)
    inside = np.zeros((camera.height, camera.width), np.int64)
    count_inside(means2d, conics, opacities, boxes, inside)
    return Ellipses(means2d, conics, opacities, colors, boxes, inside, sources, order)


@njit(cache=True, error_model="numpy")
def count_inside(means2d, conics, opacities, boxes, inside):
    """Adds to `inside` [H, W] the number of Gaussians whose alpha at the pixel's centre is at least 1/255."""
    for g in range(len(means2d)):
        for y in range(boxes[g, 2], boxes[g, 3]):
            for x in range(boxes[g, 0], boxes[g, 1]):
                dx, dy = np.float32(x) + HALF - means2d[g, 0], np.float32(y) + HALF - means2d[g, 1]
                sigma = HALF * (conics[g, 0] * dx * dx + conics[g, 2] * dy * dy) + conics[g, 1] * dx * dy
                if sigma >= ZERO and opacities[g] * math.exp(-sigma) >= WEAKEST:
                    inside[y, x] += 1


@njit(cache=True, error_model="numpy")
def draw(means2d, conics, opacities, colors, boxes, starts, rgb, passed, is_done, lengths, ids):
    """Blends front to back into rgb [H, W, 3] and passed [H, W] (transmittance), and fills the pixels' lists.

    The list of pixel p = y W + x is ids[starts[p] : starts[p] + lengths[p]].
    """
    width = passed.shape[1]
    for g in range(len(means2d)):
        a, b, c, opacity = conics[g, 0], conics[g, 1], conics[g, 2], opacities[g]
        for y in range(boxes[g, 2], boxes[g, 3]):
            dy = np.float32(y) + HALF - means2d[g, 1]
            for x in range(boxes[g, 0], boxes[g, 1]):
                if is_done[y, x]:
                    continue
                dx = np.float32(x) + HALF - means2d[g, 0]
                sigma = HALF * (a * dx * dx + c * dy * dy) + b * dx * dy
                if sigma < ZERO:
                    continue
                cover = min(opacity * math.exp(-sigma), STRONGEST)
                if cover < WEAKEST:
                    continue
                after = passed[y, x] * (ONE - cover)
                if after <= OPAQUE:
                    is_done[y, x] = True
                    continue
                weight = passed[y, x] * cover
                rgb[y, x, 0] += weight * colors[g, 0]
                rgb[y, x, 1] += weight * colors[g, 1]
                rgb[y, x, 2] += weight * colors[g, 2]
                passed[y, x] = after
                p = y * width + x
                ids[starts[p] + lengths[p]] = g
                lengths[p] += 1


@njit(cache=True, error_model="numpy")
def draw_backward(
    means2d, conics, opacities, colors, starts, lengths, ids, passed, v_rgb, v_alpha,
    v_means2d, v_conics, v_opacities, v_colors,
):  # fmt: skip
    """Adds to the last four arrays; goes through each pixel's list from the back."""
    height, width = passed.shape
    for y in range(height):
        for x in range(width):
            p = y * width + x
            t_end, t = passed[y, x], passed[y, x]
            v0, v1, v2, v_a = v_rgb[y, x, 0], v_rgb[y, x, 1], v_rgb[y, x, 2], v_alpha[y, x]
            behind = ZERO  # light from behind the present Gaussian, times its gradient
            for i in range(starts[p] + lengths[p] - 1, starts[p] - 1, -1):
                g = ids[i]
                dx, dy = np.float32(x) + HALF - means2d[g, 0], np.float32(y) + HALF - means2d[g, 1]
                a, b, c = conics[g, 0], conics[g, 1], conics[g, 2]
                bell = math.exp(-(HALF * (a * dx * dx + c * dy * dy) + b * dx * dy))
                free = opacities[g] * bell
                cover = min(free, STRONGEST)
                through = ONE / (ONE - cover)
                t *= through
                weight = t * cover
                v_colors[g, 0] += weight * v0
                v_colors[g, 1] += weight * v1
                v_colors[g, 2] += weight * v2
                seen = colors[g, 0] * v0 + colors[g, 1] * v1 + colors[g, 2] * v2
                v_cover = t * seen - behind * through + t_end * through * v_a
                behind += weight * seen
                if free > STRONGEST:
                    continue
                v_opacities[g] += bell * v_cover
                v_sigma = -free * v_cover
                v_means2d[g, 0] -= v_sigma * (a * dx + b * dy)
                v_means2d[g, 1] -= v_sigma * (b * dx + c * dy)
                v_conics[g, 0] += HALF * v_sigma * dx * dx
                v_conics[g, 1] += v_sigma * dx * dy
                v_conics[g, 2] += HALF * v_sigma * dy * dy


class ScalarRender:
    """One picture by the plain loop; `forward` and `backward` are what is timed."""

    def __init__(self, ellipses: Ellipses) -> None:
        self.ellipses = ellipses
        counts = ellipses.inside.ravel()
        self._starts = np.cumsum(counts) - counts
        self._ids = np.empty(counts.sum(), np.int32)

    def forward(self) -> None:
        """Makes rgb [H, W, 3] without background, alpha [H, W], and lengths [H W], the evaluations of each pixel."""
        e = self.ellipses
        self.rgb = np.zeros((*e.inside.shape, 3), np.float32)
        self._passed = np.ones(e.inside.shape, np.float32)
        self.lengths = np.zeros(e.inside.size, np.int64)
        is_done = np.zeros(e.inside.shape, np.bool_)
        draw(
            e.means2d, e.conics, e.opacities, e.colors, e.boxes, self._starts,
            self.rgb, self._passed, is_done, self.lengths, self._ids,
        )  # fmt: skip
        self.alpha = 1 - self._passed

    def backward(self, v_rgb: np.ndarray, v_alpha: np.ndarray) -> tuple[np.ndarray, ...]:
        """Gradients of means2d, conics, opacities and colors, in depth order."""
        e = self.ellipses
        gradients = tuple(np.zeros_like(x) for x in (e.means2d, e.conics, e.opacities, e.colors))
        draw_backward(
            e.means2d, e.conics, e.opacities, e.colors, self._starts, self.lengths, self._ids, self._passed,
            v_rgb, v_alpha, *gradients,
        )  # fmt: skip
        return gradients

    def pull_back(self, gradients: tuple[np.ndarray, ...]) -> None:
        """Adds to the gradients of the scene that the ellipses were made from."""
        e = self.ellipses
        grown = [torch.zeros_like(source) for source in e.sources]
        for full, part in zip(grown, gradients, strict=True):
            full[0, e.order] = torch.from_numpy(part).to(full)
        torch.autograd.backward(e.sources, grown)
