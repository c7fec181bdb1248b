"""What the kernels of elastic bodies are handed: nodes, elements and what they may touch, as arrays."""

from __future__ import annotations

from phys4d.sim.device import wp

AMBIENT = 101325.0
"""Pressure of the air around [Pa]."""
AIR = 1.2
"""Its density [kg/m^3]."""
LOOSE, FIXED, SLIDING = -1, -2, -3
"""What holds a node: nothing, the world, a rail along x; from 0 on, the body of that number."""


@wp.struct
class Nodes:
    """What has mass and moves. SI units, world axes; speeds belong half a step before places (a leapfrog).

    fast, slow: forces of every substep, and those that are applied as one kick every few substeps. mass: what is
    moved; weight: what is pulled down (air within an inflatable is carried by the air around) [kg].
    held: see `LOOSE`; held_at: where, in the axes of the body that holds the node.
    """

    count: wp.int32
    place: wp.array(dtype=wp.vec3)
    speed: wp.array(dtype=wp.vec3)
    fast: wp.array(dtype=wp.vec3)
    slow: wp.array(dtype=wp.vec3)
    mass: wp.array(dtype=wp.float32)
    weight: wp.array(dtype=wp.float32)
    held: wp.array(dtype=wp.int32)
    held_at: wp.array(dtype=wp.vec3)


@wp.struct
class Membranes:
    """Triangles that resist stretch and shear. inverse: of their resting edges, in the plane of the material.

    stiffness: (along, across, between the two, shear) [N/m]. viscosity: how long strain lags [s].
    strain: Green's, of the last substep. gas: the inflatable that a triangle closes, or -1.
    """

    count: wp.int32
    corners: wp.array(dtype=wp.int32)
    inverse: wp.array(dtype=wp.mat22)
    area: wp.array(dtype=wp.float32)
    stiffness: wp.array(dtype=wp.vec4)
    viscosity: wp.array(dtype=wp.float32)
    strain: wp.array(dtype=wp.vec3)
    gas: wp.array(dtype=wp.int32)


@wp.struct
class Bending:
    """A matrix in rows (CSR) that takes places to forces, and how long bending lags behind [s]."""

    rows: wp.array(dtype=wp.int32)
    columns: wp.array(dtype=wp.int32)
    values: wp.array(dtype=wp.float32)
    viscosity: wp.array(dtype=wp.float32)


@wp.struct
class Cells:
    """Cubes of a solid, eight nodes each. edge [m]; share: how much of the cube is filled.

    lame: the parameters (lambda, mu) [Pa]; warp: stiffness against bending of one cell [N/m], viscosity: how long
    that lags [s]. loss: by how much the solid is stiffer against what is sudden; relaxation: how long that lasts
    [s]. axial, shear: Green's strain that has come to rest.
    """

    count: wp.int32
    corners: wp.array(dtype=wp.int32)
    edge: wp.array(dtype=wp.float32)
    share: wp.array(dtype=wp.float32)
    lame: wp.array(dtype=wp.vec2)
    warp: wp.array(dtype=wp.float32)
    viscosity: wp.array(dtype=wp.float32)
    loss: wp.array(dtype=wp.float32)
    relaxation: wp.array(dtype=wp.float32)
    axial: wp.array(dtype=wp.vec3)
    shear: wp.array(dtype=wp.vec3)


@wp.struct
class Gases:
    """What fills inflatables: amount n R T [J], and of this moment volume [m^3] and gauge pressure [Pa].

    anchor: a node of the skin. source, limit: a pump's flow [m^3/s] and the pressure [Pa] at which it ends; valve:
    an opening [m^2].
    """

    count: wp.int32
    anchor: wp.array(dtype=wp.int32)
    amount: wp.array(dtype=wp.float32)
    source: wp.array(dtype=wp.float32)
    limit: wp.array(dtype=wp.float32)
    valve: wp.array(dtype=wp.float32)
    volume: wp.array(dtype=wp.float32)
    pressure: wp.array(dtype=wp.float32)


@wp.struct
class Points:
    """Points of surfaces that touch things. Each is a mean of up to eight nodes.

    mass: what a contact pushes there [kg]; skin: how far off other things it keeps [m]; owner: of which elastic
    body. touched: the body that each touched in this interval, or -1.
    """

    count: wp.int32
    nodes: wp.array(dtype=wp.int32)
    weights: wp.array(dtype=wp.float32)
    parents: wp.array(dtype=wp.int32)
    mass: wp.array(dtype=wp.float32)
    skin: wp.array(dtype=wp.float32)
    owner: wp.array(dtype=wp.int32)
    touched: wp.array(dtype=wp.int32)


@wp.struct
class Colliders:
    """Convex primitives on bodies; size as in `shapes.Collider`. place, turn: in the axes of the body.

    friction, ring: by elastic body and rigid body, the coefficient and the damping ratio of their contact.
    """

    count: wp.int32
    kind: wp.array(dtype=wp.int32)
    size: wp.array(dtype=wp.vec3)
    body: wp.array(dtype=wp.int32)
    place: wp.array(dtype=wp.vec3)
    turn: wp.array(dtype=wp.mat33)
    friction: wp.array(dtype=wp.float32)
    ring: wp.array(dtype=wp.float32)


@wp.struct
class Bodies:
    """Rigid bodies of this moment, in world axes; `middle`: their centre of mass.

    force, torque: what elastic bodies did to them, summed over substeps; push: by elastic and rigid body, the
    normal force [N], summed likewise.
    """

    count: wp.int32
    place: wp.array(dtype=wp.vec3)
    turn: wp.array(dtype=wp.mat33)
    middle: wp.array(dtype=wp.vec3)
    speed: wp.array(dtype=wp.vec3)
    spin: wp.array(dtype=wp.vec3)
    force: wp.array(dtype=wp.vec3)
    torque: wp.array(dtype=wp.vec3)
    push: wp.array(dtype=wp.float32)


@wp.struct
class Near:
    """Pairs that may touch before they are looked for anew: points and colliders; nodes and nodes."""

    counts: wp.array(dtype=wp.int32)
    touching: wp.array(dtype=wp.vec2i)
    meeting: wp.array(dtype=wp.vec2i)
