"""The pinhole camera against closed forms and against kornia, whose pixel centres are integers."""

import kornia.geometry as kornia_geometry
import numpy as np
import pytest
import torch
from kornia.geometry.depth import depth_to_3d_v2
from torch import Tensor

from phys4d.geometry import (
    intrinsics_from_fov,
    invert_rigid,
    look_at,
    pixel_centres,
    project,
    resize_intrinsics,
    transform_points,
    unproject,
    unproject_pixels,
    world_points,
)


def camera_matrix(fx: float = 50.0, fy: float = 60.0, cx: float = 15.0, cy: float = 11.0) -> Tensor:
    return torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=torch.float64)


def random_poses(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    eye = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    target = torch.randn(count, 3, generator=generator, dtype=torch.float64) + 3
    return look_at(eye, target)


def integer_centres(height: int, width: int) -> Tensor:
    """A planted fault: the other convention, with pixel centres at whole numbers."""
    return pixel_centres(height, width, dtype=torch.float64) - 0.5


def resize_error(centres) -> float:
    """How far [m] two sizes of one picture of a wall disagree about where its points lie.

    The mean of the points of a block of fine pixels is the point of the coarse pixel that covers them.
    """
    fine, coarse = (24, 36), (8, 12)
    k = camera_matrix(40.0, 40.0, 18.0, 12.0)
    points = []
    for size, matrix in ((fine, k), (coarse, resize_intrinsics(k, fine, coarse))):
        pixels = centres(*size)
        points.append(unproject_pixels(pixels, torch.full(size, 2.0, dtype=torch.float64), matrix))
    blocks = points[0].reshape(8, 3, 12, 3, 3).mean(dim=(1, 3))
    return float((blocks - points[1]).abs().max())


def test_projection_has_its_closed_form():
    points = torch.tensor([[0.4, -0.2, 2.0], [0.0, 0.0, 1.0], [-1.0, 3.0, 5.0]], dtype=torch.float64)
    pixels, depth = project(points, camera_matrix())
    x, y, z = points.unbind(-1)
    torch.testing.assert_close(pixels, torch.stack([50 * x / z + 15, 60 * y / z + 11], -1))
    torch.testing.assert_close(depth, z)


def test_points_behind_or_beside_the_camera_are_finite_and_say_so():
    points = torch.tensor([[0.3, 0.1, -2.0], [0.3, 0.1, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    pixels, depth = project(points, camera_matrix().float())
    assert torch.isfinite(pixels).all()
    assert (depth <= 0).all()
    pixels.sum().backward()
    assert torch.isfinite(points.grad).all()


def test_top_left_pixel_centre_is_half_a_pixel_in():
    centres = pixel_centres(3, 5)
    assert centres.shape == (3, 5, 2)
    assert centres[0, 0].tolist() == [0.5, 0.5]
    assert centres[2, 4].tolist() == [4.5, 2.5]


def test_picture_spans_exactly_its_field_of_view():
    k = intrinsics_from_fov(np.pi / 3, 48, 64, dtype=torch.float64)
    up = torch.tensor([0.0, -np.tan(np.pi / 6), 1.0], dtype=torch.float64)
    torch.testing.assert_close(project(up, k)[0], torch.tensor([32.0, 0.0], dtype=torch.float64))


def test_unprojection_undoes_projection_for_batches_of_cameras():
    generator = torch.Generator().manual_seed(1)
    k = torch.stack([camera_matrix(), camera_matrix(80, 20, 3, 30)])
    depth = torch.rand(2, 7, 9, generator=generator, dtype=torch.float64) + 0.5
    pixels, again = project(unproject(depth, k), k)
    torch.testing.assert_close(pixels, pixel_centres(7, 9, dtype=torch.float64).expand(2, 7, 9, 2))
    torch.testing.assert_close(again, depth)


def test_pixel_of_zero_depth_is_the_camera_itself():
    pose = random_poses(1)
    points = world_points(torch.zeros(1, 4, 5, dtype=torch.float64), camera_matrix()[None], pose)
    torch.testing.assert_close(points, pose[:, None, None, :3, 3].expand(1, 4, 5, 3))


def test_projection_agrees_with_kornia():
    generator = torch.Generator().manual_seed(2)
    points = torch.randn(6, 3, generator=generator, dtype=torch.float64) + torch.tensor([0, 0, 5.0])
    theirs = kornia_geometry.project_points(points, camera_matrix().expand(6, 3, 3))
    torch.testing.assert_close(project(points, camera_matrix())[0], theirs)


def test_unprojection_agrees_with_kornia_once_its_pixel_centres_are_shifted():
    depth = torch.rand(1, 6, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64) + 1
    ours = unproject(depth, camera_matrix()[None])
    shifted = camera_matrix(cx=14.5, cy=10.5)[None]
    torch.testing.assert_close(ours, depth_to_3d_v2(depth, shifted))
    assert (ours - depth_to_3d_v2(depth, camera_matrix()[None])).abs().max() > 5e-3


def test_pinhole_camera_of_kornia_sees_the_same_pixels():
    pose = random_poses(2, seed=4)
    k = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    k[:, :3, :3] = camera_matrix()
    size = torch.full((2,), 32)
    kornia_camera = kornia_geometry.PinholeCamera(k, invert_rigid(pose), size, size)
    world = transform_points(pose, torch.tensor([[[0.3, 0.2, 2.0]], [[-0.5, 0.1, 4.0]]], dtype=torch.float64))
    ours, _ = project(transform_points(invert_rigid(pose), world), k[:, :3, :3])
    torch.testing.assert_close(ours, kornia_camera.project(world))


def test_resizing_a_picture_keeps_its_points_where_they_are():
    assert resize_error(lambda h, w: pixel_centres(h, w, dtype=torch.float64)) < 1e-12


def test_resize_error_sees_whole_number_pixel_centres():
    assert resize_error(integer_centres) > 0.01


def test_resized_camera_sees_scaled_pixels():
    point = torch.tensor([0.3, -0.1, 1.5], dtype=torch.float64)
    small = resize_intrinsics(camera_matrix(), (22, 30), (11, 60))
    torch.testing.assert_close(
        project(point, small)[0], project(point, camera_matrix())[0] * torch.tensor([2.0, 0.5])
    )


def test_look_at_is_upright_and_has_opencv_axes():
    eye, target = torch.tensor([0.0, -4.0, 1.0]), torch.tensor([0.0, 0.0, 1.0])
    pose = look_at(eye, target)
    expected = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, -4], [0, -1, 0, 1], [0, 0, 0, 1]])
    torch.testing.assert_close(pose, expected)
    k = intrinsics_from_fov(1.0, 100, 100)

    def pixel(x, y, z):
        return project(transform_points(invert_rigid(pose), torch.tensor([x, y, z])), k)

    centre, depth = pixel(0.0, 0.0, 1.0)
    torch.testing.assert_close(centre, torch.tensor([50.0, 50.0]))
    torch.testing.assert_close(depth, torch.tensor(4.0))
    assert pixel(0.0, 0.0, 1.5)[0][1] < 50, "higher in the world is higher in the picture"
    assert pixel(0.5, 0.0, 1.0)[0][0] > 50, "to the right in the world is to the right in the picture"


def test_look_at_is_a_rotation_wherever_it_looks():
    pose = random_poses(50, seed=5)
    rotation = pose[:, :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand(50, 3, 3))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(50, dtype=torch.float64))
    assert (rotation[:, 2, 1] < 0).all(), "the picture's down points down in the world"
    torch.testing.assert_close(rotation[:, 2, 0], torch.zeros(50, dtype=torch.float64))


