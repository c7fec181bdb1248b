"""Elastic bodies as nodes, triangles and cells: what the kernels work on, and how long a step may be."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.spatial import KDTree

from phys4d.sim.device import wp
from phys4d.sim.elastics import Cloth, Elastic, Inflatable, Solid
from phys4d.sim.hulls import cached_hull, grid_faces
from phys4d.sim.kernels.elastic.arrays import AIR, AMBIENT
from phys4d.sim.kernels.elastic.inside import find_inside
from phys4d.sim.rotations import rotate
from phys4d.sim.shapes import Piece, Shape

POISSON_OF_SKIN = 0.45
"""Poisson's ratio of what inflatables are made of."""
CLOTH_SKIN, THIN_SKIN, SOLID_SKIN = 0.005, 0.003, 0.001
"""How far off other things the surfaces of cloths, inflatables and solids keep [m]: what is between two nodes must
not cut an edge that they go round."""
LONGEST_STEP = 2.5e-4
"""Of solids [s]: with longer ones contacts, as firm as a step allows, would be softer than what they push on."""
SAFETY = 0.6
"""Share of the longest stable step that is taken: things stiffen as they are pressed."""


@dataclasses.dataclass(frozen=True)
class Part:
    """One elastic body. All arrays are numpy's; node numbers are its own, from 0 on.

    place, speed: (N,3); mass, weight: (N,) what is moved and what is pulled down [kg]. triangles: (F,3), with
    inverse (F,2,2), area (F,), stiffness (F,4), viscosity. bending: (N,N) sparse, or None; lag of it. cells:
    (C,8) with edge, share (C,), lame, warp, viscosity, loss, relaxation. skin_faces: of what is seen; skin_rest:
    (P,3) in the material's axes. parents, weights: (Q,8) the nodes that carry each point that may touch, first of
    all the vertices of the skin; point_mass: what a contact pushes there. step: the longest stable one [s];
    bending_rate: highest frequency of bending [rad/s].
    """

    place: np.ndarray
    speed: np.ndarray
    mass: np.ndarray
    weight: np.ndarray
    skin_rest: np.ndarray
    skin_faces: np.ndarray
    parents: np.ndarray
    weights: np.ndarray
    point_mass: np.ndarray
    skin: float
    step: float
    triangles: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 3), int))
    inverse: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 2, 2)))
    area: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))
    stiffness: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(4))
    viscosity: float = 0.0
    bending: sp.csr_matrix | None = None
    lag: float = 0.0
    bending_rate: float = 0.0
    cells: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 8), int))
    edge: float = 0.0
    share: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))
    lame: tuple[float, float] = (0.0, 0.0)
    warp: float = 0.0
    loss: float = 0.0
    relaxation: float = 1.0
    glued: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, int))


def part_of(thing: Elastic) -> Part:
    match thing:
        case Cloth():
            return cloth_part(thing)
        case Solid():
            return solid_part(thing)
        case Inflatable():
            return inflatable_part(thing)


