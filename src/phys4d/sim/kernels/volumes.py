"""Kernels of volumes: what light passes in part has no surface; its labels are means along the ray, by opacity."""

from __future__ import annotations

from phys4d.sim.device import wp
from phys4d.sim.kernels.lighting import sky_radiance
from phys4d.sim.kernels.rays import eye_position, ray_direction, solid_in_the_way, to_camera, to_pixel
from phys4d.sim.kernels.scene_arrays import BOX, SUN, CameraArrays, LightArrays, SurfaceArrays, VolumeArrays

wp.set_module_options({"enable_backward": False})

STEPS = wp.constant(56)
"""Samples along a ray through the box."""
SHADE_STEPS = wp.constant(18)
# Opacity from which a pixel shows the volume and not what is behind it.
HALF = wp.constant(0.5)
_SUN = wp.constant(SUN)
_BOX = wp.constant(BOX)


@wp.func
def extinction_at(volume: VolumeArrays, t: int, point: wp.vec3):
    """Trilinear between the middles of cells, 0 beyond the box [1/m]."""
    g = (point - volume.low) / volume.cell - wp.vec3(0.5, 0.5, 0.5)
    i = int(wp.floor(g[0]))
    j = int(wp.floor(g[1]))
    k = int(wp.floor(g[2]))
    total = float(0.0)
    for corner in range(8):
        a = i + (corner & 1)
        b = j + ((corner >> 1) & 1)
        c = k + ((corner >> 2) & 1)
        if a >= 0 and b >= 0 and c >= 0 and a < volume.x and b < volume.y and c < volume.z:
            weight = (1.0 - wp.abs(float(a) - g[0])) * (1.0 - wp.abs(float(b) - g[1]))
            weight = weight * (1.0 - wp.abs(float(c) - g[2]))
            total += weight * volume.extinction[t, a, b, c]
    return total


@wp.func
def lit_at(volume: VolumeArrays, lit: wp.array4d(dtype=wp.float32), t: int, point: wp.vec3):
    """Share of the sun's light at a point, trilinear."""
    g = (point - volume.low) / volume.cell - wp.vec3(0.5, 0.5, 0.5)
    i = wp.clamp(int(wp.floor(g[0])), 0, volume.x - 2)
    j = wp.clamp(int(wp.floor(g[1])), 0, volume.y - 2)
    k = wp.clamp(int(wp.floor(g[2])), 0, volume.z - 2)
    x = wp.clamp(g[0] - float(i), 0.0, 1.0)
    y = wp.clamp(g[1] - float(j), 0.0, 1.0)
    z = wp.clamp(g[2] - float(k), 0.0, 1.0)
    total = float(0.0)
    for corner in range(8):
        a = corner & 1
        b = (corner >> 1) & 1
        c = (corner >> 2) & 1
        weight = wp.where(a == 1, x, 1.0 - x) * wp.where(b == 1, y, 1.0 - y) * wp.where(c == 1, z, 1.0 - z)
        total += weight * lit[t, i + a, j + b, k + c]
    return total


@wp.func
def shift_at(volume: VolumeArrays, t: int, point: wp.vec3):
    """How far what is at a point moves to the next frame [m], trilinear."""
    g = (point - volume.low) / volume.cell - wp.vec3(0.5, 0.5, 0.5)
    i = wp.clamp(int(wp.floor(g[0])), 0, volume.x - 2)
    j = wp.clamp(int(wp.floor(g[1])), 0, volume.y - 2)
    k = wp.clamp(int(wp.floor(g[2])), 0, volume.z - 2)
    x = wp.clamp(g[0] - float(i), 0.0, 1.0)
    y = wp.clamp(g[1] - float(j), 0.0, 1.0)
    z = wp.clamp(g[2] - float(k), 0.0, 1.0)
    total = wp.vec3(0.0, 0.0, 0.0)
    for corner in range(8):
        a = corner & 1
        b = (corner >> 1) & 1
        c = (corner >> 2) & 1
        weight = wp.where(a == 1, x, 1.0 - x) * wp.where(b == 1, y, 1.0 - y) * wp.where(c == 1, z, 1.0 - z)
        total += weight * volume.shift[t, i + a, j + b, k + c]
    return total


