"""The simulator against textbook answers, one line each.

    python benchmarks/physics.py

Prints what mechanics says, what MuJoCo with phys4d's contacts gives, and the error.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from phys4d.sim.engines import engine_of
from phys4d.sim.scene import Body, Look, Material, SceneSpec
from phys4d.sim.shapes import Box, Cylinder, Ground, Sphere, about_axis, multiply

G = 9.81
GREY = Look((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def material(friction: float, restitution: float) -> Material:
    return Material(f"{friction} {restitution}", 1000.0, friction, restitution)


def run(bodies: list[Body], frames: int, fps: float, gravity: float = G) -> dict[str, Any]:
    spec = SceneSpec("bench", "rigid", "mujoco", "", tuple(bodies), (), gravity=(0.0, 0.0, -gravity))
    return engine_of("mujoco")(spec, frames, fps).state


def floor(made_of: Material) -> Body:
    return Body("floor", Ground(), made_of, GREY, free=False)


def fall() -> tuple[float, float]:
    state = run([Body("ball", Sphere(0.1), material(0.5, 0.5), GREY, (0.0, 0.0, 9.0))], 13, 12)
    return G / 2, 9 - state["bodies"]["ball"]["position"][-1][2]


def rebound(restitution: float) -> tuple[float, float]:
    made_of, shares = material(0.5, restitution), []
    for height in np.linspace(0.5, 1.5, 17):
        frames = int((math.sqrt(2 * height / G) + 0.03) * 100) + 1
        ball = Body("ball", Sphere(0.15), made_of, GREY, (0.0, 0.0, float(height) + 0.15))
        state = run([floor(made_of), ball], frames, 100)["bodies"]["ball"]
        z, v = state["position"][-1][2] - 0.15, state["velocity"][-1][2]
        shares.append((z + v**2 / (2 * G)) / height)
    return restitution**2, float(np.mean(shares))


def slope(shape: Sphere | Box | Cylinder, half: float, degrees: float, made_of: Material, upright: bool) -> float:
    """Way travelled down a slope in one second from rest [m]."""
    angle = math.radians(degrees)
    lean = about_axis((0, 1, 0), angle)
    plank = Body("plank", Box((8, 2, 0.2)), made_of, GREY, (0, 0, 3), lean, free=False)
    along, up = (-3 * math.cos(angle), 3 * math.sin(angle)), 0.1 + half
    place = (along[0] + up * math.sin(angle), 0.0, 3 + along[1] + up * math.cos(angle))
    turn = lean if upright else multiply(lean, about_axis((1, 0, 0), math.pi / 2))
    state = run([plank, Body("thing", shape, made_of, GREY, place, turn)], 13, 12)
    way = np.array(state["bodies"]["thing"]["position"])
    return float(np.linalg.norm(way[-1] - way[0]))


def collision() -> list[tuple[str, float, float]]:
    smooth = material(0.0, 0.8)
    a = Body("a", Sphere(0.1), smooth, GREY, (-1, 0, 0), velocity=(3, 0, 0))
    state = run([a, Body("b", Sphere(0.14), smooth, GREY, (0, 0, 0))], 13, 12, gravity=0)
    m1, m2 = (state["bodies"][k]["mass"] for k in "ab")
    after = [state["bodies"][k]["velocity"][-1][0] for k in "ab"]
    return [
        ("momentum after a collision [kg m/s]", state["momentum"][0][0], state["momentum"][-1][0]),
        ("speed of the struck ball [m/s]", 1.8 * m1 / (m1 + m2) * 3, after[1]),
    ]


def threshold(friction: float) -> tuple[float, float]:
    """The slope at which a block starts to slide [degrees], by bisection."""
    low, high = 5.0, 60.0
    while high - low > 0.05:
        middle = (low + high) / 2
        slid = slope(Box((0.3, 0.3, 0.2)), 0.1, middle, material(friction, 0.1), True) > 0.01
        low, high = (low, middle) if slid else (middle, high)
    return math.degrees(math.atan(friction)), (low + high) / 2


def main() -> None:
    sine, cosine = math.sin(math.radians(30)), math.cos(math.radians(30))
    rough = material(0.9, 0.2)
    rows: list[tuple[str, float, float]] = [("free fall in 1 s [m]", *fall())]
    rows += [(f"height after a bounce, e = {e} [share]", *rebound(e)) for e in (0.3, 0.5, 0.7, 0.9)]
    rows.append(
        ("sphere rolling down 30 degrees, 1 s [m]", 5 / 14 * G * sine, slope(Sphere(0.1), 0.1, 30, rough, True))
    )
    rows.append(
        (
            "cylinder rolling down 30 degrees, 1 s [m]",
            G * sine / 3,
            slope(Cylinder(0.1, 0.4), 0.1, 30, rough, False),
        )
    )
    for mu in (0.2, 0.4):
        way = slope(Box((0.3, 0.3, 0.2)), 0.1, 30, material(mu, 0.1), True)
        rows.append((f"block sliding down 30 degrees, mu = {mu}, 1 s [m]", G / 2 * (sine - mu * cosine), way))
    rows += [(f"slope at which it slides, mu = {mu} [degrees]", *threshold(mu)) for mu in (0.3, 0.6)]
    rows += collision()
    print(f"{'':52}{'textbook':>10}{'simulated':>11}{'error':>9}")
    for what, expected, found in rows:
        print(f"{what:52}{expected:10.4f}{found:11.4f}{100 * (found / expected - 1):8.2f}%")


if __name__ == "__main__":
    main()
