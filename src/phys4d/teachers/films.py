"""Which videos there are to label, and what each holds: folders, captions, doubles, what cannot be read."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from phys4d.data.processes import in_order
from phys4d.data.shards import RECORD
from phys4d.errors import InputError
from phys4d.teachers.survey import Gates, Survey, survey

SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".ogv", ".gif",
)  # fmt: skip
"""Of the files in a folder that count as videos; a file that is named itself may have any."""


def expanded(sources: Sequence[str | Path]) -> list[Path]:
    """Sources with folders of videos in place of which are all videos below them, in alphabetical order.

    Data sets and shards stay. Raises InputError for what is missing, and for folders without videos.
    """
    found: list[Path] = []
    for source in map(Path, sources):
        if not source.exists():
            raise InputError(f"{source}: not found; label wants video files, folders of them, or data sets")
        if not source.is_dir() or (source / RECORD).is_file() or any(source.glob("*.tar")):
            found.append(source)
            continue
        films = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if not films:
            raise InputError(f"{source}: holds neither videos ({', '.join(SUFFIXES)}) nor a data set")
        found += films
    return found


def surveys(
    films: Sequence[Path],
    frames: int,
    fps: float | None,
    gates: Gates | None,
    workers: int = 1,
    *,
    progress: bool = True,
) -> dict[Path, Survey]:
    """What every video holds, in their order; doubles and videos whose caption is no text have a problem."""
    doubles = _doubles(films)
    tasks = [_Task(path, frames, fps, gates) for path in films if path not in doubles]
    bar = tqdm(total=len(tasks), desc="looking through videos", unit="video", disable=not progress, delay=2)
    with bar:
        results = in_order(_surveyed, tasks, workers, name=lambda task: str(task.path))
        found = {result.path: result for result in _counted(results, bar)}
    return {
        path: Survey(path, problem=f"{path}: the same as {doubles[path]}") if path in doubles else found[path]
        for path in films
    }


def caption_of(path: Path) -> str:
    """What the text file beside a video says, on one line; nothing where there is none. Raises InputError."""
    sidecar = path.with_suffix(".txt")
    if not sidecar.is_file():
        return ""
    try:
        return " ".join(sidecar.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{sidecar}: is no readable caption ({error}); write it as UTF-8 text") from error


@dataclasses.dataclass(frozen=True)
class _Task:
    path: Path
    frames: int
    fps: float | None
    gates: Gates | None


def _surveyed(task: _Task) -> Survey:
    try:
        caption_of(task.path)
    except InputError as error:
        return Survey(task.path, problem=str(error))
    return survey(task.path, task.frames, task.fps, task.gates)


def _doubles(films: Sequence[Path]) -> dict[Path, Path]:
    """Videos whose bytes are those of an earlier one, and that one."""
    by_size = collections.defaultdict(list)
    for path in films:
        by_size[path.stat().st_size].append(path)
    found: dict[Path, Path] = {}
    for same in by_size.values():
        if len(same) < 2:
            continue
        first: dict[str, Path] = {}
        for path in same:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if first.setdefault(digest, path) != path:
                found[path] = first[digest]
    return found


def _counted(results: Iterable[Survey], bar: tqdm) -> Iterator[Survey]:
    for result in results:
        bar.update()
        yield result
