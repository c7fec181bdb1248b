"""Lamps, moving lights and soft boxes against what geometry says of light and shadow."""

from __future__ import annotations

import math

import numpy as np
import pytest
from studio import (
    BLACK,
    DIFFUSE,
    MATTE,
    ball,
    centroid,
    film,
    floor,
    ground_of,
    pixel_of,
    quad,
    radiance,
    rays,
    still_camera,
)

from phys4d.errors import InputError
from phys4d.sim.lights import AreaLight, Light, Sky, SoftBox
from phys4d.sim.materials import Look

DARK = (0.0, 0.0, 0.0)


def floor_light(light, size=(16, 16), sky: Sky = BLACK, fov: float = 0.02) -> np.ndarray:
    """(H,W) irradiance over pi of a floor under a light, about the origin."""
    cam = still_camera((0.0, -3.0, 3.0), (0, 0, 0), size, fov)
    world = film([floor(look=MATTE)], cam, size, (light,) if light else (), sky)
    return radiance(world.rgb[0])[..., 1] / (DIFFUSE * 0.5)


def test_a_small_lamp_falls_off_with_the_square_of_distance():
    def at(height: float) -> float:
        return float(floor_light(AreaLight((0, 0, height), size=(0.2, 0.1), colour=(90.0,) * 3)).mean())

    for height in (1.0, 1.5, 2.0):
        assert at(height) == pytest.approx(90 * 0.02 / (math.pi * height**2), rel=0.03)
    assert at(1.0) / at(2.0) == pytest.approx(4, rel=0.03)


def test_a_lamp_shines_to_one_side_with_both_cosines():
    size = (32, 32)
    lamp = AreaLight((0, 0, 1.0), size=(0.1, 0.1), colour=(150.0,) * 3)
    cam = still_camera((0.0, -3.0, 3.0), (0, 0, 0), size, 0.8)
    distance = np.linalg.norm(ground_of(cam, size) - (0, 0, 1), axis=-1)
    expected = 150 * 0.01 / math.pi / distance**4  # height^2 / distance^4 at height 1
    got = floor_light(lamp, size, fov=0.8)
    np.testing.assert_allclose(got, expected, atol=0.012)
    upward = AreaLight((0, 0, 1.0), (0, 0, 1), (0.1, 0.1), (150.0,) * 3)
    assert floor_light(upward, size).max() == 0


def test_large_lamps_have_the_form_factors_of_the_textbook():
    radius, height = 0.5, 1.0
    disc = AreaLight((0, 0, height), size=(2 * radius,) * 2, colour=(2.0,) * 3, outline="disc")
    assert floor_light(disc).mean() == pytest.approx(2 * radius**2 / (radius**2 + height**2), rel=0.04)
    a, b = 0.6, 0.4  # half edges; four corners of a x b above the point
    x, y = a / height, b / height
    corner = x / math.hypot(1, x) * math.atan(y / math.hypot(1, x))
    corner += y / math.hypot(1, y) * math.atan(x / math.hypot(1, y))
    rectangle = AreaLight((0, 0, height), size=(2 * a, 2 * b), colour=(2.0,) * 3)
    assert floor_light(rectangle).mean() == pytest.approx(2 * 4 * corner / (2 * math.pi), rel=0.04)


@pytest.mark.parametrize("outline", ["rectangle", "disc"])
def test_a_penumbra_is_as_wide_as_the_lamp_says(outline: str):
    """A plate at height a under a lamp of width w at height H: the shadow's border is w a / (H - a) wide.

    Across it, light grows as the sum over the part of the lamp that is seen, by the fourth power of distance.
    """
    size, width, above, height, middle = (16, 128), 0.6, 1.0, 2.0, -1.5
    cam = still_camera((1.5, -0.01, 4.0), (1.5, 0, 0), size, fov=0.06)
    plate = quad([(-6, -5, above), (0, -5, above), (0, 5, above), (-6, 5, above)], MATTE)
    x = ground_of(cam, size)[8, :, 0]

    def share(wide: float) -> np.ndarray:
        lamp = AreaLight((middle, 0, height), size=(wide, wide), colour=(30.0,) * 3, outline=outline)
        lit, shaded = (
            radiance(film([floor(look=MATTE), *s], cam, size, (lamp,), BLACK).rgb[0])[..., 1]
            for s in ([], [plate])
        )
        return (shaded / lit).mean(0)

    u, v = np.meshgrid(*(np.linspace(-0.995, 0.995, 200),) * 2)
    within = np.ones_like(u) if outline == "rectangle" else u**2 + v**2 < 1
    along, beside = middle + u * width / 2, v * width / 2
    expected = []
    for at in x:
        weight = within / ((along - at) ** 2 + beside**2 + height**2) ** 2
        expected.append((weight * (at + (along - at) * above / height > 0)).sum() / weight.sum())
    got = share(width)
    border = width * above / (height - above)
    dark, bright = (-middle + side * border / 2 for side in (-1, 1))
    within = (x > dark) & (x < bright)
    # Sixteen samples: no share is nearer than about a sixteenth.
    assert np.abs(got - expected).max() < 0.1
    assert np.abs(got - expected)[within].mean() < 0.04
    assert np.abs(share(0.7 * width) - expected)[within].mean() > 0.06
    assert got[x < dark - 0.02].max() < 0.01
    assert got[x > bright + 0.02].min() > 0.99
    assert got[x > dark + 0.12].min() > 0.02
    assert got[x < bright - 0.12].max() < 0.98


