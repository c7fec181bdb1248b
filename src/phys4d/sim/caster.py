"""The renderer: one ray caster turns a `Motion` into a `World4D`, with every label exact by construction.

A ray returns a primitive (a triangle or a sphere) and a place on it; the same surface point, at any other frame,
gives scene flow, flow, visibility and long-range tracks, for rigid and soft things alike, under moving cameras.
Labels are those of the first surface that is not of glass, along the straight ray: a mirror is labelled as itself,
and what stands behind glass as if the glass were not there.
"""

# Warp's array constructors accept its scalar and vector types; their annotations do not say so.
# pyright: reportArgumentType=false

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from phys4d.sim.device import load_module, warp_device, wp
from phys4d.sim.kernels import colour, labels
from phys4d.sim.lights import AreaLight, Light, Sky
from phys4d.sim.mist import Mist
from phys4d.sim.motion import Motion, Skin
from phys4d.sim.upload import Uploaded, upload_camera, upload_lights, upload_surfaces
from phys4d.world import Camera, World4D

TRACKS = 128
"""Long-range tracks of a world: half of them on what moves, where anything does."""


def render(
    motion: Motion,
    camera: Camera,
    size: tuple[int, int],
    lights: Sequence[Light | AreaLight],
    sky: Sky,
    *,
    rng: np.random.Generator,
    device: str | None = None,
) -> World4D:
    """Film a motion: every field of `World4D` but `confidence`.

    size: (height, width) [px]. `rng` only chooses which surface points are tracked. The same code runs on the CPU
    and on CUDA (`device`).
    """
    load_kernels(device)
    height, width = size
    frames = motion.frames
    with wp.ScopedDevice(warp_device(device)):
        uploaded = upload_surfaces(motion)
        surfaces, cameras = uploaded.arrays, upload_camera(camera, size)
        shape = (frames, height, width)
        depth = wp.empty(shape, dtype=wp.float32)
        primitive, segmentation = wp.empty(shape, dtype=wp.int32), wp.empty(shape, dtype=wp.int32)
        place = wp.empty(shape, dtype=wp.vec3)
        wp.launch(labels.cast_labels, shape, [cameras, surfaces], [depth, primitive, place, segmentation])
        step = (frames - 1, height, width)
        flow, scene_flow = wp.empty(step, dtype=wp.vec2), wp.empty(step, dtype=wp.vec3)
        visible = wp.empty(step, dtype=wp.int32)
        if frames > 1:
            inputs = [cameras, surfaces, primitive, place]
            wp.launch(labels.cast_motion, step, inputs, [flow, scene_flow, visible])
        rgb = wp.empty((*shape, 3), dtype=wp.uint8)
        lighting = upload_lights(lights, sky, np.arange(frames) / motion.fps)
        shown, veil, mist = depth, wp.empty((1, 1, 1), dtype=wp.vec4), None
        if motion.volumes:
            mist = Mist(motion, device)
            veil, shown = mist.cast(cameras, surfaces, lighting, depth, segmentation, flow, scene_flow, visible)
        inputs = [cameras, surfaces, lighting, depth, primitive, place, int(mist is not None), veil]
        wp.launch(colour.cast_colour, shape, inputs, [rgb])
        hits = primitive.numpy()
        chosen = _choose_tracks(motion, uploaded.owner, hits, rng)
        tracks, seen = _cast_tracks(cameras, surfaces, frames, hits[chosen], place.numpy()[chosen])
        _follow_skins(motion, cameras, uploaded, chosen, hits[chosen], depth.numpy(), camera, tracks, seen)
        if mist is not None:
            tracks, seen = mist.tracks(cameras, camera, shown.numpy(), segmentation.numpy(), tracks, seen, rng)
        return World4D(
            rgb=rgb.numpy(),
            depth=shown.numpy(),
            flow=flow.numpy().reshape(*step, 2),
            scene_flow=scene_flow.numpy().reshape(*step, 3),
            visible=visible.numpy().astype(bool),
            segmentation=segmentation.numpy(),
            camera=camera,
            tracks=tracks,
            track_visibility=seen,
            fps=motion.fps,
        )


@functools.cache
def load_kernels(device: str | None = None) -> None:
    """Compile the kernels, once for a machine and a version; later they come from Warp's cache."""
    for module in (labels, colour):
        load_module(module.__name__, device)


def _choose_tracks(
    motion: Motion, owner: np.ndarray, primitive: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, ...]:
    """Pixels (t, i, j) whose surface points are tracked: half of them moving, half of them of frame 0."""
    moves = np.array([s.moves for s in motion.surfaces])[owner]
    hit = primitive >= 0
    moving = hit & moves[np.maximum(primitive, 0)]
    still = hit & ~moving
    chosen = []
    for mask in (moving, still):
        first = np.zeros_like(mask)
        first[0] = mask[0]
        for part in (first, mask):
            places = np.flatnonzero(part)
            chosen.append(rng.choice(places, size=min(len(places), TRACKS // 4), replace=False))
    return np.unravel_index(np.unique(np.concatenate(chosen)), primitive.shape)


def _cast_tracks(
    cameras: Any, surfaces: Any, frames: int, primitive: np.ndarray, place: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    count = len(primitive)
    tracks, seen = wp.empty((count, frames), dtype=wp.vec3), wp.empty((count, frames), dtype=wp.int32)
    if count:
        inputs = [cameras, surfaces, wp.array(primitive, dtype=wp.int32), wp.array(place, dtype=wp.vec3)]
        wp.launch(labels.cast_tracks, (count, frames), inputs, [tracks, seen])
    return tracks.numpy().reshape(count, frames, 3).copy(), seen.numpy().astype(bool)


def _follow_skins(
    motion: Motion,
    cameras: Any,
    uploaded: Uploaded,
    chosen: tuple[np.ndarray, ...],
    primitive: np.ndarray,
    depth: np.ndarray,
    camera: Camera,
    tracks: np.ndarray,
    seen: np.ndarray,
) -> None:
    """Write the tracks of points on skins, which their particles carry, over those of their triangles."""
    frame, row, column = chosen
    for index, surface in enumerate(motion.surfaces):
        if not isinstance(surface, Skin):
            continue
        mine = uploaded.owner[primitive] == index
        for t in np.unique(frame[mine]):
            some = np.flatnonzero(mine & (frame == t))
            k, pose = camera.intrinsics[t].astype(float), camera.world_from_camera[t].astype(float)
            x, y = (column[some] + 0.5 - k[0, 2]) / k[0, 0], (row[some] + 0.5 - k[1, 2]) / k[1, 1]
            away = np.stack([x, y, np.ones_like(x)], axis=1) * depth[t, row[some], column[some]][:, None]
            points = away @ pose[:3, :3].T + pose[:3, 3]
            tracks[some] = surface.follow(int(t), points).swapaxes(0, 1)
        if mine.any():
            shape = (int(mine.sum()), motion.frames)
            found = wp.empty(shape, dtype=wp.int32)
            primitives = wp.array(primitive[mine], dtype=wp.int32)
            points = wp.array(np.ascontiguousarray(tracks[mine]), dtype=wp.vec3)
            wp.launch(labels.cast_sight, shape, [cameras, uploaded.arrays, primitives, points], [found])
            seen[mine] = found.numpy().astype(bool)
