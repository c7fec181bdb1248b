"""The kernel of pictures: mirrors and glass turn rays aside until they end on something opaque or in the sky."""

from __future__ import annotations

from phys4d.sim.device import wp
from phys4d.sim.kernels.lighting import SAMPLES, environment, lamp_radiance, shade, sky_radiance
from phys4d.sim.kernels.looks import (
    Spot,
    absorbed,
    albedo_at,
    curvature,
    fresnel,
    place_of,
    reflected,
    refracted,
    spot_of,
)
from phys4d.sim.kernels.rays import Hit, eye_position, first_hit, ray_direction
from phys4d.sim.kernels.scene_arrays import MIRROR, OPAQUE, CameraArrays, LightArrays, SurfaceArrays

wp.set_module_options({"enable_backward": False})

# The order of the pixel's 16 cells: the first four are spread over the four quarters.
CELLS = wp.constant(wp.types.vector(16, wp.int32)(1, 7, 8, 14, 4, 2, 11, 13, 0, 5, 10, 15, 3, 6, 9, 12))
FIRST = wp.constant(4)
"""Rays a pixel where these all meet the same surface in the same light; textures are filtered by themselves."""
SHADED = wp.constant(8)
"""Rays a pixel where they differ only in whether something near by hides the sky, which changes slowly."""

BENT = wp.constant(0.1)
"""How far the pixels around may lie off a tangent plane, in half pixels, where the surface counts as flat."""

BOUNCES = wp.constant(8)
"""Most turns of a ray by mirrors and glass."""
SEGMENTS = wp.constant(32)
"""Most pieces of all the rays that one ray splits into."""
FAINT = wp.constant(0.02)
"""Share of a pixel's sample below which a reflection in glass is not followed."""
WAITING = 8
_WAITING = wp.constant(WAITING)
_OPAQUE = wp.constant(OPAQUE)
_MIRROR = wp.constant(MIRROR)

Vectors = wp.types.matrix(shape=(WAITING, 3), dtype=wp.float32)


@wp.func
def trace(
    surfaces: SurfaceArrays,
    lights: LightArrays,
    t: int,
    eye: wp.vec3,
    toward: wp.vec3,
    pixel: float,
    order: int,
):
    """Linear RGB along a ray whose half width grows by `pixel` a unit of its parameter.

    Glass splits a ray: the bent part goes on, the mirrored one waits. Also what `shade` tells of the last surface
    met, and whether anything turned the ray aside.
    """
    colour = wp.vec3(0.0, 0.0, 0.0)
    meets = int(0)
    hidden = int(0)
    turned = int(0)
    # Copies: Warp would write to its own arguments.
    origin = wp.vec3(eye[0], eye[1], eye[2])
    direction = wp.vec3(toward[0], toward[1], toward[2])
    weight = wp.vec3(1.0, 1.0, 1.0)
    width = float(0.0)
    spread = float(pixel)
    bounce = int(0)
    mirrored = int(0)
    waiting = int(0)
    origins = Vectors()
    directions = Vectors()
    weights = Vectors()
    # Of waiting rays: width, spread, bounces.
    rests = Vectors()
    segment = int(0)
    going = bool(True)
    while going:
        segment += 1
        hit = first_hit(surfaces, t, origin, direction)
        ends = bool(True)
        lamp = bool(False)
        if mirrored > 0:
            shining, lamp = lamp_radiance(lights, t, origin, direction, hit.t)
            if lamp:
                colour += wp.cw_mul(weight, shining)
        if not lamp:
            if hit.primitive < 0:
                colour += wp.cw_mul(weight, environment(lights, t, wp.normalize(direction), True))
            else:
                spot = spot_of(surfaces, t, hit, origin, direction, width + hit.t * spread)
                s = spot.owner
                lift = spot.geometric * (1.0e-4 + 2.0e-5 * hit.t)
                length = wp.length(direction)
                view = -direction / length
                finish = surfaces.looks[s].finish
                if finish == _OPAQUE:
                    shaded, meets, hidden = shade(surfaces, lights, t, spot, spot.point + lift, view, order)
                    colour += wp.cw_mul(weight, shaded)
                elif bounce >= BOUNCES or segment >= SEGMENTS:
                    colour += wp.cw_mul(weight, sky_radiance(lights, -view))
                else:
                    ends = bool(False)
                    turned = int(1)
                    bounce += 1
                    width += hit.t * spread
                    spread = spread / length
                    cosine = wp.max(wp.dot(spot.shading, view), 1.0e-3)
                    bend = width * curvature(surfaces, t, hit.primitive)
                    bounced = reflected(-view, spot.shading, spot.geometric)
                    if finish == _MIRROR:
                        # Schlick: every mirror is white at grazing angles.
                        graze = wp.pow(1.0 - wp.min(cosine, 1.0), 5.0)
                        weight = wp.cw_mul(weight, spot.albedo + graze * (wp.vec3(1.0, 1.0, 1.0) - spot.albedo))
                        origin = spot.point + lift
                        direction = bounced
                        spread += 2.0 * bend / wp.max(cosine, 0.2)
                        mirrored = int(1)
                    else:
                        if not spot.outside:
                            weight = wp.cw_mul(weight, absorbed(surfaces, s, hit.t * length))
                        ratio = wp.where(
                            spot.outside, 1.0 / surfaces.looks[s].refraction, surfaces.looks[s].refraction
                        )
                        share = fresnel(cosine, ratio)
                        bent = refracted(-view, spot.shading, ratio)
                        if wp.dot(bent, spot.geometric) >= 0.0:
                            # All of it is mirrored within, or relief would send it back out.
                            origin = spot.point + lift
                            direction = bounced
                            mirrored = int(1)
                        else:
                            if share * wp.max(weight) > FAINT and waiting < _WAITING:
                                origins[waiting] = spot.point + lift
                                directions[waiting] = bounced
                                weights[waiting] = share * weight
                                rests[waiting] = wp.vec3(width, spread + 2.0 * bend, float(bounce))
                                waiting += 1
                                weight = (1.0 - share) * weight
                            origin = spot.point - lift
                            direction = bent
                        spread += 0.7 * bend
        if ends:
            going = waiting > 0
            if going:
                waiting -= 1
                origin = origins[waiting]
                direction = directions[waiting]
                weight = weights[waiting]
                width = rests[waiting][0]
                spread = rests[waiting][1]
                bounce = int(rests[waiting][2])
                mirrored = int(1)
    return colour, meets, hidden, turned


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


