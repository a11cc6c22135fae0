"""The scene as a photo sees it: Gaussians wider than they are, and copies of them moved aside (Deblurring-3DGS).

What blurs the photo is then in the Gaussians as drawn for it, and left out of the scene itself: sharp renders, files
and viewers never see it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..geometry import inverse
from ..scene import Gaussians
from .seeding import seed_weights

SeenAs = Callable[[Gaussians], Gaussians]
"""Makes of the scene what one render of a photo draws."""

def as_it_is(scene: Gaussians) -> Gaussians:
    """The scene."""
    return scene


PLACE_OCTAVES, CAMERA_OCTAVES = 3, 10  # of the sines of positions of Gaussians and of cameras
FACTORS = 7  # of each Gaussian in each copy: three scales, four numbers of the quaternion


@dataclass(frozen=True)
class Unchanged:
    """Photos see the Gaussians as they are."""


@dataclass(frozen=True)
class Widened:
    """A network of place, scales, rotation and camera widens each Gaussian for each photo (Deblurring-3DGS).

    Attributes:
        copies: of all Gaussians, each moved aside and averaged with the scene: a camera that moves; 0 for defocus.
        step: how far a factor on a scale, or on a number of the quaternion, goes for each unit of the network's output.
        most: the largest factor; the smallest is 1, as blur widens and never sharpens.
        shift: how far a copy moves for each unit of the output, in scene depths.
        features: width of the network's three hidden layers.
    """

    copies: int = 0
    step: float = 0.01
    most: float = 1.1
    shift: float = 0.01
    features: int = 64


class Widening(nn.Module):
    """The network; Gaussians come in without gradient, so that it answers for the blur and they for the scene."""

    def __init__(
        self,
        config: Widened,
        viewmats: Float[Tensor, "frame 4 4"],
        depths: Float[Tensor, "frame"],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.config = config
        width, factors = config.features, FACTORS * (config.copies + 1)
        self.of_gaussian = nn.Linear(3 * (1 + 2 * PLACE_OCTAVES) + FACTORS, width)
        self.of_camera = nn.Linear(3 * (1 + 2 * CAMERA_OCTAVES), width, bias=False)
        self.hidden = nn.Sequential(
            nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )  # fmt: skip
        self.last = nn.Linear(width, factors + 3 * config.copies)
        seed_weights(self, generator)
        with torch.no_grad():
            # About 1 is about the scene as it is; below it the clamp lets no gradient through.
            self.last.bias[:factors] = 1
        centers = inverse(viewmats)[:, :3, 3]
        self.register_buffer("middle", centers.mean(0))
        self.register_buffer("unit", depths.mean()[None])

    def changes(self, viewmat: Float[Tensor, "4 4"]) -> list[SeenAs]:
        """What a photo from `viewmat` is the mean of: the scene widened, then its copies, each made from the scene."""
        outputs = cache(partial(self._outputs, inverse(viewmat.detach())[:3, 3]))
        return [partial(self._change, outputs, copy) for copy in range(self.config.copies + 1)]

    def _outputs(self, center: Float[Tensor, "3"], scene: Gaussians) -> Float[Tensor, "N output"]:
        weights = self.last.weight
        means = (scene.means.detach() - self.middle) / self.unit
        quats = torch.nn.functional.normalize(scene.quats.detach(), dim=-1)
        log_scales = (scene.scales.detach() / self.unit).clamp(min=1e-8).log()
        gaussians = torch.cat([_waves(means, PLACE_OCTAVES), log_scales, quats], dim=-1)
        camera = _waves((center - self.middle) / self.unit, CAMERA_OCTAVES)
        # The camera's part of the first layer is one for all Gaussians.
        features = self.of_gaussian(gaussians.to(weights)) + self.of_camera(camera.to(weights))
        return self.last(self.hidden(features)).to(scene.means)

    def _change(self, outputs: Callable[[Gaussians], Tensor], copy: int, scene: Gaussians) -> Gaussians:
        config, found = self.config, outputs(scene)
        at = FACTORS * copy
        factors = (1 + config.step * (found[:, at : at + FACTORS] - 1)).clamp(1, config.most)
        raw = {
            "scales": scene.params["scales"] + factors[:, :3].log(),
            "quats": scene.quats * factors[:, 3:],
        }
        if copy:
            at = FACTORS * (config.copies + 1) + 3 * (copy - 1)
            raw["means"] = scene.means + config.shift * self.unit * found[:, at : at + 3]
        return scene.with_raw(raw)


def _waves(x: Float[Tensor, "*batch 3"], octaves: int) -> Float[Tensor, "*batch wave"]:
    """Positions, and their sines and cosines at doubling frequencies."""
    phases = torch.cat([x * 2.0**k for k in range(octaves)], dim=-1)
    return torch.cat([x, phases.sin(), phases.cos()], dim=-1)
