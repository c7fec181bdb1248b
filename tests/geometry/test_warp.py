"""Warping and motion against closed forms, other implementations and planted faults."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from kornia.geometry.transform import remap
from torch import Tensor

from phys4d.geometry import (
    backward_warp,
    bilinear_sample,
    consistent_flow,
    forward_warp,
    look_at,
    motion_from_scene_flow,
    pixel_centres,
    rigid_motion,
    scene_flow_from_motion,
    unoccluded,
)

F64 = torch.float64
FOCAL = 40.0
K = torch.tensor([[FOCAL, 0, 16], [0, FOCAL, 12], [0, 0, 1]], dtype=F64)
STILL = torch.eye(4, dtype=F64)


def moved(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Tensor:
    pose = STILL.clone()
    pose[:3, 3] = torch.tensor([x, y, z], dtype=F64)
    return pose


def random_picture(height: int, width: int, channels: int, seed: int = 0) -> Tensor:
    return torch.rand(height, width, channels, generator=torch.Generator().manual_seed(seed), dtype=F64)


def constant_flow(height: int, width: int, u: float, v: float) -> Tensor:
    return torch.tensor([u, v], dtype=F64).expand(height, width, 2).clone()


def sampling_error(sample) -> float:
    """Error of a sampler on scipy's linear interpolation, whose coordinates are whole at pixel centres."""
    picture = random_picture(9, 13, 1)
    pixels = torch.rand(50, 1, 2, generator=torch.Generator().manual_seed(1), dtype=F64)
    pixels = pixels * torch.tensor([12.0, 8.0]) + 0.5
    rows_columns = (pixels.flip(-1).reshape(-1, 2).T - 0.5).numpy()
    truth = scipy.ndimage.map_coordinates(picture[..., 0].numpy(), rows_columns, order=1)
    return float(np.abs(sample(picture, pixels)[..., 0, 0].numpy() - truth).max())


def test_bilinear_sampling_agrees_with_scipy():
    assert sampling_error(lambda picture, pixels: bilinear_sample(picture, pixels)[0]) < 1e-12


def test_sampling_error_sees_a_shift_of_half_a_pixel():
    assert sampling_error(lambda picture, pixels: bilinear_sample(picture, pixels - 0.5)[0]) > 0.1


def test_bilinear_sampling_agrees_with_kornia():
    picture, pixels = random_picture(9, 13, 3), torch.rand(2, 5, 6, 2, dtype=F64) * torch.tensor([12.0, 8.0]) + 0.5
    batch = torch.stack([picture, picture.flip(0)])
    x, y = (pixels - 0.5).unbind(-1)
    theirs = remap(batch.permute(0, 3, 1, 2), x, y, align_corners=True).permute(0, 2, 3, 1)
    torch.testing.assert_close(bilinear_sample(batch, pixels)[0], theirs)


def test_sampling_at_pixel_centres_returns_the_picture():
    picture = random_picture(5, 7, 2)
    values, inside = bilinear_sample(picture, pixel_centres(5, 7, dtype=F64))
    torch.testing.assert_close(values, picture)
    assert inside.all()


def test_sampling_outside_says_so_and_repeats_the_border():
    picture = random_picture(4, 4, 1)
    pixels = torch.tensor([[[0.0, 0.0], [-0.01, 2.0], [4.0, 4.0], [4.01, 2.0]]], dtype=F64)
    values, inside = bilinear_sample(picture, pixels)
    assert inside.tolist() == [[True, False, True, False]]
    torch.testing.assert_close(values[0, 0], picture[0, 0])
    torch.testing.assert_close(values[0, 2], picture[3, 3])


def test_backward_warp_brings_a_translated_picture_back():
    now = random_picture(10, 12, 3)
    following = torch.roll(now, shifts=(2, 3), dims=(0, 1))
    warped, inside = backward_warp(following, constant_flow(10, 12, 3.0, 2.0))
    torch.testing.assert_close(warped[:8, :9], now[:8, :9])
    assert inside[:8, :9].all()
    assert not inside[8:].any()
    assert not inside[:, 9:].any()


