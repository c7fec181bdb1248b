"""The renderer: one ray caster turns a `Motion` into a `World4D`, with every label exact by construction.

A ray returns a triangle and barycentrics; the same surface point, evaluated with the vertices of any other frame,
gives scene flow, flow, visibility and long-range tracks, for rigid and soft things alike, under moving cameras.
"""

# Warp's array constructors accept its scalar and vector types; their annotations do not say so.
# pyright: reportArgumentType=false

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from phys4d.sim import kernels
from phys4d.sim.device import load_module, warp_device, wp
from phys4d.sim.motion import Motion
from phys4d.sim.scene import Light, Sky
from phys4d.sim.textures import texture_names, texture_stack
from phys4d.world import Camera, World4D

TRACKS = 128
"""Long-range tracks of a world: half of them on what moves, where anything does."""


def render(
    motion: Motion,
    camera: Camera,
    size: tuple[int, int],
    lights: tuple[Light, ...],
    sky: Sky,
    *,
    rng: np.random.Generator,
    device: str | None = None,
) -> World4D:
    """Film a motion: every field of `World4D` but `confidence`.

    size: (height, width) [px]. `rng` only chooses which surface points are tracked. The same code runs on the CPU
    and on CUDA (`device`). A BVH is built for every frame: refitted ones degrade under large motion.
    """
    load_kernels(device)
    height, width = size
    frames = motion.frames
    with wp.ScopedDevice(warp_device(device)):
        surfaces, meshes = _surface_arrays(motion)
        cameras = _camera_arrays(camera, size)
        shape = (frames, height, width)
        depth = wp.empty(shape, dtype=wp.float32)
        face, segmentation = wp.empty(shape, dtype=wp.int32), wp.empty(shape, dtype=wp.int32)
        bary = wp.empty(shape, dtype=wp.vec2)
        wp.launch(kernels.cast_labels, shape, [cameras, surfaces], [depth, face, bary, segmentation])
        step = (frames - 1, height, width)
        flow, scene_flow = wp.empty(step, dtype=wp.vec2), wp.empty(step, dtype=wp.vec3)
        visible = wp.empty(step, dtype=wp.int32)
        if frames > 1:
            wp.launch(kernels.cast_motion, step, [cameras, surfaces, face, bary], [flow, scene_flow, visible])
        rgb = wp.empty((*shape, 3), dtype=wp.uint8)
        wp.launch(kernels.cast_colour, shape, [cameras, surfaces, _light_arrays(lights, sky)], [rgb])
        chosen = _choose_tracks(motion, face.numpy(), rng)
        tracks, seen = _cast_tracks(cameras, surfaces, frames, face.numpy()[chosen], bary.numpy()[chosen])
        world = World4D(
            rgb=rgb.numpy(),
            depth=depth.numpy(),
            flow=flow.numpy().reshape(*step, 2),
            scene_flow=scene_flow.numpy().reshape(*step, 3),
            visible=visible.numpy().astype(bool),
            segmentation=segmentation.numpy(),
            camera=camera,
            tracks=tracks,
            track_visibility=seen,
            fps=motion.fps,
        )
    del meshes  # kept alive until here: the kernels hold their ids only
    return world


@functools.cache
def load_kernels(device: str | None = None) -> None:
    """Compile the kernels, once for a machine and a version; later they come from Warp's cache."""
    load_module(kernels.__name__, device)


