"""Sky and lights: what a ray into the open sees, and what light reaches a surface."""

from __future__ import annotations

import math

import numpy as np

from phys4d.sim.device import wp
from phys4d.sim.kernels.looks import Spot, absorbed, fresnel, outward_normal
from phys4d.sim.kernels.rays import PANES, group_hit, solid_in_the_way
from phys4d.sim.kernels.scene_arrays import BOX, DISC, RECTANGLE, SUN, LightArrays, SurfaceArrays

SAMPLES = 16
"""Most rays a pixel for colour: a fixed 4x4 pattern, so that a still picture does not flicker."""
# The order of 16 places on a spiral over a disc: the first four are spread over the four quarters, and stand for
# all.
_SPIRAL = np.array([8, 14, 4, 2, 0, 5, 10, 15, 1, 6, 11, 12, 3, 7, 9, 13])
# The order of the 16 cells of a lamp, spread likewise. In every four of them their places are uncorrelated with
# those of the pixel's cells, or half a pixel would see half a lamp.
_CELLS = np.array([11, 2, 13, 4, 8, 1, 14, 7, 9, 3, 12, 6, 10, 0, 15, 5])


def _table(values: np.ndarray):
    return wp.constant(wp.types.vector(SAMPLES, wp.float32)(*values.tolist()))


def _spiral(turned: float) -> np.ndarray:
    """(2,16) places on the unit disc, all for the same area, a golden angle apart; `turned` [rad] as a whole."""
    angle = _SPIRAL * math.pi * (3 - math.sqrt(5)) + turned
    return np.sqrt((_SPIRAL + 0.5) / SAMPLES) * np.stack([np.cos(angle), np.sin(angle)])


def _square() -> np.ndarray:
    """(2,16) places in the square from -1 to 1, shifted within their cells: all differ in both coordinates."""
    column, row = _CELLS % 4, _CELLS // 4
    return np.stack([column + (row + 0.5) / 4, row + (column + 0.5) / 4]) / 2 - 1


def _round(square: np.ndarray) -> np.ndarray:
    """The same places on the unit disc, squares about the middle turned into circles (Shirley and Chiu 1997)."""
    x, y = square
    wide = np.abs(x) > np.abs(y)
    r = np.where(wide, x, y)
    angle = math.pi / 4 * np.where(wide, y, x) / r
    angle = np.where(wide, angle, math.pi / 2 - angle)
    return r * np.stack([np.cos(angle), np.sin(angle)])


# Tables, for sines and cosines cost as much as a short ray. Samples of a sun's disc, of directions into the
# hemisphere above a surface (looked at from above), and of rectangular and round lamps.
SUN_X, SUN_Y = (_table(row) for row in _spiral(0.0))
OPEN_X, OPEN_Y = (_table(row) for row in _spiral(0.7))
EDGE_X, EDGE_Y = (_table(row) for row in _square())
DISC_X, DISC_Y = (_table(row) for row in _round(_square()))

# How far a thing may be that hides a far light [m].
SHADOW = wp.constant(60.0)
# How near a thing must be to darken what lies beside it [m].
OPEN = wp.constant(0.7)
# More than there are surfaces: bits above it tell which lights were met, and that part of one was hidden.
LIGHT_BIT = wp.constant(20)
LIGHT_BITS = wp.constant(10)
PARTLY = wp.constant(1 << 30)
_SUN = wp.constant(SUN)
_RECTANGLE = wp.constant(RECTANGLE)
_DISC = wp.constant(DISC)
_BOX = wp.constant(BOX)


@wp.struct
class LightSample:
    """One direction [unit] toward a light, how far that is [m], and what comes from there.

    arriving: irradiance over pi of a surface that faces it.
    """

    toward: wp.vec3
    reach: wp.float32
    arriving: wp.vec3


@wp.func
def sky_radiance(lights: LightArrays, direction: wp.vec3):
    """The gradient alone, without what stands in the sky."""
    height = wp.clamp(direction[2], 0.0, 1.0)
    return lights.horizon + wp.sqrt(height) * (lights.zenith - lights.horizon)


@wp.func
def box_share(lights: LightArrays, k: int, x: float, y: float):
    """How bright a soft box is at (x, y) of its half edges: 1 within, fading to 0 at its border."""
    inside = wp.clamp((1.0 - wp.abs(x)) / wp.max(lights.soft[k], 1.0e-4), 0.0, 1.0)
    return inside * wp.clamp((1.0 - wp.abs(y)) / wp.max(lights.soft[k], 1.0e-4), 0.0, 1.0)


