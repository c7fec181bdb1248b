"""The camera loss: zero on the truth in any world frame, and each planted error in its own unit."""

import math

import pytest
import torch
from loss_truth import truth

from phys4d.geometry import invert_rigid
from phys4d.losses import camera_loss
from phys4d.losses.cameras import rotation_angle


def turn(angle, axis=2):
    """Rotation by `angle` [rad] about an axis, (3,3) float64."""
    i, j = [n for n in range(3) if n != axis]
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[i, i] = matrix[j, j] = math.cos(angle)
    matrix[i, j], matrix[j, i] = -math.sin(angle), math.sin(angle)
    return matrix


def perfect(t):
    down = t.world_from_camera[:, 0, :3, :3].mT @ torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64)
    return (t.intrinsics[:, 0, 0, 0] / 64).log(), down, t.camera0_from_camera.clone()


def test_zero_on_the_truth_wherever_the_world_has_its_origin():
    t = truth()
    assert camera_loss(*perfect(t), t.intrinsics, t.world_from_camera, height=64).value.item() == pytest.approx(
        0, abs=1e-6
    )
    moved = torch.eye(4, dtype=torch.float64)
    moved[:3, :3], moved[:3, 3] = turn(1.0), torch.tensor([3.0, -2.0, 1.0])
    elsewhere = camera_loss(*perfect(t), t.intrinsics, moved @ t.world_from_camera, height=64)
    assert elsewhere.value.item() == pytest.approx(0, abs=1e-6)


def test_each_error_in_its_unit():
    t = truth()
    focal, down, poses = perfect(t)
    off = [focal + 0.2, down, poses.clone()]
    assert camera_loss(*off, t.intrinsics, t.world_from_camera, height=64).parts["focal"].item() == pytest.approx(
        0.2
    )
    # The horizontal axis that is perpendicular to the fall and to x.
    side = torch.linalg.cross(down, torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64))
    tilted = math.cos(0.3) * down + math.sin(0.3) * side / side.norm()
    parts = camera_loss(focal, 5 * tilted, poses, t.intrinsics, t.world_from_camera, height=64).parts
    assert parts["gravity"].item() == pytest.approx(1 - math.cos(0.3))
    assert (
        camera_loss(focal, -down, poses, t.intrinsics, t.world_from_camera, height=64).parts["gravity"].item() == 2
    )
    shifted = poses.clone()
    shifted[..., :3, 3] += torch.tensor([0.1, -0.2, 0.0])
    parts = camera_loss(focal, down, shifted, t.intrinsics, t.world_from_camera, height=64).parts
    assert parts["translation"].item() == pytest.approx(0.3)
    assert parts["rotation"].item() == pytest.approx(0, abs=1e-6)
    turned = poses.clone()
    turned[..., :3, :3] = turned[..., :3, :3] @ turn(0.25, 1)
    parts = camera_loss(focal, down, turned, t.intrinsics, t.world_from_camera, height=64).parts
    assert parts["rotation"].item() == pytest.approx(0.25)
    inverted = camera_loss(focal, down, invert_rigid(poses), t.intrinsics, t.world_from_camera, height=64).parts
    assert inverted["translation"] > 0.05


@pytest.mark.parametrize("angle", [0.0, 1e-4, 0.5, 2.5])
def test_rotation_angle_and_its_gradient(angle):
    matrix = turn(angle, 0).requires_grad_()
    value = rotation_angle(matrix, torch.eye(3, dtype=torch.float64))
    assert value.item() == pytest.approx(angle, rel=1e-6, abs=1e-12)
    value.backward()
    assert torch.isfinite(matrix.grad).all()
