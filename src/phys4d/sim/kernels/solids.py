"""Bodies as media meet them: signed distances to their convex primitives, and how their surfaces move."""

from __future__ import annotations

from phys4d.sim.device import wp

wp.set_module_options({"enable_backward": False})

KINDS = ("plane", "sphere", "box", "cylinder", "ellipsoid", "capsule")
_PLANE, _SPHERE, _BOX, _CYLINDER, _ELLIPSOID, _CAPSULE = (wp.constant(k) for k in range(6))


@wp.struct
class Solids:
    """Convex primitives of bodies, and the bodies' motion; `inward`: what holds things within it instead.

    rotation takes the world's axes to the primitive's. origin, velocity, spin: of the bodies, by `owner`.
    """

    count: wp.int32
    kind: wp.array(dtype=wp.int32)
    size: wp.array(dtype=wp.vec3)
    position: wp.array(dtype=wp.vec3)
    rotation: wp.array(dtype=wp.mat33)
    friction: wp.array(dtype=wp.float32)
    inward: wp.array(dtype=wp.int32)
    owner: wp.array(dtype=wp.int32)
    origin: wp.array(dtype=wp.vec3)
    velocity: wp.array(dtype=wp.vec3)
    spin: wp.array(dtype=wp.vec3)


@wp.func
def box_gap(half: wp.vec3, p: wp.vec3):
    """Outward unit normal and signed distance of a box about the origin."""
    q = wp.vec3(wp.abs(p[0]) - half[0], wp.abs(p[1]) - half[1], wp.abs(p[2]) - half[2])
    way = wp.vec3(wp.sign(p[0]), wp.sign(p[1]), wp.sign(p[2]))
    out = wp.vec3(wp.max(q[0], 0.0), wp.max(q[1], 0.0), wp.max(q[2], 0.0))
    d = wp.length(out)
    if d > 0.0:
        n = wp.cw_mul(out, way) / d
        return wp.vec4(n[0], n[1], n[2], d)
    if q[0] >= q[1] and q[0] >= q[2]:
        return wp.vec4(way[0], 0.0, 0.0, q[0])
    if q[1] >= q[2]:
        return wp.vec4(0.0, way[1], 0.0, q[1])
    return wp.vec4(0.0, 0.0, way[2], q[2])


@wp.func
def primitive_gap(kind: int, size: wp.vec3, p: wp.vec3):
    """Outward unit normal and signed distance of a primitive in its own axes; of an ellipsoid to first order."""
    if kind == _PLANE:
        return wp.vec4(0.0, 0.0, 1.0, p[2])
    if kind == _BOX:
        return box_gap(size, p)
    if kind == _CYLINDER:
        rho = wp.max(wp.sqrt(p[0] * p[0] + p[1] * p[1]), 1.0e-9)
        flat = box_gap(wp.vec3(size[0], size[1], 1.0e9), wp.vec3(rho, p[2], 0.0))
        return wp.vec4(flat[0] * p[0] / rho, flat[0] * p[1] / rho, flat[1], flat[3])
    if kind == _ELLIPSOID:
        scaled = wp.cw_div(p, size)
        k = wp.max(wp.length(scaled), 1.0e-9)
        slope = wp.cw_div(scaled, size)
        g = wp.max(wp.length(slope), 1.0e-9)
        return wp.vec4(slope[0] / g, slope[1] / g, slope[2] / g, k * (k - 1.0) / g)
    near = wp.vec3(0.0, 0.0, 0.0)
    if kind == _CAPSULE:
        near = wp.vec3(0.0, 0.0, wp.clamp(p[2], -size[1], size[1]))
    d = wp.max(wp.length(p - near), 1.0e-9)
    n = (p - near) / d
    return wp.vec4(n[0], n[1], n[2], d - size[0])


@wp.func
def gap(solids: Solids, c: int, point: wp.vec3):
    """Unit normal away from the solid number c, and signed distance to it [m]."""
    turn = solids.rotation[c]
    found = primitive_gap(solids.kind[c], solids.size[c], turn * (point - solids.position[c]))
    n = wp.transpose(turn) * wp.vec3(found[0], found[1], found[2])
    if solids.inward[c] != 0:
        return wp.vec4(-n[0], -n[1], -n[2], -found[3])
    return wp.vec4(n[0], n[1], n[2], found[3])


@wp.func
def solid_velocity(solids: Solids, c: int, point: wp.vec3):
    """Of the body of solid number c at a world point [m/s]."""
    body = solids.owner[c]
    return solids.velocity[body] + wp.cross(solids.spin[body], point - solids.origin[body])
