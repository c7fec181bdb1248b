"""Kernels of grains: who is near whom, contact forces, and one step of their motion."""

from __future__ import annotations

from phys4d.sim.device import wp
from phys4d.sim.kernels.solids import Solids, gap, solid_velocity

wp.set_module_options({"enable_backward": False})

NEAR = 32
"""Most neighbours that a grain keeps in mind."""
WALLS = 6
"""Most primitives of bodies that it keeps in mind."""
_NEAR, _WALLS = wp.constant(NEAR), wp.constant(WALLS)
# Stiffness of the springs that resist rolling, as a share of that of a normal spring times the radius squared.
ROLL = wp.constant(0.12)
# Most damping ratio of tangential springs: a grain turns more easily than it moves, and has many of them.
CALM = wp.constant(0.2)


@wp.struct
class Law:
    """Contact of grain on grain: springs [N/m], damping ratio, Coulomb's coefficient, rolling resistance."""

    normal: wp.float32
    tangent: wp.float32
    damping: wp.float32
    friction: wp.float32
    rolling: wp.float32


@wp.struct
class State:
    """Grains: places, velocities, spins, rotations, radii and masses; neighbours, and the springs to them.

    slide, roll: how far each contact's springs are stretched that resist sliding [m] and rolling [rad], NEAR
    (WALLS) of them a grain.
    """

    place: wp.array(dtype=wp.vec3)
    velocity: wp.array(dtype=wp.vec3)
    spin: wp.array(dtype=wp.vec3)
    turn: wp.array(dtype=wp.quat)
    radius: wp.array(dtype=wp.float32)
    mass: wp.array(dtype=wp.float32)
    near: wp.array(dtype=wp.int32)
    slide: wp.array(dtype=wp.vec3)
    roll: wp.array(dtype=wp.vec3)
    walls: wp.array(dtype=wp.int32)
    wall_slide: wp.array(dtype=wp.vec3)
    wall_roll: wp.array(dtype=wp.vec3)


@wp.kernel
def find_neighbours(
    grid: wp.uint64,
    horizon: float,
    fastest: float,
    old: State,
    solids: Solids,
    near: wp.array(dtype=wp.int32),
    slide: wp.array(dtype=wp.vec3),
    roll: wp.array(dtype=wp.vec3),
    walls: wp.array(dtype=wp.int32),
    wall_slide: wp.array(dtype=wp.vec3),
    wall_roll: wp.array(dtype=wp.vec3),
):
    """List what may touch each grain before the next search; springs that are stretched go along.

    horizon: how long until then [s]; fastest: the highest speed of anything [m/s].
    """
    i = wp.tid()
    p = old.place[i]
    r = old.radius[i]
    # Half of gravity's work till then, and a hair.
    own = wp.length(old.velocity[i]) * horizon + 0.02 * r
    count = int(0)
    query = wp.hash_grid_query(grid, p, 2.3 * r + own + fastest * horizon)
    j = int(0)
    while wp.hash_grid_query_next(query, j):
        if j != i and count < _NEAR:
            reach = own + wp.length(old.velocity[j]) * horizon + 0.02 * r
            if wp.length(old.place[j] - p) < r + old.radius[j] + reach:
                stretched = wp.vec3(0.0, 0.0, 0.0)
                twisted = wp.vec3(0.0, 0.0, 0.0)
                for s in range(_NEAR):
                    if old.near[i * _NEAR + s] == j:
                        stretched = old.slide[i * _NEAR + s]
                        twisted = old.roll[i * _NEAR + s]
                near[i * _NEAR + count] = j
                slide[i * _NEAR + count] = stretched
                roll[i * _NEAR + count] = twisted
                count += 1
    for s in range(count, _NEAR):
        near[i * _NEAR + s] = -1
    count = int(0)
    for c in range(solids.count):
        if count < _WALLS:
            found = gap(solids, c, p)
            if found[3] < r + own + wp.length(solid_velocity(solids, c, p)) * horizon + 0.02 * r:
                stretched = wp.vec3(0.0, 0.0, 0.0)
                twisted = wp.vec3(0.0, 0.0, 0.0)
                for s in range(_WALLS):
                    if old.walls[i * _WALLS + s] == c:
                        stretched = old.wall_slide[i * _WALLS + s]
                        twisted = old.wall_roll[i * _WALLS + s]
                walls[i * _WALLS + count] = c
                wall_slide[i * _WALLS + count] = stretched
                wall_roll[i * _WALLS + count] = twisted
                count += 1
    for s in range(count, _WALLS):
        walls[i * _WALLS + s] = -1


