"""The renderer's labels against closed forms, against geometry, and against the pictures themselves."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from bench import GREY
from scipy import ndimage

from phys4d.errors import InputError
from phys4d.geometry import (
    backward_warp,
    intrinsics_from_fov,
    look_at,
    motion_from_scene_flow,
    project_tracks,
    visible_by_depth,
)
from phys4d.sim import caster
from phys4d.sim.catalog import SCENES, build
from phys4d.sim.engines import engine_of
from phys4d.sim.filming import film as film_scene
from phys4d.sim.motion import Motion, Surface
from phys4d.sim.scene import Light, Look, Sky
from phys4d.sim.shapes import Basket, Box, Cylinder, Duck, Ground, Piece, Shape, Sphere
from phys4d.sim.simulate import simulate
from phys4d.sim.textures import SIZE, texture_names, texture_stack
from phys4d.world import Camera, World4D

SUN = (Light((0.4, 0.2, math.sqrt(0.8))),)


def surface(piece: Piece, offsets: np.ndarray, look: Look = GREY, instance: int = 1) -> Surface:
    vertices = (piece.vertices[None] + offsets[:, None]).astype(np.float32)
    moves = bool(np.ptp(offsets, axis=0).any())
    return Surface("thing", piece.vertices, piece.faces, vertices, look, instance, moves, True)


def camera(eyes: np.ndarray, target, size: tuple[int, int], fov: float = 0.8) -> Camera:
    k = intrinsics_from_fov(fov, *size).numpy()
    pose = look_at(
        torch.tensor(eyes, dtype=torch.float64), torch.tensor(target, dtype=torch.float64).expand(len(eyes), 3)
    )
    return Camera(np.broadcast_to(k, (len(eyes), 3, 3)).copy(), pose.numpy().astype(np.float32))


def film(surfaces: list[Surface], cam: Camera, size: tuple[int, int], lights=SUN) -> World4D:
    motion = Motion(tuple(surfaces), 12.0, {})
    return caster.render(motion, cam, size, lights, Sky(), rng=np.random.default_rng(0)).validate()


def rays(cam: Camera, size: tuple[int, int], frame: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """World origin and directions (H,W,3) with unit z in camera axes, written down anew."""
    k, pose = cam.intrinsics[frame].astype(float), cam.world_from_camera[frame].astype(float)
    j, i = np.meshgrid(np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5)
    local = np.stack([(j - k[0, 2]) / k[0, 0], (i - k[1, 2]) / k[1, 1], np.ones_like(i)], axis=-1)
    return pose[:3, 3], local @ pose[:3, :3].T


def test_depth_of_a_plane_and_a_sphere_are_the_closed_forms():
    size, still = (48, 64), np.zeros((1, 3))
    cam = camera(np.array([[0.0, -3.0, 1.2]]), (0, 0, 0.3), size)
    ball = surface(Sphere(0.5).pieces()[0], still + (0, 0, 0.5))
    world = film([surface(Ground().pieces()[0], still, instance=0), ball], cam, size)
    origin, direction = rays(cam, size)
    with np.errstate(divide="ignore", invalid="ignore"):
        plane = np.where(direction[..., 2] < 0, -origin[2] / direction[..., 2], np.inf)
        plane[np.abs(origin + plane[..., None] * direction)[..., :2].max(-1) > 40] = np.inf
        offset = origin - (0, 0, 0.5)
        a, b, c = (direction**2).sum(-1), direction @ offset, offset @ offset - 0.25
        root = b**2 - a * c
        sphere = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
    expected = np.minimum(plane, sphere)
    expected[np.isinf(expected)] = 0
    on_ball = np.isfinite(sphere) & (sphere < plane)
    # A mesh of 5120 triangles is the sphere to within a fraction of a millimetre, except at its very rim.
    rim = on_ball & (root < 0.02 * np.nanmax(root))
    inside = ~rim & (world.segmentation[0] == on_ball)
    assert inside.mean() > 0.97
    np.testing.assert_allclose(world.depth[0][inside], expected[inside], rtol=2e-3, atol=1e-4)
    assert (np.abs(world.depth[0] - expected)[on_ball & ~rim]).max() < 2e-3
    assert ((expected == 0) == (world.depth[0] == 0)).mean() > 0.99


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


@pytest.mark.parametrize(
    "shape", [Sphere(0.3), Box((0.3, 0.2, 0.4)), Cylinder(0.2, 0.5), Basket(0.3, 0.4), Duck(0.5)]
)
def test_meshes_are_closed_and_face_outward(shape: Shape):
    """Every edge has two sides once equal vertices are merged, and the volume is right where known."""
    import trimesh

    total = 0.0
    for piece in shape.pieces():
        mesh = trimesh.Trimesh(piece.vertices, piece.faces, process=True)
        mesh.merge_vertices()
        assert mesh.is_watertight
        assert mesh.volume > 0
        total += mesh.volume
    exact = {Sphere: 4 / 3 * math.pi * 0.027, Box: 0.024, Cylinder: math.pi * 0.02}
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
    size, still = (64, 64), np.zeros((1, 3))
    cam = camera(np.array([[0.0, 0.0, 6.0]]) + (0.01, 0, 0), (0, 0, 0), size)
    ball = surface(Sphere(0.4).pieces()[0], still + (0, 0, 0.8))
    world = film([surface(Ground().pieces()[0], still, instance=0), ball], cam, size)
    grey = world.rgb[0].astype(float).mean(-1)
    grey[world.segmentation[0] == 1] = np.nan
    dark = np.argwhere(grey < 0.75 * np.nanmedian(grey)) + 0.5
    k, pose = cam.intrinsics[0], cam.world_from_camera[0]
    foot = np.array([0, 0, 0.8]) - 0.8 / SUN[0].direction[2] * np.array(SUN[0].direction)
    local = pose[:3, :3].T @ (foot - pose[:3, 3])
    expected = (k @ (local / local[2]))[:2]
    assert len(dark) > 20
    assert np.linalg.norm(dark.mean(0)[::-1] - expected) < 4


def _worlds() -> list[tuple[str, int]]:
    return [(name, seed) for seed, name in enumerate(SCENES)]


@pytest.mark.parametrize(("name", "seed"), _worlds())
def test_every_scene_s_labels_agree_with_geometry(name: str, seed: int):
    world = simulate(name, seed=seed, size=(48, 56)).validate()
    assert set(world.fields) == set(World4D.FIELDS) - {"confidence"}
    z, k, pose, sf = (
        torch.from_numpy(a).double()
        for a in (world.depth, world.camera.intrinsics, world.camera.world_from_camera, world.scene_flow)
    )
    flow, _ = motion_from_scene_flow(z[:-1], sf, k[:-1], k[1:], pose[:-1], pose[1:])
    error = np.linalg.norm(flow.numpy() - world.flow, axis=-1)[world.visible]
    assert np.quantile(error, 0.999) < 0.01
    pixels, depth = project_tracks(torch.from_numpy(world.tracks).double(), k, pose)
    seen = torch.from_numpy(world.track_visibility)
    assert ((pixels >= 0) & (pixels <= torch.tensor([56, 48]))).all(-1)[seen].all()
    assert (depth[seen] > 0).all()
    # Against the depth maps, with the slack of one pixel at the borders of things and on slanted floors.
    far = torch.from_numpy(ndimage.maximum_filter(world.depth, (1, 3, 3))).double()
    sky = torch.from_numpy(ndimage.minimum_filter(world.depth, (1, 3, 3)) == 0)
    near = torch.from_numpy(
        ndimage.minimum_filter(np.where(world.depth == 0, 1e9, world.depth), (1, 3, 3))
    ).double()
    tracks = torch.from_numpy(world.tracks).double()
    assert (visible_by_depth(tracks, torch.where(sky, 0, far), k, pose) | ~seen).double().mean() > 0.999
    surely = visible_by_depth(tracks, near, k, pose, tolerance=-0.02)
    assert not (surely & ~seen).double().mean() > 0.001
    assert len(world.tracks) >= 32


@pytest.mark.parametrize(("name", "seed"), _worlds())
def test_flow_agrees_with_the_next_rendered_frame(name: str, seed: int):
    """The next frame, warped back by the flow, shows the same picture, to a small part of a pixel.

    Flow and scene flow come from one hit, so they agree with each other whatever happens; the next frame is
    rendered independently. The residual shift of moving instances is measured by least squares (Lucas-Kanade);
    a planted shift of 0.3 px must be found.
    """
    residuals, planted = [], []
    for world, albedo in _close_ups(name, seed):
        for instance in np.unique(world.segmentation[0])[1:]:
            if not np.abs(world.scene_flow[0][world.segmentation[0] == instance]).max() > 1e-3:
                continue
            residual = _residual_shift(world, albedo, instance, np.zeros(2))
            if residual is not None:
                residuals.append(residual)
                planted.append(_residual_shift(world, albedo, instance, np.array([0.3, 0.0])))
    if name in ("stable_blocks", "duck_static"):
        assert not residuals
        return
    assert len(residuals) >= 2
    assert np.abs(np.median(residuals, axis=0)).max() < 0.03
    assert np.median(np.linalg.norm(residuals, axis=1)) < 0.04
    found = np.median(np.array(planted) - np.array(residuals), axis=0)
    np.testing.assert_allclose(found, [0.3, 0.0], atol=0.13)


def _close_ups(name: str, seed: int) -> list[tuple[World4D, np.ndarray]]:
    """Pairs of frames, zoomed in on what moves most between them (any intrinsics must do), and their albedo.

    Light stays where it is while a ball turns, and would pass for motion. So each pair is filmed twice, with a
    fine black and white pattern on every body and without: their ratio is the pattern alone.
    """
    spec = build(name, seed)
    motion = engine_of(spec.engine)(spec, 33, 24.0)
    wide, _ = film_scene(motion, spec.viewpoints, (160, 160), np.random.default_rng(seed))
    light = (Light((0.0, 0.0, 1.0), colour=(0.0, 0.0, 0.0)),)
    pairs = []
    for t in (4, 14, 26):
        pair = [dataclasses.replace(s, vertices=s.vertices[t : t + 2]) for s in motion.surfaces]
        fastest = max(pair, key=lambda s: np.abs(np.diff(s.vertices, axis=0)).max())
        k, pose = (torch.from_numpy(a[t : t + 2]) for a in (wide.intrinsics, wide.world_from_camera))
        pixels, _ = project_tracks(torch.from_numpy(fastest.vertices).transpose(0, 1), k, pose)
        low, high = pixels.amin((0, 1)), pixels.amax((0, 1))
        zoom = 120 / (high - low).max()
        k = k.clone()
        k[:, :2] *= zoom
        k[:, :2, 2] += 64 - zoom * (low + high) / 2
        near = Camera(k.numpy(), pose.numpy())
        filmed = []
        for dark in (0.02, 0.9):
            dressed = [
                dataclasses.replace(
                    s, look=Look((dark,) * 3, (0.9,) * 3, "noise", 1.5 * np.ptp(s.rest, axis=0).max(), 0.0)
                )
                for s in pair
            ]
            filmed.append(film(dressed, near, (128, 128), light))
        patterned, plain = (_linear(world.rgb) for world in filmed)
        pairs.append((filmed[0], patterned / np.maximum(plain, 0.02)))
    return pairs


def _residual_shift(world: World4D, albedo: np.ndarray, instance: int, fault: np.ndarray) -> np.ndarray | None:
    """(dx, dy) [px] by which frame 1, warped back by flow + fault, is still shifted on one instance."""
    flow = torch.from_numpy(world.flow[0] + fault.astype(np.float32))
    now = albedo[0]
    warped = backward_warp(torch.from_numpy(albedo[1])[..., None], flow)[0][..., 0].numpy()
    inside = ndimage.binary_erosion((world.segmentation[0] == instance) & world.visible[0], iterations=4)
    if inside.sum() < 100:
        return None
    # The mean of both gradients makes the linearisation symmetric.
    gy, gx = (0.5 * (a + b) for a, b in zip(np.gradient(warped), np.gradient(now)))
    design = np.stack([gx[inside], gy[inside]], axis=1)
    if np.linalg.cond(design) > 4:
        return None  # no texture along one direction: the shift is not observable
    # warped(p) = now(p + d)
    solution, *_ = np.linalg.lstsq(design, (warped - now)[inside], rcond=None)
    return solution


def _linear(rgb: np.ndarray) -> np.ndarray:
    """Mean linear radiance (T,H,W) of sRGB frames."""
    value = rgb.astype(np.float32) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).mean(-1).astype(np.float32)


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
    size, still = (32, 32), np.zeros((2, 3))
    cam = camera(np.array([[0.0, -3.0, 1.2]] * 2), (0, 0, 0.3), size)
    ball = Sphere(0.5).pieces()[0]
    plain = film([surface(ball, still + (0, 0, 0.5))], cam, size)
    dotted = dataclasses.replace(GREY, texture="dots", accent=(1, 0, 0), gloss=1.0)
    other = film([surface(ball, still + (0, 0, 0.5), look=dotted)], cam, size)
    np.testing.assert_array_equal(plain.depth, other.depth)
    np.testing.assert_array_equal(plain.flow, other.flow)
    assert not np.array_equal(plain.rgb, other.rgb)
