"""Pressure: which cells are liquid, how open their faces are, and the solve that keeps the liquid's volume.

Solids cover faces by a share (Batty, Bertails and Bridson 2007), so slanted walls are smooth ones, and free bodies
are solved for together with the liquid: light ones do not shake. The free surface lies between cells (a ghost
fluid).
"""

from __future__ import annotations

from phys4d.sim.device import wp
from phys4d.sim.kernels.transfer import Faces

wp.set_module_options({"enable_backward": False})

# The nearest that a surface is put to the middle of a liquid cell, in cells.
NEAREST = wp.constant(0.08)
# Below this share a face counts as closed.
SHUT = wp.constant(0.02)
# Crowding of particles that is let be, and the share of the rest that a step takes away.
SLACK = wp.constant(0.05)
RELIEF = wp.constant(0.25)
PRECISION = wp.constant(1.0e-5)
ITERATIONS = wp.constant(250)


@wp.func
def hat_distance(filled: float):
    """Signed distance to the surface [cells], < 0 within, where the surroundings (hat-weighted) are so full."""
    f = wp.clamp(filled, 0.0, 1.0)
    if f >= 0.5:
        return wp.sqrt(2.0 - 2.0 * f) - 1.0
    return 1.0 - wp.sqrt(2.0 * f)


@wp.kernel
def find_liquid(
    count: wp.array3d(dtype=wp.float32),
    room: wp.array3d(dtype=wp.float32),
    full: float,
    depth: wp.array3d(dtype=wp.float32),
    crowding: wp.array3d(dtype=wp.float32),
):
    """How far the middles of cells are from the surface [cells], < 0 in the liquid, and how crowded they are."""
    i, j, k = wp.tid()
    open_share = room[i, j, k]
    if open_share < 0.02:
        depth[i, j, k] = 1.0
        crowding[i, j, k] = 0.0
    else:
        filled = count[i, j, k] / (full * wp.max(open_share, 0.1))
        depth[i, j, k] = hat_distance(filled)
        crowding[i, j, k] = filled - 1.0


@wp.func
def number_at(index: wp.array3d(dtype=wp.int32), i: int, j: int, k: int):
    if i < 0 or j < 0 or k < 0 or i >= index.shape[0] or j >= index.shape[1] or k >= index.shape[2]:
        return -1
    return index[i, j, k]


@wp.func
def room_at(room: wp.array3d(dtype=wp.float32), i: int, j: int, k: int):
    if i < 0 or j < 0 or k < 0 or i >= room.shape[0] or j >= room.shape[1] or k >= room.shape[2]:
        return 0.0
    return room[i, j, k]


@wp.func
def beyond(depth: wp.array3d(dtype=wp.float32), i: int, j: int, k: int, own: float):
    """Where between two middles the surface lies, as a share of the way out of the liquid."""
    other = float(0.5)
    if i >= 0 and j >= 0 and k >= 0 and i < depth.shape[0] and j < depth.shape[1] and k < depth.shape[2]:
        other = depth[i, j, k]
    return wp.clamp(own / wp.min(own - other, -1.0e-6), NEAREST, 1.0)


@wp.kernel
def assemble(
    cells: wp.array(dtype=wp.vec3i),
    index: wp.array3d(dtype=wp.int32),
    depth: wp.array3d(dtype=wp.float32),
    crowding: wp.array3d(dtype=wp.float32),
    opened: Faces,
    velocity: Faces,
    carried: Faces,
    dt: float,
    cell: float,
    neighbour: wp.array2d(dtype=wp.int32),
    coefficient: wp.array2d(dtype=wp.float64),
    diagonal: wp.array(dtype=wp.float64),
    right: wp.array(dtype=wp.float64),
):
    """The rows of the system. carried: what solids push through faces, their share times their velocity [m/s]."""
    row = wp.tid()
    at = cells[row]
    i = at[0]
    j = at[1]
    k = at[2]
    own = depth[i, j, k]
    total = float(0.0)
    flux = float(0.0)
    inner = bool(True)
    for side in range(6):
        axis = side / 2
        up = side % 2
        a = i
        b = j
        c = k
        share = float(0.0)
        through = float(0.0)
        if axis == 0:
            share = opened.x[i + up, j, k]
            through = share * velocity.x[i + up, j, k] + carried.x[i + up, j, k]
            a += 2 * up - 1
        elif axis == 1:
            share = opened.y[i, j + up, k]
            through = share * velocity.y[i, j + up, k] + carried.y[i, j + up, k]
            b += 2 * up - 1
        else:
            share = opened.z[i, j, k + up]
            through = share * velocity.z[i, j, k + up] + carried.z[i, j, k + up]
            c += 2 * up - 1
        flux += float(2 * up - 1) * through
        number = number_at(index, a, b, c)
        neighbour[row, side] = -1
        coefficient[row, side] = wp.float64(0.0)
        if share > 0.0:
            if number >= 0:
                total += share
                neighbour[row, side] = number
                coefficient[row, side] = wp.float64(share)
            else:
                inner = bool(False)
                total += share / beyond(depth, a, b, c, own)
    if total == 0.0:
        # Shut in between solids: nothing can be pushed anywhere.
        diagonal[row] = wp.float64(1.0)
        right[row] = wp.float64(0.0)
        return
    diagonal[row] = wp.float64(total)
    crowded = crowding[i, j, k]
    relief = wp.max(crowded - SLACK, 0.0)
    if inner:
        relief += wp.min(crowded + SLACK, 0.0)
    right[row] = wp.float64(-flux + RELIEF * wp.clamp(relief, -0.3, 0.6) * cell / dt)


