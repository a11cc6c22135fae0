"""What blurs a photo besides the camera's motion: its focus, and whatever else kernels can explain."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..geometry import Cameras
from .kernels import KernelNetwork, PixelKernels
from .spread import spread

MAX_RADIUS_PX = 16.0  # in training; what spreads further is out of all proportion, and costs as much
UNSEEN_PX = 0.25  # a smaller disk leaves 97 % of the light in its pixel; a photo whose disks are all such is in focus


@dataclass(frozen=True)
class Focused:
    """Everything is in focus."""


@dataclass(frozen=True)
class Defocus:
    """Each photo is focused at a depth of its own; what is nearer or further is spread over a disk.

    Attributes:
        start: radius to start from, as an angle in radians: zero would be a place that gradients do not leave.
    """

    start: float = 2e-3


@dataclass(frozen=True)
class NoKernels:
    """Motion and focus explain all blur."""


@dataclass(frozen=True)
class Lens:
    """The parts, in the order in which light meets them.

    Attributes:
        focus: out-of-focus blur, from the scene's depth.
        kernels: what is left, from the looks of the scene.
    """

    focus: Focused | Defocus = field(default_factory=Focused)
    kernels: NoKernels | PixelKernels = field(default_factory=NoKernels)


@dataclass(frozen=True, eq=False)
class LensBlur:
    """What the lens did to a photo.

    Attributes:
        radius_px: of the disk of each pixel; None if everything is in focus.
        moved: share of light that comes from other pixels, on the kernels' grid; None without kernels.
        gate: share of each kernel in the photo, on the same grid.
    """

    radius_px: Float[Tensor, "height width"] | None = None
    moved: Float[Tensor, "rows columns"] | None = None
    gate: Float[Tensor, "rows columns"] | None = None


class FocusBlur(nn.Module):
    """Circles of confusion: radius = focal length |aperture / depth - vergence|, a thin lens's (CoCoGaussian).

    Parameters, one tensor per photo:
        focus: [2], the radius of the aperture in scene depths (times 1 / depth it is the angle that a point's light
            comes from), and aperture / depth in focus; both in radians.
    """

    def __init__(self, config: Defocus, depths: Float[Tensor, "frame"]) -> None:
        super().__init__()
        self.focus = nn.ParameterList(nn.Parameter(depths.new_tensor([0.0, config.start])) for _ in depths)
        self.register_buffer("depths", depths.clone())

    def radius_px(
        self, depth: Float[Tensor, "height width"], frame: int, focal_px: float, enlarged: float = 1.0
    ) -> Float[Tensor, "height width"]:
        """Of every pixel; `depth` in world units, 0 where nothing is; `enlarged` as in `LensParts`."""
        aperture, vergence = self.focus[frame]
        nearness = torch.where(depth > 0, self.depths[frame] / depth.clamp(min=1e-6), torch.ones_like(depth))
        angle = aperture * nearness.clamp(max=10) - vergence
        return (focal_px * (angle.square() + 1e-12).sqrt()).clamp(max=MAX_RADIUS_PX * enlarged)

    @torch.no_grad()
    def start(self, frame: int, angle: float) -> None:
        """Disks of this radius, in radians, everywhere in a photo."""
        self.focus[frame].copy_(torch.tensor([0.0, angle]))

    @torch.no_grad()
    def narrow(self, frame: int, factor: float) -> None:
        """Scales a photo's disks."""
        self.focus[frame].mul_(factor)


class LensParts(nn.Module):
    """The parts that a photo's light goes through after the shutter has added it up."""

    def __init__(self, lens: Lens, depths: Float[Tensor, "frame"], generator: torch.Generator) -> None:
        super().__init__()
        self.focus = FocusBlur(lens.focus, depths) if isinstance(lens.focus, Defocus) else None
        self.kernels = (
            KernelNetwork(lens.kernels, len(depths), generator) if isinstance(lens.kernels, PixelKernels) else None
        )

    @property
    def is_clear(self) -> bool:
        """Whether there is nothing that could blur."""
        return self.focus is None and self.kernels is None

    def forward(
        self,
        light: Float[Tensor, "height width 3"],
        depth: Float[Tensor, "height width"],
        frame: int,
        camera: Cameras,
        *,
        unit: Float[Tensor, ""],
        level: int = -1,
        enlarged: float = 1.0,
    ) -> tuple[Float[Tensor, "height width 3"], LensBlur]:
        """Linear light as the sensor gets it. The scene's depth is taken as known: no gradient goes into it.

        Args:
            camera: the photo's, or a window of it.
            unit: typical depth of the scene in this photo, in world units.
            level: stage of the resolution, -1 the last.
            enlarged: how many times as large as in training the picture is.
        """
        depth = depth.detach()
        radius = moved = gate = None
        if self.focus is not None:
            radius = self.focus.radius_px(depth, frame, camera.Ks[0, 0, 0].item(), enlarged)
            nearness = torch.where(depth > 0, 1 / depth.clamp(min=1e-6), torch.zeros_like(depth))
            if radius.max() > UNSEEN_PX:
                light = spread(light, radius, nearness)
        if self.kernels is not None:
            light, moved, gate = self.kernels.blurred(light, depth, frame, camera, level, unit, enlarged)
        return light, LensBlur(radius, moved, gate)
