"""Chained tracks on scenes whose motion is known in closed form."""

import torch
from torch import Tensor

from phys4d.geometry import (
    chain_tracks,
    invert_rigid,
    look_at,
    pixel_centres,
    project,
    project_tracks,
    rigid_motion,
    transform_points,
    unoccluded,
    unproject_pixels,
    visible_by_depth,
)

F64 = torch.float64
FRAMES, HEIGHT, WIDTH = 5, 40, 48
K = torch.tensor([[60.0, 0, 24], [0, 60.0, 20], [0, 0, 1]], dtype=F64).expand(FRAMES, 3, 3)
STILL = torch.eye(4, dtype=F64).expand(FRAMES, 4, 4)


def sphere_depth(centre: Tensor, radius: float, background: float) -> tuple[Tensor, Tensor]:
    """z-depth (H,W) [m] of a sphere before a wall at `background`, in camera axes, and where the sphere is."""
    centres = pixel_centres(HEIGHT, WIDTH, dtype=F64)
    rays = unproject_pixels(centres, torch.ones(HEIGHT, WIDTH, dtype=F64), K[0])
    a, b = rays.square().sum(-1), rays @ centre
    discriminant = b.square() - a * (centre.square().sum() - radius**2)
    hit = discriminant > 0
    z = (b - discriminant.clamp_min(0).sqrt()) / a
    return torch.where(hit, z, torch.full_like(z, background)), hit