@wp.func
def environment(lights: LightArrays, t: int, direction: wp.vec3, suns: bool):
    """What a ray sees that meets nothing: the sky, its soft boxes and, with `suns`, the discs of the suns."""
    seen = sky_radiance(lights, direction)
    for k in range(lights.count):
        place = lights.place[t * lights.count + k]
        facing = wp.dot(direction, place)
        if lights.kind[k] == _BOX:
            if facing > 0.0:
                across = lights.across[t * lights.count + k]
                upward = lights.upward[t * lights.count + k]
                x = wp.dot(direction, across) / (facing * wp.dot(across, across))
                y = wp.dot(direction, upward) / (facing * wp.dot(upward, upward))
                seen += box_share(lights, k, x, y) * lights.colour[k]
        elif suns and lights.kind[k] == _SUN and lights.glow > 0.0:
            # A haze about the sun, and its disc with a border half as wide as itself.
            off = wp.acos(wp.clamp(facing, -1.0, 1.0))
            radius = wp.max(lights.radius[k], 0.01)
            disc = wp.clamp((1.25 * radius - off) / (0.5 * radius), 0.0, 1.0)
            haze = 0.2 * wp.exp(-off * off / 0.02) + 0.08 * wp.exp(-off * off / 0.2)
            seen += lights.glow * (4.0 * disc + haze) * lights.colour[k]
    return seen


@wp.func
def lamp_radiance(lights: LightArrays, t: int, origin: wp.vec3, direction: wp.vec3, reach: float):
    """What a ray of unit direction sees of the nearest lamp within `reach`, and whether it sees one."""
    nearest = float(reach)
    seen = wp.vec3(0.0, 0.0, 0.0)
    found = bool(False)
    for k in range(lights.count):
        kind = lights.kind[k]
        if kind == _RECTANGLE or kind == _DISC:  # noqa: SIM109  Warp knows no `in`
            across = lights.across[t * lights.count + k]
            upward = lights.upward[t * lights.count + k]
            offset = lights.place[t * lights.count + k] - origin
            normal = wp.cross(across, upward)
            against = wp.dot(direction, normal)
            if against < 0.0:
                distance = wp.dot(offset, normal) / against
                at = distance * direction - offset
                x = wp.dot(at, across) / wp.dot(across, across)
                y = wp.dot(at, upward) / wp.dot(upward, upward)
                within = wp.where(kind == _DISC, x * x + y * y < 1.0, wp.max(wp.abs(x), wp.abs(y)) < 1.0)
                if within and distance > 0.0 and distance < nearest:
                    nearest = distance
                    seen = lights.colour[k]
                    found = bool(True)
    return seen, found


@wp.func
def around(axis: wp.vec3, x: float, y: float):
    """The unit vector that leans from `axis` by (x, y): the sines toward two directions across it."""
    side = wp.vec3(1.0, 0.0, 0.0)
    if wp.abs(axis[0]) > 0.7:
        side = wp.vec3(0.0, 1.0, 0.0)
    a = wp.normalize(wp.cross(axis, side))
    b = wp.cross(axis, a)
    return wp.sqrt(wp.max(1.0 - x * x - y * y, 0.0)) * axis + x * a + y * b


@wp.func
def sample_light(lights: LightArrays, t: int, k: int, order: int, point: wp.vec3):
    """The sample number `order` of light k; the sixteen of a pixel share the light out evenly."""
    got = LightSample()
    got.reach = SHADOW
    place = lights.place[t * lights.count + k]
    kind = lights.kind[k]
    if kind == _SUN:
        got.toward = around(place, lights.radius[k] * SUN_X[order], lights.radius[k] * SUN_Y[order])
        got.arriving = lights.colour[k]
    else:
        across = lights.across[t * lights.count + k]
        upward = lights.upward[t * lights.count + k]
        x = EDGE_X[order]
        y = EDGE_Y[order]
        area = 4.0 * wp.length(across) * wp.length(upward)
        if kind == _DISC:
            x = DISC_X[order]
            y = DISC_Y[order]
            area = area * wp.pi / 4.0
        offset = place + x * across + y * upward
        if kind == _BOX:
            # On the plane that touches the unit sphere at the middle of the box.
            distance = wp.length(offset)
            got.toward = offset / distance
            got.arriving = lights.colour[k] * (
                box_share(lights, k, x, y) * area / (wp.pi * distance * distance * distance)
            )
        else:
            offset = offset - point
            distance = wp.max(wp.length(offset), 1.0e-4)
            got.toward = offset / distance
            got.reach = distance - 1.0e-4
            facing = wp.max(-wp.dot(got.toward, wp.normalize(wp.cross(across, upward))), 0.0)
            got.arriving = lights.colour[k] * (facing * area / (wp.pi * distance * distance))
    return got


@wp.func
def border_differs(
    surfaces: SurfaceArrays,
    lights: LightArrays,
    t: int,
    k: int,
    start: wp.vec3,
    geometric: wp.vec3,
    reached: bool,
):
    """Whether any of four places on the border of a lamp or a soft box is seen where its inside is not, or the
    other way round: the few first samples would overlook where a wide shadow begins."""
    across = lights.across[t * lights.count + k]
    upward = lights.upward[t * lights.count + k]
    for c in range(4):
        x = wp.where(c % 2 == 0, 1.0, -1.0)
        y = wp.where(c < 2, x, -x)
        if lights.kind[k] == _DISC:
            x, y = 0.5 * (x + y), 0.5 * (x - y)
        toward = lights.place[t * lights.count + k] + x * across + y * upward
        reach = float(SHADOW)
        if lights.kind[k] != _BOX:
            toward = toward - start
            reach = wp.length(toward) - 1.0e-4
        toward = wp.normalize(toward)
        sees = wp.dot(geometric, toward) > 0.0
        if sees:
            sees = not solid_in_the_way(surfaces, t, start, toward, reach, -1)
        if sees != reached:
            return True
    return False


