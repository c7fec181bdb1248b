"""Kernels of elastic bodies: their forces, their contacts, and the leapfrog that carries them on.

One thread takes all substeps between two looks at the rigid bodies: on the CPU a launch costs as much as a hundred
elements. Everything is explicit, so every force is the gradient of an energy, or a friction, and nothing else.
"""

from __future__ import annotations

from phys4d.sim.device import wp
from phys4d.sim.kernels.elastic.arrays import (
    AIR,
    AMBIENT,
    FIXED,
    LOOSE,
    SLIDING,
    Bending,
    Bodies,
    Cells,
    Colliders,
    Gases,
    Membranes,
    Near,
    Nodes,
    Points,
)
from phys4d.sim.kernels.primitives import BOX, CYLINDER, distance_to

wp.set_module_options({"enable_backward": False})

_AMBIENT, _AIR = wp.constant(AMBIENT), wp.constant(AIR)
FRICTION_SHARE = wp.constant(0.5)
"""How much of a sliding speed friction may stop in a substep; several points share a node."""
_LOOSE, _FIXED, _SLIDING = wp.constant(LOOSE), wp.constant(FIXED), wp.constant(SLIDING)


@wp.func
def stretch(nodes: Nodes, m: Membranes, step: float):
    """St. Venant and Kirchhoff's membrane, orthotropic, with Kelvin and Voigt's damping."""
    for e in range(m.count):
        a = m.corners[3 * e]
        b = m.corners[3 * e + 1]
        c = m.corners[3 * e + 2]
        origin = nodes.place[a]
        p = nodes.place[b] - origin
        q = nodes.place[c] - origin
        d = m.inverse[e]
        f1 = d[0, 0] * p + d[1, 0] * q
        f2 = d[0, 1] * p + d[1, 1] * q
        strain = wp.vec3(0.5 * (wp.dot(f1, f1) - 1.0), 0.5 * (wp.dot(f2, f2) - 1.0), 0.5 * wp.dot(f1, f2))
        lagged = strain + (m.viscosity[e] / step) * (strain - m.strain[e])
        m.strain[e] = strain
        k = m.stiffness[e]
        s1 = k[0] * lagged[0] + k[2] * lagged[1]
        s2 = k[2] * lagged[0] + k[1] * lagged[1]
        s3 = 2.0 * k[3] * lagged[2]
        p1 = m.area[e] * (s1 * f1 + s3 * f2)
        p2 = m.area[e] * (s3 * f1 + s2 * f2)
        fb = d[0, 0] * p1 + d[0, 1] * p2
        fc = d[1, 0] * p1 + d[1, 1] * p2
        nodes.fast[a] = nodes.fast[a] + fb + fc
        nodes.fast[b] = nodes.fast[b] - fb
        nodes.fast[c] = nodes.fast[c] - fc


