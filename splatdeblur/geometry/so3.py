"""Rotations: matrices, quaternions (wxyz) and rotation vectors."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def skew(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The matrix `[v]` with `[v] w = v x w`."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


def matrix_from_quat(quats: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices of wxyz quaternions of any non-zero norm."""
    w, x, y, z = F.normalize(quats, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def quat_from_matrix(rotations: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit wxyz quaternions with w >= 0 of rotation matrices; stable for every angle, pi included.

    Source: Shepperd 1978. Each of the four ways divides by one quaternion entry; we take the largest.
    """
    m = rotations.flatten(-2)
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = m.unbind(-1)
    squares = torch.stack(
        [1 + m00 + m11 + m22, 1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22], dim=-1
    )  # 4 times the squared entries w, x, y, z
    candidates = torch.stack(
        [
            torch.stack([squares[..., 0], m21 - m12, m02 - m20, m10 - m01], dim=-1),
            torch.stack([m21 - m12, squares[..., 1], m10 + m01, m02 + m20], dim=-1),
            torch.stack([m02 - m20, m10 + m01, squares[..., 2], m12 + m21], dim=-1),
            torch.stack([m10 - m01, m02 + m20, m12 + m21, squares[..., 3]], dim=-1),
        ],
        dim=-2,
    )
    best = squares.argmax(dim=-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    quats = F.normalize(candidates.gather(-2, best).squeeze(-2), dim=-1)
    return torch.where(quats[..., :1] < 0, -quats, quats)


def rotation_vector(rotations: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Axis times angle in [0, pi]; the inverse of the exponential."""
    quats = quat_from_matrix(rotations)
    w, xyz = quats[..., :1], quats[..., 1:]
    norm_squared = (xyz * xyz).sum(-1, keepdim=True)
    is_small = norm_squared < 1e-6
    norm = torch.where(is_small, torch.ones_like(norm_squared), norm_squared).sqrt()
    exact = 2 * torch.atan2(norm, w) / norm
    # atan(t)/t = 1 - t^2/3 + t^4/5, with t = |xyz| / w and w near 1 in this branch.
    safe_w = torch.where(is_small, w, torch.ones_like(w))
    ratio = norm_squared / (safe_w * safe_w)
    series = 2 / safe_w * (1 - ratio / 3 + ratio * ratio / 5)
    return torch.where(is_small, series, exact) * xyz