@wp.kernel
def push_of(
    cells: wp.array(dtype=wp.vec3i), opened: Faces, cover: Faces, low: wp.vec3, cell: float, centre: wp.vec3,
    first: int, push: wp.array2d(dtype=wp.float64),
):  # fmt: skip
    """What unit pressure in each cell does to a body: force and torque about its centre, over a cell's face."""
    row = wp.tid()
    at = cells[row]
    i = at[0]
    j = at[1]
    k = at[2]
    middle = low + cell * wp.vec3(float(i) + 0.5, float(j) + 0.5, float(k) + 0.5) - centre
    half = 0.5 * cell
    ways = opened.x[i, j, k] + opened.x[i + 1, j, k] + opened.y[i, j, k] + opened.y[i, j + 1, k]
    if ways + opened.z[i, j, k] + opened.z[i, j, k + 1] <= 0.0:
        return
    f = wp.vec3(0.0, 0.0, 0.0)
    m = wp.vec3(0.0, 0.0, 0.0)
    for up in range(2):
        way = float(2 * up - 1)
        n = wp.vec3(way * cover.x[i + up, j, k], 0.0, 0.0)
        f += n
        m += wp.cross(middle + wp.vec3(way * half, 0.0, 0.0), n)
        n = wp.vec3(0.0, way * cover.y[i, j + up, k], 0.0)
        f += n
        m += wp.cross(middle + wp.vec3(0.0, way * half, 0.0), n)
        n = wp.vec3(0.0, 0.0, way * cover.z[i, j, k + up])
        f += n
        m += wp.cross(middle + wp.vec3(0.0, 0.0, way * half), n)
    for axis in range(3):
        push[first + axis, row] = wp.float64(f[axis])
        push[first + 3 + axis, row] = wp.float64(m[axis])


@wp.func
def times(
    neighbour: wp.array2d(dtype=wp.int32),
    coefficient: wp.array2d(dtype=wp.float64),
    diagonal: wp.array(dtype=wp.float64),
    push: wp.array2d(dtype=wp.float64),
    yielding: wp.array2d(dtype=wp.float64),
    moved: wp.array(dtype=wp.float64),
    x: wp.array(dtype=wp.float64),
    y: wp.array(dtype=wp.float64),
):
    """y = A x, with what free bodies yield."""
    n = x.shape[0]
    for row in range(n):
        value = diagonal[row] * x[row]
        for side in range(6):
            other = neighbour[row, side]
            if other >= 0:
                value -= coefficient[row, side] * x[other]
        y[row] = value
    count = push.shape[0]
    if count > 0:
        for a in range(count):
            pushed = wp.float64(0.0)
            for row in range(n):
                pushed += push[a, row] * x[row]
            moved[count + a] = pushed
        for a in range(count):
            given = wp.float64(0.0)
            for b in range(count):
                given += yielding[a, b] * moved[count + b]
            moved[a] = given
        for a in range(count):
            for row in range(n):
                y[row] = y[row] + push[a, row] * moved[a]


