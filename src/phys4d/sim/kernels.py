"""Warp kernels of the ray caster: what each ray hits, how it is shaded, where that surface point goes.

All geometry is in world axes [m]. Frames share one topology: triangle f of frame t and of frame t+1 is the same
piece of surface, which makes scene flow, flow, visibility and tracks exact by construction.
"""

from __future__ import annotations

from phys4d.sim.device import wp
from phys4d.sim.textures import SIZE

wp.set_module_options({"enable_backward": False})

SAMPLES = 16
"""Most rays a pixel for colour: a fixed 4x4 pattern, so that a still picture does not flicker."""
# The order of the pixel's 16 cells, and of 16 directions on a spiral over a sun's disc or the sky: in both, the
# first four are spread over the four quarters, so that they can stand for all.
CELLS = wp.constant(wp.types.vector(16, wp.int32)(1, 7, 8, 14, 4, 2, 11, 13, 0, 5, 10, 15, 3, 6, 9, 12))
SPIRAL = wp.constant(wp.types.vector(16, wp.int32)(8, 14, 4, 2, 0, 5, 10, 15, 1, 6, 11, 12, 3, 7, 9, 13))
FIRST = wp.constant(4)
"""Rays a pixel where these all meet the same surface in the same light; textures are filtered by themselves."""
SHADED = wp.constant(8)
"""Rays a pixel where they differ only in whether something near by hides the sky, which changes slowly."""

GOLDEN = wp.constant(2.399963229728653)
FAR = wp.constant(1.0e4)
# More than there are surfaces.
SUN = wp.constant(1 << 20)
# How near a thing must be to darken what lies beside it [m].
OPEN = wp.constant(0.7)
TEXTURE = wp.constant(SIZE)
TEXTURE_LEVELS = wp.constant(SIZE.bit_length() - 1)


@wp.struct
class CameraArrays:
    """Pinhole cameras by frame: K as (fx, fy, cx, cy) and world_from_camera."""

    pinhole: wp.array(dtype=wp.vec4)
    pose: wp.array(dtype=wp.mat44)
    width: wp.int32
    height: wp.int32


@wp.struct
class SurfaceArrays:
    """All triangles of all surfaces; vertex arrays hold every frame, one after another."""

    mesh: wp.array(dtype=wp.uint64)
    points: wp.array(dtype=wp.vec3)
    normals: wp.array(dtype=wp.vec3)
    rest: wp.array(dtype=wp.vec3)
    faces: wp.array(dtype=wp.int32)
    owner: wp.array(dtype=wp.int32)
    vertices: wp.int32
    colour: wp.array(dtype=wp.vec3)
    accent: wp.array(dtype=wp.vec3)
    texture: wp.array(dtype=wp.int32)
    tile: wp.array(dtype=wp.float32)
    gloss: wp.array(dtype=wp.float32)
    instance: wp.array(dtype=wp.int32)
    texels: wp.array2d(dtype=wp.float32)


@wp.struct
class LightArrays:
    """Far lights and the sky, in linear RGB."""

    direction: wp.array(dtype=wp.vec3)
    colour: wp.array(dtype=wp.vec3)
    radius: wp.array(dtype=wp.float32)
    count: wp.int32
    horizon: wp.vec3
    zenith: wp.vec3


@wp.func
def ray_direction(camera: CameraArrays, t: int, x: float, y: float):
    """World direction of the ray through pixel (x, y), scaled so that its z in camera axes is 1."""
    k = camera.pinhole[t]
    local = wp.vec3((x - k[2]) / k[0], (y - k[3]) / k[1], 1.0)
    return wp.transform_vector(camera.pose[t], local)


@wp.func
def eye_position(camera: CameraArrays, t: int):
    m = camera.pose[t]
    return wp.vec3(m[0, 3], m[1, 3], m[2, 3])


