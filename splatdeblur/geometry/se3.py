"""SE(3): exponential, logarithm and interpolation on 4x4 matrices, with gradients finite at the identity."""

import torch
from jaxtyping import Float
from torch import Tensor

from .so3 import rotation_vector, skew


def _series_below(angle_squared: Tensor) -> float:
    """Squared angle under which the Taylor series is more exact than the closed form, by precision."""
    return 0.25 if angle_squared.dtype == torch.float32 else 1e-2


def _coefficients(angle_squared: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """sin(t)/t, (1 - cos t)/t^2 and (t - sin t)/t^3 for t^2 = `angle_squared`, smooth through zero."""
    is_small = angle_squared < _series_below(angle_squared)
    s = torch.where(is_small, angle_squared, torch.zeros_like(angle_squared))
    t = torch.where(is_small, torch.ones_like(angle_squared), angle_squared).sqrt()
    series = (
        1 - s / 6 * (1 - s / 20 * (1 - s / 42 * (1 - s / 72))),
        0.5 - s / 24 * (1 - s / 30 * (1 - s / 56 * (1 - s / 90))),
        (1 - s / 20 * (1 - s / 42 * (1 - s / 72 * (1 - s / 110)))) / 6,
    )
    exact = (t.sin() / t, 2 * (t / 2).sin() ** 2 / t**2, (t - t.sin()) / t**3)
    return tuple(torch.where(is_small, a, b) for a, b in zip(series, exact, strict=True))


def _assemble(rotation: Tensor, translation: Tensor) -> Tensor:
    top = torch.cat([rotation, translation[..., None]], dim=-1)
    bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], dim=-2)


def exp(tangent: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 4 4"]:
    """The rigid motion reached after unit time at constant twist `tangent` (translation, then rotation).

    Source: Eade 2013, "Lie groups for 2D and 3D transformations".
    """
    translation, rotation = tangent[..., :3], tangent[..., 3:]
    w = skew(rotation)
    ww = w @ w
    a, b, c = (x[..., None, None] for x in _coefficients((rotation * rotation).sum(-1)))
    eye = torch.eye(3, dtype=tangent.dtype, device=tangent.device)
    v = eye + b * w + c * ww
    return _assemble(eye + a * w + b * ww, (v @ translation[..., None]).squeeze(-1))


def log(transform: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 6"]:
    """The twist whose `exp` is `transform`, with a rotation angle in [0, pi]."""
    rotation = rotation_vector(transform[..., :3, :3])
    angle_squared = (rotation * rotation).sum(-1)
    is_small = angle_squared < _series_below(angle_squared)
    s = torch.where(is_small, angle_squared, torch.zeros_like(angle_squared))
    half = torch.where(is_small, torch.ones_like(angle_squared), angle_squared).sqrt() / 2
    series = 1 / 12 + s / 720 * (1 + s / 42 * (1 + s / 40 * (1 + s * 5 / 198)))
    exact = (1 - half * half.cos() / half.sin()) / (4 * half * half)
    d = torch.where(is_small, series, exact)[..., None, None]
    w = skew(rotation)
    eye = torch.eye(3, dtype=transform.dtype, device=transform.device)
    v_inverse = eye - w / 2 + d * (w @ w)
    return torch.cat([(v_inverse @ transform[..., :3, 3:]).squeeze(-1), rotation], dim=-1)


def inverse(transform: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """The inverse rigid motion, by transposing the rotation."""
    rotation = transform[..., :3, :3].mT
    return _assemble(rotation, -(rotation @ transform[..., :3, 3:]).squeeze(-1))


def interpolate(
    start: Float[Tensor, "*batch 4 4"], end: Float[Tensor, "*batch 4 4"], time: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch 4 4"]:
    """The pose at `time` in [0, 1] on the constant twist from `start` to `end`."""
    return start @ exp(time[..., None] * log(inverse(start) @ end))