@wp.kernel
def solve(
    neighbour: wp.array2d(dtype=wp.int32),
    coefficient: wp.array2d(dtype=wp.float64),
    diagonal: wp.array(dtype=wp.float64),
    push: wp.array2d(dtype=wp.float64),
    yielding: wp.array2d(dtype=wp.float64),
    moved: wp.array(dtype=wp.float64),
    residual: wp.array(dtype=wp.float64),
    work: wp.array2d(dtype=wp.float64),
    x: wp.array(dtype=wp.float64),
    taken: wp.array(dtype=wp.int32),
):
    """Conjugate gradients with a modified incomplete Cholesky preconditioner (Bridson 2015). On one thread.

    residual: the right-hand side, and what is left of it. push (6B, N), yielding (6B, 6B): of free bodies.
    """
    n = x.shape[0]
    z = work[0]
    s = work[1]
    q = work[2]
    factor = work[3]
    # Cells are numbered along x, then y, then z, so that even sides lead to lower numbers.
    for row in range(n):
        e = diagonal[row]
        for axis in range(3):
            other = neighbour[row, 2 * axis]
            if other >= 0:
                c = coefficient[row, 2 * axis]
                f = factor[other]
                rest = wp.float64(0.0)
                for ahead in range(3):
                    if ahead != axis:
                        rest += coefficient[other, 2 * ahead + 1]
                e -= c * c * f * f + wp.float64(0.97) * c * rest * f * f
        if e < wp.float64(0.25) * diagonal[row]:
            e = diagonal[row]
        factor[row] = wp.float64(1.0) / wp.sqrt(e)
    most = wp.float64(0.0)
    for row in range(n):
        x[row] = wp.float64(0.0)
        most = wp.max(most, wp.abs(residual[row]))
    aim = most * wp.float64(PRECISION) + wp.float64(1.0e-9)
    sigma = wp.float64(0.0)
    turn = int(0)
    going = most > wp.float64(1.0e-9)
    while going:
        # z = (L L^T)^-1 r
        for row in range(n):
            t = residual[row]
            for axis in range(3):
                other = neighbour[row, 2 * axis]
                if other >= 0:
                    t += coefficient[row, 2 * axis] * factor[other] * z[other]
            z[row] = t * factor[row]
        for back in range(n):
            row = n - 1 - back
            t = z[row]
            for axis in range(3):
                other = neighbour[row, 2 * axis + 1]
                if other >= 0:
                    t += coefficient[row, 2 * axis + 1] * factor[row] * z[other]
            z[row] = t * factor[row]
        fresh = wp.float64(0.0)
        for row in range(n):
            fresh += z[row] * residual[row]
        beta = wp.float64(0.0)
        if turn > 0:
            beta = fresh / sigma
        sigma = fresh
        for row in range(n):
            s[row] = z[row] + beta * s[row]
        times(neighbour, coefficient, diagonal, push, yielding, moved, s, q)
        under = wp.float64(0.0)
        for row in range(n):
            under += s[row] * q[row]
        alpha = sigma / wp.max(under, wp.float64(1.0e-300))
        left = wp.float64(0.0)
        for row in range(n):
            x[row] = x[row] + alpha * s[row]
            residual[row] = residual[row] - alpha * q[row]
            left = wp.max(left, wp.abs(residual[row]))
        turn += 1
        going = left > aim and turn < ITERATIONS
    taken[0] = turn


@wp.kernel
def apply_pressure(
    axis: int,
    index: wp.array3d(dtype=wp.int32),
    depth: wp.array3d(dtype=wp.float32),
    room: wp.array3d(dtype=wp.float32),
    opened: wp.array3d(dtype=wp.float32),
    solid: wp.array3d(dtype=wp.float32),
    pressure: wp.array(dtype=wp.float64),
    velocity: wp.array3d(dtype=wp.float32),
    known: wp.array3d(dtype=wp.float32),
):
    """Velocities after the push. known: faces whose velocity means something; closed ones move as their solid."""
    i, j, k = wp.tid()
    a = i
    b = j
    c = k
    if axis == 0:
        a -= 1
    elif axis == 1:
        b -= 1
    else:
        c -= 1
    if opened[i, j, k] <= 0.0:
        # A wall moves as its solid; deep within, what flows along the wall is carried on, so that it may slip.
        velocity[i, j, k] = solid[i, j, k]
        known[i, j, k] = wp.where(room_at(room, i, j, k) + room_at(room, a, b, c) > SHUT, 1.0, 0.0)
        return
    above = number_at(index, i, j, k)
    below = number_at(index, a, b, c)
    if above >= 0 and below >= 0:
        velocity[i, j, k] = velocity[i, j, k] - wp.float32(pressure[above] - pressure[below])
        known[i, j, k] = 1.0
    elif above >= 0:
        velocity[i, j, k] = velocity[i, j, k] - wp.float32(pressure[above]) / beyond(
            depth, a, b, c, depth[i, j, k]
        )
        known[i, j, k] = 1.0
    elif below >= 0:
        velocity[i, j, k] = velocity[i, j, k] + wp.float32(pressure[below]) / beyond(
            depth, i, j, k, depth[a, b, c]
        )
        known[i, j, k] = 1.0
