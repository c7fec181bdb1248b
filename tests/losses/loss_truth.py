"""A simulated clip as the tensors that the losses take."""

import functools
from types import SimpleNamespace

import torch

import phys4d
from phys4d.geometry import invert_rigid, motion_from_scene_flow


@functools.cache
def truth(scene="ball_drop", seed=3, camera="orbit"):
    """Labels of one clip, B = 1, float64: depth, motion (u, v, change of log-depth), cameras and masks."""
    world = phys4d.simulate(scene, seed=seed, size=(64, 64), frames=9, camera=camera)
    depth, scene_flow, k, pose = (
        torch.from_numpy(array).double()[None]
        for array in (world.depth, world.scene_flow, world.camera.intrinsics, world.camera.world_from_camera)
    )
    flow, moved = motion_from_scene_flow(depth[:, :-1], scene_flow, k[:, :-1], k[:, 1:], pose[:, :-1], pose[:, 1:])
    surface = depth > 0
    log_depth = torch.where(surface, depth, 1.0).log()
    valid = surface[:, :-1] & (moved > 0)
    change = torch.where(valid, moved, 1.0).log() - log_depth[:, :-1]
    moves = scene_flow.norm(dim=-1) > 1e-4
    return SimpleNamespace(
        depth=depth,
        log_depth=log_depth,
        flow=torch.where(valid[..., None], flow, 0.0),
        change=torch.where(valid, change, 0.0),
        motion=torch.cat([flow, change[..., None]], dim=-1).masked_fill(~valid[..., None], 0.0),
        surface=surface,
        visible=torch.from_numpy(world.visible)[None] & valid,
        static=valid & ~moves,
        moving=moves,
        intrinsics=k,
        world_from_camera=pose,
        camera0_from_camera=invert_rigid(pose[:, :1]) @ pose,
    )
