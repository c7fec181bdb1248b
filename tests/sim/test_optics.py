"""Mirrors, glass, liquids and relief against geometrical optics; they paint, and leave labels as they are."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import ndimage
from studio import (
    BLACK,
    DIFFUSE,
    MATTE,
    ball,
    centroid,
    cross_sphere,
    film,
    floor,
    pixel_of,
    quad,
    radiance,
    rays,
    still_camera,
    surface,
)

from phys4d.errors import InputError
from phys4d.sim.device import wp
from phys4d.sim.kernels.looks import fresnel, refracted
from phys4d.sim.lights import Light, Sky
from phys4d.sim.materials import Look
from phys4d.sim.shapes import Box
from phys4d.sim.textures import SIZE, texture_names, texture_stack
from phys4d.world import World4D

MIRROR = Look((0.9, 0.9, 0.9), (0.9, 0.9, 0.9), finish="mirror")
GLASS = Look((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), finish="glass")
LAMP = Look((0.5, 0.0, 0.0), (0.5, 0.0, 0.0), gloss=0.0, glow=1.0)
LABELS = ("depth", "flow", "scene_flow", "visible", "segmentation", "tracks", "track_visibility")


def red(world: World4D, frame: int = 0) -> np.ndarray:
    """(H,W) radiance of a red lamp where nothing else shines."""
    return radiance(world.rgb[frame])[..., 0]


def test_a_mirror_shows_the_mirrored_point_and_is_labelled_as_itself():
    size, lamp = (96, 96), [(-0.5, -1.0, 0.9), (-0.3, -1.0, 0.7)]
    cam = still_camera((0.6, -3.0, 1.0), (0, 1, 1), size, fov=0.9, frames=2)

    def errors(lean: float) -> list[float]:
        up = np.array([0, math.sin(lean), math.cos(lean)])
        corners = [(x, 1, 1) + z * up for x, z in ((-2, -1), (2, -1), (2, 1), (-2, 1))]
        wall = quad(corners, MIRROR, instance=1, frames=2)
        world = film([wall, ball(0.15, lamp, LAMP, instance=2)], cam, size, (), BLACK)
        # The border of the lamp itself is red too.
        wall_only = ndimage.binary_erosion(world.segmentation == 1, np.ones((1, 3, 3)))
        images = [red(world, t) * wall_only[t] for t in range(2)]
        shown = images[0] > 0.05
        assert shown.sum() > 20
        np.testing.assert_array_equal(world.flow[0][shown], 0.0)
        np.testing.assert_array_equal(world.scene_flow[0][shown], 0.0)
        assert world.visible[0][shown].all()
        origin, direction = rays(cam, size)
        normal = np.cross((1, 0, 0), up)
        wall_depth = ((np.array([0, 1, 1]) - origin) @ normal) / (direction @ normal)
        np.testing.assert_allclose(world.depth[0][shown], wall_depth[shown], rtol=1e-5)
        return [
            float(np.linalg.norm(centroid(images[t]) - pixel_of(cam, image, t)))
            for t, image in enumerate([(x, 2 - y, z) for x, y, z in lamp])
        ]

    assert max(errors(0.0)) < 0.25
    assert min(errors(0.02)) > 1.0  # a mirror that leans by a degree is told from one that does not


def test_a_mirror_ball_shows_the_sky_along_the_mirrored_ray():
    size, centre = (64, 64), np.array([0.0, 0.0, 1.0])
    cam = still_camera((0.0, -3.0, 1.4), centre, size, fov=0.4)
    sky = Sky((0.1, 0.1, 0.1), (0.7, 0.3, 0.5))
    dark = dataclasses.replace(MIRROR, colour=(0.5,) * 3, accent=(0.5,) * 3)
    world = film([ball(0.5, centre, dark)], cam, size, (), sky)
    origin, direction = rays(cam, size)
    t = cross_sphere(origin, direction, centre, 0.5)
    on = ndimage.binary_erosion(np.isfinite(t), iterations=3)
    normal = (origin + np.where(np.isfinite(t), t, 0)[..., None] * direction - centre) / 0.5
    unit = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    cosine = -(unit * normal).sum(-1)
    mirrored = unit + 2 * cosine[..., None] * normal
    share = 0.5 + 0.5 * (1 - np.clip(cosine, 0, 1)) ** 5
    blend = np.sqrt(np.clip(mirrored[..., 2], 0, 1))[..., None]
    expected = share[..., None] * (np.array(sky.horizon) * (1 - blend) + np.array(sky.zenith) * blend)
    # At the horizon the sky's slope is endless; a pixel's mean is not its middle there.
    smooth = on & (np.abs(mirrored[..., 2]) > 0.08)
    assert smooth.sum() > 600
    error = np.abs(radiance(world.rgb[0]) - expected)[smooth]
    assert error.max() < 0.015
    assert error.mean() < 0.003


def test_mirrors_that_face_each_other_come_to_an_end():
    size = (24, 24)
    walls = [
        quad([(-2, 1, -2), (2, 1, -2), (2, 1, 2), (-2, 1, 2)], MIRROR),
        quad([(2, -1, -2), (-2, -1, -2), (-2, -1, 2), (2, -1, 2)], MIRROR),
    ]
    world = film(
        [*walls, ball(0.2, (0, 0.3, 0), GLASS, instance=2)], still_camera((0, 0, 0), (0, 1, 0), size), size
    )
    assert (world.depth > 0).all()
    assert (world.segmentation == 1).all()


def slab(thickness: float, look: Look = GLASS, angle: float = 0.0, instance: int = 3):
    """A pane about the origin, square to the y axis, turned about z by `angle`."""
    piece = Box((1.6, thickness, 1.6)).pieces()[0]
    c, s = math.cos(angle), math.sin(angle)
    turned = piece.vertices @ np.array([(c, s, 0), (-s, c, 0), (0, 0, 1)], np.float32)
    return surface(dataclasses.replace(piece, vertices=turned), np.zeros((1, 3)), look, instance)


@pytest.mark.parametrize("angle", [0.4, -0.8])
def test_a_slab_shifts_what_is_behind_it_as_snell_says(angle: float):
    """Far away and through a long lens, so that all rays are parallel to within a few milliradians."""
    size, thickness, index, away = (96, 96), 0.3, 1.5, 40.0
    cam = still_camera((0.0, -away, 0.0), (0, 0, 0), size, fov=0.02)
    lamp = ball(0.06, (0.0, 1.0, 0.0), LAMP, instance=1)
    plain = film([lamp], cam, size, (), BLACK)

    def shifted(refraction: float) -> np.ndarray:
        world = film(
            [lamp, slab(thickness, dataclasses.replace(GLASS, refraction=refraction), angle)], cam, size, (), BLACK
        )
        weight = red(world)
        # Faint second images, mirrored twice within the slab, lie beside the first.
        return centroid(np.where(weight > 0.5 * weight.max(), weight, 0)) - centroid(red(plain))

    sine, cosine = math.sin(abs(angle)), math.cos(angle)
    shift = thickness * sine * (1 - cosine / math.sqrt(index**2 - sine**2))
    pixels = shift * cam.intrinsics[0, 0, 0] / (away + 1)
    # The pane's normal leans toward -x for a positive angle; what is seen moves the way the ray is bent.
    assert shifted(index) == pytest.approx([math.copysign(pixels, shifted(index)[0]), 0.0], abs=0.12)
    assert np.sign(shifted(index)[0]) == np.sign(angle)
    assert abs(abs(shifted(1.4)[0]) - pixels) > 0.25


def test_bending_and_reflection_follow_snell_and_fresnel():
    normal = wp.vec3(0.0, 0.0, 1.0)
    for n1, n2 in ((1.0, 1.5), (1.5, 1.0), (1.0, 1.33)):
        for angle in np.linspace(0.0, 1.5, 16):
            ray = wp.vec3(math.sin(angle), 0.0, -math.cos(angle))
            bent = np.array(refracted(ray, normal, n1 / n2))
            share = fresnel(math.cos(angle), n1 / n2)
            sine = n1 / n2 * math.sin(angle)
            if sine >= 1:
                assert not bent.any()
                assert share == 1
                continue
            assert np.linalg.norm(bent) == pytest.approx(1, abs=1e-5)
            assert bent[0] == pytest.approx(sine, abs=1e-5)
            assert bent[2] < 0
            beyond = math.sqrt(1 - sine**2)
            s = (n1 * math.cos(angle) - n2 * beyond) / (n1 * math.cos(angle) + n2 * beyond)
            p = (n1 * beyond - n2 * math.cos(angle)) / (n1 * beyond + n2 * math.cos(angle))
            assert share == pytest.approx((s * s + p * p) / 2, abs=1e-5)


def test_a_pane_lets_pass_what_fresnel_and_its_colour_leave():
    """A lit wall behind a pane that it faces: (1 - R) / (1 + R), all reflections within the pane included."""
    size, glowing = (16, 16), Look((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), gloss=0.0, glow=1.0)
    cam = still_camera((0.0, -4.0, 0.0), (0, 0, 0), size, fov=0.1)
    wall = quad([(-3, 2, -3), (3, 2, -3), (3, 2, 3), (-3, 2, 3)], glowing)

    def passed(look: Look) -> float:
        with_pane, without = (film([wall, *s], cam, size, (), BLACK).rgb for s in ([slab(0.1, look)], []))
        return float(radiance(with_pane).mean() / radiance(without).mean())

    bounced = (0.5 / 2.5) ** 2
    assert passed(GLASS) == pytest.approx((1 - bounced) / (1 + bounced), abs=0.01)
    assert passed(dataclasses.replace(GLASS, colour=(0.7, 0.7, 0.7))) == pytest.approx(0.7 * 0.923, abs=0.02)
    assert passed(dataclasses.replace(GLASS, refraction=2.0)) == pytest.approx((1 - 1 / 9) / (1 + 1 / 9), abs=0.02)


def test_labels_are_those_behind_the_glass():
    size = (48, 48)
    cam = still_camera((0.3, -3.0, 1.0), (0, 0, 0.5), size, frames=2)
    behind = [floor(2), ball(0.3, [(-0.4, 0.8, 0.3), (0.4, 0.8, 0.3)], instance=1)]
    pane = Box((1.4, 0.1, 1.4)).pieces()[0]
    front = [
        surface(pane, np.array([(0, -0.4, 0.7), (0.1, -0.4, 0.7)]), GLASS, instance=3),
        ball(0.25, [(0.5, -1.0, 0.3)] * 2, GLASS, instance=4),
    ]
    plain, glazed = film(behind, cam, size), film([*behind, *front], cam, size)
    for name in LABELS:
        np.testing.assert_array_equal(getattr(plain, name), getattr(glazed, name), err_msg=name)
    assert np.abs(plain.rgb.astype(int) - glazed.rgb).mean() > 2
    # The same things of a solid make are labelled, so the labels can tell.
    solid = film([*behind, *(dataclasses.replace(s, look=MATTE) for s in front)], cam, size)
    assert {3, 4} <= set(np.unique(solid.segmentation))


def test_a_liquid_is_labelled_and_glass_before_it_is_not():
    size = (32, 32)
    cam = still_camera((0.0, -3.0, 0.0), (0, 0, 0), size)
    wall = quad([(-9, 2, -9), (9, 2, -9), (9, 2, 9), (-9, 2, 9)], instance=1)
    water = dataclasses.replace(GLASS, finish="liquid", refraction=1.33)
    drop = ball(0.5, (0, 1, 0), water, instance=2)
    world = film([wall, slab(0.1), slab(0.02, GLASS, 0.5, 4), drop], cam, size)
    origin, direction = rays(cam, size)
    expected = cross_sphere(origin, direction, (0, 1, 0), 0.5)
    np.testing.assert_array_equal(world.segmentation[0] == 2, np.isfinite(expected))
    np.testing.assert_allclose(world.depth[0], np.where(np.isfinite(expected), expected, 5.0), rtol=1e-4)


def test_a_liquid_hides_what_goes_behind_it_and_glass_does_not():
    size = (24, 24)
    cam = still_camera((0.0, -3.0, 0.0), (0, 0, 0), size, frames=2)
    moving = ball(0.2, [(-1.0, 1, 0), (0, 1, 0)], instance=1)
    seen = {}
    for finish in ("glass", "liquid"):
        pane = slab(0.1, dataclasses.replace(GLASS, finish=finish))
        pane = dataclasses.replace(pane, vertices=np.repeat(pane.vertices * 0.4, 2, axis=0))
        world = film([pane, moving], cam, size)
        seen[finish] = world.visible[0][world.segmentation[0] == 1].mean()
    assert seen == {"glass": 1.0, "liquid": 0.0}


def test_glass_throws_a_faint_shadow():
    size = (32, 32)
    cam = still_camera((0.0, -0.01, 3.0), (0, 0, 0), size, fov=0.3)
    sun = (Light((0.6, 0.0, 0.8), (1.0, 1.0, 1.0), radius=1e-3),)
    plate = Box((1.2, 1.2, 0.05)).pieces()[0]
    level = {}
    for name, look in {"none": None, "glass": GLASS, "solid": MATTE}.items():
        above = [] if look is None else [surface(plate, np.array([(1.2, 0.0, 1.6)]), look)]
        level[name] = radiance(film([floor(look=MATTE), *above], cam, size, sun, BLACK).rgb).mean()
    assert level["solid"] < 1e-3
    cosine = 0.8
    assert level["glass"] / level["none"] == pytest.approx((1 - fresnel(cosine, 1 / 1.5)) ** 2, abs=0.02)


def _relief(depth: float, distance: float, size: tuple[int, int], texture: str = "noise") -> World4D:
    wall = quad(
        [(-0.4, 0, -0.4), (0.4, 0, -0.4), (0.4, 0, 0.4), (-0.4, 0, 0.4)],
        dataclasses.replace(MATTE, tile=0.5, relief=depth, relief_texture=texture),
    )
    light = (Light((0.6, -0.8, 0.0), (1.2, 1.2, 1.2), radius=1e-3),)
    # Always the same part of the wall.
    cam = still_camera((0.0, -distance, 0.0), (0, 0, 0), size, fov=2 * math.atan(0.1 / distance))
    return film([wall], cam, size, light, BLACK)


def test_relief_turns_normals_as_the_slopes_of_its_texture_say():
    size, depth = (64, 64), 0.01
    flat, raised = _relief(0.0, 0.5, size), _relief(depth, 0.5, size)
    for name in LABELS:
        np.testing.assert_array_equal(getattr(flat, name), getattr(raised, name), err_msg=name)
    height = depth * texture_stack()[texture_names().index("noise")][: SIZE * SIZE].reshape(SIZE, SIZE)
    across, up = (ndimage.convolve1d(height, [0.5, 0, -0.5], axis=a, mode="wrap") * SIZE / 0.5 for a in (1, 0))
    cam = still_camera((0.0, -0.5, 0.0), (0, 0, 0), size, fov=2 * math.atan(0.1 / 0.5))
    origin, direction = rays(cam, size)
    p = origin + 0.5 * direction
    where = np.stack([p[..., 2], p[..., 0]]) / 0.5 * SIZE - 0.5
    slopes = [ndimage.map_coordinates(g, where, order=1, mode="grid-wrap") for g in (across, up)]
    normal = np.stack([-slopes[0], -np.ones(size), -slopes[1]], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    expected = DIFFUSE * 0.5 * 1.2 * (normal @ (0.6, -0.8, 0.0))
    got = radiance(raised.rgb[0])[..., 1]
    assert expected.std() > 0.015
    assert np.corrcoef(expected.ravel(), got.ravel())[0, 1] > 0.98
    assert got.std() / expected.std() == pytest.approx(1, abs=0.1)
    assert radiance(flat.rgb[0])[..., 1].std() < 0.003


def test_relief_fades_where_pixels_are_wider_than_it_is():
    contrast = [radiance(_relief(0.004, 0.5, (n, n)).rgb[0])[..., 1].std() for n in (64, 4)]
    assert contrast[1] < 0.3 * contrast[0]


def test_relief_turns_with_a_ball():
    """Turn the ball and the light about the line of sight by a quarter: the picture turns by a quarter."""
    size, rough = (48, 48), dataclasses.replace(MATTE, tile=0.5, relief=0.03, relief_texture="noise")
    quarter = np.array([(0, 0, 1), (0, 1, 0), (-1, 0, 0)])  # from z to x, as seen from -y: clockwise
    toward = np.array([0.5, -0.7, 0.51])
    cam = still_camera((0, -2, 0), (0, 0, 0), size, fov=0.45)

    def picture(turn: np.ndarray, light: np.ndarray) -> np.ndarray:
        thing = ball(0.4, (0, 0, 0), rough, rotations=turn[None])
        return film([thing], cam, size, (Light(tuple(light), (1.2,) * 3, 1e-3),), BLACK).rgb[0].astype(int)

    straight = picture(np.eye(3), toward)
    turned = picture(quarter, quarter @ toward)
    assert np.abs(np.rot90(straight, -1) - turned).mean() < 1
    assert np.abs(picture(np.eye(3), quarter @ toward) - turned).mean() > 4


def test_few_rays_a_pixel_are_enough_for_mirrors_and_glass():
    """A small picture is the mean of a large one, in which every ray has a pixel of its own."""
    checks = dataclasses.replace(MATTE, accent=(0.05, 0.05, 0.05), texture="checker", tile=0.5)
    things = [
        floor(look=checks),
        ball(0.4, (-0.6, 0, 0.4), MIRROR),
        ball(0.4, (0.4, 0.1, 0.4), GLASS),
        quad([(-2, 1.2, 0), (2, 1.2, 0), (2, 1.2, 1.6), (-2, 1.2, 1.6)], MIRROR),
    ]
    pictures = []
    for n in (32, 128):
        size = (n, n)
        world = film(things, still_camera((0.0, -3.0, 1.0), (0, 0, 0.4), size, fov=0.7), size)
        pictures.append(radiance(world.rgb[0]))
    coarse, fine = pictures
    mean = fine.reshape(32, 4, 32, 4, 3).mean((1, 3))
    error = np.abs(coarse - mean).mean(-1)
    assert error.mean() < 0.012
    assert np.quantile(error, 0.99) < 0.1


def test_impossible_looks_are_explained():
    with pytest.raises(InputError, match="unknown finish 'chrome'"):
        dataclasses.replace(MATTE, finish="chrome")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="unknown texture 'bumps'"):
        dataclasses.replace(MATTE, relief_texture="bumps")
    with pytest.raises(InputError, match="refraction is at least 1"):
        dataclasses.replace(GLASS, refraction=0.5)
