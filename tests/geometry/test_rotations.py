"""Quaternions, w first."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from l4gm.geometry.rotations import matrix_from_quat, quat_multiply

numbers = st.floats(-5, 5)


@st.composite
def quaternions(draw) -> torch.Tensor:
    quat = torch.tensor(draw(st.tuples(*[numbers] * 4)), dtype=torch.float64)
    assume(quat.norm() > 1e-3)
    return quat


@settings(max_examples=60, deadline=None)
@given(quaternions())
def test_matrices_are_rotations(quat):
    matrix = matrix_from_quat(quat)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(3).double(), atol=1e-12, rtol=0)
    assert torch.linalg.det(matrix).item() == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(quaternions(), st.floats(0.01, 50))
def test_length_and_sign_do_not_matter(quat, factor):
    torch.testing.assert_close(matrix_from_quat(quat), matrix_from_quat(-factor * quat))


@settings(max_examples=60, deadline=None)
@given(quaternions(), quaternions())
def test_product_is_the_product_of_matrices(left, right):
    product = matrix_from_quat(quat_multiply(left, right))
    torch.testing.assert_close(product, matrix_from_quat(left) @ matrix_from_quat(right))


@settings(max_examples=60, deadline=None)
@given(quaternions(), quaternions())
def test_norms_multiply(left, right):
    torch.testing.assert_close(quat_multiply(left, right).norm(), left.norm() * right.norm())


@settings(max_examples=60, deadline=None)
@given(quaternions(), st.tuples(numbers, numbers, numbers))
def test_matrix_rotates_as_conjugation_does(quat, vector):
    """q v q* / |q|^2, the definition."""
    pure = torch.tensor([0.0, *vector], dtype=torch.float64)
    conjugate = quat * torch.tensor([1.0, -1.0, -1.0, -1.0], dtype=torch.float64)
    rotated = quat_multiply(quat_multiply(quat, pure), conjugate) / quat.dot(quat)
    torch.testing.assert_close(matrix_from_quat(quat) @ pure[1:], rotated[1:], atol=1e-10, rtol=0)


@pytest.mark.parametrize(
    ("axis", "turned"),
    [(1, ([0, 1, 0], [0, 0, 1])), (2, ([0, 0, 1], [1, 0, 0])), (3, ([1, 0, 0], [0, 1, 0]))],
)
def test_quarter_turns_are_right_handed_and_w_comes_first(axis, turned):
    quat = torch.zeros(4)
    quat[0] = quat[axis] = math.sqrt(0.5)
    start, end = (torch.tensor(v).float() for v in turned)
    torch.testing.assert_close(matrix_from_quat(quat) @ start, end, atol=1e-6, rtol=0)


def test_identity_and_batches():
    quats = torch.randn(2, 5, 4)
    assert matrix_from_quat(quats).shape == (2, 5, 3, 3)
    identity = torch.tensor([1.0, 0, 0, 0])
    assert torch.equal(matrix_from_quat(identity), torch.eye(3))
    torch.testing.assert_close(quat_multiply(identity.expand_as(quats), quats), quats)
