"""Cameras: what is drawn stays as it is, and what is chosen by name moves as its name says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from studio import ball, floor

from phys4d.cli import main
from phys4d.sim.filming import DRAWN, MARGIN, MOVES, film
from phys4d.sim.motion import Motion
from phys4d.sim.scene import Viewpoints
from phys4d.world import Camera

SIZE = (48, 64)


def motion(frames: int = 17, fps: float = 12.0) -> Motion:
    path = np.stack([np.linspace(-0.8, 0.8, frames), np.zeros(frames), np.full(frames, 0.3)], axis=1)
    things = [floor(frames), ball(0.3, path), ball(0.1, path[::-1] + (0, 0.4, 0.7))]
    return Motion((things[0].__class__(**{**vars(things[0]), "focus": False}), *things[1:]), fps, {})


def filmed(move: str | None, seed: int = 0, **shape) -> Camera:
    return film(motion(**shape), Viewpoints(), SIZE, np.random.default_rng(seed), move=move)[0]


def test_what_is_drawn_stays_as_it_was():
    """The draws that data made so far rest on, written down anew: the move, two angles, the lens, the sign."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        move = str(rng.choice(["static", "static", "static", "orbit", "dolly"]))
        views = Viewpoints()
        azimuth, elevation, fov = (rng.uniform(*span) for span in (views.azimuth, views.elevation, views.fov))
        sign = rng.choice((-1.0, 1.0))
        camera, name = film(motion(), views, SIZE, np.random.default_rng(seed))
        assert name == move
        assert camera.intrinsics[0, 1, 1] == pytest.approx(SIZE[0] / 2 / math.tan(fov / 2), rel=1e-5)
        eye = camera.world_from_camera[:, :3, 3] - (0, 0.1, 0.55)  # the middle of what matters
        distance = np.linalg.norm(eye, axis=1)
        turned = np.unwrap(np.arctan2(eye[:, 1], eye[:, 0]))
        assert turned[8] == pytest.approx((azimuth + math.pi) % (2 * math.pi) - math.pi, abs=1e-4)
        np.testing.assert_allclose(np.arcsin(eye[:, 2] / distance), elevation, atol=1e-4)
        assert turned[-1] - turned[0] == pytest.approx(sign * math.radians(24) * (move == "orbit"), abs=1e-4)
        assert distance[-1] / distance[0] == pytest.approx(1.25 ** (-sign) if move == "dolly" else 1.0, abs=1e-4)
    assert set(DRAWN) == {"static", "orbit", "dolly"}


@pytest.mark.parametrize("move", list(MOVES))
def test_what_matters_fits_the_picture(move: str):
    """Every ball lies within the margin, exactly: the planes of the view's pyramid miss it, one of them barely."""
    rooms = []
    for seed in range(6):
        what, camera = motion(), filmed(move, seed)
        np.testing.assert_array_equal(camera.world_from_camera, filmed(move, seed).world_from_camera)
        for k, pose in zip(camera.intrinsics, camera.world_from_camera.astype(float)):
            for s in what.surfaces[1:]:
                local = (s.centres[:, 0] - pose[:3, 3]) @ pose[:3, :3]
                for axis in (0, 1):
                    half = (1 - MARGIN) * k[axis, 2] / k[axis, axis]
                    inside = (half * local[:, 2] - np.abs(local[:, axis])) / math.hypot(half, 1)
                    rooms.append((inside - s.radius[0]).min())
        assert camera.world_from_camera[:, 2, 3].min() > 0.05
    assert min(rooms) > -1e-4
    assert min(rooms) < 0.01


def test_a_hand_sways_within_its_band():
    """Sixty frames a second for 8 s: slow sway, a faint tremor, and nothing faster."""
    camera = filmed("handheld", 3, frames=480, fps=60.0)
    place = camera.world_from_camera[:, :3, 3]
    distance = np.linalg.norm(place.mean(0) - (0, 0.1, 0.55))
    spread = np.linalg.norm(place - place.mean(0), axis=1)
    assert 0.003 < np.sqrt((spread**2).mean()) / distance < 0.04
    turns = camera.world_from_camera[:, :3, :3] @ camera.world_from_camera[0, :3, :3].T
    angles = np.degrees(np.arccos(np.clip((np.trace(turns, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    assert 0.3 < angles.max() < 6
    window = np.hanning(480)[:, None]
    power = np.abs(np.fft.rfft((place - place.mean(0)) * window, axis=0)) ** 2
    rate = np.fft.rfftfreq(480, 1 / 60)
    assert power[rate > 6].sum() < 1e-3 * power.sum()
    assert power[rate < 1.6].sum() > 0.8 * power.sum()


def test_a_free_camera_travels_and_turns_smoothly():
    for seed in range(4):
        pose = filmed("free", seed, frames=49, fps=12.0).world_from_camera.astype(float)
        steps = np.diff(pose[:, :3, 3], axis=0)
        assert np.linalg.norm(steps, axis=1).sum() > 0.4
        # Its velocity changes little from frame to frame.
        jerk = np.linalg.norm(np.diff(steps, axis=0), axis=1)
        assert jerk.max() < 0.25 * np.linalg.norm(steps, axis=1).max()
        turn = np.arccos(np.clip((pose[0, :3, 2] * pose[-1, :3, 2]).sum(), -1, 1))
        assert math.degrees(turn) > 4
    a, b = (filmed("free", seed).world_from_camera for seed in (1, 2))
    assert not np.allclose(a, b)


def test_the_command_line_knows_every_move(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["simulate", "--help"])
    shown = capsys.readouterr().out
    assert "|".join(MOVES) in shown