@wp.func
def contact(
    law: Law,
    friction: float,
    mass: float,
    depth: float,
    n: wp.vec3,
    relative: wp.vec3,
    stretched: wp.vec3,
    dt: float,
):
    """Force on the first of two things that overlap by `depth`, and the stretch of their tangential spring.

    Springs and dampers that push and never pull (Cundall and Strack 1979), n toward the first.
    """
    approach = wp.dot(relative, n)
    push = law.normal * depth - 2.0 * law.damping * wp.sqrt(law.normal * mass) * approach
    push = wp.max(push, 0.0)
    across = relative - approach * n
    spring = stretched - wp.dot(stretched, n) * n + dt * across
    drag = -law.tangent * spring - 2.0 * wp.min(law.damping, CALM) * wp.sqrt(law.tangent * mass) * across
    most = friction * push
    size = wp.length(drag)
    if size > most:
        drag = drag * (most / wp.max(size, 1.0e-20))
        spring = -drag / law.tangent
    return push * n + drag, spring, push


@wp.func
def resistance(law: Law, r: float, mass: float, push: float, rate: wp.vec3, twisted: wp.vec3, dt: float):
    """Torque that resists rolling at a relative spin, at most rolling * r * push, and the twist of its spring."""
    stiffness = ROLL * law.normal * r * r
    spring = twisted + dt * rate
    hold = -stiffness * spring - 2.0 * CALM * wp.sqrt(stiffness * 0.4 * mass * r * r) * rate
    most = law.rolling * r * push
    size = wp.length(hold)
    if size > most:
        hold = hold * (most / wp.max(size, 1.0e-20))
        spring = -hold / stiffness
    return hold, spring


