"""Kernels that a network finds from what a photo shows: the blur that motion and focus do not explain (BAGS)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from ..geometry import Cameras, srgb_from_linear
from .mixing import mix
from .seeding import seed_weights

EMBEDDING = 32
OCTAVES = 4  # of the sines that tell a kernel where in the picture it is
SAME_SIZE = 1e-3  # pictures whose sizes differ by less, in proportion, count as of one size


@dataclass(frozen=True)
class PixelKernels:
    """Every pixel is a mean of its neighbours with weights of its own, which a network finds (BAGS).

    Attributes:
        sizes: width of the kernels in px in each stage of the resolution, odd; later stages have the last. Pictures
            larger or smaller than the training's are blurred as much in proportion.
        stride_px: a kernel every so many px, and between them the mean of their weights.
        features: width of the network.
        gate: logit of the share of each kernel in the photo at the start; the rest is the picture as it is.
    """

    sizes: tuple[int, ...] = (5, 9, 17)
    stride_px: int = 4
    features: int = 64
    gate: float = 0.0


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
        unit: Float[Tensor, ""],
    ) -> tuple[Float[Tensor, "tap rows columns"], Float[Tensor, "rows columns"]]:
        """Weights of each kernel's taps, which sum to 1, and how much of it is in them; the rest is its middle tap."""
        seen = self.seen(light, depth, unit)
        grid = seen.shape[1:]
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

    def seen(
        self, light: Float[Tensor, "height width 3"], depth: Float[Tensor, "height width"], unit: Float[Tensor, ""]
    ) -> Float[Tensor, "4 rows columns"]:
        """What the network looks at: sRGB values, and depth as depth / (depth + unit), the same for a window of a photo
        as for the photo. (Its norms still are the window's own.)"""
        height, width = depth.shape
        grid = max(1, round(height / self.config.stride_px)), max(1, round(width / self.config.stride_px))
        farness = depth / (depth + unit)
        both = torch.cat([srgb_from_linear(light.detach()), farness[..., None]], dim=-1)
        return adaptive_avg_pool2d(both.permute(2, 0, 1), grid).to(self.embeddings[0])

    def blurred(
        self,
        light: Float[Tensor, "height width 3"],
        depth: Float[Tensor, "height width"],
        frame: int,
        camera: Cameras,
        level: int,
        unit: Float[Tensor, ""],
        enlarged: float,
    ) -> tuple[Float[Tensor, "height width 3"], Float[Tensor, "rows columns"], Float[Tensor, "rows columns"]]:
        """The light behind the kernels, the share of it that comes from other pixels, and that of the kernels.

        Kernels are made of the training's pixels: in a picture that is `enlarged`, what comes from other pixels is
        taken at the training's size (it is blurred, and can be resized), and only the rest at its own.
        """
        level = level % len(self.config.sizes) if level < 0 else level
        shape = camera.height, camera.width
        small, small_depth, small_shape, lens = light, depth, shape, camera
        if abs(enlarged - 1) > SAME_SIZE:
            small_shape = max(1, round(camera.height / enlarged)), max(1, round(camera.width / enlarged))
            small, small_depth = _resized(light, small_shape), _resized(depth[..., None], small_shape)[..., 0]
            lens = camera.resized(small_shape[1], small_shape[0])
        weights, gate = self(small, small_depth, frame, lens, level, unit)
        stays, mixed = weights[len(weights) // 2], mix(small, weights)
        if small_shape != shape:
            here, there = (_resized(stays[..., None], s) for s in (shape, small_shape))
            mixed = here * light + _resized(mixed - there * small, shape)
        return mixed, 1 - stays, gate


def _places(camera: Cameras, grid: tuple[int, int]) -> Float[Tensor, "wave rows columns"]:
    """Sines and cosines of where the grid's rays go, the same for a window of a photo as for the photo."""
    K = camera.Ks[0].cpu()
    rows, columns = grid
    y = ((torch.arange(rows) + 0.5) * camera.height / rows - K[1, 2]) / K[1, 1]
    x = ((torch.arange(columns) + 0.5) * camera.width / columns - K[0, 2]) / K[0, 0]
    rays = torch.stack(torch.meshgrid(y, x, indexing="ij"))
    waves = torch.cat([rays * 2.0**k * torch.pi for k in range(OCTAVES)])
    return torch.cat([waves.sin(), waves.cos()])


def _resized(picture: Float[Tensor, "_ _ channel"], shape: tuple[int, int]) -> Float[Tensor, "_ _ channel"]:
    """A picture of another (height, width), bilinear."""
    planes = picture.permute(2, 0, 1)[None]
    return interpolate(planes, shape, mode="bilinear", align_corners=False, antialias=True)[0].permute(1, 2, 0)
