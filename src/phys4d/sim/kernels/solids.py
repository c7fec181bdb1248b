"""Bodies as media meet them: signed distances to their convex primitives, and how their surfaces move."""

from __future__ import annotations

from phys4d.sim.device import wp
from phys4d.sim.kernels.primitives import distance_to

wp.set_module_options({"enable_backward": False})


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
def gap(solids: Solids, c: int, point: wp.vec3):
    """Unit normal away from the solid number c, and signed distance to it [m]."""
    turn = solids.rotation[c]
    found = distance_to(solids.kind[c], solids.size[c], turn * (point - solids.position[c]))
    n = wp.transpose(turn) * wp.vec3(found[0], found[1], found[2])
    if solids.inward[c] != 0:
        return wp.vec4(-n[0], -n[1], -n[2], -found[3])
    return wp.vec4(n[0], n[1], n[2], found[3])


@wp.func
def solid_velocity(solids: Solids, c: int, point: wp.vec3):
    """Of the body of solid number c at a world point [m/s]."""
    body = solids.owner[c]
    return solids.velocity[body] + wp.cross(solids.spin[body], point - solids.origin[body])