def cloth_part(cloth: Cloth) -> Part:
    rows, columns = cloth.grid
    i, j = (a.reshape(-1) for a in np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"))
    rest = cloth.spacing * np.column_stack([i, j, 0 * i])
    faces = grid_faces(rows, columns)
    inverse, area = _planes(rest, faces)
    heavy = cloth.material.density * cloth.thickness
    stiffness = np.array([cloth.stretch, cloth.stretch, 0.1 * cloth.stretch, cloth.shear])
    fast = _membrane_rate(inverse, stiffness, heavy)
    mass = _lumped(faces, area, len(rest), heavy)
    bending = cloth.bending * plate_matrix(rows, columns, cloth.spacing)
    parents, weights = _with_middles(len(rest), faces)
    return Part(
        place=np.array(cloth.start, dtype=float),
        speed=np.zeros((len(rest), 3)),
        mass=mass,
        weight=mass,
        skin_rest=rest,
        skin_faces=faces,
        point_mass=_within(np.full(len(parents), mass.mean() / 2), parents, weights, mass),
        parents=parents,
        weights=weights,
        skin=CLOTH_SKIN,
        triangles=faces,
        inverse=inverse,
        area=area,
        stiffness=stiffness,
        # A third of critical at the highest frequency; far less at any that is seen.
        viscosity=0.6 / fast,
        step=_stable(fast, 0.6 / fast),
        bending=bending,
        lag=cloth.lag,
        bending_rate=_rate_of(bending, mass),
    )


def inflatable_part(thing: Inflatable) -> Part:
    skin = cached_hull(thing.shape)
    rest, faces = skin.vertices.astype(float), skin.faces
    inverse, area = _planes(rest, faces)
    heavy, nu = thing.material.density * thing.thickness, POISSON_OF_SKIN
    firm = thing.young * thing.thickness / (1 - nu**2)
    stiffness = np.array([firm, firm, nu * firm, firm * (1 - nu) / 2])
    # Under tension a skin is stiff across itself too, and St. Venant's stiffens along.
    pressure = max(thing.pressure, thing.pump_limit if thing.pump else 0.0)
    tension = pressure * float(np.ptp(rest, axis=0).max()) / 2
    weight = _lumped(faces, area, len(rest), heavy)
    # The air within moves along, and half as much without (of a sphere, exactly).
    volume = max(volume_of(rest, faces), 1e-4)
    moved = heavy + 1.5 * AIR * volume / area.sum()
    mass = weight * moved / heavy
    breathing = AMBIENT / volume * area.sum() / moved
    taut = stiffness * (1 + 2 * tension / firm) + (tension, tension, 0, 0)
    fast = math.sqrt(_membrane_rate(inverse, taut, moved) ** 2 + breathing)
    bending = thing.bending * skin_matrix(rest, faces)
    return Part(
        place=rotate(np.array(thing.rotation), rest) + thing.position,
        speed=np.array(thing.velocity) + np.cross(thing.spin, rotate(np.array(thing.rotation), rest)),
        mass=mass,
        weight=weight,
        skin_rest=rest,
        skin_faces=faces,
        point_mass=mass,
        skin=THIN_SKIN,
        triangles=faces,
        inverse=inverse,
        area=area,
        stiffness=stiffness,
        viscosity=0.6 / fast,
        step=_stable(fast, 0.6 / fast),
        bending=bending,
        lag=0.02,
        bending_rate=_rate_of(bending, mass),
        **_own_nodes(len(rest)),
    )


def solid_part(thing: Solid) -> Part:
    skin = cached_hull(thing.shape)
    lattice = _lattice(thing.shape, thing.cell)
    e, nu, density = thing.young, thing.poisson, thing.material.density
    lame = (e * nu / ((1 + nu) * (1 - 2 * nu)), e / (2 * (1 + nu)))
    mass = np.zeros(len(lattice.nodes))
    np.add.at(mass, lattice.cells.reshape(-1), np.repeat(density * lattice.share * lattice.edge**3 / 8, 8))
    fast = 2 * math.sqrt((3 * lame[0] + 2 * lame[1]) / density) / lattice.edge
    areas = _lumped(skin.faces, _areas(skin), len(skin.vertices), 1.0)
    # What a contact pushes at a point: half a cell below it.
    pushed = _within(0.5 * density * lattice.edge * areas, lattice.parents, lattice.weights, mass)
    turn = np.array(thing.rotation)
    arms = rotate(turn, lattice.nodes)
    low = lattice.cells[lattice.nodes[lattice.cells][:, 0, 2] < lattice.nodes[:, 2].min() + 1e-9]
    return Part(
        place=arms + thing.position,
        speed=np.array(thing.velocity) + np.cross(thing.spin, arms),
        mass=mass,
        weight=mass,
        skin_rest=skin.vertices.astype(float),
        skin_faces=skin.faces,
        parents=lattice.parents,
        weights=lattice.weights,
        point_mass=pushed,
        skin=SOLID_SKIN,
        cells=lattice.cells,
        edge=lattice.edge,
        share=lattice.share,
        lame=lame,
        # Pure bending of one cell, exactly: its energy is 2/3 E a q^2 in the amplitude q of the mode.
        warp=4 / 3 * e * lattice.edge,
        viscosity=0.2 / fast,
        loss=thing.loss,
        relaxation=thing.relaxation,
        step=min(_stable(fast * math.sqrt(1 + thing.loss), 0.2 / fast), LONGEST_STEP),
        glued=np.unique(low[:, :4]) if thing.glued else np.empty(0, int),
    )


def plate_matrix(rows: int, columns: int, spacing: float) -> sp.csr_matrix:
    """(N,N) of a grid: x . B x / 2 is the bending energy of a plate of stiffness 1 and of Poisson's ratio 0, half
    the integral of the squares of all second derivatives of its places. Quadratic, as threads hardly stretch
    (Bergou et al., 2006); unlike the square of the Laplacian alone it lets no narrow strip bend for nothing into
    a saddle."""

    def second(n: int) -> tuple[sp.csr_matrix, np.ndarray]:
        """Second differences, and the length of the grid that each stands for, in steps."""
        made = sp.csr_matrix(sp.eye(n - 2, n) - 2 * sp.eye(n - 2, n, 1) + sp.eye(n - 2, n, 2))
        share = np.ones(n - 2)
        share[0] += 0.5
        share[-1] += 0.5
        return made, share

    def ends(n: int) -> np.ndarray:
        share = np.ones(n)
        share[[0, -1]] = 0.5
        return share

    def first(n: int) -> sp.csr_matrix:
        return sp.csr_matrix(sp.eye(n - 1, n, 1) - sp.eye(n - 1, n))

    (down, long), (over, wide) = second(rows), second(columns)
    made = sp.kron(down.T @ sp.diags(long) @ down, sp.diags(ends(columns)))
    made = made + sp.kron(sp.diags(ends(rows)), over.T @ sp.diags(wide) @ over)
    mixed = sp.kron(first(rows), first(columns))
    return sp.csr_matrix((made + 2 * mixed.T @ mixed) / spacing**2)


def skin_matrix(rest: np.ndarray, faces: np.ndarray) -> sp.csr_matrix:
    """(N,N) of a closed skin: half the integral of the square of the Laplacian, by cotangents and Voronoi's
    areas."""
    count = len(rest)
    rows, columns, values = [], [], []
    area, least = np.zeros(count), np.zeros(count)
    for k in range(3):
        a, b, c = faces[:, k], faces[:, (k + 1) % 3], faces[:, (k + 2) % 3]
        u, v = rest[b] - rest[a], rest[c] - rest[a]
        twice = np.linalg.norm(np.cross(u, v), axis=1)
        half = (u * v).sum(1) / np.maximum(twice, 1e-12) / 2
        rows += [b, c, b, c]
        columns += [c, b, b, c]
        values += [half, half, -half, -half]
        # Voronoi's share of the triangle, at the two nodes of the side across from the angle.
        share = half * ((rest[c] - rest[b]) ** 2).sum(1) / 4
        np.add.at(area, b, share)
        np.add.at(area, c, share)
        np.add.at(least, a, twice / 30)
    laplacian = sp.csr_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), (count,) * 2
    )
    return sp.csr_matrix(laplacian.T @ sp.diags(1 / np.maximum(area, least)) @ laplacian)