def shadow_places(light, frames: int = 3, fps: float = 10.0) -> list[np.ndarray]:
    """Centroids [px] of a ball's shadow, and with them the camera, by frame."""
    size = (96, 96)
    cam = still_camera((0.01, 0.0, 6.0), (0, 0, 0), size, fov=0.7, frames=frames)
    things = [floor(frames, MATTE), ball(0.1, [(0, 0, 0.5)] * frames, MATTE)]
    bare, shaded = (radiance(film(s, cam, size, (light,), BLACK, fps).rgb)[..., 1] for s in (things[:1], things))
    dark = np.clip(bare - shaded, 0, None)
    # The ball itself is above its place on the floor; the shadow is beside it.
    above = np.linalg.norm(ground_of(cam, size)[..., :2], axis=-1) < 0.13
    dark[:, above] = 0
    return [centroid(np.where(d > 0.3 * d.max(), d, 0)) - pixel_of(cam, (0, 0, 0)) for d in dark]


def test_a_moving_sun_moves_a_shadow():
    angles = (0.6, 0.9)
    directions = [(math.sin(a), 0.0, math.cos(a)) for a in angles]
    sun = Light((0, 0, 1), (1.0,) * 3, 1e-3, path=((0.0, directions[0]), (0.2, directions[1])))
    focal = 48 / math.tan(0.35)
    places = shadow_places(sun)
    for place, direction in zip(places, sun.directions(np.array([0.0, 0.1, 0.2]))):
        foot = -0.5 * direction[0] / direction[2]
        assert np.linalg.norm(place) == pytest.approx(focal * abs(foot) / 6.0, abs=0.6)
    assert np.linalg.norm(places[0] - places[2]) > 5
    still = shadow_places(Light(directions[0], (1.0,) * 3, 1e-3))
    np.testing.assert_allclose(still, np.broadcast_to(places[0], (3, 2)), atol=0.05)


def test_a_moving_lamp_moves_a_shadow():
    """A lamp at height 2 and a ball at height 0.5: the shadow runs against the lamp, a third as fast."""
    lamp = AreaLight(
        (0, 0, 9), size=(0.02, 0.02), colour=(9000.0,) * 3, path=((0.0, (-1.5, 0.9, 2)), (0.2, (-0.9, 1.8, 2)))
    )
    size = (96, 96)
    cam = still_camera((0.01, 0.0, 6.0), (0, 0, 0), size, fov=0.7)
    for place, position in zip(shadow_places(lamp), lamp.positions(np.array([0.0, 0.1, 0.2]))):
        foot = (-position[0] / 3, -position[1] / 3, 0)
        expected = pixel_of(cam, foot) - pixel_of(cam, (0, 0, 0))
        assert np.linalg.norm(place - expected) < 0.9
    np.testing.assert_allclose(lamp.positions(np.array([-5.0, 9.0])), [(-1.5, 0.9, 2), (-0.9, 1.8, 2)])


def test_a_soft_box_stands_in_the_sky_and_in_mirrors():
    direction = np.array([0.3, 0.4, 0.866]) / np.linalg.norm([0.3, 0.4, 0.866])
    box = SoftBox(tuple(direction), (0.3, 0.2), (0.5, 0.5, 0.5), soft=0.02)
    sky = Sky(DARK, DARK, boxes=(box,))
    size = (48, 48)
    # A level mirror, filmed from where the box is mirrored to, and the box itself.
    mirror = quad([(-2, -2, 0), (2, -2, 0), (2, 2, 0), (-2, 2, 0)], Look((1.0,) * 3, (1.0,) * 3, finish="mirror"))
    eye = 3 * np.array([-direction[0], -direction[1], direction[2]])
    cams = [
        still_camera(eye, (0, 0, 0), size, 0.5),
        still_camera((0, 0, 1), np.array([0, 0, 1]) + direction, size, 0.5),
    ]
    areas = []
    for cam, flip, things in zip(
        cams, (-1, 1), ([mirror], [quad([(0, 0, -1), (1, 0, -1), (1, 1, -1), (0, 1, -1)])])
    ):
        world = film(things, cam, size, (), sky)
        shown = radiance(world.rgb[0])[..., 1] > 0.25
        _, ray = rays(cam, size)
        ray = ray * (1, 1, flip)
        level = np.cross((0, 0, 1.0), -direction)
        level /= np.linalg.norm(level)
        upright = np.cross(-direction, level)
        x, y = (np.abs(ray @ axis / (ray @ direction)) for axis in (level, upright))
        inside = (x < math.tan(0.15)) & (y < math.tan(0.1)) & (ray @ direction > 0)
        assert (shown ^ inside).mean() < 0.02
        assert inside.sum() > 100
        areas.append(shown.sum())
        assert ((world.segmentation[0] == 0) == (world.depth[0] == 0)).all()
    assert areas[0] == pytest.approx(areas[1], rel=0.1)


