"""How much each sub-frame counts at each pixel, as a network finds from what the sub-frames show (CoMoGaussian)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from ..geometry import linear_from_srgb
from .seeding import seed_weights


@dataclass(frozen=True)
class EvenWeights:
    """Every sub-frame counts for the time that it stands for."""


@dataclass(frozen=True)
class PixelWeights:
    """A network weighs the sub-frames at each pixel against each other, and their sum against the middle one.

    Attributes:
        stride_px: it looks every so many px, and its weights are bilinear between.
        features: width of the network.
        gate: logit of the share of the weighted sum in the photo at the start; the rest is the middle sub-frame.
    """

    stride_px: int = 2
    features: int = 32
    gate: float = 0.0


class SubframeWeights(nn.Module):
    """The network: every sub-frame is looked at by itself, by the same layers, so that any number of them will do.

    The weights start even. Sub-frames come in without gradient; the light that is weighed keeps its own.
    """

    def __init__(self, config: PixelWeights, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        width = config.features
        self.look = nn.Sequential(
            nn.Conv2d(3, width, 5, padding=2), nn.InstanceNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.InstanceNorm2d(width), nn.ReLU(),
        )  # fmt: skip
        self.weight = nn.Conv2d(width, 1, 1)
        self.gate = nn.Conv2d(width, 1, 1)
        seed_weights(self, generator)
        nn.init.zeros_(self.weight.weight)
        nn.init.constant_(self.gate.bias, config.gate)

    def forward(
        self, subframes: Float[Tensor, "subframe height width 3"], is_linear: bool
    ) -> tuple[Float[Tensor, "1 height width 3"], Float[Tensor, "height width"]]:
        """The weighted mean of sRGB sub-frames, and how much of it at each pixel is not the middle one as it is.

        Args:
            is_linear: weigh linear light, and return it; else display values.
        """
        size = subframes.shape[1:3]
        grid = tuple(max(2, round(side / self.config.stride_px)) for side in size)
        seen = adaptive_avg_pool2d(subframes.detach().permute(0, 3, 1, 2), grid).to(self.gate.weight)
        looks = self.look(seen)
        logits, gate = self.weight(looks), self.gate(looks.mean(0, keepdim=True))
        logits, gate = (
            interpolate(x, size, mode="bilinear", align_corners=False)[:, 0].to(subframes) for x in (logits, gate)
        )
        weights, share = logits.softmax(0)[..., None], gate.sigmoid()[0]
        light = linear_from_srgb(subframes) if is_linear else subframes
        middle = light[len(light) // 2]
        mixed = middle + share[..., None] * ((weights * light).sum(0) - middle)
        return mixed[None], share
