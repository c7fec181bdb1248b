"""Kernels of velocities on faces: carried on beyond the liquid, and evened out by viscosity."""

from __future__ import annotations

from phys4d.sim.device import wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
def extrapolate(
    known: wp.array3d(dtype=wp.float32),
    velocity: wp.array3d(dtype=wp.float32),
    wider: wp.array3d(dtype=wp.float32),
    farther: wp.array3d(dtype=wp.float32),
):
    """One layer more of known velocities, the means of their known neighbours."""
    i, j, k = wp.tid()
    farther[i, j, k] = velocity[i, j, k]
    wider[i, j, k] = known[i, j, k]
    if known[i, j, k] > 0.0:
        return
    total = float(0.0)
    count = float(0.0)
    for side in range(6):
        a = i
        b = j
        c = k
        way = 2 * (side % 2) - 1
        if side / 2 == 0:
            a += way
        elif side / 2 == 1:
            b += way
        else:
            c += way
        if a >= 0 and b >= 0 and c >= 0 and a < known.shape[0] and b < known.shape[1] and c < known.shape[2]:
            if known[a, b, c] > 0.0:
                total += velocity[a, b, c]
                count += 1.0
    if count > 0.0:
        farther[i, j, k] = total / count
        wider[i, j, k] = 1.0


@wp.kernel
def diffuse(
    velocity: wp.array3d(dtype=wp.float32),
    known: wp.array3d(dtype=wp.float32),
    opened: wp.array3d(dtype=wp.float32),
    axis: int,
    share: float,
    after: wp.array3d(dtype=wp.float32),
):
    """Viscosity, explicit; share: kinematic viscosity times dt over the cell squared. No slip, no drag of air."""
    i, j, k = wp.tid()
    own = velocity[i, j, k]
    after[i, j, k] = own
    if known[i, j, k] <= 0.0 or opened[i, j, k] <= 0.0:
        return
    change = float(0.0)
    for side in range(6):
        a = i
        b = j
        c = k
        way = 2 * (side % 2) - 1
        if side / 2 == 0:
            a += way
        elif side / 2 == 1:
            b += way
        else:
            c += way
        if a < 0 or b < 0 or c < 0 or a >= known.shape[0] or b >= known.shape[1] or c >= known.shape[2]:
            # A wall of the domain: half a cell away along it, a whole one across.
            if side / 2 != axis:
                change -= 2.0 * own
        elif opened[a, b, c] <= 0.0 or known[a, b, c] > 0.0:
            change += velocity[a, b, c] - own
    after[i, j, k] = own + share * change
