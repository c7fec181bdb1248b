"""Whatever a person may point at as a world: a world folder, a data set, a video, an RGB-D recording."""

from __future__ import annotations

from pathlib import Path

from phys4d.data.recordings import read_rgbd
from phys4d.data.shards import open_dataset
from phys4d.errors import InputError
from phys4d.world import World4D


def open_world(
    path: str | Path, *, index: int = 0, intrinsics: tuple[float, float, float, float] | None = None
) -> World4D:
    """Open a world from where it lies.

    path: a world folder; a data set or a shard, of which the world number `index` is taken; a video file, which
    gives `rgb` alone; or a folder with an RGB-D recording, whose `intrinsics` are (fx, fy, cx, cy) [px].
    Raises InputError for a path that is none of these.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such world, data set or video")
    if path.is_file() and path.suffix != ".tar":
        return World4D.from_video(path)
    if (path / "meta.json").is_file():
        return World4D.load(path)
    if path.is_dir() and (any(path.glob("*.rgb.*")) or any(path.glob("*.color.*"))):
        return read_rgbd(path, intrinsics=intrinsics)
    dataset = open_dataset(path)
    if not -len(dataset) <= index < len(dataset):
        raise InputError(f"{path}: holds {len(dataset)} worlds, so --index runs from 0 to {len(dataset) - 1}")
    return dataset[index]
