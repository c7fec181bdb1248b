"""Volumes for the caster: what they add to a picture, their labels, and tracks of what they are made of."""

# Warp's array constructors accept its scalar and vector types; their annotations do not say so.
# pyright: reportArgumentType=false

from __future__ import annotations

from typing import Any

import numpy as np

from phys4d.sim.device import load_module, wp
from phys4d.sim.kernels import volumes
from phys4d.sim.motion import Motion
from phys4d.sim.upload import upload_volume
from phys4d.world import Camera

TRACKS = 32
"""Tracks of smoke in a world, beside those of surfaces."""
CLEAR = 0.5
"""A point is seen where at least so much of its light passes."""


def load_kernels(device: str | None = None) -> None:
    """Compile the kernels, once for a machine and a version."""
    load_module(volumes.__name__, device, what="the kernels of smoke")


class Mist:
    """The volume of a motion, on the device; it must be the only one."""

    def __init__(self, motion: Motion, device: str | None) -> None:
        load_kernels(device)
        (self._volume,) = motion.volumes
        self._arrays = upload_volume(self._volume)
        self._frames = motion.frames

    def cast(
        self,
        cameras: Any,
        surfaces: Any,
        lights: Any,
        depth: Any,
        segmentation: Any,
        flow: Any,
        scene_flow: Any,
        visible: Any,
    ) -> tuple[Any, Any]:
        """The veil over the picture and the mean depth; the other labels are changed where they are."""
        lit = wp.empty(self._arrays.extinction.shape, dtype=wp.float32)
        wp.launch(volumes.cast_lit, lit.shape, [self._arrays, lights], [lit])
        veil, mean = wp.empty(depth.shape, dtype=wp.vec4), wp.empty(depth.shape, dtype=wp.float32)
        inputs = [cameras, self._arrays, lights, lit, depth, segmentation]
        wp.launch(volumes.cast_veil, depth.shape, inputs, [veil, mean])
        if self._frames > 1:
            inputs = [cameras, surfaces, self._arrays, depth, veil]
            wp.launch(volumes.cast_volume_motion, flow.shape, inputs, [flow, scene_flow, visible])
        return veil, mean

    def tracks(
        self,
        cameras: Any,
        camera: Camera,
        depth: np.ndarray,
        segmentation: np.ndarray,
        tracks: np.ndarray,
        seen: np.ndarray,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The tracks of surfaces, seen only where smoke lets their light pass, and tracks of smoke after them."""
        shows = np.flatnonzero(segmentation == self._volume.instance)
        chosen = np.sort(rng.choice(shows, size=min(len(shows), TRACKS), replace=False))
        paths = [
            self._volume.follow(int(t), _lifted(camera, int(t), int(i), int(j), depth)[None])[:, 0]
            for t, i, j in zip(*np.unravel_index(chosen, segmentation.shape))
        ]
        own = np.array(paths, dtype=np.float32).reshape(-1, self._frames, 3)
        every = np.concatenate([tracks, own])
        passing = np.ones(every.shape[:2], dtype=np.float32)
        if len(every):
            points, share = wp.array(every, dtype=wp.vec3), wp.empty(every.shape[:2], dtype=wp.float32)
            wp.launch(volumes.cast_clear, every.shape[:2], [cameras, self._arrays, points], [share])
            passing = share.numpy()
        # A place in the middle of smoke has about half of it before it.
        return every, np.concatenate([seen & (passing[: len(seen)] >= CLEAR), self._in_sight(camera, own, depth)])

    def _in_sight(self, camera: Camera, paths: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """(N,T) whether smoke is in the picture, and not farther than the mean depth of what is seen there."""
        k, pose = camera.intrinsics.astype(float), camera.world_from_camera.astype(float)
        local = np.einsum("tji,ntj->nti", pose[:, :3, :3], paths - pose[:, :3, 3])
        z = np.maximum(local[..., 2], 1e-6)
        x = k[:, 0, 0] * local[..., 0] / z + k[:, 0, 2]
        y = k[:, 1, 1] * local[..., 1] / z + k[:, 1, 2]
        height, width = depth.shape[1:]
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height) & (local[..., 2] > 0)
        row, column = (np.clip(v.astype(int), 0, n - 1) for v, n in ((y, height), (x, width)))
        there = depth[np.arange(depth.shape[0])[None], row, column]
        return inside & ((there == 0) | (z <= there * 1.02))


def _lifted(camera: Camera, t: int, row: int, column: int, depth: np.ndarray) -> np.ndarray:
    """(3,) the point at a pixel's centre and depth, world axes [m]."""
    k, pose = camera.intrinsics[t].astype(float), camera.world_from_camera[t].astype(float)
    local = np.array([(column + 0.5 - k[0, 2]) / k[0, 0], (row + 0.5 - k[1, 2]) / k[1, 1], 1.0])
    return pose[:3, :3] @ (local * depth[t, row, column]) + pose[:3, 3]