@wp.func
def deform(nodes: Nodes, cells: Cells, step: float):
    """A neo-Hookean solid that survives inversion (Smith, de Goes and Kim, 2018), one point a cell, with
    stiffness against the modes that this point does not see (Flanagan and Belytschko, 1981). What is lost follows
    the standard linear solid of Zener: a second spring that gives way within the time of relaxation."""
    for e in range(cells.count):
        edge = cells.edge[e]
        share = cells.share[e]
        gx = wp.vec3(0.0, 0.0, 0.0)
        gy = wp.vec3(0.0, 0.0, 0.0)
        gz = wp.vec3(0.0, 0.0, 0.0)
        h1 = wp.vec3(0.0, 0.0, 0.0)
        h2 = wp.vec3(0.0, 0.0, 0.0)
        h3 = wp.vec3(0.0, 0.0, 0.0)
        h4 = wp.vec3(0.0, 0.0, 0.0)
        late = cells.viscosity[e]
        for k in range(8):
            n = cells.corners[8 * e + k]
            x = nodes.place[n]
            y = x + late * nodes.speed[n]
            sx = float(2 * (k & 1) - 1)
            sy = float((k & 2) - 1)
            sz = float((k & 4) / 2 - 1)
            gx += sx * x
            gy += sy * x
            gz += sz * x
            h1 += (sy * sz) * y
            h2 += (sx * sz) * y
            h3 += (sx * sy) * y
            h4 += (sx * sy * sz) * y
        scale = 1.0 / (4.0 * edge)
        gx = scale * gx
        gy = scale * gy
        gz = scale * gz
        # Strain, and how much of it is too new to have come to rest.
        axial = 0.5 * wp.vec3(wp.dot(gx, gx) - 1.0, wp.dot(gy, gy) - 1.0, wp.dot(gz, gz) - 1.0)
        shear = 0.5 * wp.vec3(wp.dot(gy, gz), wp.dot(gx, gz), wp.dot(gx, gy))
        da = axial - cells.axial[e]
        ds = shear - cells.shear[e]
        rests = step / cells.relaxation[e]
        cells.axial[e] = cells.axial[e] + rests * da
        cells.shear[e] = cells.shear[e] + rests * ds
        da = cells.loss[e] * da
        ds = cells.loss[e] * ds
        lam = cells.lame[e][0]
        mu = cells.lame[e][1]
        cx = wp.cross(gy, gz)
        cy = wp.cross(gz, gx)
        cz = wp.cross(gx, gy)
        # The rest is where the energy is least; so this lambda is Lame's, plus mu.
        swell = (lam + mu) * (wp.dot(gx, cx) - 1.0) - mu
        trace = lam * (da[0] + da[1] + da[2])
        two = 2.0 * mu
        volume = share * edge * edge * edge * scale
        px = volume * (mu * gx + swell * cx + (trace + two * da[0]) * gx + (two * ds[2]) * gy + (two * ds[1]) * gz)
        py = volume * (mu * gy + swell * cy + (two * ds[2]) * gx + (trace + two * da[1]) * gy + (two * ds[0]) * gz)
        pz = volume * (mu * gz + swell * cz + (two * ds[1]) * gx + (two * ds[0]) * gy + (trace + two * da[2]) * gz)
        warp = share * cells.warp[e] / 64.0
        h1 = warp * h1
        h2 = warp * h2
        h3 = warp * h3
        h4 = (warp / 3.0) * h4
        for k in range(8):
            n = cells.corners[8 * e + k]
            sx = float(2 * (k & 1) - 1)
            sy = float((k & 2) - 1)
            sz = float((k & 4) / 2 - 1)
            force = sx * px + sy * py + sz * pz
            force += (sy * sz) * h1 + (sx * sz) * h2 + (sx * sy) * h3 + (sx * sy * sz) * h4
            nodes.fast[n] = nodes.fast[n] - force


@wp.func
def inflate(nodes: Nodes, m: Membranes, gases: Gases, step: float):
    """An ideal gas at constant temperature, p V = n R T, pushes on the triangles that close it; returns the work
    of pumps [J], by which the gas can do more against the air around."""
    pumped = float(0.0)
    for g in range(gases.count):
        gases.volume[g] = 0.0
    for e in range(m.count):
        g = m.gas[e]
        if g >= 0:
            # From a node of its own: far from the origin float32 would lose what little the volume changes.
            origin = nodes.place[gases.anchor[g]]
            a = nodes.place[m.corners[3 * e]] - origin
            b = nodes.place[m.corners[3 * e + 1]] - origin
            c = nodes.place[m.corners[3 * e + 2]] - origin
            gases.volume[g] = gases.volume[g] + wp.dot(a, wp.cross(b, c)) / 6.0
    for g in range(gases.count):
        gauge = gases.amount[g] / wp.max(gases.volume[g], 1.0e-6) - _AMBIENT
        # A pump brings what its curve allows; a valve lets out by Bernoulli's speed.
        bring = gases.source[g] * wp.max(1.0 - gauge / gases.limit[g], 0.0)
        leak = gases.valve[g] * wp.sqrt(2.0 * wp.max(gauge, 0.0) / _AIR)
        absolute = _AMBIENT + gauge
        gases.amount[g] = gases.amount[g] + step * absolute * (bring - leak)
        gases.pressure[g] = gauge
        pumped += step * absolute * bring * wp.log(absolute / _AMBIENT)
    for e in range(m.count):
        g = m.gas[e]
        if g >= 0:
            i = m.corners[3 * e]
            j = m.corners[3 * e + 1]
            k = m.corners[3 * e + 2]
            a = nodes.place[i]
            push = (gases.pressure[g] / 6.0) * wp.cross(nodes.place[j] - a, nodes.place[k] - a)
            nodes.fast[i] = nodes.fast[i] + push
            nodes.fast[j] = nodes.fast[j] + push
            nodes.fast[k] = nodes.fast[k] + push
    return pumped


@wp.func
def bend(nodes: Nodes, bending: Bending):
    for i in range(nodes.count):
        force = wp.vec3(0.0, 0.0, 0.0)
        late = bending.viscosity[i]
        for k in range(bending.rows[i], bending.rows[i + 1]):
            n = bending.columns[k]
            force -= bending.values[k] * (nodes.place[n] + late * nodes.speed[n])
        nodes.slow[i] = force


