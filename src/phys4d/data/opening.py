"""Whatever a person may point at as a world: a world folder, a data set, a video, an RGB-D recording."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from phys4d.data.recordings import read_rgbd
from phys4d.data.shards import INDEX, RECORD, open_dataset
from phys4d.data.writer import plural
from phys4d.errors import InputError
from phys4d.world import World4D

KINDS = (
    "A world is a world folder, a data set, a .tar shard, a video or picture file, or a folder of RGB-D frames."
)


def open_world(
    path: str | Path, *, index: int = 0, intrinsics: tuple[float, float, float, float] | None = None
) -> World4D:
    """Open a world from where it lies.

    path: a world folder; a data set or a shard, of which the world number `index` is taken; a video file, which
    gives `rgb` alone (a picture is a video of one frame); or a folder with an RGB-D recording, whose `intrinsics`
    are (fx, fy, cx, cy) [px]. Raises InputError for a path that is none of these.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    read: Callable[[Path], World4D] | None = None
    if path.is_file() and path.suffix != ".tar":
        read = _read_video
    elif (path / "meta.json").is_file():
        read = World4D.load
    elif _is_recording(path):
        read = functools.partial(read_rgbd, intrinsics=intrinsics)
    if read is not None:
        if index not in (0, -1):
            raise InputError(f"{path}: is one world, so it has no world {index}; leave the index out")
        return read(path)
    if not path.is_file() and not _is_dataset(path):
        raise InputError(f"{path}: holds no world.\n{KINDS}")
    dataset = open_dataset(path)
    if not -len(dataset) <= index < len(dataset):
        held = f"holds {plural(len(dataset), 'world')}, numbered from 0"
        raise InputError(f"{path}: {held}; there is no world {index}")
    return dataset[index]


def _read_video(path: Path) -> World4D:
    try:
        return World4D.from_video(path)
    except InputError as error:
        raise InputError(f"{error}.\n{KINDS}") from error


def _is_recording(path: Path) -> bool:
    return path.is_dir() and (any(path.glob("*.rgb.*")) or any(path.glob("*.color.*")))


def _is_dataset(path: Path) -> bool:
    return (path / INDEX).is_file() or (path / RECORD).is_file() or any(path.glob("*.tar"))
