"""Point maps in .npz files, as GeometryCrafter and MotionCrafter write them, as worlds."""

from __future__ import annotations

import dataclasses
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float

from phys4d.errors import InputError
from phys4d.geometry import motion_from_scene_flow, unoccluded
from phys4d.world import Camera, World4D

__all__ = ["PointMaps", "is_point_map", "read_npz", "read_point_maps", "world_of_point_maps"]

UPRIGHT = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""World axes (z up) from the axes of a level camera (y down)."""
MOST_POINTS = 4000
"""Pixels a frame that a camera is fitted to."""
MISFIT = 1.5
"""Median distance [px] between pixels and their projected points above which no pinhole camera made the map."""
_MASKS = ("mask", "valid_mask")


@dataclasses.dataclass(frozen=True)
class PointMaps:
    """What a file holds. points: (T,H,W,3), valid: (T,H,W), up to one scale unless units are "m".

    axes: "camera" for points in each frame's camera axes (GeometryCrafter; any file with poses), "world" for all
    in those of frame 0's camera (MotionCrafter). pose: (T,4,4) camera to world. scene_flow: (T,H,W,3), the last
    frame without meaning.
    """

    points: Float[np.ndarray, "T H W 3"]
    valid: Bool[np.ndarray, "T H W"]
    axes: str
    units: str
    fps: float | None
    pose: Float[np.ndarray, "T 4 4"] | None
    scene_flow: Float[np.ndarray, "T H W 3"] | None
    flow_valid: Bool[np.ndarray, "T H W"] | None


def read_npz(path: Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of a .npz file (those of `names` that it has). Raises InputError where it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if not hasattr(file, "files"):
                raise InputError(f"{path}: holds one array without a name, not the named arrays of a .npz file")
            return {name: file[name] for name in file.files if names is None or name in names}
    except InputError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        # All that NumPy and its zip reader raise for a file that is cut, of another kind, or holds objects.
        raise InputError(f"{path}: not a whole .npz file of plain arrays ({error})") from error


def is_point_map(path: Path) -> bool:
    """Whether a .npz file holds point maps; only its table of contents is read."""
    try:
        with zipfile.ZipFile(path) as file:
            return "point_map.npy" in file.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def read_point_maps(path: Path) -> PointMaps:
    """The arrays of a point-map file, checked.

    point_map (T,H,W,3), with `mask` (GeometryCrafter: camera axes) or `valid_mask` (MotionCrafter: world axes) of
    (T,H,W); optional `scene_flow` (T,H,W,3) or one frame less, `deform_mask`, `camera_pose` (T,4,4; the points are
    then in camera axes), `fps`, and `units` ("m"; default relative). Raises InputError for shapes that do not fit,
    points that are not finite where they are called valid, and a file without any valid point.
    """
    arrays = read_npz(path)
    if "point_map" not in arrays:
        raise InputError(f"{path}: has no point_map; it has {', '.join(arrays) or 'nothing'}")
    points = arrays["point_map"]
    if points.ndim != 4 or points.shape[-1] != 3 or not points.size or points.dtype.kind != "f":
        raise InputError(f"{path}: point_map should be floats (T, H, W, 3), is {points.dtype} {points.shape}")
    grid = points.shape[:3]
    points = points.astype(np.float64)
    mask = next((arrays[name] for name in _MASKS if name in arrays), None)
    if mask is None:
        mask = np.isfinite(points).all(axis=-1)
    valid: np.ndarray = _checked(path, "mask", np.asarray(mask), [grid]).astype(bool)
    _finite(path, "point_map", points, valid)
    valid &= np.abs(points).sum(-1) > 0
    if not valid.any():
        raise InputError(f"{path}: no point is valid")
    pose = arrays.get("camera_pose")
    if pose is not None:
        pose = _checked(path, "camera_pose", pose, [(grid[0], 4, 4)]).astype(np.float64)
        _finite(path, "camera_pose", pose, np.ones(pose.shape[:-1], bool))
    flow, known = arrays.get("scene_flow"), arrays.get("deform_mask")
    if flow is not None:
        shorter = grid[0] - 1, *grid[1:]
        flow = _padded(_checked(path, "scene_flow", flow, [(*grid, 3), (*shorter, 3)]).astype(np.float64), grid[0])
        known = valid if known is None else _checked(path, "deform_mask", known, [grid, shorter]).astype(bool)
        known = _padded(known, grid[0])
        known[-1] = False
        _finite(path, "scene_flow", flow, known)
    fps = float(np.ravel(arrays["fps"])[0]) if "fps" in arrays else None
    units = str(np.ravel(arrays["units"])[0]) if "units" in arrays else "relative"
    axes = "world" if pose is None and "valid_mask" in arrays else "camera"
    points = np.where(valid[..., None], points, 0)
    return PointMaps(points, valid, axes, units, fps, pose, flow, known)


def world_of_point_maps(path: str | Path) -> World4D:
    """A file of point maps as a world: depth, cameras that fit the points, and motion where it has scene flow.

    Intrinsics are fitted to the points. Poses are the file's own; else, for points in world axes, fitted frame by
    frame; else unknown, and taken as a camera that stands still (meta["camera"] says which). The first camera is
    taken as level. A video of the same name beside the file (NAME.mp4) gives rgb and the frame rate. Lengths are
    relative unless the file says "m" (meta["units"]). Raises InputError, also where no pinhole camera fits.
    """
    path = Path(path)
    maps = read_point_maps(path)
    frames, height, width = maps.valid.shape
    film = _film(path, (frames, height, width))
    k = _intrinsics(path, maps.points if maps.axes == "camera" else maps.points[:1], maps.valid)
    if maps.pose is not None:
        path_of_camera, told = np.linalg.inv(maps.pose[0]) @ maps.pose, "poses from the file"
    elif maps.axes == "world":
        path_of_camera, told = _poses(path, maps, k), "fitted to the points"
    else:
        path_of_camera, told = np.tile(np.eye(4), (frames, 1, 1)), "path unknown, taken as standing still"
    in_camera = maps.points
    if maps.axes == "world":
        back = np.linalg.inv(path_of_camera)
        in_camera = np.einsum("tij,thwj->thwi", back[:, :3, :3], maps.points) + back[:, None, None, :3, 3]
    depth = np.where(maps.valid & (in_camera[..., 2] > 0), in_camera[..., 2], 0).astype(np.float32)
    pose = path_of_camera.copy()
    pose[:, :3] = np.einsum("ij,tjk->tik", UPRIGHT, path_of_camera[:, :3])
    camera = Camera(np.tile(k, (frames, 1, 1)).astype(np.float32), _rigid(path, pose).astype(np.float32))
    fps = maps.fps or (film.fps if film else None)
    world = World4D(
        rgb=film.rgb if film else None,
        depth=depth,
        camera=camera,
        fps=fps or 12.0,
        meta={
            "source": path.name,
            "prompt": "",
            "units": maps.units,
            "camera": told,
            **({} if fps else {"fps_unknown": True}),
        },
    )
    return _with_motion(world, maps).validate()


def _with_motion(world: World4D, maps: PointMaps) -> World4D:
    """Scene flow in world axes, and the flow and visibility that follow; nothing where the file has none."""
    if maps.scene_flow is None or maps.axes != "world" or world.camera is None or world.depth is None:
        return world
    known = (maps.flow_valid & maps.valid)[:-1] if maps.flow_valid is not None else maps.valid[:-1]
    step = np.where(known[..., None], maps.scene_flow[:-1] @ UPRIGHT.T, 0)
    z = torch.from_numpy(world.depth).double()
    k, pose = (torch.from_numpy(m).double() for m in (world.camera.intrinsics, world.camera.world_from_camera))
    flow, moved = motion_from_scene_flow(z[:-1], torch.from_numpy(step), k[:-1], k[1:], pose[:-1], pose[1:])
    surface = (z[:-1] > 0) & (moved > 0)
    return dataclasses.replace(
        world,
        scene_flow=step.astype(np.float32),
        flow=torch.where(surface[..., None], flow, 0).float().numpy(),
        visible=(unoccluded(flow, moved, z[1:]) & surface).numpy(),
    )


def _film(path: Path, extent: tuple[int, int, int]) -> World4D | None:
    """The video beside a file. Raises InputError where it is another clip."""
    beside = path.with_suffix(".mp4")
    if not beside.is_file():
        return None
    film = World4D.from_video(beside)
    if (film.frames, *film.size) != extent:
        there, here = ("x".join(str(n) for n in e) for e in ((film.frames, *film.size), extent))
        raise InputError(f"{beside}: is {there}, the points of {path.name} are {here}; remove it or mend it")
    return film


def _intrinsics(path: Path, points: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """K [px] that fits points in camera axes: x / z and y / z against pixels, by least squares."""
    valid = valid[: len(points)] & (points[..., 2] > 0)
    _, row, column = np.nonzero(valid)
    if len(row) < 16:
        raise InputError(f"{path}: too few points in front of the first camera to know its focal length")
    x, y, z = points[valid].T
    values, misfits = [], []
    for ray, pixel in ((x / z, column + 0.5), (y / z, row + 0.5)):
        terms = np.stack([ray, np.ones_like(ray)], axis=-1)
        found = np.linalg.lstsq(terms, pixel, rcond=None)[0]
        values.append(found)
        misfits.append(np.abs(terms @ found - pixel))
    (fx, cx), (fy, cy) = values
    misfit = float(np.median(np.hypot(*misfits)))
    if min(fx, fy) <= 0 or misfit > MISFIT:
        raise InputError(f"{path}: no pinhole camera sees these points at their pixels (off by {misfit:.1f} px)")
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def _poses(path: Path, maps: PointMaps, k: np.ndarray) -> np.ndarray:
    """Poses, in the axes of the first camera, from which each frame's points fall on their pixels."""
    pose = np.tile(np.eye(4), (len(maps.points), 1, 1))
    turn, shift = np.zeros((3, 1)), np.zeros((3, 1))
    rng = np.random.default_rng(0)
    for t in range(1, len(pose)):
        row, column = np.nonzero(maps.valid[t])
        if len(row) < 16:
            raise InputError(f"{path}: frame {t} has too few valid points to know where its camera is")
        some = rng.permutation(len(row))[:MOST_POINTS]
        points = maps.points[t][row[some], column[some]]
        pixels = np.stack([column[some] + 0.5, row[some] + 0.5], axis=-1)
        _, turn, shift = cv2.solvePnP(
            points, pixels, k, None, turn, shift, useExtrinsicGuess=True, flags=cv2.SOLVEPNP_ITERATIVE
        )
        seen, _ = cv2.projectPoints(points, turn, shift, k, None)
        misfit = float(np.median(np.linalg.norm(seen[:, 0] - pixels, axis=-1)))
        if not misfit <= MISFIT:
            raise InputError(f"{path}: no camera sees the points of frame {t} at their pixels ({misfit:.1f} px)")
        camera_from_world = np.eye(4)
        camera_from_world[:3, :3], camera_from_world[:3, 3] = cv2.Rodrigues(turn)[0], shift[:, 0]
        pose[t] = np.linalg.inv(camera_from_world)
    return pose


