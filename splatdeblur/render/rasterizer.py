"""The protocol that every renderer keeps, and the choice of one."""

import logging
from dataclasses import dataclass
from functools import cache
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import BackendError
from ..geometry import Cameras, linear_from_srgb
from ..scene import Gaussians

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RenderOptions:
    """How to draw; the constants are gsplat's, so that a scene trained here looks the same there.

    Attributes:
        is_antialiased: opacity is lowered by what the screen-space dilation adds to a footprint (Mip-Splatting's).
        sh_degree: highest spherical-harmonic degree in use; None means all that the scene has.
        near, far: z-depths outside of which a Gaussian is not drawn, in world units.
        dilation_px2: added to the diagonal of every screen covariance, in px^2.
        background: sRGB value behind the scene.
        keeps_magnitudes: backward passes leave `ProjectionInfo.means2d.absgrad`.
    """

    is_antialiased: bool = False
    sh_degree: int | None = None
    near: float = 0.01
    far: float = 1e10
    dilation_px2: float = 0.3
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    keeps_magnitudes: bool = False


ALPHA_MIN = 1 / 255  # a Gaussian weaker than this at a pixel is skipped there
ALPHA_MAX = 0.999  # a Gaussian never covers a pixel more than this
TRANSMITTANCE_MIN = 1e-4  # blending stops before the transmittance falls to this


@dataclass(frozen=True, eq=False)
class Burst:
    """Says that the cameras of a call are sub-frames of one photo, to be averaged in linear light.

    Attributes:
        weights: of each sub-frame, or of each row of each sub-frame; they sum to 1 over the sub-frames.
        slices: viewmats at the start and at the end of the slice of the exposure that each sub-frame stands for.
            Each projected Gaussian is then widened by its own motion from the one to the other (*thick* sub-frames):
            its screen covariance grows by d d^T / 12, with d the displacement in px, and its opacity shrinks by
            sqrt(det before / det after), which conserves light. None: sub-frames are instants.
        is_linear: decode each sub-frame to linear light before averaging; False averages encoded values (an
            ablation: the blur of no camera).
    """

    weights: Float[Tensor, "subframe"] | Float[Tensor, "subframe height"]
    slices: Float[Tensor, "subframe 2 4 4"] | None = None
    is_linear: bool = True


@dataclass(frozen=True, eq=False)
class ProjectionInfo:
    """What density control needs to know of a call; C counts the sub-frames of a burst.

    Attributes:
        means2d: screen positions in px; part of the graph, so its gradient can be kept. Where asked for, a backward
            pass leaves in its attribute `absgrad`, as gsplat does, what the gradient would be if the magnitudes of what
            each pixel adds to it were summed. The reference never does.
        radii: half extents of the footprint in px; 0 where a Gaussian is not drawn.
        width, height: picture size in px.
    """

    means2d: Float[Tensor, "camera N 2"]
    radii: Int[Tensor, "camera N 2"]
    width: int
    height: int

    @property
    def is_drawn(self) -> Bool[Tensor, "N"]:
        """Which Gaussians at least one of the cameras shows."""
        return (self.radii[..., 0] > 0).any(0)


@dataclass(frozen=True, eq=False)
class Render:
    """Pictures of one call: one for each camera, or a single average for a burst.

    Attributes:
        rgb: sRGB-encoded, background included, not clipped (may exceed 1). For a burst with `is_linear` it is the
            weighted mean in LINEAR light instead, see `is_linear`.
        alpha: opacity along each ray, in [0, 1].
        depth: expected z-depth, sum(w z) / sum(w), in world units; 0 where nothing is drawn.
        is_linear: whether `rgb` is linear light.
        subframes: of a burst, the sRGB-encoded pictures that were averaged.
    """

    rgb: Float[Tensor, "picture height width 3"]
    alpha: Float[Tensor, "picture height width"]
    depth: Float[Tensor, "picture height width"]
    info: ProjectionInfo
    is_linear: bool = False
    subframes: Float[Tensor, "subframe height width 3"] | None = None


@runtime_checkable
class Rasterizer(Protocol):
    """Draws a scene; differentiable in everything: scene, viewmats, slices and weights."""

    @property
    def name(self) -> str: ...

    @property
    def device(self) -> torch.device: ...

    def render(
        self,
        scene: Gaussians,
        cameras: Cameras,
        *,
        options: RenderOptions = RenderOptions(),
        burst: Burst | None = None,
    ) -> Render:
        """All cameras in one call; with `burst`, their weighted average."""
        ...


def average_burst(
    rgb: Float[Tensor, "subframe height width 3"],
    alpha: Float[Tensor, "subframe height width"],
    depth: Float[Tensor, "subframe height width"],
    burst: Burst,
) -> tuple[Float[Tensor, "1 height width 3"], Float[Tensor, "1 height width"], Float[Tensor, "1 height width"]]:
    """The weighted mean of sub-frames, in linear light unless the burst says otherwise; alpha and depth as they are."""
    weights = burst.weights if burst.weights.ndim == 2 else burst.weights[:, None]
    light = linear_from_srgb(rgb) if burst.is_linear else rgb
    w = weights[:, :, None]
    return (
        (light * w[..., None]).sum(0, keepdim=True),
        (alpha * w).sum(0, keepdim=True),
        (depth * w).sum(0, keepdim=True),
    )


@cache
def _say_once(message: str) -> None:
    logger.info(message)


def best_available(device: str = "auto") -> Rasterizer:
    """The fastest renderer of this machine; `device` is "auto", "cpu" or "cuda".

    Raises:
        BackendError: "cuda" was asked for and there is no CUDA device, or gsplat cannot be used.
    """
    from .cpu import CpuRasterizer

    if device not in ("auto", "cpu", "cuda"):
        raise BackendError(f'device is "{device}"; it must be auto, cpu or cuda')
    if device == "cuda" and not torch.cuda.is_available():
        raise BackendError("device is cuda, but torch sees no CUDA device; use --device cpu, or install a CUDA torch")
    if device == "cpu" or not torch.cuda.is_available():
        if device == "auto":
            _say_once("rendering on the CPU: torch sees no CUDA device")
        return CpuRasterizer()
    from .gsplat_cuda import GsplatRasterizer

    return GsplatRasterizer()