@wp.func
def crossing(volume: VolumeArrays, origin: wp.vec3, direction: wp.vec3):
    """Where a ray enters and leaves the box; it misses where the second is not larger."""
    high = volume.low + volume.cell * wp.vec3(float(volume.x), float(volume.y), float(volume.z))
    enter = float(0.0)
    leave = float(1.0e6)
    for axis in range(3):
        d = direction[axis]
        if wp.abs(d) < 1.0e-9:
            if origin[axis] < volume.low[axis] or origin[axis] > high[axis]:
                leave = -1.0
        else:
            a = (volume.low[axis] - origin[axis]) / d
            b = (high[axis] - origin[axis]) / d
            enter = wp.max(enter, wp.min(a, b))
            leave = wp.min(leave, wp.max(a, b))
    return enter, leave


@wp.func
def clear_share(volume: VolumeArrays, t: int, eye: wp.vec3, point: wp.vec3):
    """Share of light that passes from a point to the eye."""
    direction = point - eye
    length = wp.length(direction)
    enter, leave = crossing(volume, eye, direction)
    leave = wp.min(leave, 1.0)
    if leave <= enter:
        return 1.0
    step = (leave - enter) / float(STEPS)
    depth = float(0.0)
    for n in range(STEPS):
        depth += extinction_at(volume, t, eye + (enter + (float(n) + 0.5) * step) * direction)
    return wp.exp(-depth * step * length)


@wp.kernel
def cast_lit(volume: VolumeArrays, lights: LightArrays, lit: wp.array4d(dtype=wp.float32)):
    """Share of the first sun's light that reaches the middle of every cell through the rest of the volume."""
    t, i, j, k = wp.tid()
    lit[t, i, j, k] = 1.0
    if volume.extinction[t, i, j, k] <= 0.0 or lights.count == 0:
        return
    if lights.kind[0] != _SUN:
        return
    start = volume.low + volume.cell * wp.vec3(float(i) + 0.5, float(j) + 0.5, float(k) + 0.5)
    toward = lights.place[t * lights.count]
    step = 1.5 * volume.cell
    depth = float(0.0)
    for n in range(SHADE_STEPS):
        depth += extinction_at(volume, t, start + (float(n) + 0.5) * step * toward)
    lit[t, i, j, k] = wp.exp(-depth * step)


@wp.kernel
def cast_veil(
    camera: CameraArrays,
    volume: VolumeArrays,
    lights: LightArrays,
    lit: wp.array4d(dtype=wp.float32),
    depth: wp.array3d(dtype=wp.float32),
    segmentation: wp.array3d(dtype=wp.int32),
    veil: wp.array3d(dtype=wp.vec4),
    mean_depth: wp.array3d(dtype=wp.float32),
):
    """What the volume adds to each pixel (linear RGB) and the share it lets pass; mean depth, instance."""
    t, i, j = wp.tid()
    eye = eye_position(camera, t)
    direction = ray_direction(camera, t, float(j) + 0.5, float(i) + 0.5)
    behind = depth[t, i, j]
    mean_depth[t, i, j] = behind
    veil[t, i, j] = wp.vec4(0.0, 0.0, 0.0, 1.0)
    enter, leave = crossing(volume, eye, direction)
    if behind > 0.0:
        leave = wp.min(leave, behind)
    if leave <= enter:
        return
    step = (leave - enter) / float(STEPS)
    metres = step * wp.length(direction)
    sky = 0.5 * (sky_radiance(lights, wp.vec3(0.0, 0.0, 1.0)) + lights.horizon)
    passing = float(1.0)
    colour = wp.vec3(0.0, 0.0, 0.0)
    far = float(0.0)
    for n in range(STEPS):
        z = enter + (float(n) + 0.5) * step
        point = eye + z * direction
        sigma = extinction_at(volume, t, point)
        if sigma > 0.0 and passing > 1.0e-3:
            weight = passing * (1.0 - wp.exp(-sigma * metres))
            light = 0.85 * sky
            for number in range(lights.count):
                share = float(1.0)
                if number == 0:
                    share = lit_at(volume, lit, t, point)
                if lights.kind[number] == _SUN:
                    light += 0.5 * share * lights.colour[number]
            colour += weight * 0.62 * wp.cw_mul(volume.colour, light)
            far += weight * z
            passing -= weight
    veil[t, i, j] = wp.vec4(colour[0], colour[1], colour[2], passing)
    opacity = 1.0 - passing
    if behind > 0.0:
        mean_depth[t, i, j] = far + passing * behind
    elif opacity >= HALF:
        mean_depth[t, i, j] = far / opacity
    if opacity >= HALF:
        segmentation[t, i, j] = volume.instance


