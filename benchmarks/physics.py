"""The simulator against textbook answers, one line each.

    python benchmarks/physics.py

Prints what mechanics says, what the simulator gives, and the error: first MuJoCo with phys4d's contacts, then
elastic bodies (`elastic.py`), then grains, liquids, heat and smoke (`media.py`).
"""

from __future__ import annotations

import math
from typing import Any

import elastic
import media
import numpy as np
from scipy.optimize import brentq
from scipy.special import ellipk, j0, jn_zeros

from phys4d.sim.engines import engine_of
from phys4d.sim.materials import Look, Material
from phys4d.sim.scene import Body, Joint, Rope, SceneSpec
from phys4d.sim.shapes import Box, Cylinder, Ground, Sphere, about_axis, multiply

G = 9.81
GREY = Look((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def material(friction: float, restitution: float) -> Material:
    return Material(f"{friction} {restitution}", 1000.0, friction, restitution)


def run(
    bodies: list[Body], frames: int, fps: float, gravity: float = G, ropes: tuple[Rope, ...] = ()
) -> dict[str, Any]:
    pull = (0.0, 0.0, -gravity)
    spec = SceneSpec("bench", "rigid", "mujoco", "", tuple(bodies), (), gravity=pull, ropes=ropes)
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


def throw() -> tuple[float, float]:
    """Width of a throw of 4 m/s at 60 degrees [m]."""
    up, along = 4 * math.sin(math.pi / 3), 4 * math.cos(math.pi / 3)
    ball = Body("ball", Sphere(0.1), material(0.5, 0.5), GREY, (0, 0, 5), velocity=(along, 0, up))
    path = np.array(run([ball], 121, 120)["bodies"]["ball"]["position"])
    back = int(np.flatnonzero(path[:, 2] > 5)[-1])
    share = (path[back, 2] - 5) / (path[back, 2] - path[back + 1, 2])
    return 2 * along * up / G, float(path[back, 0] + share * (path[back + 1, 0] - path[back, 0]))


def rod(name: str, top: float, length: float, joint: Joint) -> Body:
    shape = Box((0.04, 0.04, length))
    return Body(name, shape, material(0.5, 0.5), GREY, (0, 0, top - length / 2), joint=joint)


def swing(degrees: float) -> tuple[float, float]:
    """Period of a rod of 0.8 m that swings about its end [s]."""
    start, length = math.radians(degrees), 0.8
    state = run([rod("rod", 3, length, Joint("hinge", (0, 0, 3), start=start))], 401, 100)
    inertia = (length**2 + 0.04**2) / 12 + length**2 / 4
    expected = 4 * math.sqrt(inertia / (G * length / 2)) * ellipk(math.sin(start / 2) ** 2)
    return float(expected), period(np.array(state["bodies"]["rod"]["joint"]["coordinate"]), 100)


def period(series: np.ndarray, fps: float) -> float:
    crossings = np.flatnonzero(series[:-1] * series[1:] < 0)
    moments = crossings + series[crossings] / (series[crossings] - series[crossings + 1])
    return float(2 * np.diff(moments).mean() / fps)


def double_pendulum() -> tuple[float, float]:
    """Energy above rest of a chaotic double pendulum, at first and after 5 s [J]."""
    upper = rod("upper", 3, 0.5, Joint("hinge", (0, 0, 3), start=2.0))
    lower = rod("lower", 2.5, 0.5, Joint("hinge", (0, 0, 2.5), parent="upper", start=1.0))
    state = run([upper, lower], 51, 10)
    rest = state["bodies"]["upper"]["mass"] * G * (2.75 + 2.25)
    return state["energy"][0] - rest, state["energy"][-1] - rest


def precession(spin: float) -> tuple[float, float]:
    """How fast a top precesses, begun steadily: I1 W^2 cos(theta) - I3 w W + m g l = 0 [rad/s]."""
    radius, thick, arm, lean = 0.12, 0.03, 0.15, math.radians(25)
    mass = 1000 * math.pi * radius**2 * thick
    axial, across = mass * radius**2 / 2, mass * ((3 * radius**2 + thick**2) / 12 + arm**2)
    a, b, c = across * math.cos(lean), -axial * spin, mass * G * arm
    slow = (-b - math.sqrt(b**2 - 4 * a * c)) / (2 * a)
    own = spin - slow * math.cos(lean)
    turning = (own * math.sin(lean), 0.0, own * math.cos(lean) + slow)
    hold = Joint("ball", (0, 0, 1), start=lean)
    top = Body("top", Cylinder(radius, thick), material(0, 0), GREY, (0, 0, 1 + arm), spin=turning, joint=hold)
    place = np.array(run([top], 51, 50)["bodies"]["top"]["position"])
    angle = np.unwrap(np.arctan2(place[:, 1], place[:, 0]))
    return slow, float(angle[-1] - angle[0])


def rope(path: np.ndarray, damping: float, end: str | None = None) -> Rope:
    nodes = tuple((float(x), float(y), float(z)) for x, y, z in path)
    return Rope("rope", nodes, 0.01, material(0.5, 0.1), GREY, 1e-5, damping, start="world", end=end)


def chain() -> tuple[float, float]:
    """Period of a hanging chain of 1.2 m: its lowest mode is J0 up to its first zero [s]."""
    length, count, zero = 1.2, 24, float(jn_zeros(0, 1)[0])
    below = length - np.linspace(0, length, count + 1)
    aside = 0.04 * j0(zero * np.sqrt(below / length))
    down = np.sqrt((length / count) ** 2 - np.diff(aside) ** 2)
    path = np.column_stack([aside, 0 * aside, 3 - np.concatenate([[0], np.cumsum(down)])])
    nodes = np.array(run([], 251, 100, ropes=(rope(path, 1e-6),))["ropes"]["rope"]["position"])
    return 4 * math.pi / zero * math.sqrt(length / G), period(nodes[:, -1, 0], 100)


def catenary() -> tuple[float, float]:
    """Sag of a rope of 1.5 m between two points 1 m apart, begun as a V and left to settle [m]."""
    a: Any = brentq(lambda a: 2 * a * math.sinh(0.5 / a) - 1.5, 0.05, 50)
    low = np.array([0.5, 0, 3 - math.sqrt(0.75**2 - 0.5**2)])
    half = np.linspace(0, 1, 13)[:, None]
    left, right = np.array([0.0, 0, 3]), np.array([1.0, 0, 3])
    path = np.concatenate([(1 - half) * left + half * low, (1 - half[1:]) * low + half[1:] * right])
    nodes = np.array(run([], 61, 10, ropes=(rope(path, 4e-3, end="world"),))["ropes"]["rope"]["position"])
    return a * math.cosh(0.5 / a) - a, 3 - float(nodes[-1, :, 2].min())


def main() -> None:
    sine, cosine = math.sin(math.radians(30)), math.cos(math.radians(30))
    rough = material(0.9, 0.2)
    rows: list[tuple[str, float, float]] = [("free fall in 1 s [m]", *fall())]
    rows.append(("width of a throw, 4 m/s at 60 degrees [m]", *throw()))
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
    rows += [(f"period of a swinging rod, {d} degrees [s]", *swing(d)) for d in (5, 60, 120)]
    rows.append(("energy of a double pendulum after 5 s [J]", *double_pendulum()))
    rows += [(f"precession of a top, {w} rad/s [rad/s]", *precession(w)) for w in (60, 120)]
    rows += [("period of a hanging chain [s]", *chain()), ("sag of a catenary [m]", *catenary())]
    rows += elastic.rows()
    rows += media.lines()
    print(f"{'':52}{'textbook':>10}{'simulated':>11}{'error':>9}")
    for what, expected, found in rows:
        print(f"{what:52}{expected:10.4f}{found:11.4f}{100 * (found / expected - 1):8.2f}%")


if __name__ == "__main__":
    main()
