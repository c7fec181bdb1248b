"""What needs no model: worlds that everybody must beat.

Each is made from a reference's first `context` frames, which a model may see, and from nothing after them. They
are given the true depth, motion and cameras of those frames, where a model sees colours alone: so they are as
strong as such worlds can be. A field that the reference lacks is absent here too; segmentation and tracks always
are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from phys4d.errors import InputError
from phys4d.evaluation.alignment import take, tensors
from phys4d.evaluation.measure import MOVING
from phys4d.geometry import (
    forward_warp,
    invert_rigid,
    motion_from_scene_flow,
    pixel_centres,
    project,
    transform_points,
    unoccluded,
    world_points,
)
from phys4d.world import Camera, World4D

COVERED = 0.5
"""Share of a pixel that moved surfaces must cover to be seen there."""
VELOCITY_NEEDS = {"rgb", "depth", "scene_flow", "camera"}
"""Fields of a reference without which `constant_velocity` cannot be made."""


def static(reference: World4D, context: int = 1, seed: int = 0) -> World4D:
    """Frame 0 for ever: no motion, and a camera that stands still."""
    return _still(reference, 0, 0)


def last_frame(reference: World4D, context: int = 1, seed: int = 0) -> World4D:
    """The context as it was, then its last frame for ever, without motion; `static` with one context frame."""
    return _still(reference, context - 1, context - 1)


def constant_velocity(reference: World4D, context: int = 1, seed: int = 0) -> World4D:
    """Everything and the camera go on as they moved between the last two context frames.

    Each instance of the last context frame's segmentation is carried along in space by its mean velocity (each
    pixel by its own where the reference has none; a rolling ball then bursts) and seen again by the moved camera;
    what it uncovers is filled in from its surroundings. `static` with one context frame, which shows no motion.
    Raises MissingFieldError without rgb, depth, scene_flow and camera.
    """
    if context < 2:
        return static(reference)
    rgb, _, camera = take(reference, "rgb", "scene_flow", "camera")
    last = context - 1
    k, pose = tensors(camera)
    path = _steady_path(pose, last)
    depth, speed = _carried(reference, last, k, pose)
    points = world_points(depth, k[last], pose[last])
    still = _still(reference, last, last)
    colours = torch.from_numpy(rgb[last]).double()
    still_rgb, still_depth, still_motion, still_camera = take(still, "rgb", "depth", "scene_flow", "camera")
    rgb, maps, moved = still_rgb.copy(), still_depth.copy(), still_motion.copy()
    payload = torch.cat([colours, speed], dim=-1)
    sky = depth.numpy() <= 0
    for t in range(last, reference.frames):
        ahead = t - last
        target = transform_points(invert_rigid(path[t]), points + ahead * speed)
        seen, z = _seen_from(target, k[last], depth, payload)
        motion = np.where(z[..., None] > 0, seen[..., 3:], 0)
        if ahead:
            hole = (z <= 0) & ~sky
            source = (z > 0) & (np.linalg.norm(motion, axis=-1) < MOVING)
            colour = np.where(z[..., None] > 0, seen[..., :3].round().clip(0, 255), still_rgb[t])
            rgb[t], maps[t] = _uncovered(colour, hole, source), _uncovered(z, hole, source)
        if t < reference.frames - 1:
            moved[t] = motion
    camera = Camera(still_camera.intrinsics, path.float().numpy())
    world = dataclasses.replace(still, rgb=rgb, depth=maps, scene_flow=moved, camera=camera)
    return _with_flow(world, last)


def noise(reference: World4D, context: int = 1, seed: int = 0) -> World4D:
    """The context, then colours drawn evenly, depths drawn from frame 0's, and motion of about a pixel."""
    rng = np.random.default_rng(seed)
    world = _still(reference, context - 1, context - 1)
    values: dict[str, Any] = {}
    if world.rgb is not None:
        values["rgb"] = world.rgb.copy()
        values["rgb"][context:] = rng.integers(0, 256, world.rgb[context:].shape)
    if world.depth is not None:
        surface = world.depth[0][world.depth[0] > 0]
        values["depth"] = world.depth.copy()
        if surface.size:
            values["depth"][context:] = rng.choice(surface, world.depth[context:].shape)
    if world.flow is not None:
        values["flow"] = world.flow.copy()
        values["flow"][context - 1 :] = rng.normal(size=world.flow[context - 1 :].shape)
    if world.scene_flow is not None:
        pixel = 1.0
        if world.depth is not None and world.camera is not None:
            pixel = float(np.median(world.depth[0]) / world.camera.intrinsics[0, 0, 0])
        values["scene_flow"] = world.scene_flow.copy()
        later = values["scene_flow"][context - 1 :]
        values["scene_flow"][context - 1 :] = rng.normal(scale=max(pixel, 1e-6), size=later.shape)
    if world.visible is not None:
        values["visible"] = world.visible.copy()
        values["visible"][context - 1 :] = True if world.depth is None else values["depth"][context - 1 : -1] > 0
    return dataclasses.replace(world, **values)