@pytest.mark.parametrize("target", [(0.0, 0.0, 5.0), (0.0, 0.0, -5.0), (0.0, 0.0, 0.0)])
def test_look_at_refuses_a_view_without_an_upright_picture(target):
    with pytest.raises(ValueError, match="parallel"):
        look_at(torch.zeros(3), torch.tensor(target))


def test_inverse_of_a_pose_is_the_matrix_inverse():
    pose = random_poses(5, seed=6)
    torch.testing.assert_close(invert_rigid(pose), torch.linalg.inv(pose))
    torch.testing.assert_close(invert_rigid(invert_rigid(pose)), pose)


def test_one_matrix_serves_any_grid_and_a_batch_is_matched_from_the_left():
    """Batch and grid of equal length tell left from right: a mix-up would not even raise."""
    generator = torch.Generator().manual_seed(7)
    k = torch.stack([camera_matrix(), camera_matrix(90, 20, 1, 2)])
    pose = random_poses(2, seed=8)
    points = torch.randn(2, 2, 3, 3, generator=generator, dtype=torch.float64) + torch.tensor([0, 0, 6.0])
    depth = torch.rand(2, 2, 4, 5, generator=generator, dtype=torch.float64) + 1
    for i in range(2):
        torch.testing.assert_close(project(points, k)[0][i], project(points[i], k[i])[0])
        torch.testing.assert_close(transform_points(pose, points)[i], transform_points(pose[i], points[i]))
        torch.testing.assert_close(unproject(depth, k)[i], unproject(depth[i], k[i]))
        torch.testing.assert_close(world_points(depth, k, pose)[i], world_points(depth[i], k[i], pose[i]))


def test_more_cameras_than_the_points_have_axes_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        project(torch.ones(3), camera_matrix().float().expand(2, 3, 3))


def test_camera_functions_have_right_gradients():
    points = torch.tensor([[0.4, -0.2, 2.0], [0.1, 0.9, 1.2]], dtype=torch.float64, requires_grad=True)
    depth = torch.rand(2, 3, dtype=torch.float64).add(1).requires_grad_()
    k = camera_matrix().requires_grad_()
    assert torch.autograd.gradcheck(project, (points, k))
    assert torch.autograd.gradcheck(unproject, (depth, k))
