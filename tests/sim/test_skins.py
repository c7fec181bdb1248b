"""Surfaces of changing topology and volumes against closed forms: their shapes, their motion, their labels."""

from __future__ import annotations

import numpy as np
import pytest
from bench import GREY
from studio import BLACK, SUN, floor, still_camera

from phys4d.sim import caster
from phys4d.sim.engines.skins import Carrier
from phys4d.sim.lights import Sky
from phys4d.sim.motion import Motion, Volume

CELL = 0.05


def lattice(radius: float, centre: np.ndarray) -> np.ndarray:
    """Eight particles a cell within a ball."""
    n = np.arange(-0.5, 0.5, CELL / 2) + CELL / 4
    grid = np.stack(np.meshgrid(n, n, n, indexing="ij"), axis=-1).reshape(-1, 3)
    return grid[np.linalg.norm(grid, axis=1) < radius] + centre


def drop(shift: np.ndarray, turn: float = 0.0) -> Carrier:
    """A ball of liquid that travels by `shift` a frame and turns about the vertical by `turn` [rad]."""
    centre, frames = np.array([0.5, 0.5, 0.5]), []
    ball = lattice(0.3, np.zeros(3))
    for t in range(3):
        c, s = np.cos(t * turn), np.sin(t * turn)
        frames.append(ball @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + centre + t * shift)
    solids = np.full((3, 23, 23, 23), 1e3)
    return Carrier(np.array(frames), solids, (0.0, 0.0, 0.0), CELL)


def test_a_ball_of_liquid_is_a_ball():
    skin = drop(np.zeros(3)).skin("drop", GREY, 1, focus=True)
    # The blur of the continuum takes a little off what is round.
    np.testing.assert_allclose(skin.volumes(), 4 / 3 * np.pi * 0.3**3, rtol=0.05)
    radius = np.linalg.norm(skin.meshes[0].vertices - 0.5, axis=1)
    np.testing.assert_allclose(radius, 0.3, atol=0.25 * CELL)


def test_what_travels_and_turns_carries_its_surface_along():
    shift, turn = np.array([0.031, -0.017, 0.023]), 0.1
    skin = drop(shift, turn).skin("drop", GREY, 1, focus=True)
    mesh = skin.meshes[0]
    c, s = np.cos(turn), np.sin(turn)
    rigid = (mesh.vertices - 0.5) @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + 0.5 + shift
    error = np.linalg.norm(mesh.ahead - rigid, axis=1)
    assert np.median(error) < 0.06 * CELL
    assert error.max() < 0.2 * CELL
    # There and back again is where it was.
    there = skin.follow(0, mesh.vertices)
    back = skin.follow(2, there[2])
    np.testing.assert_allclose(back[0], mesh.vertices, atol=0.15 * CELL)
    later = skin.during(slice(1, 3))
    np.testing.assert_array_equal(later.follow(0, there[1]), skin.follow(1, there[1])[1:3])


def test_a_skin_is_filmed_with_the_motion_of_what_is_under_it():
    shift = np.array([0.03, 0.0, 0.02])
    skin = drop(shift).skin("drop", GREY, 1, focus=True)
    cam = still_camera((0.5, -2.0, 0.6), (0.5, 0.5, 0.5), (40, 40), fov=0.5, frames=3)
    motion = Motion((floor(3), skin), 12.0, {})
    world = caster.render(motion, cam, (40, 40), SUN, Sky(), rng=np.random.default_rng(0)).validate()
    on = world.segmentation[:-1] == 1
    assert on.sum() > 200
    np.testing.assert_allclose(np.median(world.scene_flow[on], axis=0), shift, atol=0.02 * CELL)
    assert world.visible[on].mean() > 0.95
    # Tracks of the skin travel with it.
    steps = np.diff(world.tracks, axis=1)
    travelling = np.linalg.norm(steps, axis=-1).min(axis=1) > 0.01
    assert travelling.sum() > 20
    np.testing.assert_allclose(np.median(steps[travelling], axis=(0, 1)), shift, atol=0.02 * CELL)


@pytest.mark.parametrize("sigma", [0.8, 2.0, 6.0])
def test_a_mist_is_seen_as_far_as_beer_and_lambert_say(sigma):
    """A cube of even extinction before the sky: means along the ray, weighed by what light they send back."""
    n, cell, shift = 24, 0.05, np.array([0.02, 0.0, 0.01])
    even = np.full((2, n, n, n), sigma, np.float32)
    moved = np.broadcast_to(shift, (1, n, n, n, 3)).astype(np.float32)
    mist = Volume("mist", even, moved, np.array([-0.6, 0.0, 0.0]), cell, (0.5, 0.5, 0.5), 7, True)
    size = (9, 9)
    cam = still_camera((0.0, -1.4, 0.6), (0.0, 0.6, 0.6), size, fov=0.05, frames=2)
    # The floor lies below all rays.
    motion = Motion((floor(2),), 12.0, {}, (mist,))
    world = caster.render(motion, cam, size, SUN, BLACK, rng=np.random.default_rng(0)).validate()
    # Cells are sampled between their middles: half a cell fades in on either side.
    long, opacity = n * cell - cell, 1 - np.exp(-sigma * n * cell)
    middle = world.depth[0, 4, 4]
    if opacity < 0.5:
        assert middle == 0
        return
    expected = 1.4 + cell / 2 + 1 / sigma - long * np.exp(-sigma * long) / (1 - np.exp(-sigma * long))
    assert middle == pytest.approx(expected, rel=0.02)
    assert world.segmentation[0, 4, 4] == 7
    np.testing.assert_allclose(world.scene_flow[0, 4, 4], shift, atol=1e-5)
    focal = cam.intrinsics[0, 0, 0]
    assert world.flow[0, 4, 4, 0] == pytest.approx(focal * shift[0] / middle, rel=0.12)
    assert world.visible[0, 4, 4]
    smoke = np.isclose(np.diff(world.tracks, axis=1)[:, 0], shift, atol=1e-4).all(axis=1)
    assert smoke.sum() >= 16
