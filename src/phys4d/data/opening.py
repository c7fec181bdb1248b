"""Whatever a person may point at as worlds: world folders, data sets, videos, RGB-D recordings, point maps."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from phys4d.data.point_maps import is_point_map, world_of_point_maps
from phys4d.data.recordings import is_recording, read_rgbd
from phys4d.data.shards import INDEX, RECORD, open_dataset
from phys4d.data.writer import plural
from phys4d.errors import InputError
from phys4d.members import is_world_folder
from phys4d.world import World4D

KINDS = (
    "A world is a world folder, a data set, a .tar shard, a video or picture file, a folder of RGB-D frames, or "
    "a .npz file of point maps."
)
VIDEOS = (".mp4", ".mkv", ".mov", ".webm", ".avi")
"""Files that count as videos in a folder of them."""


def open_world(
    path: str | Path, *, index: int = 0, intrinsics: tuple[float, float, float, float] | None = None
) -> World4D:
    """Open a world from where it lies.

    path: a world folder; a data set or a shard, of which the world number `index` is taken; a video file, which
    gives `rgb` alone (a picture is a video of one frame); a .npz file of point maps (see `world_of_point_maps`);
    or a folder with an RGB-D recording, whose `intrinsics` are (fx, fy, cx, cy) [px]. Raises InputError for a path
    that is none of these.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    read: Callable[[Path], World4D] | None = None
    if path.is_file() and path.suffix == ".npz":
        read = world_of_point_maps
    elif path.is_file() and path.suffix != ".tar":
        read = _read_video
    elif (path / "meta.json").is_file():
        read = World4D.load
    elif is_recording(path):
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


@dataclasses.dataclass(frozen=True)
class StoredWorld:
    """A world on disk.

    name: of its folder or file beside others, otherwise empty. label: for people. load: reads it.
    """

    name: str
    label: str
    load: Callable[[], World4D]


def stored_worlds(path: Path) -> list[StoredWorld]:
    """The worlds of a data set or shard, of one world, or of a folder of worlds of one kind.

    One world: a world folder, a folder of RGB-D frames, a video, or a .npz file of point maps. Raises InputError
    where there are none, and for a folder of videos and world folders mixed.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    read = _reader(path)
    if read is not None:
        return [StoredWorld("", path.name, functools.partial(read, path))]
    if path.is_dir() and not _is_dataset(path):
        entries = sorted(p for p in path.iterdir() if not p.name.startswith("."))
        readers = {p: read for p in entries if (read := _reader(p)) is not None}
        # A video beside its point maps is their colour, not a world of its own.
        maps = {p.stem for p in readers if p.suffix == ".npz"}
        readers = {p: r for p, r in readers.items() if not (p.suffix == ".mp4" and p.stem in maps)}
        names = [p.stem if p.is_file() else p.name for p in readers]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{path}: several worlds are called {twice}; keep one of them there")
        if readers:
            return [StoredWorld(n, n, functools.partial(r, p)) for n, (p, r) in zip(names, readers.items())]
    dataset = open_dataset(path)
    if not len(dataset):
        raise InputError(f"{path}: holds no world")
    keys = dataset.index.column("key").to_pylist()
    # Each holds its own row alone: sent to another process, a whole index would weigh more than its world.
    return [StoredWorld("", str(key), functools.partial(dataset[i : i + 1].read, 0)) for i, key in enumerate(keys)]


def paired(
    mine: Sequence[StoredWorld], theirs: Sequence[StoredWorld], places: tuple[Path, Path]
) -> list[StoredWorld]:
    """The reference of each prediction: by names where both have them, else by order.

    places: where they lie, for messages. Raises InputError where they do not pair up.
    """
    if len(mine) != len(theirs):
        raise InputError(f"{places[0]} holds {len(mine)} worlds and {places[1]} {len(theirs)}; they must pair up")
    if not (mine[0].name and theirs[0].name):
        return list(theirs)
    by_name = {world.name: world for world in theirs}
    lacking = sorted(world.name for world in mine if world.name not in by_name)
    if lacking:
        raise InputError(f"{places[1]}: has no world {lacking[0]}; folders of worlds pair up by their names")
    return [by_name[world.name] for world in mine]


def evenly(count: int, limit: int | None) -> list[int]:
    """Places of at most `limit` of so many things, evenly from the whole."""
    if limit is not None and limit < 1:
        raise InputError(f"--limit must be at least 1, not {limit}")
    kept = count if limit is None else min(limit, count)
    return [i * count // kept for i in range(kept)]


def _reader(path: Path) -> Callable[[Path], World4D] | None:
    """How one world at a path is read; None where there is none, or many."""
    if is_world_folder(path):
        return World4D.load
    if path.suffix.lower() in VIDEOS and path.is_file():
        return _read_video
    if path.suffix == ".npz" and is_point_map(path):
        return world_of_point_maps
    return read_rgbd if is_recording(path) else None


def _read_video(path: Path) -> World4D:
    try:
        return World4D.from_video(path)
    except InputError as error:
        raise InputError(f"{error}.\n{KINDS}") from error


def _is_dataset(path: Path) -> bool:
    return (path / INDEX).is_file() or (path / RECORD).is_file() or any(path.glob("*.tar"))