@wp.kernel
def cast_volume_motion(
    camera: CameraArrays,
    surfaces: SurfaceArrays,
    volume: VolumeArrays,
    depth: wp.array3d(dtype=wp.float32),
    veil: wp.array3d(dtype=wp.vec4),
    flow: wp.array3d(dtype=wp.vec2),
    scene_flow: wp.array3d(dtype=wp.vec3),
    visible: wp.array3d(dtype=wp.int32),
):
    """Means of the motion along the ray, by opacity, with that of the surface behind for what passes.

    depth: of the surface alone. A pixel of the volume is visible in the next frame where its mean place is in the
    picture and nothing solid is before it; one of a surface, where most of its light still passes.
    """
    t, i, j = wp.tid()
    passing = veil[t, i, j][3]
    if passing >= 1.0:
        if visible[t, i, j] == 1:
            centre = wp.vec2(float(j) + 0.5, float(i) + 0.5) + flow[t, i, j]
            a = wp.clamp(int(centre[1]), 0, camera.height - 1)
            b = wp.clamp(int(centre[0]), 0, camera.width - 1)
            if veil[t + 1, a, b][3] < HALF:
                visible[t, i, j] = 0
        return
    eye = eye_position(camera, t)
    direction = ray_direction(camera, t, float(j) + 0.5, float(i) + 0.5)
    behind = depth[t, i, j]
    enter, leave = crossing(volume, eye, direction)
    if behind > 0.0:
        leave = wp.min(leave, behind)
    step = (leave - enter) / float(STEPS)
    metres = step * wp.length(direction)
    share = float(1.0)
    total = float(0.0)
    moved = wp.vec3(0.0, 0.0, 0.0)
    drift = wp.vec2(0.0, 0.0)
    place = wp.vec3(0.0, 0.0, 0.0)
    for n in range(STEPS):
        z = enter + (float(n) + 0.5) * step
        point = eye + z * direction
        sigma = extinction_at(volume, t, point)
        if sigma > 0.0 and share > 1.0e-3:
            weight = share * (1.0 - wp.exp(-sigma * metres))
            shift = shift_at(volume, t, point)
            local = to_camera(camera, t + 1, point + shift)
            ahead = to_pixel(camera, t + 1, wp.vec3(local[0], local[1], wp.max(local[2], 1.0e-3)))
            moved += weight * shift
            drift += weight * (ahead - to_pixel(camera, t, to_camera(camera, t, point)))
            place += weight * (point + shift)
            total += weight
            share -= weight
    if total <= 0.0:
        return
    if behind > 0.0:
        flow[t, i, j] = drift + share * flow[t, i, j]
        scene_flow[t, i, j] = moved + share * scene_flow[t, i, j]
    elif total >= HALF:
        flow[t, i, j] = drift / total
        scene_flow[t, i, j] = moved / total
    if total >= HALF:
        then = place / total
        local = to_camera(camera, t + 1, then)
        pixel = to_pixel(camera, t + 1, wp.vec3(local[0], local[1], wp.max(local[2], 1.0e-3)))
        seen = local[2] > 0.0 and pixel[0] >= 0.0 and pixel[1] >= 0.0
        seen = seen and pixel[0] <= float(camera.width) and pixel[1] <= float(camera.height)
        visible[t, i, j] = 0
        if seen:
            start = eye_position(camera, t + 1)
            reach = wp.length(then - start)
            if not solid_in_the_way(surfaces, t + 1, start, (then - start) / reach, reach, -1):
                visible[t, i, j] = 1


@wp.kernel
def cast_clear(
    camera: CameraArrays,
    volume: VolumeArrays,
    points: wp.array2d(dtype=wp.vec3),
    passing: wp.array2d(dtype=wp.float32),
):
    """Share of light that passes from points to the eyes of their frames."""
    n, t = wp.tid()
    passing[n, t] = clear_share(volume, t, eye_position(camera, t), points[n, t])