@wp.func
def to_camera(camera: CameraArrays, t: int, point: wp.vec3):
    """Camera axes of a world point; the pose is rigid, so its inverse is its transpose."""
    m = camera.pose[t]
    d = point - wp.vec3(m[0, 3], m[1, 3], m[2, 3])
    return wp.vec3(
        m[0, 0] * d[0] + m[1, 0] * d[1] + m[2, 0] * d[2],
        m[0, 1] * d[0] + m[1, 1] * d[1] + m[2, 1] * d[2],
        m[0, 2] * d[0] + m[1, 2] * d[1] + m[2, 2] * d[2],
    )


@wp.func
def to_pixel(camera: CameraArrays, t: int, local: wp.vec3):
    k = camera.pinhole[t]
    return wp.vec2(k[0] * local[0] / local[2] + k[2], k[1] * local[1] / local[2] + k[3])


@wp.func
def surface_point(
    values: wp.array(dtype=wp.vec3), offset: int, faces: wp.array(dtype=wp.int32), f: int, u: float, v: float
):
    """Barycentric interpolation of per-vertex values; (u, v) weigh the first two corners, as Warp's hits do."""
    a = values[offset + faces[3 * f]]
    b = values[offset + faces[3 * f + 1]]
    c = values[offset + faces[3 * f + 2]]
    return u * a + v * b + (1.0 - u - v) * c


@wp.func
def seen_from(camera: CameraArrays, surfaces: SurfaceArrays, t: int, point: wp.vec3):
    """Whether the camera of frame t sees a surface point of frame t: in the picture, and nothing before it."""
    local = to_camera(camera, t, point)
    if local[2] <= 1.0e-4:
        return False
    p = to_pixel(camera, t, local)
    if p[0] < 0.0 or p[1] < 0.0 or p[0] > float(camera.width) or p[1] > float(camera.height):
        return False
    eye = eye_position(camera, t)
    reach = wp.length(point - eye)
    direction = (point - eye) / reach
    # The point's own surface must not hide it: stop short of it by float32's grain and a hair.
    margin = 1.0e-3 + 1.0e-3 * reach
    return not wp.mesh_query_ray_anyhit(surfaces.mesh[t], eye, direction, reach - margin)


@wp.kernel
def cast_labels(
    camera: CameraArrays,
    surfaces: SurfaceArrays,
    depth: wp.array3d(dtype=wp.float32),
    face: wp.array3d(dtype=wp.int32),
    bary: wp.array3d(dtype=wp.vec2),
    segmentation: wp.array3d(dtype=wp.int32),
):
    """One ray through each pixel's centre: z-depth, triangle, barycentrics and instance; 0 and -1 in the sky."""
    t, i, j = wp.tid()
    direction = ray_direction(camera, t, float(j) + 0.5, float(i) + 0.5)
    # The direction has unit z in camera axes, so the ray parameter is the z-depth.
    hit = wp.mesh_query_ray(surfaces.mesh[t], eye_position(camera, t), direction, FAR)
    if hit.result:
        depth[t, i, j] = hit.t
        face[t, i, j] = hit.face
        bary[t, i, j] = wp.vec2(hit.u, hit.v)
        segmentation[t, i, j] = surfaces.instance[surfaces.owner[hit.face]]
    else:
        depth[t, i, j] = 0.0
        face[t, i, j] = -1
        bary[t, i, j] = wp.vec2(0.0, 0.0)
        segmentation[t, i, j] = 0


