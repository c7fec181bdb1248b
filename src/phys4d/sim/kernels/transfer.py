"""Kernels between particles and the staggered grid: affine transfer (Jiang and others 2015), paths of particles.

Faces across x lie at (i, j + 1/2, k + 1/2) of the grid, and so on; `g` is a place in units of cells.
"""

from __future__ import annotations

from phys4d.sim.device import wp
from phys4d.sim.kernels.solids import Solids, gap

wp.set_module_options({"enable_backward": False})

# Particles stay so far inside the domain, in cells.
HAIR = wp.constant(0.02)


@wp.struct
class Faces:
    """One number a face, by the axis across it."""

    x: wp.array3d(dtype=wp.float32)
    y: wp.array3d(dtype=wp.float32)
    z: wp.array3d(dtype=wp.float32)


@wp.struct
class Particles:
    """place [m], velocity [m/s], and the gradients of its components [1/s]."""

    place: wp.array(dtype=wp.vec3)
    velocity: wp.array(dtype=wp.vec3)
    slope: wp.array(dtype=wp.mat33)


@wp.func
def spread(
    momentum: wp.array3d(dtype=wp.float32),
    mass: wp.array3d(dtype=wp.float32),
    s: wp.vec3,
    value: float,
    slope: wp.vec3,
):
    """Add a particle at `s` (in cells from the first face) to the faces around; slope: change of value by cell."""
    i = int(wp.floor(s[0]))
    j = int(wp.floor(s[1]))
    k = int(wp.floor(s[2]))
    for corner in range(8):
        a = i + (corner & 1)
        b = j + ((corner >> 1) & 1)
        c = k + ((corner >> 2) & 1)
        if a >= 0 and b >= 0 and c >= 0 and a < mass.shape[0] and b < mass.shape[1] and c < mass.shape[2]:
            off = wp.vec3(float(a), float(b), float(c)) - s
            weight = (1.0 - wp.abs(off[0])) * (1.0 - wp.abs(off[1])) * (1.0 - wp.abs(off[2]))
            momentum[a, b, c] = momentum[a, b, c] + weight * (value + wp.dot(slope, off))
            mass[a, b, c] = mass[a, b, c] + weight


@wp.func
def gathered(values: wp.array3d(dtype=wp.float32), s: wp.vec3):
    """Value and gradient (by cell) at `s`, in cells from the first face."""
    i = wp.clamp(int(wp.floor(s[0])), 0, values.shape[0] - 2)
    j = wp.clamp(int(wp.floor(s[1])), 0, values.shape[1] - 2)
    k = wp.clamp(int(wp.floor(s[2])), 0, values.shape[2] - 2)
    x = wp.clamp(s[0] - float(i), 0.0, 1.0)
    y = wp.clamp(s[1] - float(j), 0.0, 1.0)
    z = wp.clamp(s[2] - float(k), 0.0, 1.0)
    v000 = values[i, j, k]
    v100 = values[i + 1, j, k]
    v010 = values[i, j + 1, k]
    v110 = values[i + 1, j + 1, k]
    v001 = values[i, j, k + 1]
    v101 = values[i + 1, j, k + 1]
    v011 = values[i, j + 1, k + 1]
    v111 = values[i + 1, j + 1, k + 1]
    a00 = v000 + x * (v100 - v000)
    a10 = v010 + x * (v110 - v010)
    a01 = v001 + x * (v101 - v001)
    a11 = v011 + x * (v111 - v011)
    b0 = a00 + y * (a10 - a00)
    b1 = a01 + y * (a11 - a01)
    dx = (1.0 - y) * (1.0 - z) * (v100 - v000) + y * (1.0 - z) * (v110 - v010)
    dx += (1.0 - y) * z * (v101 - v001) + y * z * (v111 - v011)
    dy = (1.0 - z) * (a10 - a00) + z * (a11 - a01)
    return wp.vec4(b0 + z * (b1 - b0), dx, dy, b1 - b0)


