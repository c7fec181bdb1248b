"""Articulated rows: pendulums, doors, drawers, see-saws, cranes, tops, and what motors turn."""

from __future__ import annotations

import dataclasses
import functools
import math

from phys4d.sim import catalog
from phys4d.sim.catalog import Layout
from phys4d.sim.catalog.placing import from_side, moved, radius_of
from phys4d.sim.dressing import MATERIALS, Draw
from phys4d.sim.materials import Look
from phys4d.sim.objects import Compound, Part, Smiley, Wire, open_box, teapot, top
from phys4d.sim.scene import Body, Joint, Motor, Viewpoints
from phys4d.sim.shapes import Box, Cylinder, Sphere, Vector, about_axis, multiply

scene = functools.partial(catalog.scene, category="articulated")

LYING = about_axis((1, 0, 0), math.pi / 2)
"""Takes z to -y: a cylinder whose axis is y."""


@scene("pendulum", "A {bob} ball on a rod of {length:.1f} m is let go at {angle:.0f} degrees and swings.")
def pendulum(draw: Draw) -> Layout:
    length, angle, side = draw.uniform(0.7, 1.1), draw.uniform(25, 75), draw.sign()
    height = length + draw.uniform(0.3, 0.45)
    bob = draw.ball("bob", (0.13, 0.19), ("steel", "wooden", "stone", "plastic"))
    swing = Joint("hinge", (0, 0, height), parent="stand", start=side * math.radians(angle), damping=0.01)
    bob = _hung(bob, (0, 0, height), length, swing)
    return Layout(
        (gallows(draw, height), bob), {"bob": bob.material.name, "length": length, "angle": angle}, from_side()
    )


@scene("double_pendulum", "A double pendulum of {stuff} bars is let go at {first:.0f} and {second:.0f} degrees.")
def double_pendulum(draw: Draw) -> Layout:
    upper, lower, side = draw.uniform(0.45, 0.6), draw.uniform(0.35, 0.5), draw.sign()
    first, second, stuff = (
        draw.uniform(70, 130),
        draw.uniform(-40, 80),
        draw.choice(("wooden", "steel", "plastic")),
    )
    height = upper + lower + draw.uniform(0.25, 0.4)
    bars, at, parent = [], height, "stand"
    for k, (name, length, angle) in enumerate((("upper", upper, first), ("lower", lower, second))):
        # One before the other, so that they pass.
        bar = draw.shaped(
            name, Box((0.07, 0.04, length + 0.08)), stuff, 0.4, position=(0, -0.05 * k, at - length / 2)
        )
        swing = Joint("hinge", (0, 0, at), parent=parent, start=side * math.radians(angle), damping=0.002)
        bars.append(dataclasses.replace(bar, joint=swing))
        at, parent = at - length, name
    facts = {"stuff": stuff, "first": first, "second": second, "lengths": [upper, lower]}
    return Layout((gallows(draw, height), *bars), facts, from_side())


