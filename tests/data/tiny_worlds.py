"""Small worlds whose fields agree with each other, made in milliseconds; importable by spawned processes."""

import os
import time
from pathlib import Path

import numpy as np
import torch

from phys4d.data import Item
from phys4d.geometry import look_at, motion_from_scene_flow
from phys4d.world import Camera, World4D


def plan(count, **payload):
    """`count` items with seeds 0, 1, ...; more payload goes into every one."""
    return [Item(f"{seed:06d}", {"seed": seed, **payload}) for seed in range(count)]


def make(payload):
    """A textured, rippling surface that drifts before a moving camera, with every field there is."""
    frames, height, width = payload.get("size", (4, 16, 24))
    rng = np.random.default_rng(payload["seed"])
    rows, columns = np.mgrid[:height, :width] / height
    clock = np.arange(frames)[:, None, None] / 8
    phase = rng.uniform(0, 6, size=8)
    waves = [np.sin(9 * columns + 5 * rows + 3 * clock + p) for p in phase]
    rgb = np.stack(waves[:3], axis=-1) * 100 + 127 + rng.integers(-9, 9, size=(height, width, 3))
    depth = (3 + 0.3 * waves[3]).astype(np.float32)
    depth[:, :2] = 0  # a strip of sky
    surface = depth[:-1] > 0
    scene_flow = np.stack([0.05 * wave[1:] for wave in waves[4:7]], axis=-1).astype(np.float32)
    scene_flow *= surface[..., None]
    focal = width * 1.0
    k = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]).expand(frames, 3, 3)
    pose = torch.stack(
        [look_at(torch.tensor([0.02 * t, -3.0, 1.0]), torch.zeros(3)) for t in range(frames)]
    ).float()
    flow, _ = motion_from_scene_flow(
        torch.from_numpy(depth[:-1]), torch.from_numpy(scene_flow), k[:-1], k[1:], pose[:-1], pose[1:]
    )
    points = 5
    return World4D(
        rgb=rgb.astype(np.uint8),
        depth=depth,
        flow=flow.numpy() * surface[..., None],
        scene_flow=scene_flow,
        visible=surface & (waves[7][1:] > -0.9),
        segmentation=(depth > 3).astype(np.int32),
        camera=Camera(k.numpy().copy(), pose.numpy()),
        tracks=rng.normal(size=(points, frames, 3)).astype(np.float32),
        track_visibility=rng.random((points, frames)) > 0.3,
        fps=8.0,
        meta={
            "scene": "ripples" if payload["seed"] % 2 else "waves",
            "scene_id": f"ripples-{payload['seed']}",
            "seed": payload["seed"],
            "prompt": f"ripples, number {payload['seed']}",
            "volumetric": False,
        },
    )


def make_slowly(payload):
    """Signs its work in a file, then takes its time."""
    with Path(payload["log"]).open("a") as log:
        log.write(f"{payload['seed']}\n")
    time.sleep(payload["seconds"])
    return make(payload)


def make_rgb_only_every_third(payload):
    world = make(payload)
    if payload["seed"] % 3 == 0:
        return World4D(rgb=world.rgb, fps=world.fps, meta=world.meta)
    return world


def make_tracks_only(payload):
    world = make(payload)
    return World4D(tracks=world.tracks, track_visibility=world.track_visibility, meta=world.meta)


def make_two_sizes(payload):
    return make({**payload, "size": (4, 16, 16 + 8 * (payload["seed"] % 2))})


def fail_at_five(payload):
    if payload["seed"] == 5:
        raise RuntimeError("the solver exploded")
    return make(payload)


def die_at_five(payload):
    if payload["seed"] == 5:
        os._exit(9)
    return make(payload)