@wp.kernel
def cast_motion(
    camera: CameraArrays,
    surfaces: SurfaceArrays,
    face: wp.array3d(dtype=wp.int32),
    bary: wp.array3d(dtype=wp.vec2),
    flow: wp.array3d(dtype=wp.vec2),
    scene_flow: wp.array3d(dtype=wp.vec3),
    visible: wp.array3d(dtype=wp.int32),
):
    """Where the surface point at each pixel's centre is one frame later, and whether it is still seen there."""
    t, i, j = wp.tid()
    centre = wp.vec2(float(j) + 0.5, float(i) + 0.5)
    f = face[t, i, j]
    if f >= 0:
        b = bary[t, i, j]
        now = surface_point(surfaces.points, t * surfaces.vertices, surfaces.faces, f, b[0], b[1])
        then = surface_point(surfaces.points, (t + 1) * surfaces.vertices, surfaces.faces, f, b[0], b[1])
        scene_flow[t, i, j] = then - now
        local = to_camera(camera, t + 1, then)
        z = wp.max(local[2], 1.0e-3)
        # The difference of two projections, so that what stands still under a still camera moves by exactly 0.
        before = to_camera(camera, t, now)
        flow[t, i, j] = to_pixel(camera, t + 1, wp.vec3(local[0], local[1], z)) - to_pixel(camera, t, before)
        visible[t, i, j] = wp.where(seen_from(camera, surfaces, t + 1, then), 1, 0)
    else:
        # The sky is infinitely far: it moves by the camera's rotation alone.
        direction = ray_direction(camera, t, centre[0], centre[1])
        local = to_camera(camera, t + 1, eye_position(camera, t + 1) + direction)
        flow[t, i, j] = to_pixel(camera, t + 1, wp.vec3(local[0], local[1], wp.max(local[2], 1.0e-3))) - centre
        scene_flow[t, i, j] = wp.vec3(0.0, 0.0, 0.0)
        visible[t, i, j] = 0


@wp.kernel
def cast_tracks(
    camera: CameraArrays,
    surfaces: SurfaceArrays,
    face: wp.array(dtype=wp.int32),
    bary: wp.array(dtype=wp.vec2),
    tracks: wp.array2d(dtype=wp.vec3),
    visible: wp.array2d(dtype=wp.int32),
):
    """Surface points through all frames, and which frames see them."""
    n, t = wp.tid()
    b = bary[n]
    point = surface_point(surfaces.points, t * surfaces.vertices, surfaces.faces, face[n], b[0], b[1])
    tracks[n, t] = point
    visible[n, t] = wp.where(seen_from(camera, surfaces, t, point), 1, 0)


@wp.func
def texel(texels: wp.array2d(dtype=wp.float32), texture: int, level: int, u: float, v: float):
    """Bilinear look-up in one mip level; (u, v) in tiles, repeating."""
    start = int(0)
    size = int(TEXTURE)
    for _k in range(level):
        start += size * size
        size = size / 2
    x = u * float(size) - 0.5
    y = v * float(size) - 0.5
    x0 = int(wp.floor(x))
    y0 = int(wp.floor(y))
    fx = x - float(x0)
    fy = y - float(y0)
    # Sizes are powers of two, so that a mask wraps negative numbers too.
    mask = size - 1
    xa = x0 & mask
    xb = (x0 + 1) & mask
    ya = (y0 & mask) * size + start
    yb = ((y0 + 1) & mask) * size + start
    top = (1.0 - fx) * texels[texture, ya + xa] + fx * texels[texture, ya + xb]
    bottom = (1.0 - fx) * texels[texture, yb + xa] + fx * texels[texture, yb + xb]
    return (1.0 - fy) * top + fy * bottom


@wp.func
def textured(surfaces: SurfaceArrays, s: int, rest: wp.vec3, axis: wp.vec3, footprint: float):
    """Mix of a surface's two colours by its texture, laid on from the three axes of the material (triplanar)."""
    texture = surfaces.texture[s]
    tile = surfaces.tile[s]
    level = wp.log2(wp.max(footprint / tile * float(TEXTURE), 1.0))
    fine = wp.min(int(level), TEXTURE_LEVELS)
    coarse = wp.min(fine + 1, TEXTURE_LEVELS)
    blend = wp.min(level - float(fine), 1.0)
    p = rest / tile
    w = wp.vec3(wp.pow(wp.abs(axis[0]), 6.0), wp.pow(wp.abs(axis[1]), 6.0), wp.pow(wp.abs(axis[2]), 6.0))
    w = w / (w[0] + w[1] + w[2] + 1.0e-12)
    mix = float(0.0)
    if w[0] > 0.01:
        a = texel(surfaces.texels, texture, fine, p[1], p[2])
        b = texel(surfaces.texels, texture, coarse, p[1], p[2])
        mix += w[0] * (a + blend * (b - a))
    if w[1] > 0.01:
        a = texel(surfaces.texels, texture, fine, p[0], p[2])
        b = texel(surfaces.texels, texture, coarse, p[0], p[2])
        mix += w[1] * (a + blend * (b - a))
    if w[2] > 0.01:
        a = texel(surfaces.texels, texture, fine, p[0], p[1])
        b = texel(surfaces.texels, texture, coarse, p[0], p[1])
        mix += w[2] * (a + blend * (b - a))
    return surfaces.colour[s] + mix * (surfaces.accent[s] - surfaces.colour[s])


