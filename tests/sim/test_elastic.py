"""Cloth, elastic solids, inflatables: forces against energies, statics and swings against textbooks, contacts."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import trimesh
from bench import GREY, G, floor, frames_of, material

from phys4d.errors import ExplodedError
from phys4d.sim.catalog import SCENES, build
from phys4d.sim.elastics import Cloth, Elastic, Hold, Inflatable, Solid, Wind
from phys4d.sim.engines import engine_of
from phys4d.sim.engines.elastic import energy
from phys4d.sim.engines.elastic.build import part_of, plate_matrix, volume_of
from phys4d.sim.engines.elastic.system import System
from phys4d.sim.hulls import (
    BallHull,
    DuckHull,
    Pillow,
    Ring,
    RoundedBox,
    Sleeve,
    Turned,
    finer,
    hull_of,
    rounded_profile,
)
from phys4d.sim.kernels.elastic.arrays import AMBIENT
from phys4d.sim.motion import Motion, Surface
from phys4d.sim.rotations import matrices
from phys4d.sim.scene import Body, Joint, SceneSpec, perturbed
from phys4d.sim.shapes import Box, Ground, Sphere, Vector

SMOOTH = material(friction=0.0, restitution=0.0)


def spec_of(
    *elastics: Elastic, bodies: tuple[Body, ...] = (), gravity: Vector = (0, 0, -G), wind=None
) -> SceneSpec:
    return SceneSpec(
        "bench",
        "elastic",
        "elastic",
        "",
        (floor(SMOOTH), *bodies),
        (),
        gravity=gravity,
        elastics=elastics,
        wind=wind,
    )


def run(spec: SceneSpec, frames: int = 17, fps: float = 24.0) -> Motion:
    return engine_of("elastic")(spec, frames, fps)


def sheet(rows: int, columns: int, step: float, place=lambda x, y: (x, y, 1.0), **settings) -> Cloth:
    start = tuple(tuple(map(float, place(i * step, j * step))) for i in range(rows) for j in range(columns))
    heavy = 0.2
    stuff = dataclasses.replace(SMOOTH, density=500.0)
    constants = {"stretch": heavy * 30**2, "shear": heavy * 200, "bending": 1e-4} | settings
    return Cloth("sheet", (rows, columns), step, start, heavy / 500, stuff, GREY, **constants)


def cube(edge: float = 0.3, cells: int = 8, **settings) -> Solid:
    constants = {"young": 4e4, "poisson": 0.3, "position": (0.0, 0.0, edge / 2)} | settings
    shape = RoundedBox((edge, edge, edge), 1e-4, edge / cells)
    return Solid("cube", shape, dataclasses.replace(SMOOTH, density=500.0), GREY, cell=edge / cells, **constants)


def balloon(pressure: float = 3000.0, radius: float = 0.2, **settings) -> Inflatable:
    stuff = dataclasses.replace(SMOOTH, density=1100.0)
    return Inflatable(
        "ball",
        BallHull(radius, 0.02),
        stuff,
        GREY,
        1e-3,
        2e6,
        pressure,
        position=(0, 0, radius + 0.01),
        **settings,
    )


def pushes_of(system: System, place: np.ndarray) -> np.ndarray:
    """(N,3) forces on nodes at rest in a place [N]: what one substep makes of them."""
    system.substeps = 1
    for _ in range(2):  # the first time only tells strains where they are, so that nothing is viscous
        system.place[:], system.speed[:] = place, 0
        system._launch((0, 0, 0), (0, 0, 0), 1e-9)
    return system.speed * system._nodes.mass.numpy()[:, None] / system.step


@pytest.mark.parametrize("thing", [sheet(7, 6, 0.02), cube(0.2, 4), balloon(500.0, 0.1, bending=1e-3)])
def test_forces_are_the_slopes_of_energies(thing: Elastic):
    system = System(spec_of(thing, gravity=(0, 0, 0)), 12.0)
    part = system.parts[0]
    rng = np.random.default_rng(0)
    place = system.place.astype(float) + rng.normal(0, 0.002, system.place.shape)

    def total(x: np.ndarray) -> float:
        gas = 0.0
        if isinstance(thing, Inflatable):
            gas = energy.gas_energy(float(system.amount[0]), volume_of(x, part.skin_faces))
        return (
            energy.membrane_energy(part, x) + energy.bending_energy(part, x) + energy.solid_energy(part, x) + gas
        )

    found = pushes_of(system, place)
    place = place.astype(np.float32).astype(float)
    for n in rng.choice(len(place), 8, replace=False):
        for axis in range(3):
            step = np.zeros_like(place)
            step[n, axis] = 1e-6
            slope = (total(place + step) - total(place - step)) / 2e-6
            assert float(found[n, axis]) == pytest.approx(-slope, rel=0.02, abs=0.01 * float(np.abs(found).max()))


def test_a_plate_bends_as_plates_do():
    """The energy of a cylinder, whichever way it is rolled, and none of a motion."""
    step, radius = 0.01, 0.5
    i, j = (a.reshape(-1) for a in np.meshgrid(np.arange(25), np.arange(13), indexing="ij"))
    rest, matrix = step * np.column_stack([i, j, 0 * i]), plate_matrix(25, 13, step)
    for angle in (0.0, 0.5, math.pi / 2):
        c, s = math.cos(angle), math.sin(angle)
        u, v = c * rest[:, 0] + s * rest[:, 1], c * rest[:, 1] - s * rest[:, 0]
        rolled = np.column_stack([radius * np.sin(u / radius), v, radius * np.cos(u / radius)])
        expected = 0.24 * 0.12 / (2 * radius**2)
        assert (rolled * (matrix @ rolled)).sum() / 2 == pytest.approx(expected, rel=1e-3)
    moved = rest @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0] + 1
    assert abs((moved * (matrix @ moved)).sum()) < 1e-7


def test_a_strip_droops_as_a_beam_and_less_the_stiffer_it_is():
    angles = []
    for bending in (2e-3, 5e-4, 1e-4):
        # A node that is held still bends on the side that is free: the edge of the table is half a step before it.
        strip = sheet(12, 3, 0.02, bending=bending, holds=(Hold(tuple(range(9))),))
        system = System(spec_of(strip, gravity=(0, 0, -0.1 * G if bending == 2e-3 else -G)), 12.0)
        system.relax(2.5, 5.0)
        x, _, z = system.nodes(0)[0].reshape(12, 3, 3)[-1].mean(0)
        if bending == 2e-3:
            # A light load: w L^4 / 8 D.
            assert 1 - z == pytest.approx(0.1 * 0.2 * G * 0.19**4 / (8 * bending), rel=0.08)
        angles.append(math.atan2(1 - z, x - 0.03))
    assert angles[0] < angles[1] < angles[2]


def test_a_hanging_cloth_stretches_by_its_weight():
    cloth = sheet(21, 4, 0.04, lambda x, y: (0, y, 2 - x), holds=(Hold(tuple(range(4))),))
    system = System(spec_of(cloth), 12.0)
    system.relax(1.5, 8.0)
    z = system.nodes(0)[0][:, 2]
    assert 2 - z.min() - 0.8 == pytest.approx(0.2 * G * 0.8**2 / 2 / (0.99 * cloth.stretch), rel=0.05)


def height_of(skin: np.ndarray, rest: np.ndarray) -> float:
    """Of the top above the bottom [m]."""
    return skin[rest[:, 2] > 0.149, 2].mean() - skin[rest[:, 2] < -0.149, 2].mean()


def test_a_cube_sags_and_shrinks_as_linear_elasticity_says():
    system = System(spec_of(cube()), 12.0)
    system.relax(1.5, 10.0)
    sag = 500 * G * 0.3**2 / 2 / 4e4
    assert 0.3 - height_of(system.skin(0), system.parts[0].skin_rest) == pytest.approx(sag, rel=0.05)
    # Under a plate, which it carries: the whole load, 1 - 2 nu of the strain as volume.
    plate = Body(
        "plate", Box((0.4, 0.4, 0.02)), material(0.0, 0.0, 3 / 0.0032), GREY, (0, 0, 0.311),
        joint=Joint("slide", (0, 0, 0.311), axis=(0, 0, 1), damping=30.0),
    )  # fmt: skip
    motion = run(spec_of(cube(loss=0.5), bodies=(plate,)), 25, 12.0)
    skin = motion.surfaces[-1]
    assert isinstance(skin, Surface)
    strain = (3 * G / 0.09 + 500 * G * 0.3 / 2) / 4e4
    assert 0.3 - height_of(skin.vertices[-1], skin.rest) == pytest.approx(0.3 * strain, rel=0.05)
    shrunk = 1 - np.array(motion.state["elastics"]["cube"]["volume"])[-6:].mean() / 0.027
    assert shrunk == pytest.approx(1 - (1 - strain) * (1 + 0.3 * strain) ** 2, rel=0.05)
    touching = motion.state["elastics"]["cube"]["touching"]
    assert touching["plate"]["force"][-1] == pytest.approx(3 * G, rel=0.05)
    assert touching["floor"]["force"][-1] == pytest.approx(3 * G + 0.027 * 500 * G, rel=0.05)
    assert touching["plate"]["area"][-1] == pytest.approx(0.09, rel=0.05)
    assert {"cube", "plate"} in [set(row["bodies"]) for row in motion.state["contacts"]]


def test_a_bar_swings_with_its_own_period():
    foot = Body("foot", Box((0.2, 0.2, 0.1)), SMOOTH, GREY, (0, 0, -0.05), free=False)
    bar = Solid(
        "bar", RoundedBox((0.08, 0.08, 0.4), 1e-4, 0.04), dataclasses.replace(SMOOTH, density=1000.0), GREY,
        1e5, 0.3, 0.02, position=(0, 0, 0.2), glued="foot",
    )  # fmt: skip
    z = np.array(run(spec_of(bar, bodies=(foot,)), 101, 200.0).state["elastics"]["bar"]["position"])[:, 2]
    level = z - (z.max() + z.min()) / 2
    rise = np.flatnonzero((level[:-1] < 0) & (level[1:] >= 0))
    assert np.diff(rise).mean() / 200 == pytest.approx(4 * 0.4 / math.sqrt(1e5 / 1000), rel=0.1)


def test_a_ball_is_as_tense_as_its_pressure_and_flat_where_it_is_loaded():
    made = balloon(radius=0.15)
    system = System(spec_of(made, gravity=(0, 0, 0)), 12.0)
    place = system.nodes(0)[0]
    radius, part = np.linalg.norm(place - place.mean(0), axis=1).mean(), system.parts[0]
    tension = (part.stiffness[0] + part.stiffness[2]) * ((radius / 0.15) ** 2 - 1) / 2
    assert system.pressure[0] == pytest.approx(3000, rel=0.01)
    assert 2 * tension / radius == pytest.approx(3000, rel=0.03)
    hold = Joint("slide", (0, 0, 0.34), axis=(0, 0, 1), damping=80.0)
    stuff = material(0.0, 0.0, 4 / (0.16 * 0.02))
    plate = Body("plate", Box((0.4, 0.4, 0.02)), stuff, GREY, (0, 0, 0.34), joint=hold)
    state = run(spec_of(made, bodies=(plate,)), 19, 12.0).state["elastics"]["ball"]
    pressure, volume = np.array(state["pressure"]), np.array(state["volume"])
    amount = (AMBIENT + pressure) * volume
    assert np.ptp(amount) < 1e-3 * amount.mean()
    touch = state["touching"]["plate"]
    force, area = np.mean(touch["force"][-6:]), np.mean(touch["area"][-6:])
    assert force == pytest.approx(4 * G, rel=0.05)
    assert area == pytest.approx(force / pressure[-6:].mean(), rel=0.2)


def test_what_is_pumped_in_and_let_out_is_the_volume():
    pumped = balloon(0.0, 0.12, pump=0.004, pump_limit=3e4)
    state = run(spec_of(pumped, gravity=(0, 0, 0)), 7, 12.0).state
    row = state["elastics"]["ball"]
    pressure = np.array(row["pressure"])
    amount = (AMBIENT + pressure) * row["volume"]
    flow = (AMBIENT + pressure) * 0.004 * (1 - pressure / 3e4)
    assert amount[-1] - amount[0] == pytest.approx(np.trapezoid(flow, dx=1 / 12), rel=0.02)
    assert not state["passive"]
    assert np.ptp(np.array(state["energy"]) - state["work"]) < 0.05 * state["work"][-1]
    open_ = balloon(2000.0, 0.12, valve=2e-4)
    row = run(spec_of(open_, gravity=(0, 0, 0)), 5, 60.0).state["elastics"]["ball"]
    pressure = np.array(row["pressure"])
    amount = (AMBIENT + pressure) * row["volume"]
    # Bernoulli: the speed of a jet of air under this pressure.
    flow = (AMBIENT + pressure) * 2e-4 * np.sqrt(2 * pressure / 1.2)
    assert amount[0] - amount[-1] == pytest.approx(np.trapezoid(flow, dx=1 / 60), rel=0.03)


def test_a_ball_on_a_sheet_is_carried_and_momentum_kept():
    """Without weight a ball that meets a loose sheet hands on what it loses."""
    made = sheet(15, 15, 0.02, lambda x, y: (x - 0.14, y - 0.14, 1.0))
    ball = Body("ball", Sphere(0.05), material(0.3, 0.0, 100.0), GREY, (0, 0, 1.07), velocity=(0, 0, -1.5))
    motion = run(spec_of(made, bodies=(ball,), gravity=(0, 0, 0)), 5, 24.0)
    momentum = np.array(motion.state["momentum"])
    speeds = np.array(motion.state["bodies"]["ball"]["velocity"])[:, 2]
    assert speeds[-1] > -1.2
    still = np.array(motion.state["elastics"]["sheet"]["velocity"])[:, 2]
    air = abs(momentum[-1, 2] - momentum[0, 2])
    assert air < 0.3 * abs(momentum[0, 2] - motion.state["bodies"]["ball"]["mass"] * speeds[-1])
    assert still[-1] < -0.2


def test_things_fall_freely_and_spin_on():
    thrown = cube(0.2, 4, position=(0, 0, 3), velocity=(1.0, 0, 2.0), spin=(0, 3.0, 0))
    motion = run(spec_of(thrown), 9, 24.0)
    state = motion.state["elastics"]["cube"]
    t = np.arange(9) / 24
    expected = np.stack([t, 0 * t, 3 + 2 * t - G * t**2 / 2], axis=1)
    np.testing.assert_allclose(state["position"], expected, atol=2e-3)
    np.testing.assert_allclose(motion.state["energy"], motion.state["energy"][0], rtol=1e-3)
    skin = motion.surfaces[-1]
    assert isinstance(skin, Surface)
    arms = skin.vertices - np.array(state["position"])[:, None]
    turned = np.arctan2(arms[:, 0, 0], arms[:, 0, 2])
    assert np.unwrap(turned)[-1] - turned[0] == pytest.approx(3.0 * 8 / 24, abs=0.02)


def test_wind_carries_and_still_air_brakes():
    flat = sheet(10, 10, 0.03, lambda x, y: (x, y, 5.0))
    fall = np.array(run(spec_of(flat), 25, 24.0).state["elastics"]["sheet"]["velocity"])[:, 2]
    # Level, it sinks at a speed where drag is its weight.
    terminal = math.sqrt(2 * 0.2 * G / (1.2 * 1.2))
    assert -fall.min() < 1.15 * terminal
    assert -fall.min() > 0.8 * terminal
    upright = sheet(10, 10, 0.03, lambda x, y: (0.0, y, 5 - x))
    blown = run(spec_of(upright, gravity=(0, 0, 0), wind=Wind((4.0, 0, 0))), 9, 24.0).state
    assert 0.2 < blown["elastics"]["sheet"]["velocity"][-1][0] < 4
    gain = np.array(blown["energy"]) - blown["energy"][0]
    assert gain[-1] == pytest.approx(blown["work"][-1], rel=0.15)


def depth_in(points: np.ndarray, body: Body, at: np.ndarray, turn: np.ndarray) -> float:
    """How deep the deepest point is within what a body is touched as [m]; the body stands at a place, turned."""
    deepest = -math.inf
    for part in body.shape.colliders():
        p = ((points - at) @ turn - np.array(part.position)) @ matrices(np.array([part.rotation]))[0]
        size = np.array(part.size)
        match part.kind:
            case "plane":
                depth = -p[:, 2]
            case "box":
                depth = (size - np.abs(p)).min(axis=1)
            case "cylinder":
                depth = np.minimum(size[0] - np.hypot(p[:, 0], p[:, 1]), size[1] - np.abs(p[:, 2]))
            case "ellipsoid":
                depth = (1 - np.linalg.norm(p / size, axis=1)) * size.min()
            case _:
                p[:, 2] -= np.clip(p[:, 2], -size[1], size[1])
                depth = size[0] - np.linalg.norm(p, axis=1)
        deepest = max(deepest, float(depth.max()))
    return deepest


@pytest.mark.parametrize("name", [name for name in SCENES if SCENES[name].engine == "elastic"])
def test_nothing_elastic_enters_what_is_rigid(name):
    spec = build(name, 0)
    motion = run(spec, *frames_of(name))
    for thing in spec.elastics:
        skin = next(s for s in motion.surfaces if s.name == thing.name)
        assert isinstance(skin, Surface)
        limit = 0.002 if isinstance(thing, Cloth) else 0.008
        for body in (body for body in spec.bodies if body.solid):
            state = motion.state["bodies"].get(body.name)
            for t, points in enumerate(skin.vertices):
                at = np.array(state["position"][t] if state else body.position)
                turn = matrices(np.array([state["rotation"][t] if state else body.rotation]))[0]
                assert depth_in(points, body, at, turn) < limit, (body.name, t)


def test_silk_covers_what_it_falls_on_and_does_not_enter_it():
    for seed in (0, 2, 3):
        spec = build("silk_cover", seed)
        motion = run(spec)
        body = next(b for b in spec.bodies if b.instance)
        cloth = motion.surfaces[-1]
        assert isinstance(cloth, Surface)
        # Points between the nodes too: middles of all triangles.
        points = cloth.vertices[:, cloth.faces].mean(2)
        place, turn = np.array(body.position), matrices(np.array([body.rotation]))[0]
        assert max(depth_in(p, body, place, turn) for p in points) < 0.002, seed
        assert points[-1, :, 2].min() > -0.001
        state = motion.state["elastics"]["cloth"]
        assert max(state["stretch"]) < 0.05
        assert state["touching"][body.name]["force"][-1] > 0


def test_folds_lie_on_folds():
    """The layers of a towel that has crumpled keep apart, but for what is next to each other in the cloth."""
    spec = build("towel_dropped", 0)
    system_step = spec.elastics[0].spacing  # type: ignore[union-attr]
    motion = run(spec, *frames_of("towel_dropped"))
    cloth = spec.elastics[0]
    assert isinstance(cloth, Cloth)
    coarse = dataclasses.replace(spec, elastics=(dataclasses.replace(cloth, self_contact=False),))

    def closest(done: Motion) -> float:
        """How near the nearest hundredth of nodes far apart in the cloth come, in spacings."""
        skin = done.surfaces[-1]
        assert isinstance(skin, Surface)
        count = cloth.grid[0] * cloth.grid[1]
        x, rest = skin.vertices[-1, :count].astype(float), skin.rest[:count].astype(float)
        apart = np.linalg.norm(x[:, None] - x, axis=-1)
        apart[np.linalg.norm(rest[:, None] - rest, axis=-1) < 4 * system_step] = np.inf
        return float(np.quantile(apart.min(axis=1), 0.01)) / system_step

    assert closest(motion) > 0.4
    assert closest(run(coarse, *frames_of("towel_dropped"))) < 0.3


def test_rows_do_what_their_captions_say():
    def done(name: str, seed: int = 0) -> tuple[SceneSpec, Motion, np.ndarray]:
        spec = build(name, seed)
        motion = run(spec, *frames_of(name))
        return spec, motion, np.arange(motion.frames) / motion.fps

    spec, motion, t = done("curtain_pulled")
    x = np.array(motion.state["bodies"]["puller"]["position"])[:, 0]
    assert abs(x[-1] - x[0]) == pytest.approx(spec.parameters["speed"] * t[-1], rel=0.15)
    spec, motion, t = done("soft_squeezed")
    z = np.array(motion.state["bodies"]["press"]["position"])[:, 2]
    assert z[0] - z[-1] == pytest.approx(spec.parameters["speed"] * t[-1], rel=0.1)
    spec, motion, t = done("cushion_inflates")
    volume = np.array(motion.state["elastics"]["cushion"]["volume"])
    assert volume[-1] - volume[0] == pytest.approx(spec.parameters["flow"] / 1000 * t[-1], rel=0.1)
    lifted = np.array(motion.state["bodies"]["block"]["position"])[:, 2]
    assert lifted[-1] > lifted[0]
    _, motion, _ = done("ring_deflates")
    assert motion.state["elastics"]["ring"]["volume"][-1] < 0.8 * motion.state["elastics"]["ring"]["volume"][0]
    _, motion, _ = done("ball_into_hammock")
    assert np.array(motion.state["bodies"]["ball"]["position"])[:, 2].min() > 0.15
    assert {"hammock", "ball"} in [set(row["bodies"]) for row in motion.state["contacts"]]
    _, motion, _ = done("weight_on_pillow")
    ended = np.array(motion.state["bodies"]["weight"]["position"])[-1]
    assert np.hypot(*ended[:2]) < 0.1
    assert ended[2] > 0.08


@pytest.mark.parametrize(
    ("shape", "volume"),
    [
        (RoundedBox((0.3, 0.2, 0.1), 1e-4), 0.006),
        (BallHull(0.2, 0.02), 4 / 3 * math.pi * 0.2**3),
        (Turned(tuple(rounded_profile(0.1, 0.3, 1e-4)), 64), math.pi * 0.01 * 0.3),
        (Ring(0.3, 0.1), 2 * math.pi**2 * 0.3 * 0.01),
        (Pillow((0.5, 0.5, 0.2)), None),
        (DuckHull(0.4), None),
        (Sleeve((0.5, 0.4)), None),
    ],
)
def test_skins_are_closed_and_hold_what_they_should(shape, volume):
    skin = hull_of(shape)
    mesh = trimesh.Trimesh(skin.vertices, skin.faces, process=False)
    assert mesh.is_watertight
    assert mesh.volume > 0
    if volume:
        assert mesh.volume == pytest.approx(volume, rel=0.02)
    cut = finer(skin.faces, len(skin.vertices))
    smooth = trimesh.Trimesh(cut.matrix @ skin.vertices, cut.faces, process=False)
    assert smooth.is_watertight
    assert smooth.volume == pytest.approx(mesh.volume, rel=0.05)
    np.testing.assert_allclose(np.asarray(cut.matrix.sum(axis=1)), 1, atol=1e-12)


def test_a_finer_sheet_stays_flat_and_keeps_its_corners_near():
    made = part_of(sheet(6, 5, 0.1))
    cut = finer(made.skin_faces, len(made.skin_rest))
    fine = cut.matrix @ made.skin_rest
    assert np.ptp(fine[:, 2]) == 0
    area = trimesh.Trimesh(fine, cut.faces, process=False).area
    assert area == pytest.approx(0.2, rel=0.03)


def test_a_cloth_that_is_torn_is_named():
    ripped = sheet(6, 6, 0.05, lambda x, y: (2.5 * x, y, 1.0), holds=(Hold((0, 35)),))
    with pytest.raises(ExplodedError, match=r"sheet was torn|its energy rose"):
        run(spec_of(ripped), 2, 24.0)


def test_an_ensemble_varies_elastic_bodies():
    spec = build("weight_on_pillow", 1)
    other = perturbed(spec, np.random.default_rng(1))
    a, b = spec.elastics[0], other.elastics[0]
    assert isinstance(a, Solid)
    assert isinstance(b, Solid)
    assert 0 < abs(b.young / a.young - 1) <= 0.02
    assert 0 < abs(b.material.density / a.material.density - 1) <= 0.02
    assert a.look == b.look


def test_the_metadata_name_every_elastic_body():
    for name in ("flag", "soft_cube_drops", "balloon_drops"):
        spec, motion = build(name, 0), run(build(name, 0), *frames_of(name))
        for each in spec.elastics:
            row = motion.state["elastics"][each.name]
            assert row["instance"] == each.instance > 0
            assert len(row["position"]) == motion.frames
            assert row["kind"] == type(each).__name__.lower()
            assert ("volume" in row) == (row["kind"] != "cloth")
            assert ("pressure" in row) == (row["kind"] == "inflatable")
    rows = [row for row in (SCENES[name] for name in SCENES) if row.engine == "elastic"]
    assert {row.category for row in rows} == {"garment", "deformable", "inflatable"}
    assert isinstance(build("flag").bodies[0].shape, Ground)
