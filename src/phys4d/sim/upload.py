"""Surfaces, cameras and lights as the arrays that the kernels read, with a BVH for every frame."""

# Warp's array constructors accept its scalar and vector types; their annotations do not say so.
# pyright: reportArgumentType=false

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from phys4d.sim.device import wp
from phys4d.sim.kernels import scene_arrays as kinds
from phys4d.sim.lights import AreaLight, Light, Sky, SoftBox
from phys4d.sim.materials import CLEAR, FINISHES, Look
from phys4d.sim.motion import Motion, Skin, Spheres, Volume
from phys4d.sim.textures import texture_names, texture_stack
from phys4d.world import Camera


@dataclasses.dataclass(frozen=True)
class Uploaded:
    """Surfaces on the device. owner: (P,) which surface each primitive is of. kept: what the arrays point into."""

    arrays: Any
    owner: np.ndarray
    kept: list[Any]


def upload_surfaces(motion: Motion) -> Uploaded:
    """All triangles, then all spheres, of all surfaces; solid ones first in both.

    A BVH is built for every frame: refitted ones degrade under large motion. Glass and liquids have their own.
    """
    arrays = kinds.SurfaceArrays()
    clear = np.array([s.look.finish in CLEAR for s in motion.surfaces])
    trees = [kinds.Trees() for _ in range(motion.frames)]
    faces_owner, meshes = _upload_meshes(arrays, trees, motion, clear)
    spheres_owner, bvhs = _upload_spheres(arrays, trees, motion, clear)
    owner = np.concatenate([faces_owner, spheres_owner]).astype(np.int32)
    arrays.trees = wp.array(trees, dtype=kinds.Trees)
    arrays.owner = wp.array(owner, dtype=wp.int32)
    arrays.clear = int(clear.any())
    arrays.looks = wp.array(
        [_look(s.look, s.instance, getattr(s, "slack", 0.0)) for s in motion.surfaces], dtype=kinds.SurfaceLook
    )
    arrays.texels = wp.array(texture_stack(), dtype=wp.float32)
    return Uploaded(arrays, owner, [*meshes, *bvhs])


def upload_volume(volume: Volume) -> Any:
    arrays = kinds.VolumeArrays()
    arrays.extinction = wp.array(np.ascontiguousarray(volume.extinction, dtype=np.float32))
    arrays.shift = wp.array(np.ascontiguousarray(volume.shift, dtype=np.float32), dtype=wp.vec3)
    arrays.x, arrays.y, arrays.z = volume.extinction.shape[1:]
    arrays.low, arrays.cell = wp.vec3(*volume.low), volume.cell
    arrays.colour, arrays.instance = wp.vec3(*volume.colour), volume.instance
    return arrays


def upload_camera(camera: Camera, size: tuple[int, int]) -> Any:
    k = camera.intrinsics
    arrays = kinds.CameraArrays()
    arrays.pinhole = wp.array(np.stack([k[:, 0, 0], k[:, 1, 1], k[:, 0, 2], k[:, 1, 2]], axis=1), dtype=wp.vec4)
    arrays.pose = wp.array(camera.world_from_camera, dtype=wp.mat44)
    arrays.height, arrays.width = size
    return arrays


def upload_lights(lights: Sequence[Light | AreaLight], sky: Sky, times: np.ndarray) -> Any:
    """Lights and the soft boxes of the sky at every frame; times: (T,) [s]."""
    arrays = kinds.LightArrays()
    every = (*lights, *sky.boxes)
    none = np.zeros((2, 3))
    kind, place, edges = [], [], []
    for light in every:
        match light:
            case Light():
                kind.append(kinds.SUN)
                place.append(light.directions(times))
                edges.append(none)
            case AreaLight():
                kind.append(kinds.DISC if light.outline == "disc" else kinds.RECTANGLE)
                place.append(light.positions(times))
                edges.append(light.half_edges())
            case SoftBox():
                kind.append(kinds.BOX)
                place.append(np.broadcast_to(np.array(light.direction), (len(times), 3)))
                edges.append(light.half_edges())
    shape = (len(times), len(every), 3)
    spans = np.broadcast_to(np.array(edges).reshape(1, len(every), 2, 3), (len(times), len(every), 2, 3))
    arrays.kind = wp.array(kind, dtype=wp.int32)
    arrays.place = _vectors(np.array(place).reshape(len(every), len(times), 3).swapaxes(0, 1).reshape(shape))
    arrays.across, arrays.upward = _vectors(spans[:, :, 0]), _vectors(spans[:, :, 1])
    arrays.colour = wp.array([light.colour for light in every], dtype=wp.vec3)
    arrays.radius = wp.array([getattr(light, "radius", 0.0) for light in every], dtype=wp.float32)
    arrays.soft = wp.array([getattr(light, "soft", 0.0) for light in every], dtype=wp.float32)
    arrays.count = len(every)
    arrays.horizon, arrays.zenith, arrays.glow = wp.vec3(*sky.horizon), wp.vec3(*sky.zenith), sky.glow
    return arrays