@wp.func
def sky_radiance(lights: LightArrays, direction: wp.vec3):
    height = wp.clamp(direction[2], 0.0, 1.0)
    blend = wp.pow(height, 0.5)
    return lights.horizon + blend * (lights.zenith - lights.horizon)


@wp.func
def around(axis: wp.vec3, sine: float, turn: float):
    """The unit vector at the angle with that sine from `axis`, turned about it."""
    side = wp.vec3(1.0, 0.0, 0.0)
    if wp.abs(axis[0]) > 0.7:
        side = wp.vec3(0.0, 1.0, 0.0)
    a = wp.normalize(wp.cross(axis, side))
    b = wp.cross(axis, a)
    return wp.sqrt(wp.max(1.0 - sine * sine, 0.0)) * axis + sine * (wp.cos(turn) * a + wp.sin(turn) * b)


@wp.func
def shade(
    surfaces: SurfaceArrays,
    lights: LightArrays,
    t: int,
    hit: wp.MeshQueryRay,
    origin: wp.vec3,
    direction: wp.vec3,
    spread: float,
    sample: int,
):
    """Linear RGB toward the eye: suns with soft shadows, sky with one occlusion ray, and a gloss highlight.

    Also a number that tells which surface was met and how many suns reached it, and whether something hid the sky.
    """
    s = surfaces.owner[hit.face]
    meets = 1 + s
    hidden = int(0)
    point = origin + hit.t * direction
    view = -wp.normalize(direction)
    geometric = wp.normalize(hit.normal)
    geometric = wp.where(wp.dot(geometric, view) < 0.0, -geometric, geometric)
    smooth = wp.normalize(
        surface_point(surfaces.normals, t * surfaces.vertices, surfaces.faces, hit.face, hit.u, hit.v)
    )
    smooth = wp.where(wp.dot(smooth, geometric) < 0.0, -smooth, smooth)
    rest = surface_point(surfaces.rest, 0, surfaces.faces, hit.face, hit.u, hit.v)
    # The texture's axes are the material's: the normal of the resting surface, not of the moving one.
    r0 = surfaces.rest[surfaces.faces[3 * hit.face]]
    r1 = surfaces.rest[surfaces.faces[3 * hit.face + 1]]
    r2 = surfaces.rest[surfaces.faces[3 * hit.face + 2]]
    axis = wp.normalize(wp.cross(r1 - r0, r2 - r0))
    slant = wp.max(wp.dot(geometric, view), 0.15)
    albedo = textured(surfaces, s, rest, axis, hit.t * spread / wp.sqrt(slant))
    start = point + geometric * (1.0e-4 + 2.0e-5 * hit.t)
    gloss = surfaces.gloss[s]
    power = 4.0 + 160.0 * gloss * gloss
    light = wp.vec3(0.0, 0.0, 0.0)
    shine = wp.vec3(0.0, 0.0, 0.0)
    for k in range(lights.count):
        # A spiral over the sun's disc: the samples of one pixel share it out evenly.
        radius = lights.radius[k] * wp.sqrt((float(sample) + 0.5) / float(SAMPLES))
        toward = around(lights.direction[k], radius, float(sample) * GOLDEN)
        facing = wp.dot(smooth, toward)
        lit = facing > 0.0 and wp.dot(geometric, toward) > 0.0
        if lit:
            if not wp.mesh_query_ray_anyhit(surfaces.mesh[t], start, toward, 60.0):
                meets += SUN
                light += facing * lights.colour[k]
                half = wp.normalize(toward + view)
                shine += lights.colour[k] * (
                    gloss * 0.12 * (power + 8.0) / 8.0 * wp.pow(wp.max(wp.dot(smooth, half), 0.0), power) * facing
                )
    # One ray into the hemisphere, cosine-weighted; the sixteen of a pixel cover it evenly.
    sine = wp.sqrt((float(sample) + 0.5) / float(SAMPLES))
    upward = around(smooth, sine, float(sample) * GOLDEN + 0.7)
    if wp.dot(upward, geometric) < 0.0:
        upward = upward - 2.0 * wp.dot(upward, geometric) * geometric
    if wp.mesh_query_ray_anyhit(surfaces.mesh[t], start, upward, OPEN):
        hidden = int(1)
        light += 0.12 * lights.horizon
    elif upward[2] < 0.0:
        light += 0.25 * lights.horizon
    else:
        light += 0.85 * sky_radiance(lights, upward)
    # What glossy surfaces mirror of the sky, stronger at grazing angles (Schlick).
    graze = 1.0 - wp.max(wp.dot(smooth, view), 0.0)
    fresnel = 0.04 + 0.3 * wp.pow(graze, 5.0)
    mirrored = 2.0 * wp.dot(smooth, view) * smooth - view
    colour = wp.cw_mul(albedo, light) * 0.62 + shine + gloss * fresnel * sky_radiance(lights, mirrored)
    return colour, meets, hidden


