"""All elastic bodies of a scene as one system beside MuJoCo, which moves the rigid ones."""

# Warp's array constructors accept its scalar and vector types, MuJoCo ships no types for what its C library holds;
# and Warp's structs get their fields when they are made.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
import scipy.sparse as sp

from phys4d.sim.device import wp
from phys4d.sim.elastics import Cloth, Inflatable, Solid
from phys4d.sim.engines.elastic.build import part_of
from phys4d.sim.engines.mujoco.contact import Touches
from phys4d.sim.engines.mujoco.model import Model
from phys4d.sim.kernels.elastic import arrays, motion
from phys4d.sim.kernels.elastic.arrays import AMBIENT
from phys4d.sim.kernels.primitives import KINDS
from phys4d.sim.materials import contact_of
from phys4d.sim.rotations import inverse, matrices, rotate
from phys4d.sim.scene import SceneSpec

INTERVAL, FREE_INTERVAL = 8e-4, 4e-4
"""Longest time between two looks at the rigid bodies [s], where none and where some are free."""
CONTACT_RATE, CONTACT_STEP = 3000.0, 0.6
"""Angular frequency of a contact of the mass of its point [rad/s], an impact at 3 m/s sinks in by 1 mm; and the
most of it times a step."""
LOOK, MARGIN = 2.4e-3, 0.015
"""How often what may touch is looked for [s], and how far around [m]: 6 m/s."""
DRAG = 1.2
"""Drag coefficient of a panel that faces the wind."""
MOST_PAIRS = 200_000
SETTLE, CALM = 0.25, 25.0
"""For how long an inflatable takes its shape before the scene begins [s], damped by how much [1/s]."""
APART = 0.75
"""Distance that folds of cloth keep, as a share of the spacing of nodes: less than its diagonal's half would let
nodes through."""


