"""How RGB-D sequences lie on disk: which files make a frame, where its camera stands, and what unit depth has."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from phys4d.errors import InputError

MILLIMETRES = 0.001
INTRINSICS_FILES = ("intrinsics.txt", "camera-intrinsics.txt")
APART = 0.02
"""TUM: seconds by which a picture, its depth and its pose may differ, as in the benchmark's own association."""


class Frame(NamedTuple):
    """pose: world_from_camera [m], or the file that holds it."""

    picture: Path
    depth: Path
    pose: Path | Float[np.ndarray, "4 4"]


@dataclasses.dataclass(frozen=True)
class Recording:
    """The frames of a sequence, in order. depth_scale: metres per unit. fps: of the stored frames.

    intrinsics: the file with K, where there is one. registered: pictures may be of another size than depth, and
    show the same once they are resized to it.
    """

    frames: list[Frame]
    depth_scale: float = MILLIMETRES
    fps: float = 30.0
    intrinsics: Path | None = None
    registered: bool = False


class _Layout(NamedTuple):
    """How a sequence names its files; the pattern finds the pictures, `{}` stands for the frame's digits."""

    pictures: str
    picture: re.Pattern[str]
    depth: str
    pose: str
    intrinsics: tuple[str, ...] = INTRINSICS_FILES
    registered: bool = False


LAYOUTS = (
    _Layout(".", re.compile(r"(\d+)\.rgb\.(?:jpe?g|png)"), "{}.depth_mm.png", "{}.world_from_camera.txt"),
    # 7-Scenes and 3DMatch.
    _Layout(".", re.compile(r"frame-(\d+)\.color\.(?:jpe?g|png)"), "frame-{}.depth.png", "frame-{}.pose.txt"),
    # ScanNet, as its reader exports it: colour is larger than depth, and has been laid over it.
    _Layout(
        "color",
        re.compile(r"(\d+)\.(?:jpe?g|png)"),
        "depth/{}.png",
        "pose/{}.txt",
        ("intrinsic/intrinsic_depth.txt",),
        registered=True,
    ),
)
TUM_LISTS = ("rgb.txt", "depth.txt", "groundtruth.txt")
TUM_DEPTH_SCALE = 1 / 5000


def is_recording(path: Path) -> bool:
    """Whether a folder holds RGB-D frames under the names of some layout."""
    if not path.is_dir():
        return False
    return all((path / name).is_file() for name in TUM_LISTS) or any(_pictures(path, each) for each in LAYOUTS)


def recording_of(folder: Path) -> Recording:
    """The sequence in a folder; every file of every frame is there. Raises InputError where that is not so."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of RGB-D frames")
    if all((folder / name).is_file() for name in TUM_LISTS):
        return _tum(folder)
    for layout in LAYOUTS:
        found = _pictures(folder, layout)
        if found:
            break
    else:
        raise InputError(
            f"{folder}: no RGB-D frames; pictures are named 000.rgb.jpg, frame-000000.color.png as in 7-Scenes, "
            "color/0.jpg as in ScanNet, or listed in rgb.txt as in TUM RGB-D"
        )
    found.sort(key=lambda entry: (int(entry[0]), entry[1].name))
    frames = [
        Frame(path, folder / layout.depth.format(digits), folder / layout.pose.format(digits))
        for digits, path in found
    ]
    _check_there(folder, [path for frame in frames for path in frame if isinstance(path, Path)])
    if layout.registered:
        # ScanNet writes infinities where its tracking was lost.
        frames = [frame for frame in frames if np.isfinite(_table(frame.pose)).all()]
        if not frames:
            raise InputError(f"{folder}: no frame has a finite pose; the camera was never tracked")
    known = [folder / name for name in layout.intrinsics if (folder / name).is_file()]
    return Recording(frames, intrinsics=known[0] if known else None, registered=layout.registered)


def _pictures(folder: Path, layout: _Layout) -> list[tuple[str, Path]]:
    """(digits, path) of the pictures of a layout."""
    place = folder / layout.pictures
    entries = place.iterdir() if place.is_dir() else ()
    return [(match[1], path) for path in entries if (match := layout.picture.fullmatch(path.name))]


def _tum(folder: Path) -> Recording:
    """A sequence of the TUM RGB-D benchmark: lists of files and of poses by their times.

    Every picture goes with the depth and the pose that are nearest in time; pictures without any within APART are
    left out. Poses are (t, x, y, z, qx, qy, qz, qw), camera to world.
    """
    (pictures, depths), poses = (_listed(folder / name) for name in TUM_LISTS[:2]), _poses(folder / TUM_LISTS[2])
    frames, times = [], []
    depth_times = np.array([time for time, _ in depths])
    for time, picture in pictures:
        near, posed = (int(np.abs(t - time).argmin()) for t in (depth_times, poses[:, 0]))
        if abs(depth_times[near] - time) < APART and abs(poses[posed, 0] - time) < APART:
            pose = np.eye(4)
            pose[:3, :3] = Rotation.from_quat(poses[posed, 4:8]).as_matrix()
            pose[:3, 3] = poses[posed, 1:4]
            frames.append(Frame(folder / picture, folder / depths[near][1], pose))
            times.append(time)
    if not frames:
        raise InputError(f"{folder}: no picture of rgb.txt has a depth and a pose within {APART:g} s")
    _check_there(folder, [path for frame in frames for path in frame[:2]])
    fps = 1 / float(np.median(np.diff(times))) if len(times) > 1 else 30.0
    known = [folder / name for name in INTRINSICS_FILES if (folder / name).is_file()]
    return Recording(frames, TUM_DEPTH_SCALE, round(fps, 3), known[0] if known else None)


def _listed(path: Path) -> list[tuple[float, str]]:
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line[:1] not in ("", "#")]
    try:
        found = [(float(time), name) for time, name, *_ in rows]
    except ValueError as error:
        raise InputError(f"{path}: a line is no time and file name ({error})") from error
    if not found:
        raise InputError(f"{path}: lists no file")
    return found


def _poses(path: Path) -> Float[np.ndarray, "N 8"]:
    table = _table(path)
    turn = np.linalg.norm(table[:, 4:], axis=1)
    if table.shape[1] != 8 or not np.isfinite(table).all() or turn.min() < 0.5:
        raise InputError(f"{path}: lines are not eight finite numbers: time, x, y, z, qx, qy, qz, qw")
    return table


def _check_there(folder: Path, paths: list[Path]) -> None:
    missing = [str(path.relative_to(folder)) for path in paths if not path.is_file()]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise InputError(
            f"{folder}: {', '.join(missing[:3])}{more} missing; every picture needs its depth and its pose"
        )


def _table(path: Path | np.ndarray) -> np.ndarray:
    if not isinstance(path, Path):
        return path
    try:
        return np.loadtxt(path, dtype=np.float64, ndmin=2)
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not a matrix of numbers ({error})") from error


def matrix(path: Path, rows: int) -> Float[np.ndarray, "R R"]:
    """A square matrix from a text file; the upper left part of a larger one. Raises InputError for another."""
    found = _table(path)
    if rows == 3 and found.shape == (4, 4):
        found = found[:3, :3]
    if found.shape != (rows, rows) or not np.isfinite(found).all():
        raise InputError(f"{path}: should be a {rows}x{rows} matrix of finite numbers, is {found.shape}")
    return found
