"""A liquid as it is now: its particles, its grid, and the bodies in it."""

# Warp's array constructors accept its scalar and vector types; their annotations do not say so.
# pyright: reportArgumentType=false

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from phys4d.sim.device import wp
from phys4d.sim.engines.mujoco.coupled import RigidPart
from phys4d.sim.engines.seeds import inside
from phys4d.sim.engines.solids import SolidArrays
from phys4d.sim.kernels import covers, faces, pressure, transfer
from phys4d.sim.materials import Material
from phys4d.sim.media import Liquid
from phys4d.sim.scene import SceneSpec

FULL = 8
"""Particles that fill a cell."""
HAT = np.array([1, 6, 1]) / 8
"""What a cell and its neighbours count for in the hat-weighted mean about a cell's middle."""
SHUT = 0.03
"""A face that is less open than this counts as closed."""
REACH = 3
"""How many cells beyond the liquid velocities are known."""


class Pool:
    """Particles, grid and bodies. place, velocity: (N,3) views of the particles; mass: of one [kg]."""

    def __init__(self, spec: SceneSpec, liquid: Liquid, rigid: RigidPart) -> None:
        self.spec, self.liquid, self.rigid = spec, liquid, rigid
        self.cell = liquid.cell
        self.low = np.array(liquid.domain[0])
        self.shape = tuple(int(n) for n in np.round((np.array(liquid.domain[1]) - self.low) / self.cell))
        self.solids = SolidArrays(spec.bodies, Material(liquid.name, liquid.density, 0.0, 0.0))
        self.mass = liquid.density * self.cell**3 / FULL
        self._allocate()
        places = self._seed()
        count = len(places)
        self.particles: Any = transfer.Particles()
        self.particles.place = wp.array(places, dtype=wp.vec3, device="cpu")
        self.particles.velocity = wp.array(np.tile(liquid.velocity, (count, 1)), dtype=wp.vec3, device="cpu")
        self.particles.slope = wp.zeros(count, dtype=wp.mat33, device="cpu")
        self.place, self.velocity = self.particles.place.numpy(), self.particles.velocity.numpy()

    def _faces(self) -> Any:
        empty: Any = transfer.Faces()
        for axis, name in enumerate("xyz"):
            setattr(empty, name, wp.zeros(self._face_shape(axis), dtype=wp.float32, device="cpu"))
        return empty

    def _face_shape(self, axis: int) -> tuple[int, ...]:
        return tuple(n + (k == axis) for k, n in enumerate(self.shape))

    def _allocate(self) -> None:
        self.momentum, self.weight, self.opened, self.carried, self.solid, self.known, self.spare, self.wider = (
            self._faces() for _ in range(8)
        )
        self.velocity_faces = self.momentum
        self.count, self.depth, self.crowding = (
            wp.zeros(self.shape, dtype=wp.float32, device="cpu") for _ in range(3)
        )
        self.room = wp.zeros(self.shape, dtype=wp.float32, device="cpu")
        self.index = wp.zeros(self.shape, dtype=wp.int32, device="cpu")
        self._corners = wp.zeros(tuple(n + 1 for n in self.shape), dtype=wp.float32, device="cpu")
        # Bodies by how they move, with the primitives of each.
        owner = self.solids.arrays.owner.numpy()
        bodies = self.spec.bodies
        self._ranges = {
            k: (int(np.flatnonzero(owner == k)[0]), int(np.flatnonzero(owner == k)[-1]) + 1)
            for k in range(len(bodies))
            if (owner == k).any()
        }
        self._movers = [k for k in self._ranges if bodies[k].free]
        self._free = [k for k in self._movers if bodies[k].joint is None]
        still = [self._distance(*self._ranges[k]) for k in self._ranges if k not in self._movers]
        self._still = np.min(still, axis=0) if still else np.full(self._corners.shape, 1e3, np.float32)
        self._still_cover = self._cover(self._still)
        self._covers: dict[int, Any] = {k: self._faces() for k in self._movers}
        self._meet_solids()

    def _distance(self, first: int, last: int) -> np.ndarray:
        """Signed distance of corners to some primitives [cells]."""
        inputs = [self.solids.arrays, first, last, wp.vec3(*self.low), self.cell, self._corners]
        wp.launch(covers.solid_distance, self._corners.shape, inputs, device="cpu")
        distance = self._corners.numpy().copy()
        # The domain's own walls are shut anyway: what stands just behind them must not reach in.
        for axis in range(3):
            rows = np.moveaxis(distance, axis, 0)
            rows[0], rows[-1] = rows[1], rows[-2]
        return distance

    def _cover(self, distance: np.ndarray, into: Any = None) -> Any:
        into = into or self._faces()
        corners = wp.array(distance, dtype=wp.float32, device="cpu")
        for axis, name in enumerate("xyz"):
            share = getattr(into, name)
            wp.launch(covers.cover_faces, share.shape, [corners, axis, share], device="cpu")
        return into

    def _meet_solids(self) -> None:
        """How open cells and faces are, now that the bodies are where they are."""
        distance = self._still.copy()
        for k in self._movers:
            own = self._distance(*self._ranges[k])
            np.minimum(distance, own, out=distance)
            self._cover(own, self._covers[k])
        middle = np.zeros(self.shape, np.float32)
        for corner in np.ndindex(2, 2, 2):
            middle += distance[tuple(slice(c, c + n) for c, n in zip(corner, self.shape))] / 8
        self.volume_open = np.clip(0.5 + middle, 0, 1)
        shut = self.volume_open < 0.02
        velocity, spin = self.solids.arrays.velocity.numpy(), self.solids.arrays.spin.numpy()
        origin = self.solids.arrays.origin.numpy()
        for axis, name in enumerate("xyz"):
            opened = np.maximum(1 - getattr(self._still_cover, name).numpy(), 0)
            shares = {k: getattr(self._covers[k], name).numpy() for k in self._movers}
            for share in shares.values():
                np.minimum(share, opened, out=share)
                opened -= share
            closed = opened < SHUT
            for side in (slice(0, -1), slice(1, None)):
                beside: list[Any] = [slice(None)] * 3
                beside[axis] = side
                closed[tuple(beside)] |= shut
            for edge in (0, -1):
                wall: list[Any] = [slice(None)] * 3
                wall[axis] = edge
                closed[tuple(wall)] = True
            carried, solid = getattr(self.carried, name).numpy(), getattr(self.solid, name).numpy()
            carried[:], solid[:] = 0.0, 0.0
            for k, share in shares.items():
                # What is left of a face that counts as closed belongs to the body that covers the rest.
                rest = closed & (share > 0)
                share[rest] += opened[rest]
                touched = np.nonzero(share)
                place = self._face_places(axis, touched)
                moved = (velocity[k] + np.cross(spin[k], place - origin[k]))[:, axis]
                solid[touched] = moved
                carried[touched] += share[touched] * moved
            opened[closed] = 0.0
            getattr(self.opened, name).numpy()[:] = opened
        volume = self.volume_open
        for axis in range(3):
            volume = ndimage.convolve1d(volume, HAT, axis=axis, mode="constant")
        self.room.numpy()[:] = np.where(self.volume_open > 0.02, volume, 0.0)

    def _face_places(self, axis: int, at: tuple[np.ndarray, ...]) -> np.ndarray:
        """(N,3) middles of faces across an axis [m]."""
        offset = np.full(3, 0.5)
        offset[axis] = 0.0
        return self.low + self.cell * (np.stack(at, axis=1) + offset)

    def _seed(self) -> np.ndarray:
        grid = np.stack(
            np.meshgrid(*((np.arange(2 * n) + 0.5) / 2 for n in self.shape), indexing="ij"), axis=-1
        ).reshape(-1, 3)
        places = self.low + self.cell * grid
        filled = np.min([inside(region, places) for region in self.liquid.regions], axis=0) < 0
        places = places[filled]
        clear = ndimage.map_coordinates(self.distances(), ((places - self.low) / self.cell).T, order=1) > 0.05
        return places[clear].astype(np.float32)

    def distances(self) -> np.ndarray:
        """Signed distance of the corners of cells to all bodies as they are now [cells]."""
        distance = self._still
        for k in self._movers:
            distance = np.minimum(distance, self._distance(*self._ranges[k]))
        return distance

    def fastest(self) -> float:
        return math.sqrt(float((self.velocity**2).sum(axis=1).max(initial=0.0)))

    def step(self, strides: int) -> None:
        """One step of the liquid, over so many steps of the bodies."""
        dt = strides * self.rigid.timestep
        low, cell = wp.vec3(*self.low), self.cell
        for sums in (self.momentum, self.weight):
            for name in "xyz":
                getattr(sums, name).zero_()
        self.count.zero_()
        inputs = [self.particles, low, cell, self.momentum, self.weight, self.count]
        wp.launch(transfer.to_grid, 1, inputs, device="cpu")
        for axis, name in enumerate("xyz"):
            velocity, weight = getattr(self.momentum, name).numpy(), getattr(self.weight, name).numpy()
            known = weight > 1e-6
            np.divide(velocity, weight, out=velocity, where=known)
            velocity[known] += self.spec.gravity[axis] * dt
            getattr(self.known, name).numpy()[:] = known
        if self.liquid.viscosity > 0.02:
            self._diffuse(dt)
        if self._movers:
            self.solids.move(self.rigid.origin, self.rigid.rotation, *self._falling(dt))
            self._meet_solids()
        force, torque = self._project(dt)
        self._extrapolate()
        shape = wp.vec3(*(float(n) for n in self.shape))
        inputs = [self.particles, self.momentum, self.solids.arrays, low, cell, shape, dt]
        if self._movers:
            self.rigid.advance(force, torque, strides)
            self.solids.move(self.rigid.origin, self.rigid.rotation, *self.rigid.motion())
        else:
            self.rigid.advance(force, torque, strides)
        wp.launch(transfer.follow_grid, len(self.place), inputs, device="cpu")

    def _falling(self, dt: float) -> tuple[np.ndarray, np.ndarray]:
        """Velocities and spins that the bodies would have after a step without liquid and contacts."""
        velocity, spin = self.rigid.motion()
        velocity = velocity.copy()
        velocity[self._free] += np.array(self.spec.gravity) * dt
        return velocity, spin

    def _diffuse(self, dt: float) -> None:
        share = self.liquid.viscosity / self.liquid.density * dt / self.cell**2
        turns = max(math.ceil(share / 0.15), 1)
        for axis, name in enumerate("xyz"):
            now, after = getattr(self.momentum, name), getattr(self.spare, name)
            known, opened = getattr(self.known, name), getattr(self.opened, name)
            for _ in range(turns):
                wp.launch(faces.diffuse, now.shape, [now, known, opened, axis, share / turns, after], device="cpu")
                wp.copy(now, after)

    def _project(self, dt: float) -> tuple[np.ndarray, np.ndarray]:
        """Push the liquid so that it keeps its volume; returns forces and torques on the bodies' origins."""
        inputs = [self.count, self.room, float(FULL), self.depth, self.crowding]
        wp.launch(pressure.find_liquid, self.shape, inputs, device="cpu")
        liquid = self.depth.numpy() < 0
        # Numbered along x first: the solver counts on it.
        order = np.nonzero(liquid.transpose(2, 1, 0))
        cells = np.stack(order[::-1], axis=1).astype(np.int32)
        count = len(cells)
        bodies = len(self.spec.bodies)
        force, torque = np.zeros((bodies, 3)), np.zeros((bodies, 3))
        index = self.index.numpy()
        index[:] = -1
        index[tuple(cells.T)] = np.arange(count)
        rows = wp.array(cells, dtype=wp.vec3i, device="cpu")
        real = {"dtype": wp.float64, "device": "cpu"}
        neighbour = wp.empty((count, 6), dtype=wp.int32, device="cpu")
        coefficient, diagonal, right = (
            wp.empty((count, 6), **real),
            wp.empty(count, **real),
            wp.empty(count, **real),
        )
        inputs = [rows, self.index, self.depth, self.crowding, self.opened, self.momentum, self.carried, dt]
        outputs = [self.cell, neighbour, coefficient, diagonal, right]
        wp.launch(pressure.assemble, count, inputs + outputs, device="cpu")
        _balance(neighbour.numpy(), coefficient.numpy(), diagonal.numpy(), right.numpy())
        push = wp.zeros((6 * len(self._movers), count), **real)
        centres = self.rigid.centre
        for number, k in enumerate(self._movers):
            place = [wp.vec3(*self.low), self.cell, wp.vec3(*centres[k])]
            inputs = [rows, self.opened, self._covers[k], *place, 6 * number, push]
            wp.launch(pressure.push_of, count, inputs, device="cpu")
        yielding = self._yielding()
        x, work, taken = (
            wp.empty(count, **real),
            wp.zeros((4, count), **real),
            wp.zeros(1, dtype=wp.int32, device="cpu"),
        )
        moved = wp.zeros(max(12 * len(self._movers), 1), **real)
        inputs = [neighbour, coefficient, diagonal, push, wp.array(yielding, **real), moved, right, work, x, taken]
        if count:
            wp.launch(pressure.solve, 1, inputs, device="cpu")
        self.iterations = int(taken.numpy()[0])
        for axis, name in enumerate("xyz"):
            velocity = getattr(self.momentum, name)
            arrays = [getattr(each, name) for each in (self.opened, self.solid)]
            inputs = [axis, self.index, self.depth, self.room, *arrays, x, velocity, getattr(self.known, name)]
            wp.launch(pressure.apply_pressure, velocity.shape, inputs, device="cpu")
        # From the unknowns to newtons: p = q rho h / dt, over faces of h^2.
        scale = self.liquid.density * self.cell**3 / dt
        values = x.numpy()
        for number, k in enumerate(self._movers):
            pushed = push.numpy()[6 * number : 6 * number + 6] @ values * scale
            force[k] = pushed[:3]
            torque[k] = pushed[3:] + np.cross(centres[k] - self.rigid.origin[k], pushed[:3])
        return force, torque

    def _yielding(self) -> np.ndarray:
        """(6B,6B): how free bodies give way to a push, in the solver's units."""
        scale = self.liquid.density * self.cell**3
        matrix = np.zeros((max(6 * len(self._movers), 1),) * 2)
        inverse = self.rigid.inverse_inertia()
        for number, k in enumerate(self._movers):
            if k not in self._free:
                continue
            a = 6 * number
            matrix[a : a + 3, a : a + 3] = np.eye(3) / self.rigid.mass[k] * scale
            matrix[a + 3 : a + 6, a + 3 : a + 6] = inverse[k] * scale
        return matrix

    def _extrapolate(self) -> None:
        for name in "xyz":
            now, known = getattr(self.momentum, name), getattr(self.known, name)
            after, wider = getattr(self.spare, name), getattr(self.wider, name)
            for _ in range(REACH):
                wp.launch(faces.extrapolate, now.shape, [known, now, wider, after], device="cpu")
                now, after, known, wider = after, now, wider, known
            if now is not getattr(self.momentum, name):
                wp.copy(getattr(self.momentum, name), now)


def _balance(neighbour: np.ndarray, coefficient: np.ndarray, diagonal: np.ndarray, right: np.ndarray) -> None:
    """Where liquid is shut in without any air, let it neither grow nor shrink: pressure knows no other answer.

    neighbour, coefficient: (N,6); diagonal, right: (N,); changed where they are.
    """
    rows, sides = np.nonzero(neighbour >= 0)
    count = len(diagonal)
    links = sparse.csr_array((np.ones(len(rows)), (rows, neighbour[rows, sides])), shape=(count, count))
    pools, pool = csgraph.connected_components(links, directed=False)
    airy = np.zeros(pools, dtype=bool)
    airy[pool[diagonal - coefficient.sum(axis=1) > 1e-6]] = True
    shut = ~airy[pool]
    if shut.any():
        mean = np.bincount(pool, right, pools) / np.bincount(pool, minlength=pools)
        right[shut] -= mean[pool[shut]]
        diagonal[shut] *= 1 + 1e-6
