"""RGB-D recordings on disk (a moving camera in a world that stands still) as worlds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from phys4d.data.sequences import INTRINSICS_FILES, Recording, is_recording, matrix, recording_of
from phys4d.errors import InputError
from phys4d.geometry import resize_intrinsics
from phys4d.world import Camera, World4D

__all__ = ["is_recording", "read_rgbd"]

NO_READING = 65535
"""What many depth sensors write for 'nothing measured', beside 0."""


def read_rgbd(
    folder: str | Path,
    *,
    intrinsics: tuple[float, float, float, float] | None = None,
    depth_scale: float | None = None,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
    frames: int | None = None,
    stride: int = 1,
    up: tuple[float, float, float] | None = None,
) -> World4D:
    """An RGB-D sequence of a world that stands still, with the motion that follows from depth and poses.

    The folder holds, for every frame, a picture, a 16-bit depth picture (0 and 65535 = no reading) and a 4x4 pose
    (camera to world, metres, OpenCV camera axes), named `NNN.rgb.jpg`, `NNN.depth_mm.png` and
    `NNN.world_from_camera.txt`; or, as in 7-Scenes and 3DMatch, `frame-NNN.color.png`, `frame-NNN.depth.png` and
    `frame-NNN.pose.txt`; or, as ScanNet is exported, `color/N.jpg`, `depth/N.png` and `pose/N.txt` (pictures are
    resized to depth, frames whose pose was lost are left out); or, as in TUM RGB-D, files listed by their times in
    `rgb.txt`, `depth.txt` and `groundtruth.txt` (see `sequences`).

    intrinsics: (fx, fy, cx, cy) [px] of the stored depth; default, the 3x3 matrix in `intrinsics.txt` or
        `camera-intrinsics.txt` in the folder, of ScanNet `intrinsic/intrinsic_depth.txt`.
    depth_scale: metres per unit of the depth pictures; default 0.001, of TUM RGB-D 1/5000.
    fps: frames per second of the stored sequence; default 30, of TUM RGB-D what its times say. With `stride` the
        world's rate is that many times lower.
    size: (height, width) [px] to resize to, without cropping; depth takes the nearest reading, never a mean.
    frames: at most so many, counted after `stride`, which keeps every so many-th frame.
    up: the direction against gravity in the axes of the poses. Such recordings are seldom aligned with gravity, so
        by default it is the mean of the cameras' -y axes, for hand-held cameras are upright on average;
        `meta["up"]` then says 'assumed from the cameras'. The world is turned so that `up` is z, and so that the
        first camera's right is along x.

    Raises InputError for a folder, frame, depth, pose or intrinsics that is missing or cannot be used.
    """
    folder = Path(folder)
    if stride < 1 or (frames is not None and frames < 1):
        raise InputError(f"stride and frames must be at least 1, not {stride} and {frames}")
    if size is not None and min(size) < 1:
        raise InputError(f"size must be two positive numbers, not {size}")
    recording = recording_of(folder)
    chosen = recording.frames[::stride][:frames]
    k = _intrinsics(folder, recording, intrinsics)
    fps = recording.fps if fps is None else fps
    pictures = [_picture(frame.picture) for frame in chosen]
    depths = [_depth(frame.depth, depth_scale or recording.depth_scale) for frame in chosen]
    if recording.registered:
        pictures = [_resize_picture(picture, depths[0].shape) for picture in pictures]
    stored = pictures[0].shape[:2]
    for frame, picture, depth in zip(chosen, pictures, depths):
        for path, array in ((frame.picture, picture), (frame.depth, depth)):
            if array.shape[:2] != stored:
                raise InputError(
                    f"{path}: is {array.shape[1]}x{array.shape[0]}, but the sequence starts with "
                    f"{stored[1]}x{stored[0]}; every picture and depth of a sequence needs one size"
                )
    if size is not None:
        pictures = [_resize_picture(picture, size) for picture in pictures]
        depths = [_resize_nearest(depth, size) for depth in depths]
        k = resize_intrinsics(torch.from_numpy(k), stored, size).numpy()
    poses = np.stack([_pose(frame.pose) for frame in chosen])
    turn = _level(poses, np.array(up, dtype=np.float64) if up is not None else -poses[:, :3, 1].mean(axis=0))
    camera = Camera(np.repeat(k[None].astype(np.float32), len(chosen), axis=0), (turn @ poses).astype(np.float32))
    meta = {
        "source": folder.resolve().name,
        "prompt": "",
        "up": "assumed from the cameras" if up is None else "given",
    }
    return World4D.from_rgbd(np.stack(pictures), np.stack(depths), camera, fps=fps / stride, meta=meta)


def _intrinsics(
    folder: Path, recording: Recording, given: tuple[float, float, float, float] | None
) -> Float[np.ndarray, "3 3"]:
    """K [px] of the stored pictures."""
    if given is not None:
        if len(given) != 4 or not np.isfinite(given).all() or not 0.1 <= min(given[:2]) <= max(given[:2]) <= 1e6:
            raise InputError(f"intrinsics should be (fx, fy, cx, cy) in pixels, not {given}")
        fx, fy, cx, cy = given
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=np.float64)
    if recording.intrinsics is not None:
        return matrix(recording.intrinsics, 3)
    raise InputError(
        f"{folder}: no {' or '.join(INTRINSICS_FILES)} there;\n"
        "pass intrinsics=(fx, fy, cx, cy) in pixels, on the command line --intrinsics FX FY CX CY"
    )


def _pose(path: Path | Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """`world_from_camera` [m], its rotation freed from the rounding of a text file."""
    if not isinstance(path, Path):
        return path
    pose = matrix(path, 4)
    u, _, v = np.linalg.svd(pose[:3, :3])
    rotation = u @ v
    if np.abs(rotation - pose[:3, :3]).max() > 0.01 or np.linalg.det(rotation) < 0:
        raise InputError(f"{path}: not a rigid pose (its 3x3 part is no rotation)")
    pose[:3, :3] = rotation
    pose[3] = 0, 0, 0, 1
    return pose


def _open(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: not a readable picture ({error})") from error
    return image


def _picture(path: Path) -> np.ndarray:
    return np.asarray(_open(path).convert("RGB"))


def _depth(path: Path, scale: float) -> np.ndarray:
    """(H,W) float32 [m]; 0 where nothing was measured."""
    image = _open(path)
    if not image.mode.startswith("I"):
        raise InputError(f"{path}: is no 16-bit depth picture but one of mode {image.mode}")
    codes = np.asarray(image).astype(np.int64)
    return np.where(codes == NO_READING, 0, codes * scale).astype(np.float32)


def _resize_picture(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.LANCZOS))


def _resize_nearest(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(size, depth.shape, strict=True)
    )
    return depth[rows[:, None], columns[None]]


def _level(poses: Float[np.ndarray, "T 4 4"], up: Float[np.ndarray, "3"]) -> Float[np.ndarray, "4 4"]:
    """The turn after which `up` is z and the first camera's right (or, lying on its side, forward) is along x."""
    length = np.linalg.norm(up)
    if not 1e-6 < length < np.inf:
        raise InputError("the up direction is not known: pass up=(x, y, z), the direction against gravity")
    z = up / length
    right, forward = (axis - z * (z @ axis) for axis in (poses[0, :3, 0], poses[0, :3, 2]))
    x = right if np.linalg.norm(right) > 0.1 else forward
    x = x / np.linalg.norm(x)
    turn = np.eye(4)
    turn[:3, :3] = x, np.cross(z, x), z
    return turn