@wp.func
def clear_share(surfaces: SurfaceArrays, t: int, origin: wp.vec3, direction: wp.vec3, reach: float):
    """Share of light that glass and liquids let pass along a straight ray of unit direction."""
    share = wp.vec3(1.0, 1.0, 1.0)
    passed = float(0.0)
    pane = int(0)
    while pane < PANES and passed < reach:
        hit = group_hit(surfaces, t, True, origin + passed * direction, direction, reach - passed)
        if hit.primitive < 0:
            return share
        s = surfaces.owner[hit.primitive]
        cosine = wp.dot(direction, outward_normal(surfaces, t, hit.primitive, hit.place))
        if cosine > 0.0:
            share = wp.cw_mul(share, absorbed(surfaces, s, hit.t))
        share = share * (1.0 - fresnel(wp.abs(cosine), 1.0 / surfaces.looks[s].refraction))
        passed += hit.t + 1.0e-5 + 1.0e-6 * (passed + hit.t)
        pane += 1
    return share


@wp.func
def shade(
    surfaces: SurfaceArrays,
    lights: LightArrays,
    t: int,
    spot: Spot,
    start: wp.vec3,
    view: wp.vec3,
    order: int,
):
    """Linear RGB of an opaque surface toward the eye: lights with soft shadows, sky with one occlusion ray, shine.

    start: the point, lifted off the surface; view: unit vector back along the ray.

    Also a number that tells which surface was met and which lights reached it, and whether something hid the sky.
    """
    s = spot.owner
    meets = 1 + s
    partly = int(0)
    hidden = int(0)
    smooth = spot.shading
    geometric = spot.geometric
    gloss = surfaces.looks[s].gloss
    power = 4.0 + 160.0 * gloss * gloss
    light = wp.vec3(0.0, 0.0, 0.0)
    shine = wp.vec3(0.0, 0.0, 0.0)
    for k in range(lights.count):
        sample = sample_light(lights, t, k, order, start)
        facing = wp.dot(smooth, sample.toward)
        reached = bool(False)
        if facing > 0.0 and wp.dot(geometric, sample.toward) > 0.0 and wp.max(sample.arriving) > 0.0:
            if not solid_in_the_way(surfaces, t, start, sample.toward, sample.reach, -1):
                reached = bool(True)
                meets += 1 << (LIGHT_BIT + k % LIGHT_BITS)
                arriving = sample.arriving
                if surfaces.clear > 0:
                    arriving = wp.cw_mul(arriving, clear_share(surfaces, t, start, sample.toward, sample.reach))
                light += facing * arriving
                # Polish mirrors soft boxes with the sky, below.
                if gloss > 0.0 and lights.kind[k] != _BOX:
                    half = wp.normalize(sample.toward + view)
                    shine += arriving * (
                        gloss
                        * 0.12
                        * (power + 8.0)
                        / 8.0
                        * wp.pow(wp.max(wp.dot(smooth, half), 0.0), power)
                        * facing
                    )
        # Not of soft boxes: what they throw is wide and faint.
        far = lights.kind[k] == _SUN or lights.kind[k] == _BOX
        if order == 0 and not far and wp.max(sample.arriving) > 0.0:
            if border_differs(surfaces, lights, t, k, start, geometric, reached):
                partly = int(PARTLY)
    # One ray into the hemisphere, cosine-weighted; the sixteen of a pixel cover it evenly.
    upward = around(smooth, OPEN_X[order], OPEN_Y[order])
    if wp.dot(upward, geometric) < 0.0:
        upward = upward - 2.0 * wp.dot(upward, geometric) * geometric
    if solid_in_the_way(surfaces, t, start, upward, OPEN, -1):
        hidden = int(1)
        light += 0.12 * lights.horizon
    elif upward[2] < 0.0:
        light += 0.25 * lights.horizon
    else:
        light += 0.85 * sky_radiance(lights, upward)
    # What glossy surfaces mirror of the sky, stronger at grazing angles (Schlick).
    graze = 1.0 - wp.max(wp.dot(smooth, view), 0.0)
    squared = graze * graze
    schlick = 0.04 + 0.3 * squared * squared * graze
    colour = wp.cw_mul(spot.albedo, light) * 0.62 + shine
    if gloss > 0.0:
        mirrored = 2.0 * wp.dot(smooth, view) * smooth - view
        colour += gloss * schlick * environment(lights, t, mirrored, False)
    return colour + surfaces.looks[s].glow * spot.albedo + spot.shine, meets + partly, hidden