@wp.func
def blow(nodes: Nodes, m: Membranes, wind: wp.vec3, drag: float, interval: float):
    """Drag of panels in a wind; returns the work of its kick on what it blows at [J]."""
    for i in range(nodes.count):
        nodes.fast[i] = wp.vec3(0.0, 0.0, 0.0)
    for e in range(m.count):
        i = m.corners[3 * e]
        j = m.corners[3 * e + 1]
        k = m.corners[3 * e + 2]
        a = nodes.place[i]
        across = wp.cross(nodes.place[j] - a, nodes.place[k] - a)
        twice = wp.length(across)
        speed = (nodes.speed[i] + nodes.speed[j] + nodes.speed[k]) / 3.0
        normal = across / wp.max(twice, 1.0e-12)
        against = wp.dot(wind - speed, normal)
        # Half the density, of half of `twice`, a third for each corner.
        push = (_AIR * drag * twice / 12.0 * wp.abs(against) * against) * normal
        nodes.fast[i] = nodes.fast[i] + push
        nodes.fast[j] = nodes.fast[j] + push
        nodes.fast[k] = nodes.fast[k] + push
    work = float(0.0)
    for i in range(nodes.count):
        air = nodes.fast[i]
        slow = nodes.slow[i] + air
        nodes.slow[i] = slow
        speed = nodes.speed[i]
        if nodes.held[i] == _LOOSE:
            # The mean of the speeds before and after the kick.
            speed += (0.5 * interval / nodes.mass[i]) * slow
        work += interval * wp.dot(air, speed)
    return work


@wp.func
def touch(
    nodes: Nodes, points: Points, colliders: Colliders, bodies: Bodies, near: Near, step: float, ahead: float,
    rate: float,
):  # fmt: skip
    """Springs and dampers that can push and never pull, and Coulomb's friction, between points and bodies."""
    for c in range(near.counts[0]):
        pair = near.touching[c]
        point = pair[0]
        collider = pair[1]
        body = colliders.body[collider]
        first = 8 * point
        parents = points.parents[point]
        x = wp.vec3(0.0, 0.0, 0.0)
        v = wp.vec3(0.0, 0.0, 0.0)
        for k in range(parents):
            n = points.nodes[first + k]
            w = points.weights[first + k]
            x += w * nodes.place[n]
            v += w * nodes.speed[n]
        turn = bodies.turn[body] * colliders.turn[collider]
        at = bodies.place[body] + ahead * bodies.speed[body] + bodies.turn[body] * colliders.place[collider]
        found = distance_to(colliders.kind[collider], colliders.size[collider], wp.transpose(turn) * (x - at))
        depth = points.skin[point] - found[3]
        if depth > 0.0:
            normal = turn * wp.vec3(found[0], found[1], found[2])
            mass = points.mass[point]
            arm = x - bodies.middle[body]
            relative = v - bodies.speed[body] - wp.cross(bodies.spin[body], arm)
            leaving = wp.dot(relative, normal)
            table = points.owner[point] * bodies.count + body
            push = mass * rate * (rate * depth - 2.0 * colliders.ring[table] * leaving)
            if push > 0.0:
                sliding = relative - leaving * normal
                slip = wp.length(sliding)
                hold = wp.min(colliders.friction[table] * push, FRICTION_SHARE * mass * slip / step)
                force = push * normal - (hold / wp.max(slip, 1.0e-9)) * sliding
                for k in range(parents):
                    n = points.nodes[first + k]
                    nodes.fast[n] = nodes.fast[n] + points.weights[first + k] * force
                bodies.force[body] = bodies.force[body] - force
                bodies.torque[body] = bodies.torque[body] - wp.cross(arm, force)
                bodies.push[table] = bodies.push[table] + push
                points.touched[point] = body


@wp.func
def meet(nodes: Nodes, near: Near, apart: float, friction: float, step: float, rate: float):
    """Nodes of cloth keep their distance from each other, so that folds lie on folds."""
    for c in range(near.counts[1]):
        pair = near.meeting[c]
        i = pair[0]
        j = pair[1]
        offset = nodes.place[i] - nodes.place[j]
        length = wp.length(offset)
        if length < apart and length > 1.0e-9:
            normal = offset / length
            mass = 0.5 * wp.min(nodes.mass[i], nodes.mass[j])
            relative = nodes.speed[i] - nodes.speed[j]
            leaving = wp.dot(relative, normal)
            push = wp.max(mass * rate * (rate * (apart - length) - leaving), 0.0)
            sliding = relative - leaving * normal
            slip = wp.length(sliding)
            hold = wp.min(friction * push, 0.25 * mass * slip / step)
            force = push * normal - (hold / wp.max(slip, 1.0e-9)) * sliding
            nodes.fast[i] = nodes.fast[i] + force
            nodes.fast[j] = nodes.fast[j] - force


