"""A bench for physics: bodies of plain materials, run without a picture, and their recorded state as arrays."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from phys4d.sim.catalog import SCENES
from phys4d.sim.engines import engine_of
from phys4d.sim.materials import Look, Material
from phys4d.sim.scene import Body, Rope, SceneSpec
from phys4d.sim.shapes import Ground

GREY = Look((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
G = 9.81
MEDIA = ("grains", "liquid", "heat", "smoke")
"""Engines of what is not a body: their scenes take seconds, and are tested on coarser grids."""


def material(friction: float = 0.5, restitution: float = 0.5, density: float = 1000.0) -> Material:
    return Material(f"f{friction} e{restitution} d{density}", density, friction, restitution)


def body(name: str, shape, made_of: Material, position, **placed) -> Body:
    return Body(name, shape, made_of, GREY, tuple(position), **placed)


def floor(made_of: Material) -> Body:
    return body("floor", Ground(), made_of, (0, 0, 0), free=False)


@dataclasses.dataclass
class Run:
    """Recorded state: dicts of (T, 3|4) arrays by body, energy (T,), momentum (T, 3), and times (T,) [s].

    coordinate: (T,) by jointed body; nodes: (T, N+1, 3) by rope; contacts: as the state has them.
    """

    position: dict[str, np.ndarray]
    velocity: dict[str, np.ndarray]
    spin: dict[str, np.ndarray]
    rotation: dict[str, np.ndarray]
    mass: dict[str, float]
    energy: np.ndarray
    momentum: np.ndarray
    time: np.ndarray
    coordinate: dict[str, np.ndarray]
    nodes: dict[str, np.ndarray]
    contacts: list[dict[str, Any]]
    work: np.ndarray


def run(bodies: list[Body], seconds: float, fps: float, gravity: float = G, ropes: tuple[Rope, ...] = ()) -> Run:
    spec = SceneSpec(
        "bench", "rigid", "mujoco", "", tuple(bodies), (), gravity=(0.0, 0.0, -gravity), ropes=tuple(ropes)
    )
    frames = round(seconds * fps) + 1
    state = engine_of("mujoco")(spec, frames, fps).state

    def series(key: str) -> dict[str, np.ndarray]:
        return {name: np.array(entry[key]) for name, entry in state["bodies"].items()}

    return Run(
        series("position"),
        series("velocity"),
        series("spin"),
        series("rotation"),
        {name: entry["mass"] for name, entry in state["bodies"].items()},
        np.array(state["energy"]),
        np.array(state["momentum"]),
        np.arange(frames) / fps,
        {
            name: np.array(entry["joint"]["coordinate"])
            for name, entry in state["bodies"].items()
            if "coordinate" in entry.get("joint", {})
        },
        {name: np.array(entry["position"]) for name, entry in state.get("ropes", {}).items()},
        state["contacts"],
        np.array(state.get("work", np.zeros(frames))),
    )


def frames_of(name: str) -> tuple[int, float]:
    """How many frames of a row to look at, and how many a second: of elastic bodies, which take long, always the
    same, so that they run once."""
    return (17, 24.0) if SCENES[name].engine == "elastic" else (17, 12.0)