def test_forward_warp_without_flow_is_the_identity():
    picture, depth = random_picture(6, 8, 3), random_picture(6, 8, 1)[..., 0] + 1
    warped, coverage = forward_warp(picture, torch.zeros(6, 8, 2, dtype=F64), depth)
    torch.testing.assert_close(warped, picture)
    torch.testing.assert_close(coverage, torch.ones(6, 8, dtype=F64))


def test_forward_warp_by_whole_pixels_shifts_and_leaves_holes():
    picture, depth = random_picture(6, 8, 3), torch.full((6, 8), 2.0, dtype=F64)
    warped, coverage = forward_warp(picture, constant_flow(6, 8, 2.0, -1.0), depth)
    torch.testing.assert_close(warped[:5, 2:], picture[1:, :6])
    assert coverage[:5, 2:].eq(1).all()
    for hole in (coverage[5], coverage[:, :2], warped[5], warped[:, :2]):
        assert hole.eq(0).all()


def test_forward_warp_by_half_a_pixel_averages_neighbours():
    picture = random_picture(4, 8, 1)
    warped, coverage = forward_warp(picture, constant_flow(4, 8, 0.5, 0.0), torch.ones(4, 8, dtype=F64))
    torch.testing.assert_close(warped[:, 1:], (picture[:, 1:] + picture[:, :-1]) / 2)
    torch.testing.assert_close(coverage[:, 0], torch.full((4,), 0.5, dtype=F64))


@pytest.mark.parametrize("distance", [0.1, 1.0, 30.0, 1000.0])
@pytest.mark.parametrize("ratio", [1.25, 3.0, 50.0])
def test_near_surfaces_cover_far_ones_at_every_distance(distance, ratio):
    """A near column moves onto a far one; most of the picture lies at 1 m and must not set the scale."""
    picture = torch.tensor([10.0, 20.0, 5.0, 5.0, 5.0], dtype=F64).reshape(1, 5, 1)
    depth = torch.tensor([[distance, distance * ratio, 1.0, 1.0, 1.0]], dtype=F64)
    flow = torch.zeros(1, 5, 2, dtype=F64)
    flow[0, 0, 0] = 1.0
    warped, coverage = forward_warp(picture, flow, depth)
    assert warped[0, 1, 0].item() == pytest.approx(10.0, abs=1e-3)
    assert coverage[0].tolist() == [0, 2, 1, 1, 1]
    far_first = depth.clone()
    far_first[0, :2] = depth[0, :2].flip(0)
    assert forward_warp(picture, flow, far_first)[0][0, 1, 0].item() == pytest.approx(20.0, abs=1e-3)


def test_forward_warp_leaves_out_pixels_without_a_surface():
    picture, depth = random_picture(3, 4, 1), torch.ones(3, 4, dtype=F64)
    depth[1, 2] = 0
    depth[0, 0] = -1
    warped, coverage = forward_warp(picture, torch.zeros(3, 4, 2, dtype=F64), depth)
    assert (coverage == 0).nonzero().tolist() == [[0, 0], [1, 2]]
    assert warped[1, 2].item() == 0


def test_forward_warp_survives_flow_far_out_of_the_picture():
    flow = torch.zeros(3, 4, 2)
    flow[0, 0], flow[1, 1] = torch.tensor([1e12, -1e12]), torch.tensor([1e30, 0.0])
    warped, coverage = forward_warp(torch.ones(3, 4, 1), flow, torch.ones(3, 4))
    assert torch.isfinite(warped).all()
    assert coverage.sum() == 10


def test_forward_warp_has_right_gradients_in_values_flow_and_depth():
    generator = torch.Generator().manual_seed(3)
    values = torch.rand(2, 4, 5, 2, generator=generator, dtype=F64, requires_grad=True)
    # Whole-pixel landings are kinks of the hat function; these stay 0.1 px away from them.
    flow = (torch.rand(2, 4, 5, 2, generator=generator, dtype=F64) * 0.8 + 0.1).requires_grad_()
    depth = (torch.rand(2, 4, 5, generator=generator, dtype=F64) * 0.2 + 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda v, f, z: forward_warp(v, f, z, sharpness=5.0), (values, flow, depth))