def moving_sphere(velocity: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Depth (T,H,W), flow (T-1,H,W,2), visible (T-1,H,W) and mask (T,H,W) of a sphere that flies by a wall."""
    depths, masks, flows, visibles = [], [], [], []
    for t in range(FRAMES):
        depth, hit = sphere_depth(torch.tensor([-0.3, 0.1, 2.0], dtype=F64) + t * velocity, 0.35, 4.0)
        depths.append(depth)
        masks.append(hit)
    centres = pixel_centres(HEIGHT, WIDTH, dtype=F64)
    for t in range(FRAMES - 1):
        points = unproject_pixels(centres, depths[t], K[0]) + masks[t][..., None] * velocity
        pixels, moved = project(points, K[0])
        flows.append(pixels - centres)
        visibles.append(unoccluded(flows[-1], moved, depths[t + 1]))
    return torch.stack(depths), torch.stack(flows), torch.stack(visibles), torch.stack(masks)


def test_tracks_on_a_wall_seen_by_a_sliding_camera_stay_where_they_are():
    pose = STILL.clone()
    pose[:, 0, 3] = 0.03 * torch.arange(FRAMES)
    depth = torch.full((FRAMES, HEIGHT, WIDTH), 2.0, dtype=F64)
    flow, moved = rigid_motion(depth[:-1], K[:-1], K[1:], pose[:-1], pose[1:])
    visible = unoccluded(flow, moved, depth[1:])
    start = torch.rand(60, 2, generator=torch.Generator().manual_seed(0), dtype=F64) * torch.tensor([20.0, 30.0])
    start = start + torch.tensor([20.0, 5.0])
    tracks, seen = chain_tracks(start, depth, flow, visible, K, pose)
    truth = unproject_pixels(start, torch.full((60,), 2.0, dtype=F64), K[0])
    assert seen.all()
    torch.testing.assert_close(tracks, truth[:, None].expand(60, FRAMES, 3))


def test_track_error_sees_a_flow_of_the_wrong_sign():
    velocity = torch.tensor([0.05, 0.0, 0.0], dtype=F64)
    depth = torch.full((FRAMES, HEIGHT, WIDTH), 2.0, dtype=F64)
    flow = torch.zeros(FRAMES - 1, HEIGHT, WIDTH, 2, dtype=F64)
    flow[..., 0] = 60 * 0.05 / 2
    everywhere = torch.ones(FRAMES - 1, HEIGHT, WIDTH, dtype=torch.bool)
    start = torch.tensor([[20.5, 20.5]], dtype=F64)
    for sign, expected in ((1, 0.2), (-1, -0.2)):
        tracks, _ = chain_tracks(start, depth, sign * flow, everywhere, K, STILL)
        torch.testing.assert_close(tracks[0, -1] - tracks[0, 0], expected * velocity / velocity.norm())


def test_tracks_follow_a_flying_sphere_until_it_turns_them_away():
    velocity = torch.tensor([0.06, -0.02, -0.03], dtype=F64)
    depth, flow, visible, mask = moving_sphere(velocity)
    # The middle of the sphere: there the depth varies slowly over a pixel.
    rows, columns = torch.nonzero(mask[0], as_tuple=True)
    middle = torch.tensor([-0.3 / 2.0 * 60 + 24, 0.1 / 2.0 * 60 + 20])
    near = (torch.stack([columns + 0.5, rows + 0.5], -1) - middle).norm(dim=-1) < 4
    start = pixel_centres(HEIGHT, WIDTH, dtype=F64)[rows[near], columns[near]]
    tracks, seen = chain_tracks(start, depth, flow, visible, K, STILL)
    truth = tracks[:, :1] + torch.arange(FRAMES, dtype=F64)[:, None] * velocity
    assert seen.all()
    error = (tracks - truth).norm(dim=-1)
    assert error.max() < 0.25 * velocity.norm(), "half a pixel is 17 mm here; the sphere moves 280 mm"
    assert error.mean() < 0.1 * velocity.norm()


def test_covered_tracks_are_lost_for_good_and_stay_where_they_were_last_seen():
    velocity = torch.tensor([0.15, 0.0, 0.0], dtype=F64)
    depth, flow, visible, mask = moving_sphere(velocity)
    start = pixel_centres(HEIGHT, WIDTH, dtype=F64).reshape(-1, 2)
    tracks, seen = chain_tracks(start, depth, flow, visible, K, STILL)
    on_wall = ~mask[0].reshape(-1)
    covered_at = [(mask[t].reshape(-1) & on_wall) for t in range(FRAMES)]
    for t in range(1, FRAMES):
        assert not seen[covered_at[t]][:, t:].any()
    lost = on_wall & ~seen[:, -1]
    assert lost.any()
    assert (seen[:, 1:] <= seen[:, :-1]).all(), "a lost track does not come back"
    torch.testing.assert_close(tracks[lost], tracks[lost][:, :1].expand(-1, FRAMES, 3))
    untouched = on_wall & ~torch.stack(covered_at).any(0) & seen.all(-1)
    assert untouched.sum() > 0.5 * on_wall.sum()


def test_tracks_end_where_depth_ends_and_where_the_picture_ends():
    depth = torch.full((FRAMES, HEIGHT, WIDTH), 2.0, dtype=F64)
    depth[2:, :, :10] = 0
    depth[0, 0, 0] = 0
    flow = torch.zeros(FRAMES - 1, HEIGHT, WIDTH, 2, dtype=F64)
    flow[:, 20:, :, 0] = 4.0
    everywhere = torch.ones(FRAMES - 1, HEIGHT, WIDTH, dtype=torch.bool)
    start = torch.tensor([[5.5, 5.5], [40.5, 30.5], [0.5, 0.5], [20.5, 5.5]], dtype=F64)
    _, seen = chain_tracks(start, depth, flow, everywhere, K, STILL)
    assert seen.int().tolist() == [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]]


def test_projected_tracks_are_the_pixels_they_came_from():
    generator = torch.Generator().manual_seed(1)
    eye = torch.randn(FRAMES, 3, generator=generator, dtype=F64) * 0.3
    pose = look_at(eye, torch.tensor([0.0, 4.0, 0.0], dtype=F64).expand(FRAMES, 3))
    tracks = torch.randn(7, FRAMES, 3, generator=generator, dtype=F64) * 0.3 + torch.tensor([0.0, 4.0, 0.0])
    pixels, z = project_tracks(tracks, K, pose)
    assert pixels.shape == (7, FRAMES, 2)
    for n, t in ((0, 0), (3, 4), (6, 2)):
        point = transform_points(invert_rigid(pose[t]), tracks[n, t])
        expected, depth = project(point, K[t])
        torch.testing.assert_close(pixels[n, t], expected)
        torch.testing.assert_close(z[n, t], depth)


def test_visibility_by_depth_knows_hidden_outside_behind_and_sky():
    depth = torch.full((1, HEIGHT, WIDTH), 2.0, dtype=F64)
    depth[0, :, 30:] = 0
    points = torch.tensor(
        [
            [0.0, 0.0, 2.0],  # on the surface
            [0.0, 0.0, 2.03],  # within 2 %
            [0.0, 0.0, 2.05],  # behind the surface
            [0.0, 0.0, 1.0],  # in front of it: the map does not know it, but nothing hides it
            [0.0, 0.0, -2.0],  # behind the camera
            [5.0, 0.0, 2.0],  # beside the picture
            [0.5, 0.0, 3.0],  # before the open sky
        ],
        dtype=F64,
    )
    seen = visible_by_depth(points[:, None], depth, K[:1], STILL[:1])
    assert seen[:, 0].tolist() == [True, True, False, True, False, False, True]


def test_no_track_and_one_frame_are_fine():
    depth = torch.ones(1, 4, 5, dtype=F64)
    flow, visible = torch.zeros(0, 4, 5, 2, dtype=F64), torch.zeros(0, 4, 5, dtype=torch.bool)
    tracks, seen = chain_tracks(torch.zeros(0, 2, dtype=F64), depth, flow, visible, K[:1], STILL[:1])
    assert tracks.shape == (0, 1, 3)
    assert seen.shape == (0, 1)
