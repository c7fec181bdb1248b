"""Worlds that a lifter would make of true, frozen and faulty videos, without a lifter."""

import dataclasses
import functools

import numpy as np

import phys4d
from phys4d.rewards import prepare_scene
from phys4d.world import Camera


@functools.cache
def simulated(scene="ball_bounce", seed=5, camera="static"):
    return phys4d.simulate(scene, seed=seed, size=(64, 64), frames=17, camera=camera)


def frozen(world):
    """The first frame, held still."""
    frames = world.frames

    def held(array, count):
        return np.repeat(array[:1], count, axis=0)

    return dataclasses.replace(
        world,
        rgb=held(world.rgb, frames),
        depth=held(world.depth, frames),
        flow=np.zeros_like(world.flow),
        scene_flow=np.zeros_like(world.scene_flow),
        visible=held(world.depth, frames - 1) > 0,
        segmentation=held(world.segmentation, frames),
        camera=Camera(held(world.camera.intrinsics, frames), held(world.camera.world_from_camera, frames)),
        tracks=np.repeat(world.tracks[:, :1], frames, axis=1),
        track_visibility=np.repeat(world.track_visibility[:, :1], frames, axis=1),
    )


def oracle(world, spoil=lambda world: world):
    """A lifter that knows the truth of this one world: it returns it for its video, and it held still else."""

    def lift(rgb):
        return [spoil(world if np.array_equal(video, world.rgb) else frozen(world)) for video in rgb]

    return lift


@functools.cache
def prepared(scene="ball_bounce", seed=5, camera="static"):
    world = simulated(scene, seed, camera)
    return prepare_scene(world, oracle(world))