def test_other_motion_functions_have_right_gradients():
    generator = torch.Generator().manual_seed(4)
    depth = (torch.rand(3, 4, generator=generator, dtype=F64) + 1).requires_grad_()
    flow = (torch.rand(3, 4, 2, generator=generator, dtype=F64) * 0.8 + 0.1).requires_grad_()
    scene_flow = torch.rand(3, 4, 3, generator=generator, dtype=F64, requires_grad=True)
    values = torch.rand(3, 4, 2, generator=generator, dtype=F64, requires_grad=True)
    cameras = (K, K, STILL, moved(0.1, 0.2, 0.05))
    assert torch.autograd.gradcheck(lambda d, s: motion_from_scene_flow(d, s, *cameras), (depth, scene_flow))
    assert torch.autograd.gradcheck(lambda d, f: scene_flow_from_motion(d, f, d + 0.1, *cameras), (depth, flow))
    assert torch.autograd.gradcheck(lambda v, f: backward_warp(v, f)[0], (values, flow * 0.5))


def test_sideways_camera_gives_flow_of_focal_length_times_shift_over_depth():
    depth = random_picture(24, 32, 1)[..., 0] + 1
    flow, z = rigid_motion(depth, K, K, STILL, moved(x=0.2, y=-0.1))
    torch.testing.assert_close(flow, torch.stack([-FOCAL * 0.2 / depth, FOCAL * 0.1 / depth], -1))
    torch.testing.assert_close(z, depth)


def test_forward_camera_makes_flow_expand_from_the_principal_point():
    depth = torch.full((24, 32), 4.0, dtype=F64)
    flow, z = rigid_motion(depth, K, K, STILL, moved(z=1.0))
    from_middle = pixel_centres(24, 32, dtype=F64) - torch.tensor([16.0, 12.0])
    torch.testing.assert_close(flow, from_middle * (4 / 3 - 1))
    torch.testing.assert_close(z, depth - 1)


def test_pure_rotation_moves_all_depths_alike():
    angle = 0.05
    pose = STILL.clone()
    pose[0, 0], pose[0, 2], pose[2, 0], pose[2, 2] = np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)
    near, _ = rigid_motion(torch.ones(24, 32, dtype=F64), K, K, STILL, pose)
    far, _ = rigid_motion(torch.full((24, 32), 70.0, dtype=F64), K, K, STILL, pose)
    torch.testing.assert_close(near, far)
    x = pixel_centres(24, 32, dtype=F64)[..., 0] - 16
    torch.testing.assert_close(near[..., 0], FOCAL * torch.tan(torch.atan(x / FOCAL) - angle) - x)


def test_zooming_camera_scales_the_picture():
    zoomed = K.clone()
    zoomed[0, 0] = zoomed[1, 1] = 2 * FOCAL
    flow, _ = rigid_motion(torch.full((24, 32), 3.0, dtype=F64), K, zoomed, STILL, STILL)
    torch.testing.assert_close(flow, pixel_centres(24, 32, dtype=F64) - torch.tensor([16.0, 12.0]))


def test_swapped_poses_are_seen_as_wrong():
    depth = torch.full((24, 32), 2.0, dtype=F64)
    right, _ = rigid_motion(depth, K, K, STILL, moved(x=0.2))
    swapped, _ = rigid_motion(depth, K, K, moved(x=0.2), STILL)
    assert (right - swapped).abs().max() > 1


