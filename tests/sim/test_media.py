"""Every row of grains, liquids, heat and smoke is sound, and its labels are true; all on coarser grids."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import trimesh
from bench import MEDIA
from closeup import labels_agree_with_geometry, residual_shifts
from scipy.spatial import cKDTree

from phys4d.data.verify import world_problems
from phys4d.sim import caster, filming
from phys4d.sim.catalog import SCENES, build, random_stream
from phys4d.sim.engines import engine_of
from phys4d.sim.motion import Motion, Skin
from phys4d.sim.scene import SceneSpec
from phys4d.sim.simulate import simulate
from phys4d.world import World4D

ROWS = [name for name in SCENES if SCENES[name].engine in MEDIA]
COARSER = {"grains": 1.6, "liquid": 2.0, "heat": 1.5, "smoke": 1.6}
FRAMES = 9


def coarse(name: str, seed: int, perturb: int = 0) -> SceneSpec:
    spec = build(name, seed, perturb)
    return dataclasses.replace(spec, media=tuple(m.coarser(COARSER[spec.engine]) for m in spec.media))


@functools.cache
def run(name: str, seed: int = 0) -> tuple[SceneSpec, Motion]:
    spec = coarse(name, seed)
    return spec, engine_of(spec.engine)(spec, FRAMES, 12.0)


@functools.cache
def filmed(name: str, seed: int = 0) -> World4D:
    spec, motion = run(name, seed)
    camera, _ = filming.film(motion, spec.viewpoints, (48, 56), random_stream(name, seed, "camera 0"))
    rng = random_stream(name, seed, "tracks 0")
    return caster.render(motion, camera, (48, 56), spec.lights, spec.sky, rng=rng)


def medium(name: str, seed: int = 0) -> dict:
    (state,) = run(name, seed)[1].state["media"].values()
    return state


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_sound(name):
    spec, motion = run(name)
    assert "{" not in spec.caption
    assert spec.caption.endswith(".")
    assert spec.context_frames == 1, "everything begins at rest"
    specs = [build(name, seed) for seed in range(40)]
    assert len({str((s.media, [b.position for b in s.bodies])) for s in specs}) == 40
    assert len({s.caption for s in specs}) > 8
    state = medium(name)
    for key in ("mass", "volume", "temperature"):
        assert len(state[key]) == FRAMES
        assert np.isfinite(state[key]).all()
        assert np.min(state[key]) >= 0
    assert state["instance"] > 0
    if spec.engine in ("grains", "liquid"):
        assert np.ptp(state["mass"]) == 0, "mass is kept"
        energy = np.array(motion.state["energy"]) - np.array(motion.state.get("work", 0.0))
        assert np.diff(energy).max() < 0.06 * np.ptp(energy) + 0.02 * abs(energy[0]), "nothing gains energy"


@pytest.mark.parametrize("name", ROWS)
def test_labels_agree_with_geometry(name):
    world = filmed(name)
    world.validate()
    if run(name)[1].volumes:
        # Means along the ray, which no single surface point has.
        assert (world.visible <= (world.depth[:-1] > 0)).all()
        return
    labels_agree_with_geometry(world, slack=0.02)
    assert world_problems(world)[0] == []


@pytest.mark.parametrize(
    "name",
    ["sand_column", "sand_pour", "hourglass", "ball_into_sand", "dam_break", "sloshing_tank", "potato_in_water"],
)
def test_flow_agrees_with_the_next_rendered_frame(name):
    """As of rigid things, see test_caster.py; patterns on a liquid are carried back from the next frame."""
    spec = coarse(name, 0)
    motion = engine_of(spec.engine)(spec, 15, 48.0)
    # Dressed in a pattern, glass would hide what is within it.
    motion = dataclasses.replace(motion, surfaces=tuple(s for s in motion.surfaces if s.look.finish != "glass"))
    residuals, planted = residual_shifts(spec, motion, (5, 9, 13) if spec.engine == "grains" else (5, 12))
    assert residuals
    # Of a liquid it is the mean of what moves around it: true to a few hundredths of these coarse cells.
    limit = 0.04 if spec.engine == "grains" else 0.6
    assert np.median(np.linalg.norm(residuals, axis=1)) < limit
    found = np.median(np.array(planted) - np.array(residuals), axis=0)
    np.testing.assert_allclose(found, [0.3, 0.0], atol=0.13)


@pytest.mark.parametrize("name", [name for name in ROWS if SCENES[name].engine == "liquid"])
def test_liquids_move_as_their_particles_and_onto_their_next_surface(name):
    """Where its vertices will be, against the particles themselves and the surface that the next frame has."""
    spec = coarse(name, 0)
    skin = engine_of("liquid")(spec, 14, 24.0).surfaces[-1]
    assert isinstance(skin, Skin)
    particles, cell = skin.follow.__self__._places, spec.media[0].cell  # type: ignore[attr-defined]
    away, off = [], []
    for t in (2, 7, 12):
        now, then = skin.meshes[t : t + 2]
        distance, near = cKDTree(particles[t]).query(now.vertices, 16)
        weight = np.exp(-((distance / cell) ** 2))[..., None]
        moved = (weight * (particles[t + 1] - particles[t])[near]).sum(1) / weight.sum(1)
        away.append((now.ahead - now.vertices - moved) / cell)
        surface = trimesh.Trimesh(then.vertices, then.faces, process=False).sample(60_000)
        off.append(cKDTree(surface).query(now.ahead)[0] / cell)
    error = np.linalg.norm(np.concatenate(away), axis=1)
    assert np.median(error) < 0.1
    assert np.quantile(error, 0.9) < 0.4
    # What folds under is farther than the slack, and `visible` says so.
    lands = np.concatenate(off) < skin.slack / cell
    assert lands.mean() > 0.75
    assert np.quantile(np.concatenate(off)[lands], 0.9) < 0.15


@pytest.mark.parametrize("name", ROWS)
def test_what_matters_is_in_the_picture(name):
    world = filmed(name)
    (state,) = run(name)[1].state["media"].values()
    shown = (world.segmentation == state["instance"]).sum((1, 2))
    # A cup hides for long what is in it.
    assert shown[-1] > 20 or name in ("sand_pour", "cup_pours")
    assert len(world.tracks) >= 32
    assert world.track_visibility.any(axis=1).mean() > 0.6


def test_captions_of_grains_hold():
    _, motion = run("sand_column")
    spread = [np.quantile(np.hypot(*motion.surfaces[-1].centres[t, :, :2].T), 0.9) for t in (0, -1)]
    assert spread[1] > 1.25 * spread[0], "it collapses"
    _, motion = run("hourglass")
    z = motion.surfaces[-1].centres[..., 2]
    glass = next(b for b in run("hourglass")[0].bodies if b.name == "hourglass").shape.outline[2][1]
    through = (z < glass).mean(axis=1)
    assert through[0] < 0.05
    assert through[-1] > through[0] + 0.05
    _, motion = run("ball_into_sand")
    ball = np.array(motion.state["bodies"]["ball"]["position"])[:, 2]
    assert ball[0] - ball[-1] > 0.2
    _, motion = run("peas_on_plate")
    inside = np.hypot(*motion.surfaces[-1].centres[-1, :, :2].T) < 0.32
    assert inside.mean() > 0.7
    z = medium("pile_on_slope")["position"]
    assert z[0][2] - z[-1][2] > 0.005


def test_captions_of_liquids_hold():
    x = np.array(medium("dam_break")["position"])
    assert abs(x[-1, 0] - x[0, 0]) > 0.1
    ends = {}
    for seed in range(12):
        spec = build("ball_in_water", seed)
        ends.setdefault(spec.parameters["ends"], seed)
    for end, seed in ends.items():
        spec, motion = run("ball_in_water", seed)
        level = spec.parameters["level"]
        z = np.array(motion.state["bodies"]["ball"]["position"])[-1, 2]
        assert (z > 0.6 * level) == (end == "floats"), (end, z, level)
    assert np.array(run("potato_in_water")[1].state["bodies"]["potato"]["position"])[-1, 2] < 0.2
    honey, water = (np.array(medium(n)["position"])[:, 2] for n in ("honey_slumps", "dam_break"))
    assert honey[-1] < 0.7 * honey[0]
    assert np.ptp(water) > 0


def test_no_particle_leaves_its_tank():
    for name in ("dam_break", "drop_in_tank", "jet_from_hole", "cup_pours", "domino_in_juice"):
        spec, motion = run(name)
        low, high = np.array(spec.media[0].domain)
        # Whole cells fit into a domain, as many as come nearest.
        high = low + np.round((high - low) / spec.media[0].cell) * spec.media[0].cell
        bounds = motion.surfaces[-1].bounds()
        assert (bounds[:, 0] > low - 1e-3).all()
        assert (bounds[:, 1] < high + 1e-3).all()


def test_captions_of_heat_hold():
    cooling, warming = medium("hot_bar_cools"), medium("bar_heats_up")
    assert cooling["temperature"][0] - cooling["temperature"][-1] > 20
    assert warming["hottest"][-1] > 700
    assert abs(warming["coldest"][-1] - 293.15) < 200
    for name in ("ice_cube_melts", "candle_burns_down"):
        state = medium(name)
        assert (np.diff(state["volume"]) <= 1e-12).all()
        assert state["volume"][-1] < 0.93 * state["volume"][0]
        # What came in is there, or ran off.
        balance = np.array(state["enthalpy"]) - state["enthalpy"][0] + np.array(state["lost"])
        np.testing.assert_allclose(balance, state["given"], rtol=1e-3, atol=1.0)
    ice = run("ice_cube_melts")[1].surfaces[-1]
    assert np.ptp(ice.bounds()[:, 0, 2]) < 0.02, "it stays on its plate"


def test_captions_of_smoke_hold():
    plume, ring = medium("smoke_plume"), medium("smoke_ring")
    assert plume["top"][-1] > plume["top"][2] + 0.1
    assert np.ptp(np.array(ring["mass"])[5:]) < 1e-4 * ring["mass"][-1], "none is lost"
    motion = engine_of("smoke")(build("smoke_ring", 0), FRAMES, 12.0)
    density = motion.volumes[0].extinction[-1].sum(axis=2)
    middle = density[tuple(n // 2 for n in density.shape)]
    assert middle < 0.5 * density.max(), "a ring is hollow"


def test_worlds_say_what_they_are():
    world = simulate("smoke_ring", seed=1, size=(16, 16), frames=3)
    assert world.meta["volumetric"]
    assert "smoke" in world.meta["instances"].values()
    same = simulate("smoke_ring", seed=1, size=(16, 16), frames=3)
    np.testing.assert_array_equal(world.rgb, same.rgb)
    assert not simulate("hot_bar_cools", size=(16, 16), frames=2).meta["volumetric"]


def test_an_ensemble_varies_within_measurement_error():
    plain, varied = build("sand_column", 3), build("sand_column", 3, 1)
    assert 0 < abs(varied.media[0].material.density / plain.media[0].material.density - 1) <= 0.02
    assert varied.media[0].region == plain.media[0].region
    for name in ("dam_break", "hot_bar_cools", "smoke_plume"):
        assert build(name, 2) != build(name, 2, 1)