@scene(
    "newtons_cradle", "Newton's cradle of {count} polished steel balls; {raised} raised by {angle:.0f} degrees."
)
def newtons_cradle(draw: Draw) -> Layout:
    count, raised, side = draw.choice((4, 5)), draw.choice((1, 2)), draw.sign()
    r, length, angle = draw.uniform(0.08, 0.11), draw.uniform(0.55, 0.75), draw.uniform(30, 50)
    height, half = length + r + draw.uniform(0.1, 0.2), 2.2 * r
    pitch = 2 * r + 0.004
    balls = []
    for k in range(count):
        x = side * (k - (count - 1) / 2) * pitch
        strings = [Part(Wire(((0, 0, 0.9 * r), (0, s * half, length)), 0.012), solid=False) for s in (-1.0, 1.0)]
        ball = draw.shaped(
            f"ball{k}",
            Compound((Part(Sphere(r)), *strings)),
            "polished steel",
            2.2 * r,
            position=(x, 0, height - length),
        )
        start = side * math.radians(angle) if k < raised else 0.0
        swing = Joint("hinge", (x, 0, height), parent="frame", start=start)
        balls.append(dataclasses.replace(ball, joint=swing))
    wide = count * pitch / 2 + 0.1
    posts = [
        Part(Box((0.05, 0.05, height)), (sx * wide, sy * half, height / 2 - 0.0))
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    beams = [Part(Box((2 * wide + 0.05, 0.05, 0.05)), (0.0, s * half, height + 0.025)) for s in (-1, 1)]
    frame = draw.shaped("frame", Compound((*posts, *beams)), "wooden", 0.5, free=False, solid=False)
    facts = {"count": count, "raised": raised, "angle": angle, "length": length}
    return Layout((frame, *balls), facts, from_side(azimuth=(-30, 30)))


@scene(
    "hinge_door",
    "A {stuff} door swings on its hinges at {speed:.1f} rad/s, slowed by friction, on a {floor}.",
    context_frames=3,
)
def hinge_door(draw: Draw) -> Layout:
    width, height, side = draw.uniform(0.7, 0.9), draw.uniform(1.2, 1.5), draw.sign()
    stuff, speed, ajar = draw.choice(("wooden", "plastic", "steel")), draw.uniform(1.4, 2.6), draw.uniform(5, 25)
    thick = 0.06
    posts = Compound(
        (
            Part(Box((0.08, 0.1, height + 0.1)), (0.0, 0.0, (height + 0.1) / 2)),
            Part(Box((0.08, 0.1, height + 0.1)), (side * (width + 0.1), 0.0, (height + 0.1) / 2)),
            Part(Box((width + 0.18, 0.1, 0.08)), (side * (width + 0.1) / 2, 0.0, height + 0.14)),
        )
    )
    frame = draw.shaped("frame", posts, "wooden", 0.6, free=False)
    knob = [Part(Sphere(0.045), (0.42 * side * width, s * 0.06, -0.05), tint=(0.5, 0.36, 0.08)) for s in (-1, 1)]
    panel = Compound((Part(Box((width, thick, height - 0.04))), *knob))
    door = draw.shaped("door", panel, stuff, 0.8, position=(side * (0.05 + width / 2), 0, height / 2 + 0.04))
    mass = MATERIALS[stuff].density * width * thick * height
    inertia = mass * width**2 / 3
    hinge = Joint(
        "hinge",
        (side * 0.05, 0, 0),
        axis=(0, 0, -side),
        parent="frame",
        start=math.radians(ajar),
        speed=speed,
        limits=(0.0, math.radians(140)),
        # It loses about half of its speed on its way.
        friction=inertia * speed * 0.3,
        damping=inertia * 0.15,
        restitution=0.3,
    )
    door = dataclasses.replace(door, joint=hinge)
    facts = {"stuff": stuff, "speed": speed, "width": width, "ajar": ajar}
    return Layout((frame, door), facts, from_side(azimuth=(-40, 40), elevation=(16, 34)))


@scene(
    "drawer",
    "A wooden drawer with a {ball} ball in it is pushed shut at {speed:.1f} m/s.",
    context_frames=3,
)
def drawer(draw: Draw) -> Layout:
    length, width, height, side = draw.uniform(0.7, 0.85), draw.uniform(0.5, 0.65), 0.24, draw.sign()
    speed, level = draw.uniform(0.7, 1.2), draw.uniform(0.2, 0.35)
    out = 0.75 * length
    wall, play = 0.04, 0.01
    w, h = width + 2 * (wall + play), height + 2 * (wall + play)
    cabinet = Compound(
        (
            Part(Box((length, w, level + wall)), (0.0, 0.0, (level + wall) / 2)),
            Part(Box((length, w, wall)), (0.0, 0.0, level + h - wall / 2)),
            *(Part(Box((length, wall, h - 2 * wall)), (0.0, s * (w - wall) / 2, level + h / 2)) for s in (-1, 1)),
            Part(Box((wall, w, h)), (-side * (length + wall) / 2, 0.0, level + h / 2)),
        )
    )
    chest = draw.shaped("cabinet", cabinet, "wooden", 0.8, free=False)
    tray = open_box((length - 0.02, width, height), 0.025)
    front = Part(Box((0.04, w, h)), (side * (length / 2 + 0.02), 0.0, height / 2))
    knob = Part(Sphere(0.04), (side * (length / 2 + 0.07), 0.0, height / 2), tint=(0.5, 0.36, 0.08))
    z = level + wall + play
    box = draw.shaped("drawer", Compound((*tray.parts, front, knob)), "wooden", 0.6, position=(0, 0, z))
    mass = 650 * 0.025 * (length * width + 2 * height * (length + width)) + 650 * 0.04 * w * h
    slide = Joint(
        "slide",
        (0, 0, z),
        axis=(side, 0, 0),
        parent="cabinet",
        start=out,
        speed=-speed,
        limits=(0.0, out + 0.02),
        # Wood on wood: so that the push about carries it home.
        friction=0.35 * mass * speed**2 / out,
        restitution=0.2,
    )
    box = dataclasses.replace(box, joint=slide)
    ball = draw.ball("ball", (0.07, 0.095), ("rubber", "steel", "wooden", "plastic"))
    r = radius_of(ball)
    # It moves with the drawer, and not yet in it.
    place = (side * (out + 0.3 * length), draw.uniform(-0.3, 0.3) * width, z + 0.025 + r)
    ball = moved(ball, place, (-side * speed, 0.0, 0.0))
    facts = {"ball": ball.material.name, "speed": speed, "length": length}
    view = from_side(azimuth=(20, 50) if side > 0 else (-50, -20), elevation=(24, 40))
    return Layout((chest, box, ball), facts, view)


@scene("seesaw", "A {heavy} block falls from {height:.1f} m onto a see-saw and throws up a {light} block.")
def seesaw(draw: Draw) -> Layout:
    length, rise, side = draw.uniform(1.5, 1.9), draw.uniform(0.22, 0.3), draw.sign()
    height, heavy, light = (
        draw.uniform(0.5, 0.9),
        draw.choice(("stone", "wooden")),
        draw.choice(("foam", "hollow plastic")),
    )
    thick = 0.05
    # Its ends stop just above the floor.
    stop = math.asin((rise - thick / 2 - 0.015) / (length / 2))
    pivot = draw.shaped("pivot", Cylinder(rise - thick / 2, 0.4), "stone", 0.5, rotation=LYING, free=False)
    plank = draw.block("plank", (length, 0.32, thick), "wooden", position=(0, 0, rise))
    hinge = Joint("hinge", (0, 0, rise), parent="pivot", start=side * stop, limits=(-stop, stop), damping=0.2)
    plank = dataclasses.replace(plank, joint=hinge)
    edge, small = draw.uniform(0.24, 0.3), draw.uniform(0.18, 0.24)
    # The side of the thrown block is down.
    turn = about_axis((0, 1, 0), side * stop)
    along, up = 0.41 * length, thick / 2 + small / 2 + 0.002
    thrown = draw.block(
        "thrown",
        (small, small, small),
        light,
        position=(
            side * (along * math.cos(stop) + up * math.sin(stop)),
            0,
            rise - along * math.sin(stop) + up * math.cos(stop),
        ),
        rotation=turn,
    )
    top_side = rise + along * math.sin(stop) + thick / 2
    falling = draw.block(
        "falling", (edge, edge, edge), heavy, position=(-side * along * 0.97, 0, top_side + height + edge / 2)
    )
    facts = {"heavy": heavy, "light": light, "height": height, "length": length}
    return Layout((pivot, plank, thrown, falling), facts, from_side())


@scene("crane_arm", "A crane turns its arm by {turn:.0f} degrees; a {load} load swings below it.")
def crane_arm(draw: Draw) -> Layout:
    reach, height, side = draw.uniform(0.9, 1.2), draw.uniform(1.1, 1.4), draw.sign()
    turn, drop, rate = draw.uniform(60, 110), draw.uniform(0.4, 0.6), draw.uniform(2.6, 3.4)
    load = draw.ball("load", (0.1, 0.14), ("steel", "stone", "wooden"))
    mast = Compound((Part(Box((0.5, 0.5, 0.08)), (0, 0, 0.04)), Part(Box((0.1, 0.1, height)), (0, 0, height / 2))))
    tower = draw.shaped("mast", mast, "steel", 0.5, free=False)
    beam = Compound(
        (
            Part(Box((reach + 0.35, 0.08, 0.08)), (reach / 2 - 0.175, 0, 0)),
            Part(Box((0.22, 0.2, 0.18)), (-0.3, 0, 0)),
        )
    )
    arm = draw.shaped("arm", beam, "wooden", 0.5, position=(0, 0, height + 0.05))
    weight = load.material.density * 4 / 3 * math.pi * radius_of(load) ** 3
    inertia = 650 * (0.0064 * (reach + 0.35) * reach**2 / 3 + 0.008 * 0.09) + weight * reach**2
    # Critically damped: from rest to its aim, without overshooting it.
    servo = Motor(
        inertia * rate**2 * side * math.radians(turn), stiffness=inertia * rate**2, damping=2 * inertia * rate
    )
    arm = dataclasses.replace(arm, joint=Joint("hinge", (0, 0, height), (0, 0, 1), parent="mast", motor=servo))
    hook = (reach, 0, height + 0.01)
    load = _hung(load, hook, drop, Joint("ball", hook, parent="arm", damping=0.002))
    facts = {"turn": turn, "load": load.material.name, "reach": reach, "drop": drop}
    return Layout((tower, arm, load), facts, Viewpoints((-math.pi, math.pi), (0.35, 0.65)))


@scene(
    "spinning_top",
    "A {stuff} top that leans by {lean:.0f} degrees spins at {speed:.0f} rad/s on a {floor} and precesses.",
    context_frames=3,
)
def spinning_top(draw: Draw) -> Layout:
    radius, lean, side = draw.uniform(0.22, 0.3), draw.uniform(12, 28), draw.sign()
    speed, stuff = draw.uniform(18, 28), draw.choice(("wooden", "plastic", "steel"))
    height = radius * draw.uniform(1.2, 1.45)
    tilt, heading = math.radians(lean), draw.uniform(-math.pi, math.pi)
    turn = multiply(about_axis((0, 0, 1), heading), about_axis((0, 1, 0), tilt))
    axis = (math.sin(tilt) * math.cos(heading), math.sin(tilt) * math.sin(heading), math.cos(tilt))
    tip = (0.0, 0.0, 0.004)
    thing = draw.shaped("top", top(radius, height), stuff, 1.1 * radius, position=tip, rotation=turn)
    spin = (side * speed * axis[0], side * speed * axis[1], side * speed * axis[2])
    # Its tip stands in a dimple: it turns freely, and stays.
    thing = dataclasses.replace(thing, spin=spin, joint=Joint("ball", tip))
    return Layout((thing,), {"stuff": stuff, "lean": lean, "speed": speed}, Viewpoints(elevation=(0.3, 0.6)))


@scene("rotor", "A motor turns a {stuff} rotor of {count} blades up to {speed:.1f} rad/s.")
def rotor(draw: Draw) -> Layout:
    return _rotor(draw, from_side(azimuth=(-30, 30)))


@scene(
    "rotor_move_camera",
    "A motor turns a {stuff} rotor of {count} blades up to {speed:.1f} rad/s; the camera moves.",
)
def rotor_move_camera(draw: Draw) -> Layout:
    return _rotor(draw, dataclasses.replace(from_side(azimuth=(-30, 30)), move="orbit"))


def _rotor(draw: Draw, view: Viewpoints) -> Layout:
    count, stuff, side = draw.choice((2, 3, 4)), draw.choice(("wooden", "plastic", "steel")), draw.sign()
    blade, speed, rise = draw.uniform(0.4, 0.55), draw.uniform(2.5, 5.0), draw.uniform(0.25, 0.5)
    height = blade + draw.uniform(0.2, 0.35)
    blades = []
    for k in range(count):
        angle = 2 * math.pi * k / count
        # Pitched like those of a fan.
        turn = multiply(about_axis((0, 1, 0), -angle), about_axis((1, 0, 0), 0.35))
        place = (0.55 * blade * math.cos(angle), 0.0, 0.55 * blade * math.sin(angle))
        blades.append(Part(Box((0.9 * blade, 0.03, 0.17)), place, turn))
    hub = Part(Cylinder(0.08, 0.16), rotation=LYING)
    wheel = draw.shaped("rotor", Compound((hub, *blades)), stuff, 0.4, position=(0, 0, height))
    mass = MATERIALS[stuff].density * 0.9 * blade * 0.03 * 0.17 * count
    inertia = mass * (0.55 * blade) ** 2 * 1.3
    damping = inertia / rise
    motor = Motor(damping * side * speed, damping=damping)
    wheel = dataclasses.replace(wheel, joint=Joint("hinge", (0, 0, height), parent="post", motor=motor))
    foot = Compound(
        (
            Part(Box((0.5, 0.5, 0.06)), (0, 0.2, 0.03)),
            Part(Box((0.1, 0.1, height)), (0, 0.2, height / 2)),
            Part(Cylinder(0.04, 0.2), (0, 0.12, height), LYING),
        )
    )
    post = draw.shaped("post", foot, "wooden", 0.5, free=False)
    return Layout((post, wheel), {"stuff": stuff, "count": count, "speed": speed, "rise": rise}, view)


@scene("teapot_rotates", "A motor turns a table with a ceramic teapot on it up to {speed:.1f} rad/s.")
def teapot_rotates(draw: Draw) -> Layout:
    pot = draw.shaped("teapot", teapot(draw.uniform(0.4, 0.5)), "ceramic", 0.4)
    pot = dataclasses.replace(pot, look=dataclasses.replace(pot.look, texture=draw.choice(("dots", "stripes"))))
    return turntable(draw, pot, 0.5, Viewpoints(elevation=(0.3, 0.6)))


@scene("smiley_ball_rotates", "A motor turns a smiling {ball} ball on a stand up to {speed:.1f} rad/s.")
def smiley_ball_rotates(draw: Draw) -> Layout:
    r, stuff, low = draw.uniform(0.2, 0.26), draw.choice(("rubber", "plastic", "foam")), draw.uniform(0.1, 0.2)
    speed, side, rise = draw.uniform(1.2, 3.0), draw.sign(), draw.uniform(0.2, 0.5)
    yellow = (0.9, 0.62, 0.05)
    ball = Body(
        "ball",
        Smiley(r),
        MATERIALS[stuff],
        Look(yellow, yellow, "plain", 1.0, gloss=0.5),
        position=(0.0, 0.0, low + 0.97 * r),
        rotation=about_axis((0, 0, 1), -side * draw.uniform(0.2, 0.9)),
    )
    damping = MATERIALS[stuff].density * 8 / 15 * math.pi * r**5 / rise
    motor = Motor(damping * side * speed, damping=damping)
    ball = dataclasses.replace(ball, joint=Joint("hinge", (0, 0, low), (0, 0, 1), parent="stand", motor=motor))
    stand = draw.shaped("stand", Cylinder(0.5 * r, low), "wooden", 0.4, position=(0, 0, low / 2), free=False)
    facts = {"ball": stuff, "speed": speed, "rise": rise}
    return Layout((stand, ball), facts, from_side(azimuth=(-25, 25), elevation=(6, 16)))


def turntable(draw: Draw, thing: Body, radius: float, view: Viewpoints, *, lift: float = 0.0) -> Layout:
    """A thing that stands in the middle of a table that begins to turn, and is taken along by friction.

    lift: height of the thing's origin above its underside [m].
    """
    speed, side, rise = draw.uniform(2.0, 4.0), draw.sign(), draw.uniform(0.3, 0.6)
    wide, thick, low = radius + draw.uniform(0.05, 0.15), 0.05, draw.uniform(0.08, 0.2)
    foot = draw.shaped("foot", Cylinder(0.4 * wide, low), "wooden", 0.4, position=(0, 0, low / 2), free=False)
    table = draw.shaped("table", Cylinder(wide, thick), "wooden", 0.7, position=(0, 0, low + thick / 2))
    damping = 650 * math.pi * wide**4 * thick / 2 / rise + 1.0
    motor = Motor(damping * side * speed, damping=damping)
    table = dataclasses.replace(table, joint=Joint("hinge", (0, 0, low), (0, 0, 1), parent="foot", motor=motor))
    heading = about_axis((0, 0, 1), draw.uniform(-math.pi, math.pi))
    thing = dataclasses.replace(thing, position=(0.0, 0.0, low + thick + lift), rotation=heading)
    return Layout((foot, table, thing), {"speed": speed, "rise": rise}, view)


def gallows(draw: Draw, height: float) -> Body:
    """A post behind, with an arm that reaches to the origin at `height`: what pendulums hang on. Only seen."""
    shape = Compound(
        (
            Part(Box((0.45, 0.3, 0.05)), (0.0, 0.42, 0.025)),
            Part(Box((0.07, 0.07, height + 0.04)), (0.0, 0.42, height / 2 + 0.02)),
            Part(Box((0.07, 0.5, 0.07)), (0.0, 0.21, height)),
            Part(Cylinder(0.03, 0.12), (0.0, -0.03, height), LYING),
        )
    )
    return draw.shaped("stand", shape, "wooden", 0.5, free=False, solid=False)


def _hung(ball: Body, point: Vector, length: float, joint: Joint) -> Body:
    """A ball that hangs on a thin rod below a point; length: from the point to its centre [m]."""
    rod = Part(Cylinder(0.014, length), (0.0, 0.0, length / 2), tint=(0.25, 0.25, 0.27), solid=False)
    shape = Compound((Part(ball.shape), rod))
    return dataclasses.replace(ball, shape=shape, position=(point[0], point[1], point[2] - length), joint=joint)