def random_scene(batch: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    eye = torch.randn(batch, 2, 3, generator=generator, dtype=F64) * 0.2
    pose = look_at(eye, eye + torch.tensor([0.0, 5.0, 0.3]))
    k = K.repeat(batch, 2, 1, 1) * torch.rand(batch, 2, 1, 1, generator=generator, dtype=F64).add(0.5)
    k[..., 2, 2] = 1
    depth = torch.rand(batch, 6, 8, generator=generator, dtype=F64) + 2
    scene_flow = torch.randn(batch, 6, 8, 3, generator=generator, dtype=F64) * 0.2
    return depth, scene_flow, (k[:, 0], k[:, 1], pose[:, 0], pose[:, 1])


def test_scene_flow_and_motion_are_each_others_inverse():
    depth, scene_flow, cameras = random_scene(3, seed=5)
    flow, depth_moved = motion_from_scene_flow(depth, scene_flow, *cameras)
    torch.testing.assert_close(scene_flow_from_motion(depth, flow, depth_moved, *cameras), scene_flow)


def test_motion_of_a_batch_is_the_motion_of_each_of_its_clips():
    """Clips and frames of equal number: cameras must follow the first axis, not the one before the picture."""
    depth, scene_flow, cameras = random_scene(2, seed=6)
    depth, scene_flow = depth[:, None].repeat(1, 2, 1, 1), scene_flow[:, None].repeat(1, 2, 1, 1, 1)
    flow, depth_moved = motion_from_scene_flow(depth, scene_flow, *cameras)
    again = scene_flow_from_motion(depth, flow, depth_moved, *cameras)
    torch.testing.assert_close(again, scene_flow)
    for i in range(2):
        one, _ = motion_from_scene_flow(depth[i], scene_flow[i], *(camera[i] for camera in cameras))
        torch.testing.assert_close(flow[i], one)


def test_occluder_in_front_of_a_wall_hides_what_slides_behind_it():
    """A wall at 4 m moves 3 px right; a still box at 2 m covers columns 10 to 15."""
    depth = torch.full((8, 24), 4.0, dtype=F64)
    depth[:, 10:16] = 2.0
    flow = torch.where(depth[..., None] == 4, constant_flow(8, 24, 3.0, 0.0), torch.zeros(8, 24, 2, dtype=F64))
    seen = unoccluded(flow, depth, depth)
    expected = torch.ones(24, dtype=torch.bool)
    expected[7:10] = False  # under the box at t+1
    expected[21:] = False  # out of the picture
    assert (seen == expected).all()
    assert unoccluded(flow, depth * 1.01, depth)[0, 12], "a difference within the tolerance hides nothing"
    assert not unoccluded(flow, depth * 1.03, depth)[0, 12]


def test_slanted_surface_does_not_hide_itself():
    """A floor whose depth grows by 15 % a pixel, under a camera that slides by 0.3 px."""
    depth = torch.exp(0.15 * torch.arange(24, dtype=F64))[None].repeat(8, 1)
    flow = constant_flow(8, 24, 0.3, 0.0)
    moved_depth = depth * torch.exp(torch.tensor(0.15 * 0.3))
    assert unoccluded(flow, moved_depth, depth)[:, :23].all()


def test_pixels_without_a_surface_hide_nothing_and_are_not_seen():
    still, depth = torch.zeros(4, 5, 2, dtype=F64), torch.full((4, 5), 2.0, dtype=F64)
    assert unoccluded(still, depth, torch.zeros(4, 5, dtype=F64)).all()
    assert not unoccluded(still, torch.zeros(4, 5, dtype=F64), depth).any()


def test_motion_of_no_frame_pair_is_empty():
    depth = torch.ones(0, 6, 8, dtype=F64)
    flow, z = rigid_motion(
        depth, K.expand(0, 3, 3), K.expand(0, 3, 3), STILL.expand(0, 4, 4), STILL.expand(0, 4, 4)
    )
    assert flow.shape == (0, 6, 8, 2)
    assert unoccluded(flow, z, depth).shape == (0, 6, 8)


def test_flow_is_consistent_where_the_way_back_ends_at_its_start():
    forward, backward = constant_flow(8, 16, 3.0, 1.0), constant_flow(8, 16, -3.0, -1.0)
    consistent = consistent_flow(forward, backward)
    assert consistent[:7, :13].all()
    assert not consistent[7:].any()
    assert not consistent[:, 13:].any()
    # |F|^2 + |B|^2 is about 20 px^2, so the bound is 0.7 px^2: an error of 0.7 px passes, one of 1 px does not.
    assert consistent_flow(forward, backward + torch.tensor([0.7, 0.0]))[2, 2]
    assert not consistent_flow(forward, backward + torch.tensor([1.0, 0.0]))[2, 2]
    assert not consistent_flow(forward, forward)[:7, :13].any()