@wp.kernel
def push_grains(
    state: State,
    solids: Solids,
    law: Law,
    gravity: wp.vec3,
    dt: float,
    force: wp.array(dtype=wp.vec3),
    torque: wp.array(dtype=wp.vec3),
    body_force: wp.array(dtype=wp.vec3),
    body_torque: wp.array(dtype=wp.vec3),
):
    """Forces and torques on every grain, and what the grains do to bodies (torques about the bodies' origins)."""
    i = wp.tid()
    p = state.place[i]
    v = state.velocity[i]
    w = state.spin[i]
    r = state.radius[i]
    m = state.mass[i]
    total = m * gravity
    moment = wp.vec3(0.0, 0.0, 0.0)
    going = bool(True)
    s = int(0)
    while going and s < _NEAR:
        j = state.near[i * _NEAR + s]
        if j < 0:
            going = bool(False)
        else:
            offset = p - state.place[j]
            touching = r + state.radius[j]
            squared = wp.dot(offset, offset)
            if squared < touching * touching:
                distance = wp.sqrt(squared)
                n = offset / wp.max(distance, 1.0e-9)
                turning = wp.cross(r * w + state.radius[j] * state.spin[j], n)
                relative = v - state.velocity[j] - turning
                shared = m * state.mass[j] / (m + state.mass[j])
                f, spring, push = contact(
                    law, law.friction, shared, touching - distance, n, relative, state.slide[i * _NEAR + s], dt
                )
                state.slide[i * _NEAR + s] = spring
                total += f
                moment -= r * wp.cross(n, f)
                even = 2.0 * r * state.radius[j] / (r + state.radius[j])
                hold, twisted = resistance(
                    law, even, shared, push, w - state.spin[j], state.roll[i * _NEAR + s], dt
                )
                state.roll[i * _NEAR + s] = twisted
                moment += hold
            else:
                state.slide[i * _NEAR + s] = wp.vec3(0.0, 0.0, 0.0)
                state.roll[i * _NEAR + s] = wp.vec3(0.0, 0.0, 0.0)
        s += 1
    for k in range(_WALLS):
        c = state.walls[i * _WALLS + k]
        if c >= 0 and c < solids.count:
            found = gap(solids, c, p)
            depth = r - found[3]
            if depth > 0.0:
                n = wp.vec3(found[0], found[1], found[2])
                at = p - r * n
                relative = v - r * wp.cross(w, n) - solid_velocity(solids, c, at)
                f, spring, push = contact(
                    law, solids.friction[c], m, depth, n, relative, state.wall_slide[i * _WALLS + k], dt
                )
                state.wall_slide[i * _WALLS + k] = spring
                total += f
                moment -= r * wp.cross(n, f)
                hold, twisted = resistance(
                    law, r, m, push, w - solids.spin[solids.owner[c]], state.wall_roll[i * _WALLS + k], dt
                )
                state.wall_roll[i * _WALLS + k] = twisted
                moment += hold
                body = solids.owner[c]
                wp.atomic_sub(body_force, body, f)
                wp.atomic_sub(body_torque, body, wp.cross(at - solids.origin[body], f))
            else:
                state.wall_slide[i * _WALLS + k] = wp.vec3(0.0, 0.0, 0.0)
                state.wall_roll[i * _WALLS + k] = wp.vec3(0.0, 0.0, 0.0)
    force[i] = total
    torque[i] = moment


@wp.kernel
def stored_energy(state: State, solids: Solids, law: Law, energy: wp.array(dtype=wp.float64)):
    """Of the springs between grains, half of it each, and between grains and bodies [J]."""
    i = wp.tid()
    p = state.place[i]
    r = state.radius[i]
    held = float(0.0)
    for s in range(_NEAR):
        j = state.near[i * _NEAR + s]
        if j >= 0:
            depth = r + state.radius[j] - wp.length(p - state.place[j])
            if depth > 0.0:
                slide = state.slide[i * _NEAR + s]
                roll = state.roll[i * _NEAR + s]
                even = 2.0 * r * state.radius[j] / (r + state.radius[j])
                stiffness = ROLL * law.normal * even * even
                held += 0.25 * (law.normal * depth * depth + law.tangent * wp.dot(slide, slide))
                held += 0.25 * stiffness * wp.dot(roll, roll)
    for k in range(_WALLS):
        c = state.walls[i * _WALLS + k]
        if c >= 0 and c < solids.count:
            found = gap(solids, c, p)
            depth = r - found[3]
            if depth > 0.0:
                slide = state.wall_slide[i * _WALLS + k]
                roll = state.wall_roll[i * _WALLS + k]
                held += 0.5 * (law.normal * depth * depth + law.tangent * wp.dot(slide, slide))
                held += 0.5 * ROLL * law.normal * r * r * wp.dot(roll, roll)
    energy[i] = wp.float64(held)


@wp.kernel
def move_grains(state: State, dt: float, force: wp.array(dtype=wp.vec3), torque: wp.array(dtype=wp.vec3)):
    """One step of symplectic Euler."""
    i = wp.tid()
    m = state.mass[i]
    r = state.radius[i]
    v = state.velocity[i] + force[i] * (dt / m)
    w = state.spin[i] + torque[i] * (dt / (0.4 * m * r * r))
    state.velocity[i] = v
    state.spin[i] = w
    state.place[i] = state.place[i] + dt * v
    q = state.turn[i]
    state.turn[i] = wp.normalize(q + wp.quat(w[0], w[1], w[2], 0.0) * q * (0.5 * dt))