@dataclasses.dataclass(frozen=True)
class Lattice:
    """Cubes that fill a skin. nodes (N,3), cells (C,8), share of each that is filled; parents, weights: as in
    `Part`."""

    nodes: np.ndarray
    cells: np.ndarray
    share: np.ndarray
    edge: float
    parents: np.ndarray
    weights: np.ndarray


@functools.lru_cache(maxsize=64)
def _lattice(shape: Shape, cell: float) -> Lattice:
    skin = cached_hull(shape)
    low, high = skin.vertices.min(0).astype(float), skin.vertices.max(0).astype(float)
    longest = float((high - low).max())
    edge = longest / round(longest / cell)
    counts = np.maximum(np.ceil((high - low) / edge - 1e-3).astype(int), 1)
    # The lowest layer begins where the skin does, so that what stands is carried by whole cells.
    origin = np.array([*((low + high - counts * edge) / 2)[:2], low[2]])
    fine = 4
    steps = [(np.arange(n * fine) + 0.5) * edge / fine for n in counts]
    samples = origin + np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1)
    filled = _inside(skin, samples.reshape(-1, 3)).reshape(samples.shape[:3])
    share = filled.reshape(counts[0], fine, counts[1], fine, counts[2], fine).mean(axis=(1, 3, 5))
    ijk = np.argwhere(share > 0.05)
    corners = ijk[:, None] + np.array([(k & 1, k >> 1 & 1, k >> 2) for k in range(8)])
    number = np.ravel_multi_index(tuple(np.moveaxis(corners, -1, 0)), tuple(counts + 1))
    used, cells = np.unique(number, return_inverse=True)
    nodes = origin + edge * np.stack(np.unravel_index(used, tuple(counts + 1)), axis=1)
    cells = cells.reshape(-1, 8)
    # Every vertex of the skin lies in a cell, or just beyond one that is hardly filled.
    points = skin.vertices.astype(float)
    home = KDTree(origin + edge * (ijk + 0.5)).query(points)[1]
    local = (points - origin) / edge - ijk[home]
    weights = np.ones((len(points), 8))
    for k in range(8):
        for axis in range(3):
            weights[:, k] *= local[:, axis] if k >> axis & 1 else 1 - local[:, axis]
    return Lattice(nodes, cells, share[tuple(ijk.T)], edge, cells[home], weights)


def _inside(skin: Piece, points: np.ndarray) -> np.ndarray:
    """(N,) whether points lie within a closed skin."""
    with wp.ScopedDevice("cpu"):
        mesh: Any = wp.Mesh(
            points=wp.array(skin.vertices, dtype=wp.vec3),
            indices=wp.array(skin.faces.reshape(-1), dtype=wp.int32),
            support_winding_number=True,
        )
        found: Any = wp.zeros(len(points), dtype=wp.int32)
        where = wp.array(points.astype(np.float32), dtype=wp.vec3)
        wp.launch(find_inside, len(points), [mesh.id, where, float(np.ptp(points, axis=0).max()) + 1.0], [found])
        return found.numpy().astype(bool)