@wp.func
def lies_within(
    camera: CameraArrays,
    surfaces: SurfaceArrays,
    depth: wp.array3d(dtype=wp.float32),
    primitive: wp.array3d(dtype=wp.int32),
    t: int,
    i: int,
    j: int,
    spot: Spot,
    eye: wp.vec3,
    width: float,
):
    """Whether the pixels around (i, j) see the same surface in the tangent plane of the spot that this one sees.

    width: half a pixel there [m]. Then every ray of the pixel meets that plane, and none need be cast.
    """
    if i == 0 or j == 0 or i == camera.height - 1 or j == camera.width - 1:
        return False
    for k in range(9):
        row = i + k / 3 - 1
        column = j + k % 3 - 1
        other = primitive[t, row, column]
        if other < 0:
            return False
        if surfaces.owner[other] != spot.owner:
            return False
        toward = ray_direction(camera, t, float(column) + 0.5, float(row) + 0.5)
        off = wp.dot(eye + depth[t, row, column] * toward - spot.point, spot.geometric)
        if wp.abs(off) > BENT * width:
            return False
    return True


@wp.kernel
def cast_colour(
    camera: CameraArrays,
    surfaces: SurfaceArrays,
    lights: LightArrays,
    depth: wp.array3d(dtype=wp.float32),
    primitive: wp.array3d(dtype=wp.int32),
    place: wp.array3d(dtype=wp.vec3),
    veiled: int,
    veil: wp.array3d(dtype=wp.vec4),
    rgb: wp.array4d(dtype=wp.uint8),
):
    """The mean of 4 to 16 shaded rays a pixel: as many as what the first of them meet calls for.

    depth, primitive, place: what the ray through each pixel's centre meets, as `cast_labels` found it.
    veil: what a volume before it adds, and the share of light that it lets pass, where there is one (`veiled`).
    """
    t, i, j = wp.tid()
    eye = eye_position(camera, t)
    spread = 1.0 / (2.0 * camera.pinhole[t][0])
    spot = Spot()
    hit = Hit()
    flat = bool(False)
    if surfaces.clear == 0 and primitive[t, i, j] >= 0:
        if surfaces.looks[surfaces.owner[primitive[t, i, j]]].finish == _OPAQUE:
            hit.t = depth[t, i, j]
            hit.primitive = primitive[t, i, j]
            hit.place = place[t, i, j]
            centre = ray_direction(camera, t, float(j) + 0.5, float(i) + 0.5)
            spot = spot_of(surfaces, t, hit, eye, centre, hit.t * spread)
            flat = lies_within(camera, surfaces, depth, primitive, t, i, j, spot, eye, hit.t * spread)
    total = wp.vec3(0.0, 0.0, 0.0)
    met = int(-1)
    covered = int(0)
    wanted = int(FIRST)
    count = int(0)
    while count < wanted:
        cell = CELLS[count]
        x = float(j) + (float(cell % 4) + 0.5) / 4.0
        y = float(i) + (float(cell / 4) + 0.5) / 4.0
        direction = ray_direction(camera, t, x, y)
        colour = wp.vec3(0.0, 0.0, 0.0)
        meets = int(0)
        hidden = int(0)
        turned = int(0)
        if flat:
            # Where this ray meets the tangent plane.
            along = wp.dot(spot.point - eye, spot.geometric) / wp.dot(direction, spot.geometric)
            point = eye + along * direction
            start = point + spot.geometric * (1.0e-4 + 2.0e-5 * along)
            place_there = place_of(surfaces, t, hit.primitive, point)
            spot.albedo = albedo_at(surfaces, t, hit.primitive, place_there, spot.footprint)
            colour, meets, hidden = shade(surfaces, lights, t, spot, start, -wp.normalize(direction), count)
        else:
            colour, meets, hidden, turned = trace(surfaces, lights, t, eye, direction, spread, count)
        if count > 0 and hidden != covered:
            wanted = wp.max(wanted, SHADED)
        if count > 0 and meets != met:
            wanted = int(SAMPLES)
        # Four rays that a mirror or glass turned aside say little of what the others will meet.
        if turned > 0:
            wanted = int(SAMPLES)
        met = meets
        covered = hidden
        count += 1
        # Clipped before the mean, or one bright sample would jag the edge of a highlight.
        total += wp.vec3(wp.min(colour[0], 2.0), wp.min(colour[1], 2.0), wp.min(colour[2], 2.0))
    mean = total / float(count)
    if veiled > 0:
        over = veil[t, i, j]
        mean = over[3] * mean + wp.vec3(over[0], over[1], over[2])
    rgb[t, i, j, 0] = tone(mean[0])
    rgb[t, i, j, 1] = tone(mean[1])
    rgb[t, i, j, 2] = tone(mean[2])