@wp.func
def tone(x: float):
    """Linear radiance to an sRGB byte: a soft shoulder over highlights, then the sRGB curve (IEC 61966-2-1)."""
    y = wp.max(x, 0.0)
    if y > 0.6:
        y = 0.6 + 0.4 * (1.0 - wp.exp(-(y - 0.6) / 0.4))
    if y <= 0.0031308:
        y = 12.92 * y
    else:
        y = 1.055 * wp.pow(y, 1.0 / 2.4) - 0.055
    return wp.uint8(wp.clamp(y * 255.0 + 0.5, 0.0, 255.0))


@wp.kernel
def cast_colour(
    camera: CameraArrays,
    surfaces: SurfaceArrays,
    lights: LightArrays,
    rgb: wp.array4d(dtype=wp.uint8),
):
    """The mean of 4 to 16 shaded rays a pixel: as many as what the first of them meet calls for."""
    t, i, j = wp.tid()
    eye = eye_position(camera, t)
    spread = 1.0 / (2.0 * camera.pinhole[t][0])
    total = wp.vec3(0.0, 0.0, 0.0)
    met = int(-1)
    covered = int(0)
    wanted = int(FIRST)
    count = int(0)
    for k in range(SAMPLES):
        if k < wanted:
            cell = CELLS[k]
            x = float(j) + (float(cell % 4) + 0.5) / 4.0
            y = float(i) + (float(cell / 4) + 0.5) / 4.0
            direction = ray_direction(camera, t, x, y)
            hit = wp.mesh_query_ray(surfaces.mesh[t], eye, direction, FAR)
            colour = sky_radiance(lights, wp.normalize(direction))
            meets = int(0)
            hidden = int(0)
            if hit.result:
                colour, meets, hidden = shade(surfaces, lights, t, hit, eye, direction, spread, SPIRAL[k])
            if k > 0 and hidden != covered:
                wanted = wp.max(wanted, SHADED)
            if k > 0 and meets != met:
                wanted = int(SAMPLES)
            met = meets
            covered = hidden
            count += 1
            # Clipped before the mean, or one bright sample would jag the edge of a highlight.
            total += wp.vec3(wp.min(colour[0], 2.0), wp.min(colour[1], 2.0), wp.min(colour[2], 2.0))
    mean = total / float(count)
    rgb[t, i, j, 0] = tone(mean[0])
    rgb[t, i, j, 1] = tone(mean[1])
    rgb[t, i, j, 2] = tone(mean[2])
