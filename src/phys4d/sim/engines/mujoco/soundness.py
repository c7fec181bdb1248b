"""Tells a scene that has exploded: numbers that are none, energy from nowhere, things that have flown away."""

# MuJoCo ships no types for what its C library holds.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np

from phys4d.errors import ExplodedError
from phys4d.sim.engines.mujoco.model import Model
from phys4d.sim.scene import SceneSpec
from phys4d.sim.shapes import Ground

REACH = (10.0, 10.0)
"""How far a body may be from where it began after t seconds: a + b t [m, m/s]; scenes are a few metres wide."""
DEPTH = 0.5
"""How far the centre of a body may be below the ground [m]."""

_BAD = ("mjWARN_BADQPOS", "mjWARN_BADQVEL", "mjWARN_BADQACC", "mjWARN_CONTACTFULL", "mjWARN_CNSTRFULL")


def check(spec: SceneSpec, model: Model, data: Any, record: Mapping[str, np.ndarray], fps: float) -> None:
    """Raise ExplodedError where a run is not to be believed.

    record: energy (T,) and work of motors so far (T,) [J], position (T,B,3) of the spec's bodies [m].
    """
    # MuJoCo starts a scene anew when it meets a NaN, and only counts that.
    for name in _BAD:
        count = data.warning[getattr(mujoco.mjtWarning, name)].number
        if count:
            raise ExplodedError(f"scene {spec.name} exploded: MuJoCo warns {count} times of {name[7:]}")
    check_energy(spec, record["energy"] - record["work"])
    check_places(spec, record["position"], fps)


def check_energy(spec: SceneSpec, energy: np.ndarray, brought: float = 0.0) -> None:
    """A scene only loses energy, but for what its motors bring in, which is taken off here; brought: how much that
    was [J], of which a share is lost count of."""
    gain, change = energy.max() - energy[0], energy.max() - energy.min()
    if not np.isfinite(energy).all() or gain > 0.05 * change + 0.01 * (abs(energy[0]) + brought) + 1e-3:
        raise ExplodedError(
            f"scene {spec.name} exploded: its energy rose from {energy[0]:.4g} to {energy.max():.4g} J"
        )


def check_places(spec: SceneSpec, position: np.ndarray, fps: float) -> None:
    """Nothing flies far out of the picture or falls through the ground."""
    far = np.linalg.norm(position - position[:1], axis=-1)
    allowed = REACH[0] + REACH[1] * np.arange(len(position)) / fps
    grounded = any(isinstance(body.shape, Ground) for body in spec.bodies)
    for row, body in enumerate(spec.bodies):
        if not (far[:, row] <= allowed).all():
            raise ExplodedError(f"scene {spec.name} exploded: {body.name} flew {far[:, row].max():.4g} m away")
        if grounded and body.free and body.solid and position[:, row, 2].min() < -DEPTH:
            raise ExplodedError(f"scene {spec.name} exploded: {body.name} fell through the ground")
