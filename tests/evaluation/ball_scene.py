"""A ball in front of a wall above a floor, drawn by exact ray casting in milliseconds, with every label exact.

Physics faults are planted by giving the ball another path, so that every field of the faulty world agrees with it.
"""

import dataclasses

import numpy as np
import torch

from phys4d.geometry import (
    look_at,
    motion_from_scene_flow,
    project_tracks,
    unoccluded,
    unproject,
    visible_by_depth,
)
from phys4d.world import Camera, World4D

FRAMES, HEIGHT, WIDTH, FPS, RADIUS, GRAVITY = 12, 48, 64, 24.0, 0.3, 9.81
EYE, TARGET, WALL = (0.0, -3.0, 1.2), (0.0, 0.0, 1.1), 2.0


def fall(gravity=GRAVITY, frames=FRAMES, start=(0.1, 0.0, 1.9), velocity=(0.0, 0.0, 0.0)):
    """(T,3) centres of a ball in free fall [m]."""
    time = np.arange(frames)[:, None] / FPS
    return np.array(start) + time * np.array(velocity) + 0.5 * time**2 * np.array([0, 0, -gravity])


def ball_world(path=None, *, eyes=None, seed=0, **meta):
    """The world of a ball on `path` (T,3) [m], filmed from `eyes` (T,3), default one fixed place."""
    path = fall() if path is None else np.asarray(path)
    frames = len(path)
    eyes = np.tile(EYE, (frames, 1)) if eyes is None else eyes
    pose = torch.stack([look_at(torch.tensor(eye).double(), torch.tensor(TARGET).double()) for eye in eyes])
    k = torch.tensor([[48.0, 0, WIDTH / 2], [0, 48.0, HEIGHT / 2], [0, 0, 1]]).double().expand(frames, 3, 3)
    depth, ids = cast(pose, k, path)
    points = depth[..., None] * rays(pose, k) + pose[:, None, None, :3, 3].numpy()
    step = np.zeros((frames - 1, HEIGHT, WIDTH, 3))
    step += (ids[:-1] == 1)[..., None] * np.diff(path, axis=0)[:, None, None]
    flow, moved = motion_from_scene_flow(
        torch.from_numpy(depth[:-1]), torch.from_numpy(step), k[:-1], k[1:], pose[:-1], pose[1:]
    )
    visible = unoccluded(flow, moved, torch.from_numpy(depth[1:]))
    tracks, seen = tracked(points[0], ids[0], path, depth, k, pose, seed)
    world = World4D(
        rgb=paint(points, ids, path),
        depth=depth.astype(np.float32),
        flow=flow.float().numpy(),
        scene_flow=step.astype(np.float32),
        visible=visible.numpy(),
        segmentation=ids,
        camera=Camera(k.float().numpy(), pose.float().numpy()),
        tracks=tracks,
        track_visibility=seen,
        fps=FPS,
        meta={
            "scene": "ball",
            "scene_id": f"ball-{seed}",
            "category": "rigid",
            "context_frames": 1,
            "gravity": [0.0, 0.0, -GRAVITY],
            "physics": {"bodies": {"ball": {"instance": 1, "position": path.tolist()}}},
            **meta,
        },
    )
    return world.validate()


def rays(pose, k):
    """(T,H,W,3) world directions of the pixels at z-depth 1."""
    ones = torch.ones(len(pose), HEIGHT, WIDTH, dtype=torch.float64)
    return (unproject(ones, k) @ pose[:, None, :3, :3].mT).numpy()


def cast(pose, k, path):
    """z-depth (T,H,W) [m] and instance ids."""
    way, eye = rays(pose, k), pose[:, None, None, :3, 3].numpy()
    with np.errstate(divide="ignore"):
        wall = np.where(way[..., 1] > 0, (WALL - eye[..., 1]) / way[..., 1], np.inf)
        floor = np.where(way[..., 2] < 0, -eye[..., 2] / way[..., 2], np.inf)
    from_ball = eye - path[:, None, None]
    a, b = (way**2).sum(-1), (way * from_ball).sum(-1)
    root = b**2 - a * ((from_ball**2).sum(-1) - RADIUS**2)
    ball = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
    depth = np.minimum(np.minimum(wall, floor), ball)
    return depth, (ball <= depth).astype(np.int32)


def paint(points, ids, path):
    """A texture that is fixed to each surface."""
    on_ball = points - path[:, None, None]
    ball = 200 + 55 * np.sin(14 * on_ball + 1.0)
    ground = 70 + 40 * np.sin(5 * points[..., :1] + [0.0, 1.0, 2.0]) * np.cos(
        6 * points[..., 1:2] + 7 * points[..., 2:]
    )
    return np.where((ids == 1)[..., None], ball, ground).clip(0, 255).astype(np.uint8)


def tracked(points, ids, path, depth, k, pose, seed):
    """24 surface points of frame 0 on the ball and 24 elsewhere, through all frames."""
    rng = np.random.default_rng(seed)
    tracks = []
    for instance in (1, 0):
        row, column = np.nonzero(ids == instance)
        chosen = rng.permutation(len(row))[:24]
        start = points[row[chosen], column[chosen]]
        moved = (path - path[0]) * instance
        tracks.append(start[:, None] + moved[None])
    tracks = np.concatenate(tracks)
    seen = visible_by_depth(torch.from_numpy(tracks), torch.from_numpy(depth), k, pose, tolerance=0.02)
    _, z = project_tracks(torch.from_numpy(tracks), k, pose)
    return tracks.astype(np.float32), (seen & (z > 0)).numpy()


def as_prediction(world, **changes):
    """What a model would give: no segmentation and no tracks, hence no ready answers."""
    return dataclasses.replace(
        world, **{"segmentation": None, "tracks": None, "track_visibility": None, "meta": {}, **changes}
    )


def in_own_axes(world, scale=1.0):
    """The same world with camera 0 at the origin, in other axes and another unit of length."""
    turn = look_at(torch.zeros(3).double(), torch.tensor([0.3, 1.0, -0.2]).double()).numpy()
    change = turn @ np.linalg.inv(world.camera.world_from_camera[0].astype(np.float64))
    pose = change @ world.camera.world_from_camera
    pose[:, :3, 3] *= scale
    return dataclasses.replace(
        world,
        depth=world.depth * np.float32(scale),
        scene_flow=(scale * world.scene_flow @ change[:3, :3].T).astype(np.float32),
        camera=Camera(world.camera.intrinsics, pose.astype(np.float32)),
    )
