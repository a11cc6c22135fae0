"""SE(3) by its laws: near the identity, near half a turn, in both precisions, with gradients."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from splatdeblur.geometry import exp, interpolate, inverse, log

PRECISIONS = [torch.float32, torch.float64]
ANGLES = [0.0, 1e-8, 1e-3, 0.1, 0.49, 0.51, 1.0, 2.5, math.pi - 1e-3, math.pi - 1e-6]


def random_tangents(count, *, angle=None, dtype=torch.float64, seed=0):
    """Twists with translations of about one unit; `angle` is the exact length of the rotation part."""
    g = torch.Generator().manual_seed(seed)
    tangents = torch.randn(count, 6, generator=g, dtype=torch.float64)
    if angle is not None:
        tangents[:, 3:] *= angle / tangents[:, 3:].norm(dim=1, keepdim=True)
    return tangents.to(dtype)


def generator(tangent):
    """The 4x4 matrix whose matrix exponential is the motion."""
    x, y, z = tangent[3:].tolist()
    matrix = torch.zeros(4, 4, dtype=torch.float64)
    matrix[:3, :3] = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    matrix[:3, 3] = tangent[:3]
    return matrix


def tolerance(dtype):
    return {"rtol": 0, "atol": 4e-6 if dtype == torch.float32 else 1e-13}


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("angle", ANGLES)
def test_exp_is_the_matrix_exponential(angle, dtype):
    tangents = random_tangents(5, angle=angle)
    expected = torch.stack([torch.linalg.matrix_exp(generator(t)) for t in tangents])
    torch.testing.assert_close(exp(tangents.to(dtype)), expected.to(dtype), **tolerance(dtype))


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("angle", ANGLES)
def test_log_undoes_exp(angle, dtype):
    tangents = random_tangents(20, angle=angle, dtype=dtype)
    atol = 2e-5 if dtype == torch.float32 else 1e-12
    if angle > math.pi - 1e-5 and dtype == torch.float32:
        # pi - 1e-6 and pi are almost neighbours in float32: the reversed axis is the same rotation.
        again = exp(log(exp(tangents)))
        torch.testing.assert_close(again, exp(tangents), rtol=0, atol=2e-5)
        return
    torch.testing.assert_close(log(exp(tangents)), tangents, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_tiny_twists_keep_their_relative_precision(dtype):
    for size in (1e-3, 1e-8, 1e-12, 1e-18):
        tangents = random_tangents(20, dtype=dtype) * size
        torch.testing.assert_close(log(exp(tangents)), tangents, rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_exp_undoes_log_at_exactly_half_a_turn(dtype):
    axes = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0.8, 0], [0, -0.6, 0.8]], dtype=dtype)
    half_turns = torch.eye(4, dtype=dtype).repeat(5, 1, 1)
    half_turns[:, :3, :3] = 2 * axes[:, :, None] * axes[:, None, :] - torch.eye(3, dtype=dtype)
    half_turns[:, :3, 3] = torch.tensor([1.0, -2, 3], dtype=dtype)
    tangents = log(half_turns)
    assert tangents.isfinite().all()
    atol = 1e-5 if dtype == torch.float32 else 1e-13
    torch.testing.assert_close(tangents[:, 3:].norm(dim=1), torch.full((5,), math.pi, dtype=dtype))
    torch.testing.assert_close(exp(tangents), half_turns, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("angle", ANGLES)
def test_a_motion_and_its_inverse_cancel_both_ways(angle, dtype):
    motion = exp(random_tangents(10, angle=angle, dtype=dtype))
    eye = torch.eye(4, dtype=dtype).expand_as(motion)
    torch.testing.assert_close(motion @ inverse(motion), eye, **tolerance(dtype))
    torch.testing.assert_close(inverse(motion) @ motion, eye, **tolerance(dtype))


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_the_inverse_is_the_exponential_of_the_opposite_twist(dtype):
    tangents = random_tangents(20, dtype=dtype)
    torch.testing.assert_close(inverse(exp(tangents)), exp(-tangents), **tolerance(dtype))


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_motions_along_one_twist_add_up(dtype):
    tangents = random_tangents(20, angle=0.9, dtype=dtype)
    torch.testing.assert_close(exp(0.3 * tangents) @ exp(0.7 * tangents), exp(tangents), **tolerance(dtype))


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("angle", ANGLES)
def test_motions_are_rigid(angle, dtype):
    rotation = exp(random_tangents(10, angle=angle, dtype=dtype))[:, :3, :3]
    eye = torch.eye(3, dtype=dtype).expand_as(rotation)
    torch.testing.assert_close(rotation @ rotation.mT, eye, **tolerance(dtype))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(10, dtype=dtype), **tolerance(dtype))


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_no_twist_is_exactly_no_motion(dtype):
    zero = torch.zeros(6, dtype=dtype)
    assert torch.equal(exp(zero), torch.eye(4, dtype=dtype))
    assert torch.equal(log(torch.eye(4, dtype=dtype)), zero)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("angle", ANGLES)
def test_gradients_are_finite_everywhere(angle, dtype):
    tangents = random_tangents(10, angle=angle, dtype=dtype).requires_grad_()
    log(exp(tangents)).sum().backward()
    assert tangents.grad.isfinite().all()


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("angle", [0.0, 1e-8, 1e-3, 0.1, 1.0, 2.5])
def test_the_gradient_of_log_after_exp_is_the_identity(angle, dtype):
    for tangent in random_tangents(3, angle=angle, dtype=dtype):
        jacobian = torch.autograd.functional.jacobian(lambda t: log(exp(t)), tangent)
        atol = 1e-4 if dtype == torch.float32 else 1e-10
        torch.testing.assert_close(jacobian, torch.eye(6, dtype=dtype), rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_gradients_at_rest_are_the_generators(dtype):
    jacobian = torch.autograd.functional.jacobian(exp, torch.zeros(6, dtype=dtype))
    for k in range(6):
        unit = torch.eye(6, dtype=torch.float64)[k]
        assert torch.equal(jacobian[..., k], generator(unit).to(dtype))


@pytest.mark.parametrize("angle", ANGLES)
def test_exp_passes_gradcheck(angle):
    assert gradcheck(exp, random_tangents(2, angle=angle).requires_grad_())


@pytest.mark.parametrize("angle", [0.0, 1e-8, 1e-3, 0.09, 0.11, 1.0, 2.5, 3.0])
def test_log_passes_gradcheck_along_rigid_motions(angle):
    start = exp(random_tangents(2, angle=angle))
    assert gradcheck(lambda t: log(start @ exp(t)), torch.zeros(2, 6, dtype=torch.float64).requires_grad_())


def test_gradients_of_the_second_order_are_finite_at_rest():
    tangent = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    hessian = torch.autograd.functional.hessian(
        lambda t: (exp(t)[:3, :3] ** 2).sum() + log(exp(t)).sum(), tangent
    )
    assert hessian.isfinite().all()


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_precision_does_not_jump_where_the_series_takes_over(dtype):
    # The series ends at an angle of 0.5 (float32) and 0.1 (float64).
    for edge in (0.1, 0.5):
        for angle in (edge * (1 - 1e-6), edge * (1 + 1e-6)):
            tangents = random_tangents(10, angle=angle)
            expected = torch.stack([torch.linalg.matrix_exp(generator(t)) for t in tangents]).to(dtype)
            atol = 5e-7 if dtype == torch.float32 else 1e-14
            torch.testing.assert_close(exp(tangents.to(dtype)), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("angle", [0.0, 1e-8, 1e-3, 1.0, 3.0])
def test_interpolation_starts_and_ends_where_it_should(angle, dtype):
    start = exp(random_tangents(5, dtype=dtype, seed=1))
    end = start @ exp(random_tangents(5, angle=angle, dtype=dtype, seed=2))
    zero, one = torch.zeros(5, dtype=dtype), torch.ones(5, dtype=dtype)
    atol = 2e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(interpolate(start, end, zero), start, rtol=0, atol=atol)
    torch.testing.assert_close(interpolate(start, end, one), end, rtol=0, atol=atol)


def test_halfway_is_the_same_from_either_end():
    start, end = exp(random_tangents(5, seed=1)), exp(random_tangents(5, seed=2))
    half = torch.full((5,), 0.5, dtype=torch.float64)
    torch.testing.assert_close(interpolate(start, end, half), interpolate(end, start, half))


def test_interpolation_moves_at_a_steady_pace():
    start, end = exp(random_tangents(1, seed=1)), exp(random_tangents(1, seed=2))
    times = torch.linspace(0, 1, 6, dtype=torch.float64)
    poses = interpolate(start.expand(6, 4, 4), end.expand(6, 4, 4), times)
    steps = inverse(poses[:-1]) @ poses[1:]
    torch.testing.assert_close(steps, steps[:1].expand_as(steps))


def test_batches_of_any_shape_give_what_single_twists_give():
    tangents = random_tangents(6).reshape(2, 3, 6)
    motions = exp(tangents)
    assert motions.shape == (2, 3, 4, 4)
    torch.testing.assert_close(motions[1, 2], exp(tangents[1, 2]))
    torch.testing.assert_close(log(motions)[1, 2], log(motions[1, 2]))
    assert exp(tangents[:0]).shape == (0, 3, 4, 4)
