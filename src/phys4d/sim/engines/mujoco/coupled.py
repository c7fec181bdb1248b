"""Rigid bodies that share a scene with a medium: MuJoCo moves them under the forces that the medium hands over."""

# MuJoCo ships no types for what its C library holds.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from phys4d.errors import ExplodedError
from phys4d.sim.engines import mujoco as engine
from phys4d.sim.engines.mujoco.contact import Touches
from phys4d.sim.engines.mujoco.model import build
from phys4d.sim.engines.mujoco.soundness import check_places
from phys4d.sim.engines.mujoco.surfaces import surfaces_of
from phys4d.sim.motion import Spheres, Surface
from phys4d.sim.scene import SceneSpec


class RigidPart:
    """The bodies of a scene, stepped by whoever moves the medium.

    mass: (B,) [kg]; inertia: (B,3,3) about the centres of mass in world axes as the scene begins [kg m^2];
    moves: whether any of them can. All others are by body: positions of the bodies' origins, and velocities there.
    """

    def __init__(self, spec: SceneSpec, timestep: float) -> None:
        self.spec, self.timestep = spec, timestep
        self.model = build(spec, timestep)
        self._rows = np.array(self.model.bodies, dtype=int)
        self.data = self.model.start(spec)
        mujoco.mj_forward(self.model.compiled, self.data)
        self.moves = any(body.free for body in spec.bodies)
        self.mass = self.model.compiled.body_mass[self._rows].copy()
        self._touches = Touches(self.model.names, self.model.owner, timestep)
        self._record: dict[str, list] = {
            key: []
            for key in ("position", "rotation", "velocity", "spin", "energy", "momentum", "coordinate", "rate")
        }
        self._record |= {"ropes": [], "work": []}
        self._work = 0.0

    @property
    def origin(self) -> np.ndarray:
        return self.data.xpos[self._rows]

    @property
    def rotation(self) -> np.ndarray:
        return self.data.xmat[self._rows].reshape(-1, 3, 3)

    @property
    def centre(self) -> np.ndarray:
        """(B,3) centres of mass [m]."""
        return self.data.xipos[self._rows]

    def inverse_inertia(self) -> np.ndarray:
        """(B,3,3) about the centres of mass, world axes [1/(kg m^2)]; 0 for what does not move freely."""
        turn = self.data.ximat[self._rows].reshape(-1, 3, 3)
        moment = self.model.compiled.body_inertia[self._rows]
        free = np.array([body.free and body.joint is None for body in self.spec.bodies])
        inverse = np.where(free[:, None], 1 / np.maximum(moment, 1e-12), 0.0)
        return np.einsum("bij,bj,bkj->bik", turn, inverse, turn)

    def motion(self) -> tuple[np.ndarray, np.ndarray]:
        """(B,3) velocities of the bodies' origins [m/s] and spins [rad/s], world axes."""
        both = np.zeros((len(self._rows), 6))
        for row, body in enumerate(self.spec.bodies):
            if body.free:
                mujoco.mj_objectVelocity(
                    self.model.compiled, self.data, mujoco.mjtObj.mjOBJ_XBODY, self._rows[row], both[row], 0
                )
        return both[:, 3:], both[:, :3]

    def advance(self, force: np.ndarray, torque: np.ndarray, steps: int = 1) -> None:
        """Take steps under forces [N] and torques about the bodies' origins [N m], (B,3) in world axes."""
        if not self.moves:
            self.data.time += steps * self.timestep
            return
        if not np.isfinite(force).all() or not np.isfinite(torque).all():
            raise ExplodedError(f"scene {self.spec.name} exploded: the medium pushes a body without bounds")
        about = torque - np.cross(self.centre - self.origin, force)
        self.data.xfrc_applied[self._rows] = np.concatenate([force, about], axis=1)
        before = self.model.power(self.data)
        mujoco.mj_step(self.model.compiled, self.data, nstep=steps)
        # Positions and axes of the new moment: a step leaves those of the old one.
        mujoco.mj_kinematics(self.model.compiled, self.data)
        mujoco.mj_comPos(self.model.compiled, self.data)
        self._work += (before + self.model.power(self.data)) / 2 * self.timestep * steps
        self._touches.sample(self.data)

    def note(self) -> None:
        """Record this frame."""
        mujoco.mj_energyPos(self.model.compiled, self.data)
        mujoco.mj_energyVel(self.model.compiled, self.data)
        engine.record_frame(self._record, self.model, self.data, self.spec)
        self._record["work"].append(self._work)

    def surfaces(self) -> list[Surface | Spheres]:
        return surfaces_of(self.spec, self._record)

    def state(self, fps: float) -> dict[str, Any]:
        """As of a scene without media. Raises ExplodedError where a body is not to be believed."""
        position = np.array(self._record["position"])
        if not np.isfinite(position).all():
            raise ExplodedError(f"scene {self.spec.name} exploded: a body is nowhere")
        check_places(self.spec, position, fps)
        return engine.state_of(self.spec, self.model, self._record, self._touches)
