"""Quaternions, matrices and rotation vectors say the same thing."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from splatdeblur.geometry import matrix_from_quat, quat_from_matrix
from splatdeblur.geometry.so3 import rotation_vector, skew

PRECISIONS = [torch.float32, torch.float64]


def random_quats(count, dtype=torch.float64, seed=0):
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def product(a, b):
    """Hamilton's product of two wxyz quaternions, from its rule i^2 = j^2 = k^2 = ijk = -1."""
    aw, ax, ay, az = a.tolist()
    bw, bx, by, bz = b.tolist()
    return torch.tensor(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        dtype=a.dtype,
    )


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_quaternions_come_back_from_their_matrices(dtype):
    quats = torch.nn.functional.normalize(random_quats(200, dtype), dim=-1)
    quats = torch.where(quats[:, :1] < 0, -quats, quats)
    torch.testing.assert_close(quat_from_matrix(matrix_from_quat(quats)), quats)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_the_norm_and_sign_of_a_quaternion_do_not_matter(dtype):
    quats = random_quats(20, dtype)
    for factor in (-1, 1e-3, 300):
        torch.testing.assert_close(matrix_from_quat(factor * quats), matrix_from_quat(quats))


def test_products_of_quaternions_are_products_of_matrices():
    a, b = random_quats(1)[0], random_quats(1, seed=1)[0]
    torch.testing.assert_close(matrix_from_quat(product(a, b)), matrix_from_quat(a) @ matrix_from_quat(b))


def test_a_quarter_turn_about_z_takes_x_to_y():
    quat = torch.tensor([math.cos(math.pi / 4), 0, 0, math.sin(math.pi / 4)], dtype=torch.float64)
    x, y = torch.eye(3, dtype=torch.float64)[:2]
    torch.testing.assert_close(matrix_from_quat(quat) @ x, y)
    vector = torch.tensor([0, 0, math.pi / 2], dtype=torch.float64)
    torch.testing.assert_close(rotation_vector(matrix_from_quat(quat)), vector)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("axis", [[1, 0, 0], [0, 1, 0], [0, 0, 1], [-0.6, 0, 0.8], [0.48, 0.6, -0.64]])
@pytest.mark.parametrize("angle", [0.0, 1e-8, 1e-3, 1.0, 3.0, math.pi - 1e-3])
def test_rotation_vectors_come_back(angle, axis, dtype):
    axis = torch.tensor(axis, dtype=torch.float64)
    quat = torch.cat([torch.tensor([math.cos(angle / 2)]).double(), math.sin(angle / 2) * axis]).to(dtype)
    expected = (angle * axis).to(dtype)
    atol = 2e-6 if dtype == torch.float32 else 1e-14
    torch.testing.assert_close(rotation_vector(matrix_from_quat(quat)), expected, rtol=1e-6, atol=atol)


def test_rotation_vectors_do_not_jump_where_the_series_takes_over():
    # The series ends where sin(angle / 2)^2 is 1e-6.
    edge = 2 * math.asin(1e-3)
    for angle in (edge * (1 - 1e-9), edge * (1 + 1e-9)):
        quat = torch.tensor([math.cos(angle / 2), 0, math.sin(angle / 2), 0], dtype=torch.float64)
        found = rotation_vector(matrix_from_quat(quat))
        torch.testing.assert_close(found[1].item(), angle, rtol=1e-13, atol=0)


def test_the_skew_matrix_is_the_cross_product():
    a, b = random_quats(2)[:, 1:]
    torch.testing.assert_close(skew(a) @ b, torch.linalg.cross(a, b))


def test_matrices_pass_gradients_to_quaternions_exactly():
    assert gradcheck(matrix_from_quat, random_quats(4).requires_grad_())


def test_quaternions_pass_gradients_to_matrices_exactly():
    assert gradcheck(quat_from_matrix, matrix_from_quat(random_quats(8)).requires_grad_())