def volume_of(skin: np.ndarray, faces: np.ndarray) -> float:
    """Within a closed mesh [m^3]."""
    a, b, c = (skin[faces[:, k]] - skin[0] for k in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def _within(pushed: np.ndarray, parents: np.ndarray, weights: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Masses of contact points, lessened so that together they do not push more at a node than there is."""
    share = np.abs(weights)
    load = np.bincount(parents.reshape(-1), (share * pushed[:, None]).reshape(-1), len(mass))
    room = np.minimum(1.0, mass / np.maximum(load, 1e-12))[parents]
    return pushed * np.where(share > 0.02, room, 1.0).min(axis=1)


def _with_middles(count: int, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parents and weights of nodes and of the middles of all sides: what is thin must not be cut by an edge that
    passes between two nodes."""
    sides = np.unique(np.sort(np.stack(_sides(faces), axis=1), axis=1), axis=0)
    parents, weights = np.zeros((count + len(sides), 8), int), np.zeros((count + len(sides), 8))
    parents[:count, 0], weights[:count, 0] = np.arange(count), 1
    parents[count:, :2], weights[count:, :2] = sides, 0.5
    return parents, weights


def _sides(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two ends of every side of every triangle."""
    return faces[:, [0, 1, 2]].reshape(-1), faces[:, [1, 2, 0]].reshape(-1)


def _own_nodes(count: int) -> dict[str, Any]:
    """A skin whose vertices are nodes."""
    parents, weights = np.zeros((count, 8), int), np.zeros((count, 8))
    parents[:, 0], weights[:, 0] = np.arange(count), 1
    return {"parents": parents, "weights": weights}


def _areas(skin: Piece) -> np.ndarray:
    a, b, c = (skin.vertices[skin.faces[:, k]].astype(float) for k in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def _planes(rest: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(F,2,2) inverses of the triangles' edges in axes of their own, the first along x where they lie in z = 0."""
    p, q = rest[faces[:, 1]] - rest[faces[:, 0]], rest[faces[:, 2]] - rest[faces[:, 0]]
    normal = np.cross(p, q)
    twice = np.linalg.norm(normal, axis=1)
    normal /= twice[:, None]
    first = np.where(np.abs(normal[:, 2:]) > 0.999, (1.0, 0.0, 0.0), p)
    first = first - (first * normal).sum(1, keepdims=True) * normal
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(normal, first)
    edges = np.stack([[(p * first).sum(1), (q * first).sum(1)], [(p * second).sum(1), (q * second).sum(1)]])
    return np.linalg.inv(np.moveaxis(edges, -1, 0)), twice / 2


def _lumped(faces: np.ndarray, area: np.ndarray, count: int, heavy: float) -> np.ndarray:
    """Mass of every node: a third of its triangles; heavy: mass of an area [kg/m^2]."""
    return heavy * np.bincount(faces.reshape(-1), np.repeat(area / 3, 3), count)


def _membrane_rate(inverse: np.ndarray, stiffness: np.ndarray, heavy: float) -> float:
    """A bound on the highest frequency [rad/s]: no mesh is faster than its fastest element (Fried, 1972)."""
    k1, k2, k12, g = stiffness
    law = np.array([[k1, k12, 0], [k12, k2, 0], [0, 0, g]])
    b, c = inverse[:, 0], inverse[:, 1]
    grads = np.stack([-b - c, b, c], axis=1)  # (F, corner, axis)
    zero = np.zeros(grads.shape[:2])
    strain = np.stack(
        [
            np.stack([grads[..., 0], zero], -1),
            np.stack([zero, grads[..., 1]], -1),
            np.stack([grads[..., 1], grads[..., 0]], -1),
        ],
        axis=1,
    ).reshape(len(inverse), 3, 6)
    gram = law @ (strain @ strain.swapaxes(1, 2))
    return math.sqrt(3 * np.abs(np.linalg.eigvals(gram)).max() / heavy)


def _rate_of(matrix: sp.csr_matrix, mass: np.ndarray) -> float:
    """Gershgorin's bound on the highest frequency [rad/s]."""
    return math.sqrt(float((np.asarray(abs(matrix).sum(axis=1)).reshape(-1) / mass).max()))


def _stable(rate: float, lag: float) -> float:
    """The longest step [s] that a leapfrog takes at this frequency and this viscosity (Belytschko, 1983)."""
    damping = lag * rate / 2
    return SAFETY * 2 / rate * (math.sqrt(1 + damping**2) - damping)