BASELINES: dict[str, Callable[[World4D, int, int], World4D]] = {
    "static": static,
    "last_frame": last_frame,
    "constant_velocity": constant_velocity,
    "noise": noise,
}
"""name -> (reference, context frames, seed) -> world."""


def make(name: str, reference: World4D, *, context: int = 1, seed: int = 0) -> World4D:
    """A baseline by its name. Raises InputError for a context that the reference does not have."""
    if not 1 <= context <= reference.frames:
        raise InputError(f"context_frames must lie between 1 and {reference.frames}, not {context}")
    return BASELINES[name](reference, context, seed)


def _still(reference: World4D, frame: int, kept: int) -> World4D:
    """The first `kept` frames as they were, then `frame` for ever."""
    index = np.concatenate([np.arange(kept), np.full(reference.frames - kept, frame)])
    values: dict[str, Any] = {
        name: getattr(reference, name)[index] for name in ("rgb", "depth") if getattr(reference, name) is not None
    }
    for name in ("flow", "scene_flow"):
        if getattr(reference, name) is not None:
            values[name] = getattr(reference, name).copy()
            values[name][kept:] = 0
    if reference.visible is not None:
        values["visible"] = reference.visible.copy()
        values["visible"][kept:] = True if reference.depth is None else reference.depth[frame] > 0
    if reference.camera is not None:
        values["camera"] = Camera(reference.camera.intrinsics[index], reference.camera.world_from_camera[index])
    return World4D(**values, fps=reference.fps, meta=_meta(reference))


def _meta(reference: World4D) -> dict[str, Any]:
    keys = ("prompt", "scene", "scene_id", "category", "seed", "view")
    return {**{key: reference.meta[key] for key in keys if key in reference.meta}, "mode": "generate"}


def _steady_path(pose: Tensor, last: int) -> Tensor:
    """The camera's path up to frame `last`, then its last step again and again."""
    path = pose.clone()
    step = invert_rigid(pose[last - 1]) @ pose[last]
    for t in range(last + 1, len(pose)):
        path[t] = path[t - 1] @ step
    return path


def _carried(reference: World4D, last: int, k: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
    """Depth of frame `last`, and the velocity [m/frame] that its surfaces had on their way there."""
    depth, scene_flow = take(reference, "depth", "scene_flow")
    before, moved = torch.from_numpy(depth[last - 1]).double(), torch.from_numpy(scene_flow[last - 1]).double()
    flow, z = motion_from_scene_flow(before, moved, k[last - 1], k[last], pose[last - 1], pose[last])
    speed, cover = forward_warp(moved, flow, torch.where(before > 0, z, 0))
    speed = torch.where(cover[..., None] > COVERED, speed, 0)
    if reference.segmentation is not None:
        ids = torch.from_numpy(reference.segmentation[last]).long()
        for instance in ids.unique():
            speed[ids == instance] = speed[ids == instance].mean(0)
    return torch.from_numpy(depth[last]).double(), speed


def _seen_from(points_camera: Tensor, k: Tensor, depth: Tensor, payload: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """What a camera sees of points that were a picture: their payload (H,W,C) and depth (H,W), 0 in holes."""
    pixels, z = project(points_camera, k)
    flow = pixels - pixel_centres(*depth.shape, dtype=depth.dtype)
    front = torch.where((depth > 0) & (z > 0), z, 0)
    seen, cover = forward_warp(torch.cat([payload, front[..., None]], dim=-1), flow, front)
    filled = cover > COVERED
    return seen[..., :-1].numpy(), torch.where(filled, seen[..., -1], 0).numpy()


def _uncovered(values: np.ndarray, hole: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Holes take the nearest still pixel's value; along rows first, as floors keep their depth there."""
    if not source.any():
        return values
    row, column = np.asarray(
        ndimage.distance_transform_edt(~source, sampling=(4, 1), return_distances=False, return_indices=True)
    )
    return np.where(hole.reshape(hole.shape + (1,) * (values.ndim - 2)), values[row, column], values)


def _with_flow(world: World4D, first: int) -> World4D:
    """The world with flow and visibility from `first` on that follow from its depth, scene flow and cameras."""
    depth, scene_flow, camera = take(world, "depth", "scene_flow", "camera")
    k, pose = tensors(camera)
    z, moved = torch.from_numpy(depth).double(), torch.from_numpy(scene_flow).double()
    flow, z_next = motion_from_scene_flow(z[:-1], moved, k[:-1], k[1:], pose[:-1], pose[1:])
    surface = (z[:-1] > 0) & (z_next > 0)
    values: dict[str, Any] = {}
    if world.flow is not None:
        values["flow"] = world.flow.copy()
        values["flow"][first:] = torch.where(surface[..., None], flow, 0).float().numpy()[first:]
    if world.visible is not None:
        values["visible"] = world.visible.copy()
        seen = unoccluded(flow, z_next, z[1:]) & surface
        values["visible"][first:] = seen.numpy()[first:]
    return dataclasses.replace(world, **values)
