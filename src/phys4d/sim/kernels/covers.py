"""Kernels that tell which share of a grid's faces solids cover."""

from __future__ import annotations

from phys4d.sim.device import wp
from phys4d.sim.kernels.solids import Solids, gap

wp.set_module_options({"enable_backward": False})


@wp.kernel
def solid_distance(
    solids: Solids, first: int, last: int, low: wp.vec3, cell: float, distance: wp.array3d(dtype=wp.float32)
):
    """Signed distance of the corners of cells to the primitives `first` to `last` [cells]."""
    i, j, k = wp.tid()
    point = low + cell * wp.vec3(float(i), float(j), float(k))
    nearest = float(1.0e3)
    for c in range(first, last):
        found = gap(solids, c, point)
        nearest = wp.min(nearest, found[3] / cell)
    # What lies on a surface counts as within, or a wall along faces would be open; and chords cut round bodies
    # short.
    distance[i, j, k] = nearest - 0.03


@wp.func
def edge_share(a: float, b: float):
    """Share of an edge that is inside, of whose ends one is."""
    return wp.where(a < 0.0, a / (a - b), b / (b - a))


@wp.func
def covered(a: float, b: float, c: float, d: float):
    """Share of a square that is inside, by signed distances of its corners in turn."""
    inside = int(0)
    if a < 0.0:
        inside += 1
    if b < 0.0:
        inside += 1
    if c < 0.0:
        inside += 1
    if d < 0.0:
        inside += 1
    if inside == 0:
        return 0.0
    if inside == 4:
        return 1.0
    # Turned so that the first corner is inside and the last is not.
    p = float(a)
    q = float(b)
    r = float(c)
    s = float(d)
    for _turn in range(4):
        if not (p < 0.0 and s >= 0.0):
            t = p
            p = q
            q = r
            r = s
            s = t
    if inside == 1:
        return 0.5 * edge_share(p, q) * edge_share(p, s)
    if inside == 3:
        return 1.0 - 0.5 * (1.0 - edge_share(s, p)) * (1.0 - edge_share(s, r))
    if q < 0.0:
        return 0.5 * (edge_share(p, s) + edge_share(q, r))
    return 0.5 * (edge_share(p, q) * edge_share(p, s) + edge_share(r, q) * edge_share(r, s))


@wp.func
def face_cover(d: wp.array3d(dtype=wp.float32), axis: int, i: int, j: int, k: int):
    if axis == 0:
        return covered(d[i, j, k], d[i, j + 1, k], d[i, j + 1, k + 1], d[i, j, k + 1])
    if axis == 1:
        return covered(d[i, j, k], d[i + 1, j, k], d[i + 1, j, k + 1], d[i, j, k + 1])
    return covered(d[i, j, k], d[i + 1, j, k], d[i + 1, j + 1, k], d[i, j + 1, k])


@wp.kernel
def cover_faces(distance: wp.array3d(dtype=wp.float32), axis: int, share: wp.array3d(dtype=wp.float32)):
    """Share of every face across an axis that a solid covers."""
    i, j, k = wp.tid()
    share[i, j, k] = face_cover(distance, axis, i, j, k)
