"""Kernels of labels: depth, instances, scene flow, flow, visibility and tracks, from one hit."""

from __future__ import annotations

from phys4d.sim.device import wp
from phys4d.sim.kernels.rays import (
    eye_position,
    labelled_hit,
    next_point,
    ray_direction,
    seen_from,
    surface_point,
    to_camera,
    to_pixel,
)
from phys4d.sim.kernels.scene_arrays import CameraArrays, SurfaceArrays

wp.set_module_options({"enable_backward": False})


@wp.kernel
def cast_labels(
    camera: CameraArrays,
    surfaces: SurfaceArrays,
    depth: wp.array3d(dtype=wp.float32),
    primitive: wp.array3d(dtype=wp.int32),
    place: wp.array3d(dtype=wp.vec3),
    segmentation: wp.array3d(dtype=wp.int32),
):
    """One ray through each pixel's centre: z-depth, primitive, place on it and instance; 0 and -1 in the sky."""
    t, i, j = wp.tid()
    direction = ray_direction(camera, t, float(j) + 0.5, float(i) + 0.5)
    # The direction has unit z in camera axes, so the ray parameter is the z-depth.
    hit = labelled_hit(surfaces, t, eye_position(camera, t), direction)
    primitive[t, i, j] = hit.primitive
    place[t, i, j] = hit.place
    if hit.primitive >= 0:
        depth[t, i, j] = hit.t
        segmentation[t, i, j] = surfaces.looks[surfaces.owner[hit.primitive]].instance
    else:
        depth[t, i, j] = 0.0
        segmentation[t, i, j] = 0


@wp.kernel
def cast_motion(
    camera: CameraArrays,
    surfaces: SurfaceArrays,
    primitive: wp.array3d(dtype=wp.int32),
    place: wp.array3d(dtype=wp.vec3),
    flow: wp.array3d(dtype=wp.vec2),
    scene_flow: wp.array3d(dtype=wp.vec3),
    visible: wp.array3d(dtype=wp.int32),
):
    """Where the surface point at each pixel's centre is one frame later, and whether it is still seen there."""
    t, i, j = wp.tid()
    centre = wp.vec2(float(j) + 0.5, float(i) + 0.5)
    f = primitive[t, i, j]
    if f >= 0:
        now = surface_point(surfaces, t, f, place[t, i, j])
        then = next_point(surfaces, t, f, place[t, i, j])
        scene_flow[t, i, j] = then - now
        local = to_camera(camera, t + 1, then)
        z = wp.max(local[2], 1.0e-3)
        # The difference of two projections, so that what stands still under a still camera moves by exactly 0.
        before = to_camera(camera, t, now)
        flow[t, i, j] = to_pixel(camera, t + 1, wp.vec3(local[0], local[1], z)) - to_pixel(camera, t, before)
        visible[t, i, j] = wp.where(seen_from(camera, surfaces, t + 1, f, then), 1, 0)
    else:
        # The sky is infinitely far: it moves by the camera's rotation alone.
        direction = ray_direction(camera, t, centre[0], centre[1])
        local = to_camera(camera, t + 1, eye_position(camera, t + 1) + direction)
        flow[t, i, j] = to_pixel(camera, t + 1, wp.vec3(local[0], local[1], wp.max(local[2], 1.0e-3))) - centre
        scene_flow[t, i, j] = wp.vec3(0.0, 0.0, 0.0)
        visible[t, i, j] = 0


@wp.kernel
def cast_sight(
    camera: CameraArrays,
    surfaces: SurfaceArrays,
    primitive: wp.array(dtype=wp.int32),
    tracks: wp.array2d(dtype=wp.vec3),
    visible: wp.array2d(dtype=wp.int32),
):
    """Which frames see points that were followed otherwise."""
    n, t = wp.tid()
    visible[n, t] = wp.where(seen_from(camera, surfaces, t, primitive[n], tracks[n, t]), 1, 0)


@wp.kernel
def cast_tracks(
    camera: CameraArrays,
    surfaces: SurfaceArrays,
    primitive: wp.array(dtype=wp.int32),
    place: wp.array(dtype=wp.vec3),
    tracks: wp.array2d(dtype=wp.vec3),
    visible: wp.array2d(dtype=wp.int32),
):
    """Surface points through all frames, and which frames see them."""
    n, t = wp.tid()
    point = surface_point(surfaces, t, primitive[n], place[n])
    tracks[n, t] = point
    visible[n, t] = wp.where(seen_from(camera, surfaces, t, primitive[n], point), 1, 0)