class System:
    """Elastic bodies, their contacts, and their record. Places of nodes are arrays shared with the kernels."""

    def __init__(self, spec: SceneSpec, fps: float) -> None:
        self.spec = spec
        self.parts = [part_of(each) for each in spec.elastics]
        longest = FREE_INTERVAL if any(body.free for body in spec.bodies) else INTERVAL
        bending = max(p.bending_rate for p in self.parts)
        if bending:
            # Once in an interval bending kicks: that must be often enough.
            longest = min(longest, 0.8 / bending)
        self.intervals = math.ceil(1 / (fps * longest))
        """Looks at the rigid bodies in a frame."""
        interval = self.interval = 1 / (fps * self.intervals)
        self.first = np.cumsum([0, *(len(p.mass) for p in self.parts)])
        self.first_point = np.cumsum([0, *(len(p.parents) for p in self.parts)])
        shortest = min(p.step for p in self.parts)
        self.substeps = max(1, math.ceil(interval / shortest))
        self.step = interval / self.substeps
        self.time = 0.0
        with wp.ScopedDevice("cpu"):
            self._nodes, self._membranes = self._upload_nodes(), self._upload_membranes()
            self._bending, self._cells = self._upload_bending(), self._upload_cells()
            self._gases, self._points = self._upload_gases(), self._upload_points()
            self._colliders, self._bodies = self._upload_colliders(), self._upload_bodies()
            self._near: Any = arrays.Near()
            self._near.counts = wp.zeros(2, dtype=wp.int32)
            self._near.touching = wp.zeros(MOST_PAIRS, dtype=wp.vec2i)
            self._near.meeting = wp.zeros(MOST_PAIRS, dtype=wp.vec2i)
            self._work: Any = wp.zeros(2, dtype=wp.float32)
            self._folding = self._upload_folding()
        self.place, self.speed = self._nodes.place.numpy(), self._nodes.speed.numpy()
        self.volume, self.pressure = self._gases.volume.numpy(), self._gases.pressure.numpy()
        self.amount = self._gases.amount.numpy()
        self.touched = self._points.touched.numpy()
        self._looked = -1.0
        self.work = 0.0
        names = [each.name for each in spec.elastics] + [body.name for body in spec.bodies]
        self.touches = Touches(names, np.arange(len(names)), interval)
        shape = (len(spec.elastics), len(spec.bodies))
        self.push = np.zeros(shape)
        self._settle()

    def advance(self, model: Model, data: Any) -> None:
        """Carry the elastic bodies over the interval that MuJoCo is about to take, and push on the rigid ones."""
        which = model.bodies
        self._read(model, data)
        if self.time - self._looked >= LOOK - 1e-9 or self._looked < 0:
            self._look()
        self._launch(self.spec.gravity, self.spec.wind.at(self.time) if self.spec.wind else (0.0, 0.0, 0.0), 0.0)
        share = 1 / self.substeps
        views = self._views
        free = self._free
        if free.any():
            targets = np.array(which)[free]
            data.xfrc_applied[targets, :3] = views["force"][free] * share
            data.xfrc_applied[targets, 3:] = views["torque"][free] * share
        self.time += self.interval
        self.push = views["push"].reshape(self.push.shape) * share
        count = len(self.spec.elastics)
        rows, columns = np.nonzero(self.push)
        self.touches.note(
            {(int(i), count + int(j)): float(self.push[i, j]) for i, j in zip(rows, columns)}, self.time
        )

    def skin(self, index: int) -> np.ndarray:
        """(P,3) vertices of the surface of one elastic body [m]."""
        part = self.parts[index]
        own = self.place[self.first[index] : self.first[index + 1]].astype(float)
        if len(part.cells):
            return np.einsum("pk,pkx->px", part.weights, own[part.parents])
        return own.copy()

    def patches(self, index: int, skin: np.ndarray) -> np.ndarray:
        """(B,) area of the triangles of one elastic body that touch each rigid one with all three corners, as seen
        along their mean normal [m^2]; skin: its vertices."""
        faces = self.parts[index].skin_faces
        own = self.touched[self.first_point[index] : self.first_point[index + 1]][faces]
        whole = (own[:, 0] >= 0) & (own == own[:, :1]).all(axis=1)
        a, b, c = (skin[faces[whole, k]] for k in range(3))
        sums = np.zeros((len(self.spec.bodies), 3))
        np.add.at(sums, own[whole, 0], np.cross(b - a, c - a) / 2)
        return np.linalg.norm(sums, axis=1)

    def nodes(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """(N,3) places [m] and speeds [m/s] of the nodes of one elastic body."""
        rows = slice(self.first[index], self.first[index + 1])
        return self.place[rows].astype(float), self.speed[rows].astype(float)

    def relax(self, seconds: float, calm: float = CALM) -> None:
        """Go on for so long with a damping by mass [1/s], rigid bodies standing still: toward rest."""
        for _ in range(round(seconds / self.interval)):
            if self._looked < 0 or self.time - self._looked >= LOOK - 1e-9:
                self._look()
            self._launch(self.spec.gravity, (0.0, 0.0, 0.0), calm)
            self.time += self.interval

    def _launch(self, gravity: Sequence[float], wind: Sequence[float], calm: float) -> None:
        for view in self._views.values():
            view[:] = 0
        self.touched[:] = -1
        inputs = [
            self._nodes, self._membranes, self._bending, self._cells, self._gases, self._points, self._colliders,
            self._bodies, self._near, wp.vec3(*gravity), wp.vec3(*wind), 0.0 if calm else DRAG, calm, self.step,
            self.substeps, self._apart, 0.4, min(CONTACT_RATE, CONTACT_STEP / self.step), self._work,
        ]  # fmt: skip
        wp.launch(motion.advance, 1, inputs, device="cpu")
        of_air, of_pumps = self._work.numpy()
        # Air that stands still only brakes.
        self.work += float(of_pumps) + (float(of_air) if self.spec.wind else 0.0)

    def _read(self, model: Model, data: Any) -> None:
        """Where the rigid bodies are, as of now."""
        rows, mine = model.bodies, self._poses
        if self.time > 0 and not self._free.any():
            return
        # A step leaves places where it began.
        mujoco.mj_kinematics(model.compiled, data)
        mujoco.mj_comPos(model.compiled, data)
        mujoco.mj_comVel(model.compiled, data)
        mine["place"][:] = data.xpos[rows]
        mine["turn"][:] = data.xmat[rows].reshape(-1, 3, 3)
        mine["middle"][:] = data.xipos[rows]
        if self._free.any():
            # cvel is of the tree's centre of mass; brought to the body's own.
            spin, speed = data.cvel[rows, :3], data.cvel[rows, 3:]
            root = model.compiled.body_rootid[rows]
            mine["spin"][:] = spin
            mine["speed"][:] = speed + np.cross(spin, data.xipos[rows] - data.subtree_com[root])

    def _look(self) -> None:
        """Find what may touch until the next look."""
        self._looked = self.time
        self._near.counts.zero_()
        inputs = [self._nodes, self._points, self._colliders, self._bodies, MARGIN, self._near]
        wp.launch(motion.find_touching, self._points.count, inputs, device="cpu")
        if self._folding:
            grid, which, resting, reach = self._folding
            grid.build(wp.array(self.place[which.numpy()], dtype=wp.vec3, device="cpu"), reach)
            inputs = [self._nodes, resting, which, grid.id, reach, 2.2 * self._apart, self._near]
            wp.launch(motion.find_meeting, len(which), inputs, device="cpu")
        counts = self._near.counts.numpy()
        np.minimum(counts, MOST_PAIRS, out=counts)

    def _settle(self) -> None:
        """Let inflatables take their shape under their pressure, in place and without weight."""
        blown = [k for k, each in enumerate(self.spec.elastics) if isinstance(each, Inflatable)]
        if not blown:
            return
        before, moving = self.place.copy(), self.speed.copy()
        valve, source = self._gases.valve.numpy(), self._gases.source.numpy()
        kept = valve.copy(), source.copy()
        valve[:], source[:] = 0, 0
        self.speed[:] = 0
        things = [each for each in self.spec.elastics if isinstance(each, Inflatable)]
        targets = np.array([each.pressure for each in things])
        counted = np.array([each.litres is not None for each in things])
        held = np.array([AMBIENT * (each.litres or 0.0) / 1000 for each in things])
        first, steps = self.amount.copy(), round(SETTLE / self.interval)
        for k in range(steps):
            self._launch((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), CALM)
            # Held at the pressure asked for, whatever the volume does; or filled little by little.
            filled = first + (held - first) * min(1.0, 1.5 * k / steps)
            self.amount[:] = np.where(counted, filled, (AMBIENT + targets) * self.volume)
        for k in blown:
            rows = slice(self.first[k], self.first[k + 1])
            lift = before[rows].min(0)[2] - self.place[rows].min(0)[2]
            self.place[rows] += np.array([0.0, 0.0, lift], dtype=np.float32)
        others = [k for k in range(len(self.parts)) if k not in blown]
        for k in others:
            rows = slice(self.first[k], self.first[k + 1])
            self.place[rows] = before[rows]
        self.speed[:] = moving
        valve[:], source[:] = kept

    @property
    def _apart(self) -> float:
        spacings = [each.spacing for each in self.spec.elastics if isinstance(each, Cloth) and each.self_contact]
        return APART * min(spacings, default=0.0)

    def _upload_nodes(self) -> Any:
        spec, nodes = self.spec, arrays.Nodes()
        held, held_at = np.full(self.first[-1], arrays.LOOSE), np.zeros((self.first[-1], 3))
        names = [body.name for body in spec.bodies]
        for each, part, first in zip(spec.elastics, self.parts, self.first):
            keeps = [(hold.by, np.array(hold.nodes)) for hold in each.holds] if isinstance(each, Cloth) else []
            if isinstance(each, Solid) and each.glued:
                keeps = [(each.glued, part.glued)]
            for by, which in keeps:
                if by in ("world", "rail"):
                    held[first + which] = arrays.FIXED if by == "world" else arrays.SLIDING
                    continue
                if by not in names:
                    raise ValueError(f"nothing is called {by!r} here; there are {', '.join(names)}")
                number = names.index(by)
                body = spec.bodies[number]
                held[first + which] = number
                back = inverse(np.array(body.rotation))
                held_at[first + which] = rotate(back, part.place[which] - np.array(body.position))
        nodes.count = int(self.first[-1])
        nodes.place = _vectors(np.concatenate([p.place for p in self.parts]))
        speed = np.concatenate([p.speed for p in self.parts])
        nodes.speed = _vectors(np.where((held == arrays.LOOSE)[:, None], speed, 0))
        nodes.fast, nodes.slow = (wp.zeros(nodes.count, dtype=wp.vec3) for _ in range(2))
        nodes.mass, nodes.weight = (
            _floats(np.concatenate(v)) for v in zip(*((p.mass, p.weight) for p in self.parts))
        )
        nodes.held, nodes.held_at = wp.array(held, dtype=wp.int32), _vectors(held_at)
        return nodes

    def _upload_membranes(self) -> Any:
        made, counts = arrays.Membranes(), [len(p.triangles) for p in self.parts]
        corners = np.concatenate([p.triangles + f for p, f in zip(self.parts, self.first)])
        made.count = len(corners)
        made.corners = wp.array(corners.reshape(-1), dtype=wp.int32)
        inverse_edges = np.concatenate([p.inverse for p in self.parts])
        made.inverse = wp.array(inverse_edges.astype(np.float32), dtype=wp.mat22)
        made.area = _floats(np.concatenate([p.area for p in self.parts]))
        stiffness = np.repeat([p.stiffness for p in self.parts], counts, axis=0)
        made.stiffness = wp.array(stiffness.astype(np.float32), dtype=wp.vec4)
        made.viscosity = _floats(np.repeat([p.viscosity for p in self.parts], counts))
        blown = [isinstance(each, Inflatable) for each in self.spec.elastics]
        numbers = np.where(blown, np.cumsum(blown) - 1, -1)
        made.gas = wp.array(np.repeat(numbers, counts), dtype=wp.int32)
        x = np.concatenate([p.place for p in self.parts])[corners]
        f = np.stack([x[:, 1] - x[:, 0], x[:, 2] - x[:, 0]], axis=-1) @ inverse_edges
        green = 0.5 * (f.swapaxes(1, 2) @ f - np.eye(2))
        made.strain = _vectors(np.stack([green[:, 0, 0], green[:, 1, 1], green[:, 0, 1]], axis=-1))
        return made

    def _upload_bending(self) -> Any:
        made: Any = arrays.Bending()
        blocks = [p.bending if p.bending is not None else sp.csr_matrix((len(p.mass),) * 2) for p in self.parts]
        matrix = sp.csr_matrix(sp.block_diag(blocks))
        made.rows = wp.array(matrix.indptr, dtype=wp.int32)
        made.columns, made.values = wp.array(matrix.indices, dtype=wp.int32), _floats(matrix.data)
        # As much of the damping asked for as a kick every interval takes.
        lags = [
            min(p.lag, 0.5 / (p.bending_rate**2 * self.interval)) if p.bending_rate else 0.0 for p in self.parts
        ]
        made.viscosity = _floats(np.repeat(lags, [len(p.mass) for p in self.parts]))
        return made

    def _upload_cells(self) -> Any:
        made, counts = arrays.Cells(), [len(p.cells) for p in self.parts]
        corners = np.concatenate([p.cells + f for p, f in zip(self.parts, self.first)])
        made.count = len(corners)
        made.corners = wp.array(corners.reshape(-1), dtype=wp.int32)
        made.edge, made.warp = (
            _floats(np.repeat(v, counts)) for v in zip(*((p.edge, p.warp) for p in self.parts))
        )
        made.share = _floats(np.concatenate([p.share for p in self.parts]))
        lame = np.repeat(np.array([p.lame for p in self.parts], dtype=np.float32), counts, axis=0)
        made.lame = wp.array(lame, dtype=wp.vec2)
        for name in ("viscosity", "loss", "relaxation"):
            setattr(made, name, _floats(np.repeat([getattr(p, name) for p in self.parts], counts)))
        made.axial, made.shear = (wp.zeros(made.count, dtype=wp.vec3) for _ in range(2))
        return made

    def _upload_gases(self) -> Any:
        made, anchors, rows = arrays.Gases(), [], []
        for each, part, first in zip(self.spec.elastics, self.parts, self.first):
            if isinstance(each, Inflatable):
                a, b, c = (part.place[part.triangles[:, k]] - part.place[0] for k in range(3))
                volume = float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)
                anchors.append(first)
                amount = (AMBIENT + each.pressure) * volume
                rows.append((amount, each.pump, each.pump_limit, each.valve, volume, each.pressure))
        made.count = len(rows)
        made.anchor = wp.array(anchors, dtype=wp.int32)
        for name, values in zip(
            ("amount", "source", "limit", "valve", "volume", "pressure"), np.array(rows, float).reshape(-1, 6).T
        ):
            setattr(made, name, _floats(values))
        return made

    def _upload_points(self) -> Any:
        made, parts, firsts = arrays.Points(), self.parts, self.first
        counts = [len(p.parents) for p in parts]
        made.count = sum(counts)
        made.nodes = wp.array(
            np.concatenate([p.parents + f for p, f in zip(parts, firsts)]).reshape(-1), dtype=wp.int32
        )
        made.weights = _floats(np.concatenate([p.weights for p in parts]).reshape(-1))
        # As many as have a weight; they come first.
        used = [np.full(len(p.weights), 8) if len(p.cells) else (p.weights > 0).sum(axis=1) for p in parts]
        made.parents = wp.array(np.concatenate(used), dtype=wp.int32)
        made.mass = _floats(np.concatenate([p.point_mass for p in parts]))
        made.touched = wp.full(made.count, -1, dtype=wp.int32)
        made.skin = _floats(np.repeat([p.skin for p in parts], counts))
        made.owner = wp.array(np.repeat(np.arange(len(parts)), counts), dtype=wp.int32)
        return made

    def _upload_colliders(self) -> Any:
        made = arrays.Colliders()
        solid = [
            (n, part) for n, body in enumerate(self.spec.bodies) if body.solid for part in body.shape.colliders()
        ]
        made.count = len(solid)
        made.kind = wp.array([KINDS.index(part.kind) for _, part in solid], dtype=wp.int32)
        made.size = _vectors(np.array([part.size for _, part in solid]))
        made.body = wp.array([n for n, _ in solid], dtype=wp.int32)
        made.place = _vectors(np.array([part.position for _, part in solid]))
        turns = matrices(np.array([part.rotation for _, part in solid], dtype=float).reshape(-1, 4))
        made.turn = wp.array(turns.astype(np.float32), dtype=wp.mat33)
        pairs = [contact_of(e.material, b.material) for e in self.spec.elastics for b in self.spec.bodies]
        made.friction = _floats([p.friction for p in pairs])
        made.ring = _floats([_ring(p.restitution) for p in pairs])
        return made

    def _upload_bodies(self) -> Any:
        made, count = arrays.Bodies(), len(self.spec.bodies)
        made.count = count
        bodies = self.spec.bodies
        for name in ("place", "middle"):
            setattr(made, name, _vectors(np.array([body.position for body in bodies])))
        for name in ("speed", "spin", "force", "torque"):
            setattr(made, name, wp.zeros(count, dtype=wp.vec3))
        turns = matrices(np.array([body.rotation for body in bodies], dtype=float).reshape(-1, 4))
        made.turn = wp.array(turns.astype(np.float32), dtype=wp.mat33)
        made.push = wp.zeros(count * len(self.spec.elastics), dtype=wp.float32)
        self._poses = {k: getattr(made, k).numpy() for k in ("place", "turn", "middle", "speed", "spin")}
        self._views = {k: getattr(made, k).numpy() for k in ("force", "torque", "push")}
        self._free = np.array([body.free for body in self.spec.bodies])
        return made

    def _upload_folding(self) -> Any:
        """What self-contact needs: a grid, the nodes of cloth that fold, their places at rest, how far to look."""
        which, resting = [], np.zeros((self.first[-1], 3))
        for number, (each, part, first) in enumerate(zip(self.spec.elastics, self.parts, self.first)):
            if isinstance(each, Cloth) and each.self_contact:
                which.append(first + np.arange(len(part.mass)))
                resting[which[-1]] = part.skin_rest + (0.0, 0.0, 10.0 * number)
        if not which:
            return None
        grid = wp.HashGrid(64, 64, 64, device="cpu")
        return grid, wp.array(np.concatenate(which), dtype=wp.int32), _vectors(resting), self._apart + MARGIN


def _ring(restitution: float) -> float:
    """Damping ratio of a spring and damper that bounces by that restitution; not less than 0.2, which the longest
    steps ask for."""
    log = math.log(max(restitution, 0.2))
    return -log / math.hypot(math.pi, log)


def _vectors(values: np.ndarray) -> Any:
    return wp.array(np.ascontiguousarray(values, dtype=np.float32).reshape(-1, 3), dtype=wp.vec3)


def _floats(values: Any) -> Any:
    return wp.array(np.ascontiguousarray(values, dtype=np.float32), dtype=wp.float32)