def _look(look: Look, instance: int, slack: float) -> Any:
    row, names = kinds.SurfaceLook(), texture_names()
    row.colour, row.accent = wp.vec3(*look.colour), wp.vec3(*look.accent)
    row.texture, row.finish = names.index(look.texture), FINISHES.index(look.finish)
    row.relief_texture = names.index(look.relief_texture or look.texture)
    for field in ("tile", "gloss", "refraction", "relief", "glow"):
        setattr(row, field, getattr(look, field))
    row.instance, row.slack = instance, slack
    return row


def _upload_meshes(
    arrays: Any, trees: list[Any], motion: Motion, clear: np.ndarray
) -> tuple[np.ndarray, list[Any]]:
    """The owner of every triangle, and the meshes of every frame."""
    meshes = [
        (k, _padded(s) if isinstance(s, Skin) else s)
        for k, s in enumerate(motion.surfaces)
        if not isinstance(s, Spheres)
    ]
    frames = motion.frames
    # One list of faces serves all frames, unless a surface changes its topology.
    varying = any(isinstance(s, _Padded) for _, s in meshes)
    copies = frames if varying else 1
    offsets = np.cumsum([0, *(s.vertices.shape[1] for _, s in meshes)])
    faces = [np.broadcast_to(s.faces + o, (copies, *s.faces.shape[-2:])) for (_, s), o in zip(meshes, offsets)]
    faces = np.concatenate([np.empty((copies, 0, 3), int), *faces], axis=1)
    owner = np.concatenate([np.empty(0, int), *(np.full(s.faces.shape[-2], k) for k, s in meshes)]).astype(int)
    order = np.argsort(clear[owner], kind="stable")
    faces, owner = faces[:, order].astype(np.int32), owner[order]
    points = np.concatenate([np.empty((frames, 0, 3)), *(s.vertices for _, s in meshes)], axis=1)
    points = np.ascontiguousarray(points, dtype=np.float32)
    arrays.triangles, arrays.solid_triangles = faces.shape[1], int((~clear[owner]).sum())
    arrays.vertices, arrays.varying = points.shape[1], faces.shape[1] if varying else 0
    arrays.faces = wp.array(faces.reshape(-1), dtype=wp.int32)
    arrays.points, arrays.normals = _vectors(points), _vectors(_vertex_normals(points, faces))
    rest = [np.broadcast_to(s.rest, (copies, *s.rest.shape[-2:])) for _, s in meshes]
    arrays.rest = _vectors(np.concatenate([np.empty((copies, 0, 3)), *rest], axis=1))
    ahead = [getattr(s, "ahead", s.vertices[1:]) for _, s in meshes] if varying else []
    arrays.ahead = _vectors(np.concatenate([np.empty((max(frames - 1, 0), 0, 3)), *ahead], axis=1))
    shines = [getattr(s, "shine", None) for _, s in meshes]
    arrays.shining = int(any(each is not None for each in shines))
    if arrays.shining:
        dark = (np.zeros(s.vertices.shape) if each is None else each for (_, s), each in zip(meshes, shines))
        arrays.shine = _vectors(np.concatenate(list(dark), axis=1))
    split, count, kept = 3 * arrays.solid_triangles, arrays.vertices, []
    for name, part in (("solid_mesh", slice(0, split)), ("clear_mesh", slice(split, 3 * faces.shape[1]))):
        if part.stop > part.start:
            indices = [wp.array(each.reshape(-1)[part], dtype=wp.int32) for each in faces]
            for t, tree in enumerate(trees):
                corners = arrays.points[t * count : (t + 1) * count]
                kept.append(wp.Mesh(points=corners, indices=indices[t % copies]))
                setattr(tree, name, kept[-1].id)
    return owner, kept


