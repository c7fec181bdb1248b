"""Labels against geometry, and against the pictures themselves, filmed close up."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from studio import film, points_on

from phys4d.geometry import backward_warp, motion_from_scene_flow, project_tracks, visible_by_depth
from phys4d.sim.filming import film as film_scene
from phys4d.sim.lights import Light
from phys4d.sim.materials import Look
from phys4d.sim.motion import CROWD, Motion, Skin, Spheres, Surface
from phys4d.sim.scene import SceneSpec
from phys4d.world import Camera, World4D

Thing = Surface | Spheres | Skin


def labels_agree_with_geometry(world: World4D, slack: float = 0.001) -> None:
    """Flow against depth, cameras and scene flow, and tracks against depth.

    slack: share of a track's moments that may disagree with depth, as where things are smaller than a pixel.
    """
    world.validate()
    far_corner = torch.tensor([world.size[1], world.size[0]])
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
    assert ((pixels >= 0) & (pixels <= far_corner)).all(-1)[seen].all()
    assert (depth[seen] > 0).all()
    # Against the depth maps, with the slack of one pixel at the borders of things and on slanted floors, which the
    # outermost pixels have not.
    seen = seen & ((pixels >= 1) & (pixels <= far_corner - 1)).all(-1)
    far = torch.from_numpy(ndimage.maximum_filter(world.depth, (1, 3, 3))).double()
    sky = torch.from_numpy(ndimage.minimum_filter(world.depth, (1, 3, 3)) == 0)
    near = torch.from_numpy(
        ndimage.minimum_filter(np.where(world.depth == 0, 1e9, world.depth), (1, 3, 3))
    ).double()
    tracks = torch.from_numpy(world.tracks).double()
    assert (visible_by_depth(tracks, torch.where(sky, 0, far), k, pose) | ~seen).double().mean() > 1 - slack
    surely = visible_by_depth(tracks, near, k, pose, tolerance=-0.02)
    assert not (surely & ~torch.from_numpy(world.track_visibility)).double().mean() > slack
    assert len(world.tracks) >= 32


def residual_shifts(spec: SceneSpec, motion: Motion, times: Sequence[int], seed: int = 0) -> tuple[list, list]:
    """(dx, dy) [px] by which the next frames, warped back by the flow, are still shifted, for all that moves; and
    the same where 0.3 px were added to the flow. seed: of the camera."""
    residuals, planted = [], []
    for world, albedo in close_ups(spec, motion, times, seed):
        for instance in np.unique(world.segmentation[0])[1:]:
            if not np.abs(world.scene_flow[0][world.segmentation[0] == instance]).max() > 1e-3:
                continue
            residual = residual_shift(world, albedo, instance, np.zeros(2))
            if residual is not None:
                residuals.append(residual)
                planted.append(residual_shift(world, albedo, instance, np.array([0.3, 0.0])))
    return residuals, planted


def close_ups(
    spec: SceneSpec, motion: Motion, times: Sequence[int], seed: int
) -> list[tuple[World4D, np.ndarray]]:
    """Pairs of frames, zoomed in on what moves most between them (any intrinsics must do), and their albedo.

    Of a rope or a rod only a piece is filmed, so that it is many pixels wide.

    Light stays where it is while a ball turns, and would pass for motion. So each pair is filmed twice, with a
    fine black and white pattern on every body and without: their ratio is the pattern alone.
    """
    wide, _ = film_scene(motion, spec.viewpoints, (160, 160), np.random.default_rng(seed))
    light = (Light((0.0, 0.0, 1.0), colour=(0.0, 0.0, 0.0)),)
    pairs = []
    for t in times:
        pair = [s.during(slice(t, t + 2)) for s in motion.surfaces]
        fastest = max((_piece(s) for s in pair), key=lambda points: np.abs(np.diff(points, axis=0)).max())
        k, pose = (torch.from_numpy(a[t : t + 2]) for a in (wide.intrinsics, wide.world_from_camera))
        pixels, _ = project_tracks(torch.from_numpy(fastest).transpose(0, 1), k, pose)
        low, high = pixels.amin((0, 1)), pixels.amax((0, 1))
        zoom = 120 / (high - low).max()
        k = k.clone()
        k[:, :2] *= zoom
        k[:, :2, 2] += 64 - zoom * (low + high) / 2
        near = Camera(k.numpy(), pose.numpy())
        filmed = []
        for dark in (0.02, 0.9):
            dressed = [
                dataclasses.replace(_marked(s), look=Look((dark,) * 3, (0.9,) * 3, "noise", 0.5 * _width(s), 0.0))
                for s in pair
            ]
            filmed.append(film(dressed, near, (128, 128), light))
        patterned, plain = (_linear(world.rgb) for world in filmed)
        pairs.append((filmed[0], patterned / np.maximum(plain, 0.02)))
    return pairs


def _marked(s: Thing) -> Thing:
    """The same with a pattern that follows its material: that of a skin is carried back from the next frame."""
    if not isinstance(s, Skin):
        return s
    now, then = s.meshes
    back = s.follow(1, then.vertices)[0].astype(np.float32)
    return dataclasses.replace(s, meshes=(now, dataclasses.replace(then, rest=back)))


def _width(s: Thing) -> float:
    """What to film of a surface at once [m]: all of it, of a skin a third, or of something long and thin five
    times its thickness."""
    if isinstance(s, Skin):
        return s.extent / 3
    if isinstance(s, Spheres):
        return s.extent
    return min(s.extent, 5 * float(np.sort(np.ptp(s.rest, axis=0))[1]))


def _piece(s: Thing) -> np.ndarray:
    """(2,P,3) points of what to film of a surface: about its fastest point."""
    points = points_on(s)
    reach = _width(s) / 2
    if isinstance(s, Spheres) and len(s.radius) > CROWD:
        reach = 1.5 * s.extent
    elif _width(s) == s.extent:
        return points
    centre = points[0, np.linalg.norm(np.diff(points, axis=0)[0], axis=-1).argmax()]
    return points[:, np.linalg.norm(points[0] - centre, axis=-1) < reach]


def residual_shift(world: World4D, albedo: np.ndarray, instance: int, fault: np.ndarray) -> np.ndarray | None:
    """(dx, dy) [px] by which frame 1, warped back by flow + fault, is still shifted on one instance."""
    flow = torch.from_numpy(world.flow[0] + fault.astype(np.float32))
    now = albedo[0]
    warped = backward_warp(torch.from_numpy(albedo[1])[..., None], flow)[0][..., 0].numpy()
    # Where the picture is stretched or squeezed, its textures are filtered otherwise than before.
    jacobian = np.stack(np.gradient(world.flow[0], axis=(1, 0)), axis=-1) + np.eye(2)
    stretch = np.linalg.svd(jacobian, compute_uv=False)
    even = (stretch < 1.5).all(-1) & (stretch > 1 / 1.5).all(-1)
    inside = ndimage.binary_erosion((world.segmentation[0] == instance) & world.visible[0] & even, iterations=4)
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
