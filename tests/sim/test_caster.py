"""The renderer's labels against closed forms, against geometry, and against the pictures themselves."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from bench import GREY, MEDIA, frames_of
from closeup import labels_agree_with_geometry, residual_shifts
from scipy import ndimage
from scipy.spatial.transform import Rotation
from studio import (
    BLACK,
    DIFFUSE,
    MATTE,
    SUN,
    ball,
    camera,
    cross_sphere,
    film,
    floor,
    pixel_of,
    radiance,
    rays,
    still_camera,
    surface,
)

from phys4d.errors import InputError
from phys4d.sim.catalog import SCENES, build
from phys4d.sim.engines import engine_of
from phys4d.sim.lights import Light
from phys4d.sim.motion import Spheres
from phys4d.sim.shapes import Ball, Basket, Box, Cylinder, Duck, Ground, Piece, Shape
from phys4d.sim.simulate import simulate
from phys4d.sim.textures import SIZE, texture_names, texture_stack
from phys4d.world import Camera


def test_depth_of_a_plane_and_a_sphere_are_the_closed_forms():
    size = (48, 64)
    cam = still_camera((0.0, -3.0, 1.2), (0, 0, 0.3), size)
    origin, direction = rays(cam, size)
    with np.errstate(divide="ignore", invalid="ignore"):
        plane = np.where(direction[..., 2] < 0, -origin[2] / direction[..., 2], np.inf)
        plane[np.abs(origin + plane[..., None] * direction)[..., :2].max(-1) > 40] = np.inf
    sphere = cross_sphere(origin, direction, (0, 0, 0.5), 0.5)
    expected = np.minimum(plane, sphere)
    expected[np.isinf(expected)] = 0
    world = film([floor(), ball(0.5, (0, 0, 0.5))], cam, size)
    np.testing.assert_array_equal(world.segmentation[0] == 1, sphere < plane)
    np.testing.assert_allclose(world.depth[0], expected, rtol=2e-5)
    # A planted fault of half a millimetre is found.
    moved = film([floor(), ball(0.5005, (0, 0, 0.5))], cam, size)
    assert np.abs(moved.depth[0] - expected)[sphere < plane].max() > 2e-4


def test_a_sphere_is_as_bright_as_its_normals_say():
    """Under a point of light in the dark, radiance is the cosine of the angle between the light and the normal."""
    size, centre = (64, 64), np.array([0.3, 0.1, 0.8])
    cam = still_camera((0.0, -3.0, 1.2), centre, size, fov=0.45)
    toward = np.array([0.5, -0.6, 0.62]) / np.linalg.norm([0.5, -0.6, 0.62])
    origin, direction = rays(cam, size)
    t = cross_sphere(origin, direction, centre, 0.4)
    normal = (origin + np.where(np.isfinite(t), t, 0)[..., None] * direction - centre) / 0.4
    cosine = np.maximum(normal @ toward, 0) * np.isfinite(t)
    inside = ndimage.binary_erosion(cosine > 0.1, iterations=2)

    def error(light: np.ndarray) -> float:
        lights = (Light(tuple(light), (1.2, 1.2, 1.2), radius=1e-3),)
        world = film([ball(0.4, centre, MATTE)], cam, size, lights, BLACK)
        return np.abs(radiance(world.rgb[0])[..., 1] - DIFFUSE * 0.5 * 1.2 * cosine)[inside].max()

    assert inside.sum() > 500
    assert error(toward) < 0.006
    tilted = toward + 0.05 * np.cross(toward, (0, 0, 1))
    assert error(tilted / np.linalg.norm(tilted)) > 0.012


def test_a_rolling_ball_moves_as_a_rigid_body():
    """Scene flow, tracks and visibility of a sphere that travels and turns, against R' R^T (p - c) + c'."""
    size, frames, r = (40, 48), 4, 0.3
    centres = np.stack([np.linspace(-0.4, 0.4, frames), np.zeros(frames), np.full(frames, r)], axis=1)
    rotations = Rotation.from_rotvec(np.stack([np.zeros(frames), centres[:, 0] / r, np.zeros(frames)], 1))
    rotations = (rotations * Rotation.from_rotvec((0.3, 0.5, 0.7))).as_matrix()
    cam = still_camera((0.0, -2.5, 0.8), (0, 0, r), size, frames=frames)
    world = film([floor(frames), ball(r, centres, rotations=rotations)], cam, size)
    for t in range(frames - 1):
        origin, direction = rays(cam, size)
        on = world.segmentation[t] == 1
        p = (origin + world.depth[t][..., None] * direction)[on]
        turn = rotations[t + 1] @ rotations[t].T
        then = (p - centres[t]) @ turn.T + centres[t + 1]
        np.testing.assert_allclose(world.scene_flow[t][on], then - p, atol=2e-6)
        # What turns away is hidden, what faces the camera is not: nothing else is in the way.
        facing = ((then - centres[t + 1]) * (origin - then)).sum(-1)
        clear = np.abs(facing) > 1e-3
        np.testing.assert_array_equal(world.visible[t][on][clear], (facing > 0)[clear])
        assert (facing < 0).any()
    on_ball = np.abs(np.linalg.norm(world.tracks - centres, axis=-1) - r).max(-1) < 1e-4
    assert on_ball.sum() > 30
    rest = np.einsum("tji,ntj->nti", rotations, world.tracks[on_ball] - centres)
    np.testing.assert_allclose(rest, rest[:, :1].repeat(frames, 1), atol=2e-6)


def test_thousands_of_grains_are_the_nearest_of_them_all():
    """A heap of 3000 spheres in one surface, against a search through every one of them."""
    size, rng = (24, 24), np.random.default_rng(1)
    places = rng.uniform(-1, 1, (2, 3000, 3)).astype(np.float32)
    radius = rng.uniform(0.005, 0.03, 3000).astype(np.float32)
    rotations = np.broadcast_to(np.eye(3, dtype=np.float32), (2, 3000, 3, 3))
    grains = Spheres("grains", radius, places, rotations, GREY, 7, True, True)
    cam = still_camera((0.0, -4.0, 0.5), (0, 0, 0), size, fov=0.5, frames=2)
    world = film([grains], cam, size)
    origin, direction = rays(cam, size)
    for t in range(2):
        nearest = np.min([cross_sphere(origin, direction, c, r) for c, r in zip(places[t], radius)], axis=0)
        np.testing.assert_array_equal(world.segmentation[t], np.where(np.isfinite(nearest), 7, 0))
        np.testing.assert_allclose(world.depth[t], np.where(np.isfinite(nearest), nearest, 0), rtol=2e-5)
    hit = world.depth[0] > 0
    # A grain that stays in sight is seen again by the ray through where it went.
    then = (origin + world.depth[0][..., None] * direction + world.scene_flow[0])[hit]
    away = (then - origin) / np.linalg.norm(then - origin, axis=-1, keepdims=True)
    found = np.min([cross_sphere(origin, away, c, r) for c, r in zip(places[1], radius)], axis=0)
    reached = np.abs(found - np.linalg.norm(then - origin, axis=-1)) < 1e-4
    k = cam.intrinsics[0]
    local = (then - origin) @ cam.world_from_camera[0][:3, :3]
    pixel = local[:, :2] / local[:, 2:] * k[0, 0] + k[:2, 2]
    reached &= ((pixel > 0) & (pixel < 24)).all(-1)
    assert (world.visible[0][hit] == reached).mean() > 0.995
    assert 0 < reached.mean() < 1


def test_a_sideways_camera_sees_flow_of_minus_f_t_over_z():
    size = (32, 48)
    eyes = np.array([[0.0, -4.0, 1.0], [0.1, -4.0, 1.0]])
    cam = camera(eyes, (0, 0, 1.0), size)
    cam = Camera(cam.intrinsics, np.stack([cam.world_from_camera[0]] * 2))
    cam.world_from_camera[1, 0, 3] += 0.1
    wall = Piece(
        np.array([(-9, 1, -9), (9, 1, -9), (9, 1, 9), (-9, 1, 9)], np.float32),
        np.array([(0, 1, 2), (0, 2, 3)], np.int32),
    )
    world = film([surface(wall, np.zeros((2, 3)))], cam, size)
    np.testing.assert_allclose(world.depth, 5.0, rtol=1e-5)
    focal = cam.intrinsics[0, 0, 0]
    np.testing.assert_allclose(world.flow[..., 0], -focal * 0.1 / 5.0, atol=2e-4)
    np.testing.assert_allclose(world.flow[..., 1], 0.0, atol=2e-4)
    np.testing.assert_array_equal(world.scene_flow, 0.0)
    assert world.visible[:, :, 2:].all()
    assert not world.visible[0, :, 0].any()  # the first column leaves the picture


def test_the_sky_moves_by_rotation_alone():
    size = (24, 24)
    turn = camera(np.zeros((2, 3)) + (0, 0, 30), (0, 9, 33), size)
    angle = 0.02
    spin = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    turn.world_from_camera[1, :3, :3] = spin @ turn.world_from_camera[1, :3, :3]
    turn.world_from_camera[1, :3, 3] += (5, 1, -2)  # however far it travels
    world = film([surface(Ground(5.0).pieces()[0], np.zeros((2, 3)))], turn, size)
    assert (world.depth == 0).all()
    assert not world.visible.any()
    _, direction = rays(turn, size)
    local = direction @ turn.world_from_camera[1, :3, :3]
    focal = turn.intrinsics[0, 0, 0]
    expected = focal * local[..., :2] / local[..., 2:] + 12
    j, i = np.meshgrid(np.arange(24) + 0.5, np.arange(24) + 0.5)
    np.testing.assert_allclose(world.flow[0], expected - np.stack([j, i], -1), atol=2e-3)


def test_occlusion_is_seen_where_a_plate_slides_before_a_wall():
    size = (40, 40)
    cam = camera(np.zeros((2, 3)) + (0, -4, 0), (0, 0, 0), size)
    wall = Piece(
        np.array([(-9, 1, -9), (9, 1, -9), (9, 1, 9), (-9, 1, 9)], np.float32),
        np.array([(0, 1, 2), (0, 2, 3)], np.int32),
    )
    plate = Box((1.0, 0.02, 1.0)).pieces()[0]
    shift = np.array([[-0.4, 0, 0], [0.4, 0, 0]])
    world = film([surface(wall, np.zeros((2, 3)), instance=0), surface(plate, shift)], cam, size)
    hidden_next = (world.segmentation[0] == 0) & (world.segmentation[1] == 1)
    agree = ~world.visible[0] == hidden_next
    # The two differ only in pixels that the plate's border crosses.
    assert agree.mean() > 0.98
    assert hidden_next.sum() > 50
    np.testing.assert_allclose(world.scene_flow[0][world.segmentation[0] == 1] - (0.8, 0, 0), 0, atol=1e-6)


@pytest.mark.parametrize("shape", [Box((0.3, 0.2, 0.4)), Cylinder(0.2, 0.5), Basket(0.3, 0.4), Duck(0.5)])
def test_meshes_are_closed_and_face_outward(shape: Shape):
    """Every edge has two sides once equal vertices are merged, and the volume is right where known."""
    import trimesh

    total = 0.0
    for piece in shape.pieces():
        if isinstance(piece, Ball):
            continue
        mesh = trimesh.Trimesh(piece.vertices, piece.faces, process=True)
        mesh.merge_vertices()
        assert mesh.is_watertight
        assert mesh.volume > 0
        total += mesh.volume
    exact = {Box: 0.024, Cylinder: math.pi * 0.02}
    if type(shape) in exact:
        assert total == pytest.approx(exact[type(shape)], rel=5e-3)


def test_textures_tile_and_filter():
    stack = texture_stack()
    assert stack.shape == (len(texture_names()), sum(4**k for k in range(9)))
    assert stack.min() >= 0
    assert stack.max() <= 1
    for row, name in zip(stack, texture_names()):
        finest = row[: SIZE * SIZE].reshape(SIZE, SIZE)
        assert row[-1] == pytest.approx(finest.mean(), abs=1e-3)
        inner = np.abs(np.diff(finest, axis=0)).mean(1).max() + np.abs(np.diff(finest, axis=1)).mean(0).max()
        seam = np.abs(finest[0] - finest[-1]).mean() + np.abs(finest[:, 0] - finest[:, -1]).mean()
        assert seam <= 1.5 * inner + 0.02, f"{name} shows a seam where it repeats"


def test_shadows_fall_away_from_the_light():
    size = (64, 64)
    cam = still_camera((0.01, 0.0, 6.0), (0, 0, 0), size)
    world = film([floor(), ball(0.4, (0, 0, 0.8))], cam, size)
    grey = world.rgb[0].astype(float).mean(-1)
    grey[world.segmentation[0] == 1] = np.nan
    dark = np.argwhere(grey < 0.75 * np.nanmedian(grey)) + 0.5
    foot = np.array([0, 0, 0.8]) - 0.8 / SUN[0].direction[2] * np.array(SUN[0].direction)
    assert len(dark) > 20
    assert np.linalg.norm(dark.mean(0)[::-1] - pixel_of(cam, foot)) < 4


def _worlds() -> list[tuple[str, int]]:
    # Those of media have tests of their own, on coarser grids.
    return [
        (name, 0 if row.engine == "elastic" else seed)
        for seed, (name, row) in enumerate((name, SCENES[name]) for name in SCENES)
        if row.engine not in MEDIA
    ]


@pytest.mark.parametrize(("name", "seed"), _worlds())
def test_every_scene_s_labels_agree_with_geometry(name: str, seed: int):
    frames, fps = frames_of(name)
    labels_agree_with_geometry(simulate(name, seed=seed, size=(48, 56), frames=frames, fps=fps))


@pytest.mark.parametrize(("name", "seed"), _worlds())
def test_flow_agrees_with_the_next_rendered_frame(name: str, seed: int):
    """The next frame, warped back by the flow, shows the same picture, to a small part of a pixel.

    Flow and scene flow come from one hit, so they agree with each other whatever happens; the next frame is
    rendered independently. The residual shift of moving instances is measured by least squares (Lucas-Kanade);
    a planted shift of 0.3 px must be found.
    """
    spec = build(name, seed)
    elastic = spec.engine == "elastic"
    motion = engine_of(spec.engine)(spec, *(frames_of(name) if elastic else (33, 24.0)))
    times = (3, 6, 10, 14) if elastic else (2, 6, 10, 14, 20, 26)
    residuals, planted = residual_shifts(spec, motion, times, seed)
    if name in ("stable_blocks", "duck_static") or name.startswith("light_on_"):
        assert not residuals
        return
    assert len(residuals) >= 2
    assert np.abs(np.median(residuals, axis=0)).max() < 0.03
    assert np.median(np.linalg.norm(residuals, axis=1)) < 0.04
    found = np.median(np.array(planted) - np.array(residuals), axis=0)
    np.testing.assert_allclose(found, [0.3, 0.0], atol=0.13)


def test_same_arguments_same_world():
    a, b = (simulate("ball_collide", seed=5, size=(32, 32)) for _ in range(2))
    for name in a.fields:
        if name != "camera":
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_array_equal(a.camera.world_from_camera, b.camera.world_from_camera)
    assert a.meta == b.meta
    other = simulate("ball_collide", seed=6, size=(32, 32))
    assert not np.array_equal(a.rgb, other.rgb)


def test_a_still_scene_under_a_still_camera_does_not_flicker():
    world = simulate("stable_blocks", seed=1, size=(48, 48), frames=4, camera="static")
    assert np.abs(np.diff(world.rgb.astype(int), axis=0)).max() <= 1
    np.testing.assert_allclose(world.flow, 0, atol=5e-3)


def test_one_frame_is_a_world():
    world = simulate("ball_drop", seed=1, size=(32, 40), frames=1)
    assert world.flow.shape == (0, 32, 40, 2)
    world.validate()


def test_unknown_device_is_named():
    with pytest.raises(InputError, match="unknown device 'cuda:9'"):
        simulate("ball_drop", device="cuda:9", size=(16, 16), frames=1)


def test_looks_do_not_change_labels():
    """Colour is painted on afterwards: other lights and textures leave every label as it is."""
    size = (32, 32)
    cam = still_camera((0.0, -3.0, 1.2), (0, 0, 0.3), size, frames=2)
    plain = film([ball(0.5, [(0, 0, 0.5)] * 2)], cam, size)
    dotted = dataclasses.replace(GREY, texture="dots", accent=(1, 0, 0), gloss=1.0)
    other = film([ball(0.5, [(0, 0, 0.5)] * 2, dotted)], cam, size)
    np.testing.assert_array_equal(plain.depth, other.depth)
    np.testing.assert_array_equal(plain.flow, other.flow)
    assert not np.array_equal(plain.rgb, other.rgb)


@pytest.mark.parametrize(("row", "least"), [("domino_with_space", 28), ("roll_in_box", 29), ("duck_static", 37)])
def test_a_pixel_is_the_mean_of_finer_ones(row, least):
    """In dB, textures, edges and shadows alike; one sample of the texture a pixel falls short by 4 dB or more."""
    coarse, fine = (np.float64(simulate(row, seed=0, size=(n, n), frames=1).rgb)[0] for n in (64, 256))
    means = fine.reshape(64, 4, 64, 4, 3).mean((1, 3))
    assert 10 * math.log10(255**2 / np.mean((coarse - means) ** 2)) > least