@dataclasses.dataclass(frozen=True)
class _Padded:
    """A skin with as many vertices and triangles in every frame: the spare ones lie in one point.

    vertices, rest: (T,V,3); ahead: (T-1,V,3); faces: (T,F,3).
    """

    vertices: np.ndarray
    rest: np.ndarray
    ahead: np.ndarray
    faces: np.ndarray


def _padded(skin: Skin) -> _Padded:
    corners, sides = (max(len(getattr(m, name)) for m in skin.meshes) for name in ("vertices", "faces"))

    def filled(name: str, meshes: Sequence[Any]) -> np.ndarray:
        size = sides if name == "faces" else corners
        rows = [getattr(m, name) for m in meshes]
        padded = [
            np.concatenate([r, np.broadcast_to(r[:1] * (name != "faces"), (size - len(r), 3))]) for r in rows
        ]
        return np.array(padded).reshape(len(padded), size, 3)

    return _Padded(
        filled("vertices", skin.meshes),
        filled("rest", skin.meshes),
        filled("ahead", skin.meshes[:-1]),
        filled("faces", skin.meshes),
    )


def _upload_spheres(
    arrays: Any, trees: list[Any], motion: Motion, clear: np.ndarray
) -> tuple[np.ndarray, list[Any]]:
    """The owner of every sphere, and the BVHs of every frame."""
    groups = [(k, s) for k, s in enumerate(motion.surfaces) if isinstance(s, Spheres)]
    groups.sort(key=lambda group: bool(clear[group[0]]))
    owner = np.concatenate([np.empty(0, int), *(np.full(len(s.radius), k) for k, s in groups)]).astype(int)
    frames = motion.frames
    radius = np.concatenate([np.empty(0), *(s.radius for _, s in groups)]).astype(np.float32)
    centres = np.concatenate([np.empty((frames, 0, 3)), *(s.centres for _, s in groups)], axis=1)
    rotations = np.concatenate([np.empty((frames, 0, 3, 3)), *(s.rotations for _, s in groups)], axis=1)
    arrays.spheres, arrays.solid_spheres = len(radius), int((~clear[owner]).sum())
    balls = np.concatenate([centres, np.broadcast_to(radius, centres.shape[:2])[..., None]], axis=2)
    arrays.balls = wp.array(balls.reshape(-1, 4).astype(np.float32), dtype=wp.vec4)
    arrays.rotations = wp.array(rotations.reshape(-1, 3, 3).astype(np.float32), dtype=wp.mat33)
    # A hair wider, so that no box is cut by rounding; the sphere itself decides.
    reach = (radius * np.float32(1 + 1e-5))[:, None]
    split, kept = arrays.solid_spheres, []
    for name, part in (("solid_spheres", slice(0, split)), ("clear_spheres", slice(split, len(radius)))):
        if part.stop > part.start:
            for t, tree in enumerate(trees):
                kept.append(wp.Bvh(_vectors((centres[t] - reach)[part]), _vectors((centres[t] + reach)[part])))
                setattr(tree, name, kept[-1].id)
    return owner, kept


def _vertex_normals(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(T,V,3) unit normals, each the area-weighted mean over the triangles that share the vertex.

    faces: (1,F,3), or (T,F,3) where they differ from frame to frame.
    """
    normals = np.zeros_like(points)
    for t in range(len(points)):
        corners = faces[t % len(faces)]
        a, b, c = (points[t, corners[:, k]] for k in range(3))
        area = np.cross(b - a, c - a)
        for axis in range(3):
            weights = np.repeat(area[:, axis], 3)
            normals[t, :, axis] = np.bincount(corners.reshape(-1), weights=weights, minlength=points.shape[1])
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-20)


def _vectors(values: np.ndarray) -> Any:
    """(...,3) numbers as a flat array of vectors."""
    return wp.array(np.ascontiguousarray(values, dtype=np.float32).reshape(-1, 3), dtype=wp.vec3)
