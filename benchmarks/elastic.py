"""Cloth, solids and inflatables against textbook answers: measured here, printed by physics.py."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.integrate import solve_bvp

from phys4d.sim.elastics import Cloth, Elastic, Hold, Inflatable, Solid
from phys4d.sim.engines import engine_of
from phys4d.sim.engines.elastic.system import System
from phys4d.sim.hulls import BallHull, RoundedBox
from phys4d.sim.materials import Look, Material
from phys4d.sim.motion import Surface
from phys4d.sim.scene import Body, Joint, SceneSpec
from phys4d.sim.shapes import Box, Ground, Vector

G, FPS = 9.81, 12.0
GREY = Look((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def material(density: float, friction: float = 0.0) -> Material:
    return Material(f"{density} {friction}", density, friction, 0.0)


FLOOR = Body("floor", Ground(), material(1000.0), GREY, free=False)


def scene(elastics: tuple[Elastic, ...], bodies: tuple[Body, ...] = (), gravity: Vector = (0, 0, -G)) -> SceneSpec:
    return SceneSpec("bench", "elastic", "elastic", "", (FLOOR, *bodies), (), gravity=gravity, elastics=elastics)


def strip(length: float, heavy: float, bending: float, *, upright: bool = False) -> Cloth:
    """A strip of cloth held at one end; heavy: mass of an area [kg/m^2]."""
    # A node bends for half a step on either side: the edge of the table is between two rows.
    step = length / (20 if upright else 12.5)
    rows, columns = (21, 5) if upright else (15, 5)
    x, y = np.meshgrid(
        step * (np.arange(rows) - (0 if upright else 1.5)), step * np.arange(columns), indexing="ij"
    )
    places = np.stack([0 * x, y, 2 - x] if upright else [x, y, 0 * x + 2], axis=-1)
    start = tuple((float(a), float(b), float(c)) for a, b, c in places.reshape(-1, 3))
    held = Hold(tuple(range(columns * (1 if upright else 3))))
    stiff = heavy * 30.0**2
    return Cloth(
        "strip", (rows, columns), step, start, heavy / 500, material(500.0), GREY,
        stretch=stiff, shear=0.3 * stiff, bending=bending, holds=(held,),
    )  # fmt: skip


def droop(bending: float, heavy: float = 0.2, length: float = 0.2) -> tuple[float, float]:
    """Angle of the chord of a strip that stands out from a table [degrees], against the heavy elastica."""
    way = np.linspace(0, length, 400)
    shape: Any = np.zeros((2, 400))
    # The weight is put on little by little, or the equation finds other shapes too.
    for share in np.linspace(0.05, 1, 20):
        pull = share * heavy * G / bending

        def slopes(s: np.ndarray, y: np.ndarray, pull: float = pull) -> np.ndarray:
            return np.stack([y[1], pull * (length - s) * np.cos(y[0])])

        shape = solve_bvp(slopes, lambda a, b: np.array([a[0], b[1]]), way, shape).sol(way)
    expected = math.degrees(math.atan2(np.trapezoid(np.sin(-shape[0]), way), np.trapezoid(np.cos(shape[0]), way)))
    system = System(scene((strip(length, heavy, bending),)), FPS)
    system.relax(3.0, 6.0)
    x, _, z = system.nodes(0)[0].reshape(15, 5, 3)[-1].mean(0)
    return expected, math.degrees(math.atan2(2 - z, x))


def hanging() -> tuple[float, float]:
    """By how much a strip of 0.8 m that hangs is longer than at rest [mm]."""
    cloth = strip(0.8, 0.2, 1e-5, upright=True)
    system = System(scene((cloth,)), FPS)
    system.relax(2.0, 8.0)
    z = system.nodes(0)[0].reshape(21, 5, 3)[..., 2].mean(1)
    # Half of it hangs on the mean thread; across it is free, so a hundredth of the stiffness is lost.
    return 1000 * 0.2 * G * 0.8**2 / 2 / (0.99 * cloth.stretch), 1000 * (z[0] - z[-1] - 0.8)


def block(size: Vector, young: float, poisson: float, density: float, cell: float, **settings: Any) -> Solid:
    shape = RoundedBox(size, 1e-4, cell)
    place = (0.0, 0.0, size[2] / 2)
    return Solid("block", shape, material(density), GREY, young, poisson, cell, position=place, **settings)


def sag() -> tuple[float, float]:
    """By how much a cube of 0.3 m is lower for its own weight [mm]."""
    cube = block((0.3, 0.3, 0.3), 4e4, 0.3, 500.0, 0.03)
    system = System(scene((cube,)), FPS)
    system.relax(2.0, 10.0)
    height = tall(system.skin(0), system.parts[0].skin_rest)
    return 1000 * 500 * G * 0.3**2 / 2 / 4e4, 1000 * (0.3 - height)


def tall(skin: np.ndarray, rest: np.ndarray) -> float:
    """Mean height of the top above the bottom [m]."""
    return float(
        skin[rest[:, 2] > rest[:, 2].max() - 1e-3, 2].mean() - skin[rest[:, 2] < rest[:, 2].min() + 1e-3, 2].mean()
    )


def pressed(poisson: float) -> list[tuple[str, float, float]]:
    """A cube of 0.3 m under a plate of 3 kg: how much lower, and how much smaller."""
    young, load = 4e4, 3.0
    cube = block((0.3, 0.3, 0.3), young, poisson, 100.0, 0.03, loss=1.0)
    hold = Joint("slide", (0, 0, 0.32), axis=(0, 0, 1))
    density = load / (0.4 * 0.4 * 0.02)
    plate = Body("plate", Box((0.4, 0.4, 0.02)), material(density), GREY, (0, 0, 0.311), joint=hold)
    motion = engine_of("elastic")(scene((cube,), (plate,)), 49, 12.0)
    volume = np.array(motion.state["elastics"]["block"]["volume"])
    seen = motion.surfaces[-1]
    assert isinstance(seen, Surface)
    height = np.array([tall(vertices, seen.rest) for vertices in seen.vertices])
    strain = load * G / (0.09 * young)
    own = 100 * G * 0.3 / 2 / young
    whole = strain + own
    shrunk = 1 - (1 - whole) * (1 + poisson * whole) ** 2
    return [
        (
            f"cube under 3 kg, lower by, nu = {poisson} [mm]",
            300 * (strain + own),
            1000 * (0.3 - height[-12:].mean()),
        ),
        (
            f"cube under 3 kg, smaller by, nu = {poisson} [%]",
            100 * shrunk,
            100 * (1 - volume[-12:].mean() / 0.027),
        ),
    ]


def bar(gravity: Vector) -> np.ndarray:
    """(T,3) path of the middle of a bar of 0.08 x 0.08 x 0.4 m on a foot, let go, 100 frames a second [m]."""
    foot = Body("foot", Box((0.2, 0.2, 0.1)), material(1000.0), GREY, (0, 0, -0.05), free=False)
    made = block((0.08, 0.08, 0.4), 1e5, 0.3, 1000.0, 0.02, glued="foot")
    state = engine_of("elastic")(scene((made,), (foot,), gravity), 201, 100.0).state
    return np.array(state["elastics"]["block"]["position"])


def period(series: np.ndarray, fps: float) -> float:
    """Mean period of a swing about its own middle [s]."""
    level = series - (series.max() + series.min()) / 2
    rise = np.flatnonzero((level[:-1] < 0) & (level[1:] >= 0))
    moments = rise + level[rise] / (level[rise] - level[rise + 1])
    return float(np.diff(moments).mean() / fps)


def swings() -> list[tuple[str, float, float]]:
    speed, length, radius = math.sqrt(1e5 / 1000), 0.4, 0.08 / math.sqrt(12)
    along = period(bar((0, 0, -G))[:, 2], 100)
    across = period(bar((0.5, 0, 0))[:, 0], 100)
    # Euler and Bernoulli's beam, its first mode with Timoshenko's correction for shear and turning.
    first = 3.516 * speed * radius / length**2
    softer = 1 + (1 + 2 * 1.3 / (5 / 6)) * (radius * 1.8751 / length) ** 2 * 0.9
    return [
        ("period of a bar along itself [s]", 4 * length / speed, along),
        ("period of a bar across itself [s]", 2 * math.pi / first * math.sqrt(softer), across),
    ]


def ball(pressure: float, radius: float, **settings: Any) -> Inflatable:
    shape = BallHull(radius, 0.016)
    return Inflatable(
        "ball", shape, material(1100.0), GREY, 1e-3, 2e6, pressure, position=(0, 0, radius + 0.01), **settings
    )


def laplace() -> tuple[float, float]:
    """Pressure of a rubber ball by its tension, 2 T / R [Pa]."""
    system = System(scene((ball(4000.0, 0.15),), gravity=(0, 0, 0)), FPS)
    place = system.nodes(0)[0]
    radius = np.linalg.norm(place - place.mean(0), axis=1).mean()
    part = system.parts[0]
    tension = (part.stiffness[0] + part.stiffness[2]) * ((radius / 0.15) ** 2 - 1) / 2
    return 2 * tension / radius, float(system.pressure[0])


def weighed() -> list[tuple[str, float, float]]:
    """A ball of 0.2 m at 3 kPa under a plate: where it is flat, and what becomes of p V."""
    load, made = 6.0, ball(3000.0, 0.2)
    top = 0.52
    plate = Body(
        "plate", Box((0.5, 0.5, 0.03)), material(load / (0.25 * 0.03)), GREY, (0, 0, top),
        joint=Joint("slide", (0, 0, top), axis=(0, 0, 1), damping=40.0),
    )  # fmt: skip
    state = engine_of("elastic")(scene((made,), (plate,)), 37, 12.0).state["elastics"]["ball"]
    pressure, volume = np.array(state["pressure"]), np.array(state["volume"])
    touch = state["touching"]["plate"]
    force, area = (float(np.mean(touch[key][-12:])) for key in ("force", "area"))
    # The volume is that of the mesh that is seen; p was computed by the engine from its own.
    amount = (101325 + pressure) * volume
    return [
        ("area on which a ball carries 6 kg [cm2]", 1e4 * force / pressure[-12:].mean(), 1e4 * area),
        ("p V of a ball that is pressed [J]", amount[0], amount[-12:].mean()),
        ("force of the ball on the plate [N]", load * G, force),
    ]


def rows() -> list[tuple[str, float, float]]:
    made = [(f"droop of a strip of cloth, D = {d:.0e} N m [degrees]", *droop(d)) for d in (1e-3, 3e-4, 1e-4)]
    made += [("longer for its own weight, cloth [mm]", *hanging()), ("sag of a cube [mm]", *sag())]
    for poisson in (0.2, 0.45):
        made += pressed(poisson)
    return [*made, *swings(), ("Laplace's pressure of a ball [Pa]", *laplace()), *weighed()]


if __name__ == "__main__":
    for what, expected, found in rows():
        print(f"{what:52}{expected:10.4f}{found:11.4f}{100 * (found / expected - 1):8.2f}%", flush=True)
