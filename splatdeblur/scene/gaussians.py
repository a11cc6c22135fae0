"""The scene: N anisotropic Gaussians with spherical-harmonic colours, kept as raw, unconstrained values."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

SH_C0 = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 sqrt(pi))


@dataclass(frozen=True, eq=False)
class Gaussians:
    """N Gaussians, raw values under gsplat's names, so that its strategies can work on them.

    Attributes:
        params: a ParameterDict with `means` [N, 3] (world units), `quats` [N, 4] (wxyz, any norm),
            `scales` [N, 3] (log of world units), `opacities` [N] (logits), `sh0` [N, 1, 3] and
            `shN` [N, K - 1, 3] (coefficients of display-referred colour; K = (degree + 1)^2). Or a dict of tensors
            that were computed from those of another scene.
    """

    params: nn.ParameterDict | dict[str, Tensor]

    @classmethod
    def from_raw(
        cls,
        means: Float[Tensor, "N 3"],
        quats: Float[Tensor, "N 4"],
        log_scales: Float[Tensor, "N 3"],
        opacity_logits: Float[Tensor, "N"],
        sh: Float[Tensor, "N K 3"],
    ) -> "Gaussians":
        """A scene from raw tensors, which are copied."""
        raw = {
            "means": means, "quats": quats, "scales": log_scales, "opacities": opacity_logits,
            "sh0": sh[:, :1], "shN": sh[:, 1:],
        }  # fmt: skip
        return cls(nn.ParameterDict({k: nn.Parameter(v.detach().clone()) for k, v in raw.items()}))

    def __len__(self) -> int:
        return len(self.params["means"])

    @property
    def means(self) -> Float[Tensor, "N 3"]:
        return self.params["means"]

    @property
    def quats(self) -> Float[Tensor, "N 4"]:
        return self.params["quats"]

    @property
    def scales(self) -> Float[Tensor, "N 3"]:
        """Standard deviations along the own axes, in world units."""
        return self.params["scales"].exp()

    @property
    def opacities(self) -> Float[Tensor, "N"]:
        """In [0, 1]."""
        return self.params["opacities"].sigmoid()

    @property
    def sh(self) -> Float[Tensor, "N K 3"]:
        return torch.cat([self.params["sh0"], self.params["shN"]], dim=1)

    @property
    def sh_degree(self) -> int:
        return round((1 + self.params["shN"].shape[1]) ** 0.5) - 1

    def with_raw(self, raw: dict[str, Tensor]) -> "Gaussians":
        """The scene with some raw values replaced by computed ones, to be drawn; gradients go through."""
        return type(self)(dict(self.params.items()) | raw)

    def detached(self) -> "Gaussians":
        """The same values without gradients, shared memory."""
        raw = {k: nn.Parameter(v.detach(), requires_grad=False) for k, v in self.params.items()}
        return type(self)(nn.ParameterDict(raw))

    def to(self, device: torch.device | str) -> "Gaussians":
        """A copy on another device."""
        return type(self)(nn.ParameterDict({k: nn.Parameter(v.detach().to(device)) for k, v in self.params.items()}))


def _nearest_distances(points: Float[Tensor, "P 3"], neighbours: int) -> Float[Tensor, "P"]:
    """Root mean square distance to the nearest `neighbours` other points, computed in blocks."""
    rows = []
    for block in points.split(1024):
        squared = torch.cdist(block, points).square()
        rows.append(squared.topk(min(neighbours + 1, len(points)), largest=False).values[:, 1:].mean(-1).sqrt())
    return torch.cat(rows)


def from_points(
    points: Float[Tensor, "P 3"], colors: Float[Tensor, "P 3"], *, sh_degree: int, opacity: float = 0.1
) -> Gaussians:
    """Round Gaussians at points, as large as the distance to their neighbours.

    Args:
        points: world positions; at least two.
        colors: sRGB values in [0, 1].
        sh_degree: 0 to 3.
        opacity: initial opacity of each, in (0, 1).
    Source: Kerbl et al. 2023, section 7.1.
    """
    radius = _nearest_distances(points, neighbours=3).clamp(min=1e-7)
    quats = torch.zeros(len(points), 4, dtype=points.dtype, device=points.device)
    quats[:, 0] = 1
    sh = torch.zeros(len(points), (sh_degree + 1) ** 2, 3, dtype=points.dtype, device=points.device)
    sh[:, 0] = (colors - 0.5) / SH_C0
    logits = torch.full_like(radius, opacity).logit()
    return Gaussians.from_raw(points, quats, radius.log()[:, None].expand(-1, 3), logits, sh)