def _rigid(path: Path, pose: np.ndarray) -> np.ndarray:
    """Poses freed from the rounding of half precision."""
    u, _, v = np.linalg.svd(pose[:, :3, :3])
    rotation = u @ v
    if np.abs(rotation - pose[:, :3, :3]).max() > 0.01 or (np.linalg.det(rotation) < 0).any():
        raise InputError(f"{path}: camera_pose holds no rigid motion")
    pose = pose.copy()
    pose[:, :3, :3] = rotation
    pose[:, 3] = 0, 0, 0, 1
    return pose


def _checked(path: Path, name: str, array: np.ndarray, shapes: list[tuple[int, ...]]) -> np.ndarray:
    if array.shape not in shapes or array.dtype.kind not in "fbui":
        raise InputError(f"{path}: {name} should be {shapes[0]} beside this point_map, is {array.shape}")
    return array


def _finite(path: Path, name: str, array: np.ndarray, where: np.ndarray) -> None:
    wrong = int((~np.isfinite(array).all(-1) & where).sum())
    if wrong:
        raise InputError(f"{path}: {name} holds NaN or infinity in {wrong} places that are called valid")


def _padded(array: np.ndarray, frames: int) -> np.ndarray:
    """With a last frame of zeros, where it has one frame less."""
    out = np.zeros((frames, *array.shape[1:]), array.dtype)
    out[: len(array)] = array
    return out