@wp.func
def hold_on(nodes: Nodes, bodies: Bodies, i: int, ahead: float):
    """Carry a held node along, and hand its pull to the body that holds it."""
    body = nodes.held[i]
    if body >= 0:
        force = nodes.fast[i]
        arm = bodies.turn[body] * nodes.held_at[i]
        nodes.place[i] = bodies.place[body] + ahead * bodies.speed[body] + arm
        from_middle = nodes.place[i] - bodies.middle[body]
        nodes.speed[i] = bodies.speed[body] + wp.cross(bodies.spin[body], from_middle)
        bodies.force[body] = bodies.force[body] + force
        bodies.torque[body] = bodies.torque[body] + wp.cross(from_middle, force)


@wp.kernel
def advance(
    nodes: Nodes,
    membranes: Membranes,
    bending: Bending,
    cells: Cells,
    gases: Gases,
    points: Points,
    colliders: Colliders,
    bodies: Bodies,
    near: Near,
    gravity: wp.vec3,
    wind: wp.vec3,
    drag: float,
    calm: float,
    step: float,
    substeps: int,
    apart: float,
    friction: float,
    rate: float,
    work: wp.array(dtype=wp.float32),
):
    """Take `substeps` of length `step`. calm: a damping by mass [1/s], with which shapes settle before a scene.
    work: of the air around and of pumps [J]."""
    bend(nodes, bending)
    work[0] = blow(nodes, membranes, wind, drag, step * float(substeps))
    work[1] = 0.0
    for k in range(substeps):
        ahead = step * float(k)
        for i in range(nodes.count):
            force = nodes.weight[i] * gravity - (calm * nodes.mass[i]) * nodes.speed[i]
            if k == 0:
                force += float(substeps) * nodes.slow[i]
            nodes.fast[i] = force
        stretch(nodes, membranes, step)
        deform(nodes, cells, step)
        if gases.count > 0:
            work[1] = work[1] + inflate(nodes, membranes, gases, step)
        touch(nodes, points, colliders, bodies, near, step, ahead, rate)
        if near.counts[1] > 0:
            meet(nodes, near, apart, friction, step, rate)
        for i in range(nodes.count):
            held = nodes.held[i]
            if held == _LOOSE:
                speed = nodes.speed[i] + (step / nodes.mass[i]) * nodes.fast[i]
                nodes.speed[i] = speed
                nodes.place[i] = nodes.place[i] + step * speed
            elif held == _SLIDING:
                along = nodes.speed[i][0] + step / nodes.mass[i] * nodes.fast[i][0]
                nodes.speed[i] = wp.vec3(along, 0.0, 0.0)
                nodes.place[i] = nodes.place[i] + wp.vec3(step * along, 0.0, 0.0)
            elif held != _FIXED:
                hold_on(nodes, bodies, i, ahead + step)


@wp.kernel
def find_touching(
    nodes: Nodes, points: Points, colliders: Colliders, bodies: Bodies, margin: float, near: Near
):  # fmt: skip
    """Points within `margin` of touching a collider."""
    p = wp.tid()
    x = wp.vec3(0.0, 0.0, 0.0)
    for k in range(points.parents[p]):
        x += points.weights[8 * p + k] * nodes.place[points.nodes[8 * p + k]]
    for c in range(colliders.count):
        # Middles of sides are for what has edges.
        if points.parents[p] == 2 and colliders.kind[c] != BOX and colliders.kind[c] != CYLINDER:
            continue
        body = colliders.body[c]
        local = wp.transpose(bodies.turn[body]) * (x - bodies.place[body]) - colliders.place[c]
        found = distance_to(colliders.kind[c], colliders.size[c], wp.transpose(colliders.turn[c]) * local)
        if found[3] < points.skin[p] + margin:
            row = wp.atomic_add(near.counts, 0, 1)
            if row < near.touching.shape[0]:
                near.touching[row] = wp.vec2i(p, c)


@wp.kernel
def find_meeting(
    nodes: Nodes,
    resting: wp.array(dtype=wp.vec3),
    which: wp.array(dtype=wp.int32),
    grid: wp.uint64,
    reach: float,
    unless: float,
    near: Near,
):
    """Pairs of nodes of cloth closer than `reach` that at rest are farther apart than `unless`."""
    k = wp.tid()
    i = which[k]
    x = nodes.place[i]
    for other in wp.hash_grid_query(grid, x, reach):
        j = which[other]
        if j > i and wp.length(nodes.place[j] - x) < reach and wp.length(resting[j] - resting[i]) > unless:
            row = wp.atomic_add(near.counts, 1, 1)
            if row < near.meeting.shape[0]:
                near.meeting[row] = wp.vec2i(i, j)
