"""How far a point is from a convex primitive, and which way is out."""

from __future__ import annotations

from phys4d.sim.device import wp

KINDS = ("plane", "sphere", "box", "cylinder", "ellipsoid", "capsule")
_PLANE, _SPHERE, BOX, CYLINDER, _ELLIPSOID = (wp.constant(k) for k in range(5))


@wp.func
def box_distance(size: wp.vec3, p: wp.vec3):
    """Signed distance and the way out, as (x, y, z, distance); so of the others."""
    q = wp.vec3(wp.abs(p[0]) - size[0], wp.abs(p[1]) - size[1], wp.abs(p[2]) - size[2])
    beyond = wp.vec3(wp.max(q[0], 0.0), wp.max(q[1], 0.0), wp.max(q[2], 0.0))
    length = wp.length(beyond)
    way = wp.vec3(wp.sign(p[0]), wp.sign(p[1]), wp.sign(p[2]))
    if length > 1.0e-9:
        out = wp.cw_mul(beyond, way) / length
        return wp.vec4(out[0], out[1], out[2], length)
    if q[0] > q[1] and q[0] > q[2]:
        return wp.vec4(way[0], 0.0, 0.0, q[0])
    if q[1] > q[2]:
        return wp.vec4(0.0, way[1], 0.0, q[1])
    return wp.vec4(0.0, 0.0, way[2], q[2])


@wp.func
def cylinder_distance(size: wp.vec3, p: wp.vec3):
    across = wp.sqrt(p[0] * p[0] + p[1] * p[1])
    x = p[0] / wp.max(across, 1.0e-9)
    y = p[1] / wp.max(across, 1.0e-9)
    way = wp.sign(p[2])
    r = across - size[0]
    h = wp.abs(p[2]) - size[1]
    if r > 0.0 and h > 0.0:
        corner = wp.sqrt(r * r + h * h)
        return wp.vec4(r * x / corner, r * y / corner, h * way / corner, corner)
    if r > h:
        return wp.vec4(x, y, 0.0, r)
    return wp.vec4(0.0, 0.0, way, h)


@wp.func
def ellipsoid_distance(size: wp.vec3, p: wp.vec3):
    """To first order: value over gradient."""
    q = wp.cw_div(p, size)
    slope = wp.cw_div(q, size)
    inside = wp.length(q)
    steep = wp.max(wp.length(slope), 1.0e-9)
    return wp.vec4(slope[0] / steep, slope[1] / steep, slope[2] / steep, inside * (inside - 1.0) / steep)


@wp.func
def ball_distance(radius: float, p: wp.vec3):
    length = wp.max(wp.length(p), 1.0e-9)
    return wp.vec4(p[0] / length, p[1] / length, p[2] / length, length - radius)


@wp.func
def distance_to(kind: int, size: wp.vec3, p: wp.vec3):
    """The unit vector out and the signed distance [m], negative inside, in the primitive's own axes."""
    if kind == _PLANE:
        return wp.vec4(0.0, 0.0, 1.0, p[2])
    if kind == _SPHERE:
        return ball_distance(size[0], p)
    if kind == BOX:
        return box_distance(size, p)
    if kind == CYLINDER:
        return cylinder_distance(size, p)
    if kind == _ELLIPSOID:
        return ellipsoid_distance(size, p)
    return ball_distance(size[0], p - wp.vec3(0.0, 0.0, wp.clamp(p[2], -size[1], size[1])))