@wp.kernel
def to_grid(
    particles: Particles,
    low: wp.vec3,
    cell: float,
    momentum: Faces,
    mass: Faces,
    count: wp.array3d(dtype=wp.float32),
):
    """Spread momentum and mass over faces, and presence over the middles of cells. On one thread."""
    for p in range(particles.place.shape[0]):
        g = (particles.place[p] - low) / cell
        v = particles.velocity[p]
        slope = particles.slope[p] * cell
        spread(
            momentum.x, mass.x, g - wp.vec3(0.0, 0.5, 0.5), v[0], wp.vec3(slope[0, 0], slope[0, 1], slope[0, 2])
        )
        spread(
            momentum.y, mass.y, g - wp.vec3(0.5, 0.0, 0.5), v[1], wp.vec3(slope[1, 0], slope[1, 1], slope[1, 2])
        )
        spread(
            momentum.z, mass.z, g - wp.vec3(0.5, 0.5, 0.0), v[2], wp.vec3(slope[2, 0], slope[2, 1], slope[2, 2])
        )
        s = g - wp.vec3(0.5, 0.5, 0.5)
        i = int(wp.floor(s[0]))
        j = int(wp.floor(s[1]))
        k = int(wp.floor(s[2]))
        for corner in range(8):
            a = i + (corner & 1)
            b = j + ((corner >> 1) & 1)
            c = k + ((corner >> 2) & 1)
            if a >= 0 and b >= 0 and c >= 0 and a < count.shape[0] and b < count.shape[1] and c < count.shape[2]:
                off = wp.vec3(float(a), float(b), float(c)) - s
                weight = (1.0 - wp.abs(off[0])) * (1.0 - wp.abs(off[1])) * (1.0 - wp.abs(off[2]))
                count[a, b, c] = count[a, b, c] + weight


@wp.func
def velocity_at(faces: Faces, g: wp.vec3):
    u = gathered(faces.x, g - wp.vec3(0.0, 0.5, 0.5))
    v = gathered(faces.y, g - wp.vec3(0.5, 0.0, 0.5))
    w = gathered(faces.z, g - wp.vec3(0.5, 0.5, 0.0))
    return wp.vec3(u[0], v[0], w[0])


@wp.func
def clamped(g: wp.vec3, shape: wp.vec3):
    return wp.vec3(
        wp.clamp(g[0], HAIR, shape[0] - HAIR),
        wp.clamp(g[1], HAIR, shape[1] - HAIR),
        wp.clamp(g[2], HAIR, shape[2] - HAIR),
    )


@wp.kernel
def follow_grid(
    particles: Particles, faces: Faces, solids: Solids, low: wp.vec3, cell: float, shape: wp.vec3, dt: float
):
    """Take velocities and their gradients from the grid, travel with it (midpoint), and stay out of solids."""
    p = wp.tid()
    g = (particles.place[p] - low) / cell
    u = gathered(faces.x, g - wp.vec3(0.0, 0.5, 0.5))
    v = gathered(faces.y, g - wp.vec3(0.5, 0.0, 0.5))
    w = gathered(faces.z, g - wp.vec3(0.5, 0.5, 0.0))
    now = wp.vec3(u[0], v[0], w[0])
    particles.velocity[p] = now
    particles.slope[p] = wp.mat33(u[1], u[2], u[3], v[1], v[2], v[3], w[1], w[2], w[3]) / cell
    middle = clamped(g + 0.5 * dt / cell * now, shape)
    g = clamped(g + dt / cell * velocity_at(faces, middle), shape)
    place = low + cell * g
    for _turn in range(2):
        for c in range(solids.count):
            found = gap(solids, c, place)
            inside = 0.1 * cell - found[3]
            if inside > 0.0:
                place = place + inside * wp.vec3(found[0], found[1], found[2])
    particles.place[p] = low + cell * clamped((place - low) / cell, shape)
