"""A small network from a patch's features to its blur; its weights are a file that a person can read."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import torch
from jaxtyping import Float
from torch import Tensor

from .features import Features, mirrored

KINDS = 3
OUTPUTS = KINDS + 4  # logits of the kinds; strength and the log of its error, as log2(1 + px); direction, doubled angle


@dataclass(frozen=True, eq=False)
class PatchBlur:
    """What the network says of each patch.

    Attributes:
        probabilities: of sharp, motion and defocus.
        log_strength: log2(1 + strength in px).
        log_error: of `log_strength`, its expected absolute error.
        direction: cosine and sine of twice the direction; shorter than 1 where in doubt.
    """

    probabilities: Float[Tensor, "patch 3"]
    log_strength: Float[Tensor, "patch"]
    log_error: Float[Tensor, "patch"]
    direction: Float[Tensor, "patch 2"]


@dataclass(frozen=True, eq=False)
class Network:
    """Standardised features, then layers of weights with a SiLU between them."""

    mean: Float[Tensor, "feature"]
    deviation: Float[Tensor, "feature"]
    weights: tuple[Float[Tensor, "..."], ...]
    biases: tuple[Float[Tensor, "..."], ...]

    def outputs(self, values: Float[Tensor, "patch feature"]) -> Float[Tensor, "patch output"]:
        """Raw outputs, as seen from the reference direction."""
        x = ((values - self.mean) / self.deviation).clamp(-4, 4)
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight.T + bias
            if index < len(self.weights) - 1:
                x = torch.nn.functional.silu(x)
        return x

    def __call__(self, features: Features) -> PatchBlur:
        """The mean over each patch and its mirror image."""
        one, other = self.outputs(features.values), self.outputs(mirrored(features.values))
        both = (one + other) / 2
        along, across = both[:, 5], (one[:, 6] - other[:, 6]) / 2
        length = torch.hypot(along, across).clamp(min=1e-6)
        turn = torch.deg2rad(2 * features.reference_deg)
        c, s = turn.cos(), turn.sin()
        direction = torch.stack([c * along - s * across, s * along + c * across], dim=1)
        return PatchBlur(
            both[:, :KINDS].softmax(dim=1), both[:, 3].clamp(min=0), both[:, 4].exp(),
            direction / length[:, None] * length.clamp(max=1)[:, None],
        )  # fmt: skip


@cache
def load_network() -> Network:
    """The weights that come with the package, made by `scripts/train_blur_assessment`."""
    content = json.loads((files(__package__) / "weights.json").read_text())
    return network_from_plain(content)


def network_from_plain(content: dict) -> Network:
    """A network of its JSON form."""
    tensor = lambda values: torch.tensor(values, dtype=torch.float32)  # noqa: E731
    return Network(
        tensor(content["mean"]),
        tensor(content["deviation"]),
        tuple(tensor(layer["weight"]) for layer in content["layers"]),
        tuple(tensor(layer["bias"]) for layer in content["layers"]),
    )
