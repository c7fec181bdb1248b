"""Small worlds with exact answers: a textured ball that flies past a checked wall over a checked floor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from phys4d.geometry import intrinsics_from_fov, look_at, motion_from_scene_flow, pixel_centres, unoccluded
from phys4d.world import Camera, World4D

SIZE = (48, 64)
RADIUS = 0.45


def ball_world(frames: int = 7, size: tuple[int, int] = SIZE, **meta: object) -> World4D:
    """A ball (id 3) that moves right and up, a floor with coloured checks, a slowly moving camera, and sky."""
    height, width = size
    time = np.linspace(0, 1, frames)
    eye = np.stack([0.6 * time - 0.3, -4 + 0 * time, 1.5 + 0.2 * time], -1).astype(np.float32)
    poses = look_at(torch.from_numpy(eye), torch.tensor([0.0, 0.5, 0.5]).expand(frames, 3)).numpy()
    k = np.tile(intrinsics_from_fov(1.0, height, width).numpy(), (frames, 1, 1))
    centres = np.stack([1.6 * time - 0.9, 0 * time, 0.45 + 0.7 * time], -1)
    images = [_render(poses[t].astype(float), k[t].astype(float), centres[t], size) for t in range(frames)]
    rgb, depth, ids = (np.stack(column) for column in zip(*images))
    scene_flow = np.zeros((frames - 1, height, width, 3), dtype=np.float32)
    for t in range(frames - 1):
        scene_flow[t][ids[t] == 3] = centres[t + 1] - centres[t]
    z, kt, pose = (torch.from_numpy(array) for array in (depth, k, poses))
    flow, moved = motion_from_scene_flow(
        z[:-1], torch.from_numpy(scene_flow), kt[:-1], kt[1:], pose[:-1], pose[1:]
    )
    measured = z[:-1] > 0
    visible = (unoccluded(flow, moved, z[1:]) & measured).numpy()
    offsets = RADIUS * np.array([[0, -1, 0], [0.6, -0.8, 0], [-0.6, -0.8, 0], [0, -0.8, 0.6], [0, 1, 0]])
    tracks = (centres[None] + offsets[:, None]).astype(np.float32)
    still = np.tile(np.array([[-1.0, 0.5, 0.0], [1.0, 0.5, 0.0]], dtype=np.float32)[:, None], (1, frames, 1))
    seen = np.ones((7, frames), dtype=bool)
    seen[4] = False
    return World4D(
        rgb=rgb, depth=depth, flow=(flow * measured[..., None]).numpy(), scene_flow=scene_flow, visible=visible,
        segmentation=ids, camera=Camera(k, poses), tracks=np.concatenate([tracks, still]), track_visibility=seen,
        fps=6.0,
        meta={"scene": "ball_flight", "prompt": "A striped ball flies over a checked floor.", "seed": 7, **meta},
    ).validate()  # fmt: skip


def kitchen(folder: Path, frames: int = 33) -> World4D:
    """The recorded RGB-D sequence of a kitchen."""
    stems = [folder / "kitchen_rgbd" / f"{index:03d}" for index in range(frames)]
    rgb = np.stack([np.asarray(Image.open(f"{stem}.rgb.jpg").convert("RGB")) for stem in stems])
    millimetres = np.stack([np.asarray(Image.open(f"{stem}.depth_mm.png")) for stem in stems])
    depth = np.where(millimetres == 65535, 0, millimetres).astype(np.float32) / 1000
    poses = np.stack([np.loadtxt(f"{stem}.world_from_camera.txt") for stem in stems]).astype(np.float32)
    k = np.tile(np.array([[292.5, 0, 160], [0, 292.5, 120], [0, 0, 1]], dtype=np.float32), (frames, 1, 1))
    meta = {"source": "kitchen_rgbd", "prompt": "A hand-held camera moves through a kitchen."}
    return World4D.from_rgbd(rgb, depth, Camera(k, poses), fps=15.0, meta=meta)


def _render(pose: np.ndarray, k: np.ndarray, centre: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """rgb, z-depth [m] and ids by intersecting every pixel's ray with the ball and the floor z = 0."""
    pixels = np.concatenate([pixel_centres(*size).numpy(), np.ones((*size, 1))], -1)
    rays = pixels @ np.linalg.inv(k).T @ pose[:3, :3].T
    eye = pose[:3, 3]
    # With rays of camera z = 1 the ray parameter is the z-depth.
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = -eye[2] / rays[..., 2]
    floor = np.where((floor > 0) & (floor < 9), floor, np.inf)
    offset = eye - centre
    a, b = (rays**2).sum(-1), rays @ offset
    root = b**2 - a * (offset @ offset - RADIUS**2)
    ball = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
    depth = np.minimum(floor, ball)
    points = eye + rays * np.where(np.isfinite(depth), depth, 0)[..., None]
    checks = (np.floor(points[..., 0]) + np.floor(points[..., 1])) % 2
    ground = np.stack([70 + 90 * checks, 95 + 60 * (points[..., 0] > 0), 60 + 100 * (1 - checks)], -1)
    normal = (points - centre) / RADIUS
    stripes = np.sin(9 * normal[..., 2]) > 0
    light = (0.45 + 0.55 * (normal @ np.array([0.4, -0.6, 0.7])).clip(0, 1))[..., None]
    skin = light * np.where(stripes[..., None], [250, 110, 50], [245, 235, 220])
    sky = np.broadcast_to([150, 190, 235], (*size, 3))
    is_ball, is_floor = ball < floor, np.isfinite(floor) & (floor <= ball)
    rgb = np.where(is_ball[..., None], skin, np.where(is_floor[..., None], ground, sky))
    depth = np.where(np.isfinite(depth), depth, 0)
    return rgb.astype(np.uint8), depth.astype(np.float32), np.where(is_ball, 3, 0).astype(np.int32)