@pytest.mark.parametrize(("size", "level"), [((0.3, 0.2), 30.0), ((1.3, 0.9), 2.0)])
def test_a_soft_box_lights_the_floor_as_lambert_s_polygon_does(size, level):
    """The irradiance of a polygon: half the sum, over its edges, of angle times height of the edge's normal."""
    direction = np.array([0.3, 0.4, 0.866]) / np.linalg.norm([0.3, 0.4, 0.866])
    box = SoftBox(tuple(direction), size, (level,) * 3, soft=1e-3)
    across, upward = (half * math.tan(s / 2) / np.linalg.norm(half) for half, s in zip(box.half_edges(), size))
    corners = [direction + x * across + y * upward for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    total = 0.0
    for a, b in zip(corners, corners[1:] + corners[:1]):
        a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
        normal = np.cross(a, b) / np.linalg.norm(np.cross(a, b))
        total += math.acos(a @ b) * normal[2]
    expected = level * abs(total) / (2 * math.pi)
    got = floor_light(None, sky=Sky(DARK, DARK, boxes=(box,))).mean()
    assert got == pytest.approx(expected, rel=0.02)


def test_a_glowing_sky_shows_the_sun_where_it_is():
    size, toward = (48, 48), np.array([0.2, 0.9, 0.39]) / np.linalg.norm([0.2, 0.9, 0.39])
    cam = still_camera((0, 0, 1), np.array([0, 0, 1]) + toward + (0.1, 0, 0.05), size, 0.8)
    ground = quad([(0, 0, -1), (1, 0, -1), (1, 1, -1), (0, 1, -1)])
    sun = (Light(tuple(toward), (1.0, 1.0, 1.0), radius=0.05),)
    glowing, plain = (film([ground], cam, size, sun, Sky(DARK, DARK, glow=g)) for g in (0.2, 0.0))
    bright = radiance(glowing.rgb[0])[..., 1]
    middle = centroid(np.where(bright > 0.5 * bright.max(), bright, 0))
    assert np.linalg.norm(middle - pixel_of(cam, np.array([0, 0, 1]) + toward)) < 0.3
    assert plain.rgb.max() == 0
    np.testing.assert_array_equal(glowing.depth, plain.depth)


def test_a_mirror_shows_a_lamp_that_a_camera_does_not_see():
    size = (32, 32)
    mirror = quad([(-2, -2, 0), (2, -2, 0), (2, 2, 0), (-2, 2, 0)], Look((0.9,) * 3, (0.9,) * 3, finish="mirror"))
    lamp = AreaLight((0, 1, 1), (0, -0.7, -0.7), (0.4, 0.4), (0.5,) * 3)
    down = still_camera((0, -1.5, 1.5), (0, 0, 0), size, 0.9)
    shown = film([mirror], down, size, (lamp,), BLACK)
    weight = radiance(shown.rgb[0])[..., 1]
    assert np.linalg.norm(centroid(weight) - pixel_of(down, (0, 1, -1))) < 0.5
    direct = film([mirror], still_camera((0, -1.5, 1), (0, 1, 1), size), size, (lamp,), BLACK)
    assert direct.rgb[0, :20].max() == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Light((0, 0, 1), path=((0.2, (0, 0, 1)), (0.1, (0, 1, 0)))), "must increase"),
        (lambda: AreaLight((0, 0, 1), outline="oval"), "unknown outline 'oval'"),  # type: ignore[arg-type]
        (lambda: AreaLight((0, 0, 1), size=(0.0, 1.0)), "a width and a height"),
        (lambda: SoftBox((0, 0, 1), size=(4.0, 1.0)), "narrower than pi"),
    ],
)
def test_impossible_lights_are_explained(make, message):
    with pytest.raises(InputError, match=message):
        make()