def _surface_arrays(motion: Motion) -> tuple[Any, list[Any]]:
    """All surfaces as one set of triangles with one mesh (and BVH) a frame."""
    offsets = np.cumsum([0, *(len(s.rest) for s in motion.surfaces)])
    faces = np.concatenate([s.faces + o for s, o in zip(motion.surfaces, offsets)]).astype(np.int32)
    points = np.ascontiguousarray(np.concatenate([s.vertices for s in motion.surfaces], axis=1), dtype=np.float32)
    arrays = kernels.SurfaceArrays()
    arrays.faces = wp.array(faces.reshape(-1), dtype=wp.int32)
    arrays.vertices = points.shape[1]
    arrays.points = wp.array(points.reshape(-1, 3), dtype=wp.vec3)
    arrays.normals = wp.array(_vertex_normals(points, faces).reshape(-1, 3), dtype=wp.vec3)
    arrays.rest = wp.array(np.concatenate([s.rest for s in motion.surfaces]).astype(np.float32), dtype=wp.vec3)
    owner = np.repeat(np.arange(len(motion.surfaces)), [len(s.faces) for s in motion.surfaces])
    arrays.owner = wp.array(owner.astype(np.int32), dtype=wp.int32)
    looks = [s.look for s in motion.surfaces]
    names = texture_names()
    arrays.colour = wp.array([look.colour for look in looks], dtype=wp.vec3)
    arrays.accent = wp.array([look.accent for look in looks], dtype=wp.vec3)
    arrays.texture = wp.array([names.index(look.texture) for look in looks], dtype=wp.int32)
    arrays.tile = wp.array([look.tile for look in looks], dtype=wp.float32)
    arrays.gloss = wp.array([look.gloss for look in looks], dtype=wp.float32)
    arrays.instance = wp.array([s.instance for s in motion.surfaces], dtype=wp.int32)
    arrays.texels = wp.array(texture_stack(), dtype=wp.float32)
    count = points.shape[1]
    meshes = [
        wp.Mesh(points=arrays.points[t * count : (t + 1) * count], indices=arrays.faces)
        for t in range(len(points))
    ]
    arrays.mesh = wp.array([mesh.id for mesh in meshes], dtype=wp.uint64)
    return arrays, meshes


def _vertex_normals(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(T,V,3) unit normals, each the area-weighted mean over the triangles that share the vertex."""
    a, b, c = (points[:, faces[:, k]] for k in range(3))
    area = np.cross(b - a, c - a)
    normals = np.zeros_like(points)
    for t in range(len(points)):
        for axis in range(3):
            weights = np.repeat(area[t, :, axis], 3)
            normals[t, :, axis] = np.bincount(faces.reshape(-1), weights=weights, minlength=points.shape[1])
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-20)


def _camera_arrays(camera: Camera, size: tuple[int, int]) -> Any:
    k = camera.intrinsics
    arrays = kernels.CameraArrays()
    arrays.pinhole = wp.array(np.stack([k[:, 0, 0], k[:, 1, 1], k[:, 0, 2], k[:, 1, 2]], axis=1), dtype=wp.vec4)
    arrays.pose = wp.array(camera.world_from_camera, dtype=wp.mat44)
    arrays.height, arrays.width = size
    return arrays


def _light_arrays(lights: tuple[Light, ...], sky: Sky) -> Any:
    arrays = kernels.LightArrays()
    arrays.direction = wp.array([light.direction for light in lights], dtype=wp.vec3)
    arrays.colour = wp.array([light.colour for light in lights], dtype=wp.vec3)
    arrays.radius = wp.array([light.radius for light in lights], dtype=wp.float32)
    arrays.count = len(lights)
    arrays.horizon, arrays.zenith = wp.vec3(*sky.horizon), wp.vec3(*sky.zenith)
    return arrays


def _choose_tracks(motion: Motion, face: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Pixels (t, i, j) whose surface points are tracked: half of them moving, half of them of frame 0."""
    moves = np.repeat([s.moves for s in motion.surfaces], [len(s.faces) for s in motion.surfaces])
    hit = face >= 0
    moving = hit & moves[np.maximum(face, 0)]
    still = hit & ~moving
    chosen = []
    for mask in (moving, still):
        first = np.zeros_like(mask)
        first[0] = mask[0]
        for part in (first, mask):
            places = np.flatnonzero(part)
            chosen.append(rng.choice(places, size=min(len(places), TRACKS // 4), replace=False))
    return np.unravel_index(np.unique(np.concatenate(chosen)), face.shape)


def _cast_tracks(
    cameras: Any, surfaces: Any, frames: int, face: np.ndarray, bary: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    count = len(face)
    tracks, seen = wp.empty((count, frames), dtype=wp.vec3), wp.empty((count, frames), dtype=wp.int32)
    if count:
        inputs = [cameras, surfaces, wp.array(face, dtype=wp.int32), wp.array(bary, dtype=wp.vec2)]
        wp.launch(kernels.cast_tracks, (count, frames), inputs, [tracks, seen])
    return tracks.numpy().reshape(count, frames, 3), seen.numpy().astype(bool)
