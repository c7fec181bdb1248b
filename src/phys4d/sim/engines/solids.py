"""Bodies as arrays that the kernels of media read, kept where the bodies are."""

# Warp's array constructors accept its scalar and vector types; their annotations do not say so.
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from phys4d.sim.device import wp
from phys4d.sim.kernels.primitives import KINDS
from phys4d.sim.kernels.solids import Solids
from phys4d.sim.materials import Material, contact_of
from phys4d.sim.rotations import matrices
from phys4d.sim.scene import Body
from phys4d.sim.shapes import Collider


class SolidArrays:
    """`Solids` of a scene's bodies; held walls, which vanish when the scene begins, come last.

    medium: the material whose contacts with the bodies are asked for.
    """

    def __init__(self, bodies: Sequence[Body], medium: Material, held: Sequence[Collider] = ()) -> None:
        parts = [(k, part) for k, body in enumerate(bodies) if body.solid for part in body.shape.colliders()]
        parts += [(len(bodies), part) for part in held]
        self._local = [part for _, part in parts]
        self._owner = np.array([k for k, _ in parts], dtype=int)
        self._lasting = len(parts) - len(held)
        friction = [contact_of(medium, body.material).friction for body in bodies] + [0.0]
        count = len(parts)
        self.arrays: Any = Solids()
        self.arrays.count = count
        self.arrays.kind = wp.array([KINDS.index(part.kind) for part in self._local], dtype=wp.int32, device="cpu")
        self.arrays.size = wp.array([part.size for part in self._local], dtype=wp.vec3, device="cpu")
        self.arrays.friction = wp.array([friction[k] for k in self._owner], dtype=wp.float32, device="cpu")
        inward = np.arange(count) >= self._lasting
        self.arrays.inward = wp.array(inward.astype(np.int32), dtype=wp.int32, device="cpu")
        self.arrays.owner = wp.array(self._owner.astype(np.int32), dtype=wp.int32, device="cpu")
        self.arrays.position = wp.zeros(count, dtype=wp.vec3, device="cpu")
        self.arrays.rotation = wp.zeros(count, dtype=wp.mat33, device="cpu")
        for name in ("origin", "velocity", "spin"):
            setattr(self.arrays, name, wp.zeros(len(bodies) + 1, dtype=wp.vec3, device="cpu"))
        self._turn = matrices(np.array([part.rotation for part in self._local]).reshape(-1, 4))
        self._place = np.array([part.position for part in self._local], dtype=float).reshape(-1, 3)
        self._moving = np.flatnonzero(np.isin(self._owner, [k for k, body in enumerate(bodies) if body.free]))
        origin = np.array([body.position for body in bodies] + [(0.0, 0.0, 0.0)])
        rotation = matrices(np.array([body.rotation for body in bodies] + [(1.0, 0.0, 0.0, 0.0)]))
        self._put(np.arange(count), origin, rotation)
        self.arrays.origin.numpy()[:] = origin

    def release(self) -> None:
        """Take the walls away that held the medium."""
        self.arrays.count = self._lasting

    def move(self, origin: np.ndarray, rotation: np.ndarray, velocity: np.ndarray, spin: np.ndarray) -> None:
        """Where the bodies are now: (B,3), (B,3,3), (B,3), (B,3) in world axes."""
        count = len(origin)
        self.arrays.origin.numpy()[:count] = origin
        self.arrays.velocity.numpy()[:count] = velocity
        self.arrays.spin.numpy()[:count] = spin
        self._put(self._moving, origin, rotation)

    def _put(self, rows: np.ndarray, origin: np.ndarray, rotation: np.ndarray) -> None:
        turn = rotation[self._owner[rows]]
        place = origin[self._owner[rows]] + np.einsum("cij,cj->ci", turn, self._place[rows])
        self.arrays.position.numpy()[rows] = place
        self.arrays.rotation.numpy()[rows] = np.swapaxes(turn @ self._turn[rows], -1, -2)
