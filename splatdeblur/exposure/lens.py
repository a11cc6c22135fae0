"""What blurs a photo besides the camera's motion: its focus, and whatever else kernels can explain."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from ..geometry import Cameras, srgb_from_linear
from .mixing import mix
from .seeding import seed_weights
from .spread import MAX_RADIUS_PX, spread

EMBEDDING = 32
UNSEEN_PX = 0.25  # a smaller disk leaves 97 % of the light in its pixel; a photo whose disks are all such is in focus
OCTAVES = 4  # of the sines that tell a kernel where in the picture it is


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
class PixelKernels:
    """Every pixel is a mean of its neighbours with weights of its own, which a network finds (BAGS).

    Attributes:
        sizes: width of the kernels in px in each stage of the resolution, odd; later stages have the last.
        stride_px: a kernel every so many px, and between them the mean of their weights.
        features: width of the network.
        gate: logit of the share of each kernel in the photo at the start; the rest is the picture as it is.
    """

    sizes: tuple[int, ...] = (5, 9, 17)
    stride_px: int = 4
    features: int = 64
    gate: float = 0.0


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
        self, depth: Float[Tensor, "height width"], frame: int, focal_px: float
    ) -> Float[Tensor, "height width"]:
        """Of every pixel; `depth` in world units, 0 where nothing is."""
        aperture, vergence = self.focus[frame]
        nearness = torch.where(depth > 0, self.depths[frame] / depth.clamp(min=1e-6), torch.ones_like(depth))
        angle = aperture * nearness.clamp(max=10) - vergence
        return (focal_px * (angle.square() + 1e-12).sqrt()).clamp(max=MAX_RADIUS_PX)

    @torch.no_grad()
    def start(self, frame: int, angle: float) -> None:
        """Disks of this radius, in radians, everywhere in a photo."""
        self.focus[frame].copy_(torch.tensor([0.0, angle]))

    @torch.no_grad()
    def narrow(self, frame: int, factor: float) -> None:
        """Scales a photo's disks."""
        self.focus[frame].mul_(factor)


class KernelNetwork(nn.Module):
    """Kernels from what a photo shows: BAGS's blur proposal network, on a grid.

    Parameters:
        embeddings: [EMBEDDING] for each photo; the network's own besides.
    """

    def __init__(self, config: PixelKernels, num_frames: int, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        width = config.features
        self.embeddings = nn.ParameterList(
            nn.Parameter(0.1 * torch.randn(EMBEDDING, generator=generator)) for _ in range(num_frames)
        )
        self.look = nn.Sequential(
            nn.Conv2d(4, width, 5, padding=2), nn.ReLU(), nn.InstanceNorm2d(width),
            nn.Conv2d(width, width, 5, padding=2), nn.ReLU(), nn.InstanceNorm2d(width),
            nn.Conv2d(width, 32, 3, padding=1),
        )  # fmt: skip
        inputs = EMBEDDING + 4 * OCTAVES + 32
        self.base = nn.ModuleList(
            nn.Conv2d(inputs if i == 0 else width, width, 1, bias=False) for i in range(len(config.sizes))
        )
        self.kernel = nn.ModuleList(nn.Conv2d(width, size * size, 1, bias=False) for size in config.sizes)
        self.gate = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in config.sizes)
        seed_weights(self, generator)
        for gate in self.gate:
            nn.init.constant_(gate.bias, config.gate)

    def shared(self) -> list[nn.Parameter]:
        """The parameters that all photos have in common."""
        own = {id(embedding) for embedding in self.embeddings}
        return [parameter for parameter in self.parameters() if id(parameter) not in own]

    def forward(
        self,
        light: Float[Tensor, "height width 3"],
        depth: Float[Tensor, "height width"],
        frame: int,
        camera: Cameras,
        level: int,
    ) -> tuple[Float[Tensor, "tap rows columns"], Float[Tensor, "rows columns"]]:
        """Weights of each kernel's taps, which sum to 1, and how much of it is in them; the rest is its middle tap."""
        height, width = depth.shape
        grid = max(1, round(height / self.config.stride_px)), max(1, round(width / self.config.stride_px))
        seen = torch.cat([srgb_from_linear(light.detach()), (depth / depth.max().clamp(min=1e-6))[..., None]], dim=-1)
        seen = adaptive_avg_pool2d(seen.permute(2, 0, 1), grid).to(self.embeddings[0])
        looks = self.look(seen[None])
        embedding = self.embeddings[frame][None, :, None, None].expand(1, -1, *grid)
        x = torch.cat([embedding, _places(camera, grid)[None].to(looks), looks], dim=1)
        level = min(level, len(self.base) - 1)
        for base in self.base[: level + 1]:
            x = base(x).relu()
        gate = self.gate[level](x)[0, 0].sigmoid()
        weights = gate * self.kernel[level](x)[0].softmax(0)
        middle = len(weights) // 2
        still = torch.zeros_like(weights)
        still[middle] = 1
        return (weights + still * (1 - gate)).to(light), gate


def _places(camera: Cameras, grid: tuple[int, int]) -> Float[Tensor, "wave rows columns"]:
    """Sines and cosines of where the grid's rays go, the same for a window of a photo as for the photo."""
    K = camera.Ks[0].cpu()
    rows, columns = grid
    y = ((torch.arange(rows) + 0.5) * camera.height / rows - K[1, 2]) / K[1, 1]
    x = ((torch.arange(columns) + 0.5) * camera.width / columns - K[0, 2]) / K[0, 0]
    rays = torch.stack(torch.meshgrid(y, x, indexing="ij"))
    waves = torch.cat([rays * 2.0**k * torch.pi for k in range(OCTAVES)])
    return torch.cat([waves.sin(), waves.cos()])


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
        level: int = -1,
    ) -> tuple[Float[Tensor, "height width 3"], LensBlur]:
        """Linear light as the sensor gets it. The scene's depth is taken as known: no gradient goes into it.

        Args:
            camera: the photo's, or a window of it.
            level: stage of the resolution, -1 the last.
        """
        depth = depth.detach()
        radius = moved = gate = None
        if self.focus is not None:
            radius = self.focus.radius_px(depth, frame, camera.Ks[0, 0, 0].item())
            nearness = torch.where(depth > 0, 1 / depth.clamp(min=1e-6), torch.zeros_like(depth))
            if radius.max() > UNSEEN_PX:
                light = spread(light, radius, nearness)
        if self.kernels is not None:
            stages = len(self.kernels.config.sizes)
            weights, gate = self.kernels(light, depth, frame, camera, level % stages if level < 0 else level)
            light = mix(light, weights)
            moved = 1 - weights[len(weights) // 2]
        return light, LensBlur(radius, moved, gate)
