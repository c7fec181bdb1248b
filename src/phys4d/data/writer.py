"""Writing a data set: every shard the same whoever makes it, in parallel, and continued after any interruption.

A shard exists whole or not at all, with a record beside it (`shard-000000.json`: its checksum and its rows of the
index); `index.parquet` comes last and says that the set is finished. `encode_item` and `write_shard` are pure and
stand on their own, so any scheduler can make the shards.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import importlib.metadata
import itertools
import json
import os
import re
import warnings
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm
from webdataset.writer import TarWriter

from phys4d.atomic import explained, new_file, write_text
from phys4d.data.cluster import shards_by_ray
from phys4d.data.processes import in_order
from phys4d.data.shards import INDEX, INDEX_SCHEMA, RECORD, extent_of, index_row
from phys4d.errors import InputError, Phys4DWarning, WorkError
from phys4d.members import FORMAT
from phys4d.world import World4D

_KEY = re.compile(r"[^\W_][\w+=,@-]{0,79}", re.ASCII)
_BLOCK = 512
MOST_REPLACED = 5
"""Lines about replaced worlds that a person is shown."""


@dataclasses.dataclass(frozen=True)
class Item:
    """One world to make. key: its unique name, letters, digits and `_+=,@-`. payload: whatever `make` needs,
    its seed among it; picklable."""

    key: str
    payload: Any = None


@dataclasses.dataclass(frozen=True)
class EncodedWorld:
    """A world on its way into a shard: member bytes by name, and its row of the index but for its place.

    replaces: what it stands for, where what was asked for could not be made (`meta["replaces"]`).
    """

    key: str
    members: dict[str, bytes]
    row: dict[str, Any]
    replaces: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class DatasetSummary:
    """What is in a finished data set. size: of all shards [bytes]. made: worlds made by this call.

    replaced: a line for every world that stands for one that could not be made.
    """

    path: Path
    worlds: int
    shards: int
    size: int
    made: int
    replaced: tuple[str, ...] = ()

    def __str__(self) -> str:
        made = f"{self.made} made now" if self.made else "all of them were there already"
        worlds, shards = plural(self.worlds, "world"), plural(self.shards, "shard")
        lines = [f"{self.path}: {worlds} in {shards}, {self.size / 1e6:.3g} MB; {made}"]
        lines += [f"replaced: {line}" for line in self.replaced[:MOST_REPLACED]]
        if len(self.replaced) > MOST_REPLACED:
            lines.append(f"replaced: {len(self.replaced) - MOST_REPLACED} more, see the shards' .json")
        return "\n".join(lines)


def plural(number: int, noun: str) -> str:
    """A number and its noun: 1 world, 2 worlds."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


Make = Callable[[Any], World4D]


def write_dataset(
    out: str | Path,
    plan: Sequence[Item],
    make: Make,
    *,
    arguments: Mapping[str, Any],
    workers: int = 1,
    shard_size: int = 64,
    ray: bool = False,
    progress: bool = True,
    prepare: Callable[[], object] | None = None,
) -> DatasetSummary:
    """Make every world of the plan and write them as a data set, in the order of the plan.

    make: payload -> World4D; a top-level function whose result depends on its payload alone. arguments: JSON, what
    the set is made with. A call with the same arguments continues an unfinished set and returns at once on a
    finished one. workers: processes; 1 works in this one. ray: make whole shards as Ray tasks instead, on all the
    machines of a cluster that share the disk of `out`. The bytes depend on neither. prepare: called once in
    this process before the first world is made, and not at all where none is to be made.
    Raises InputError for other arguments than the folder was made with, or a folder that holds something else;
    WorkError where an item fails, a worker dies or the disk is full. Finished shards stay in every case.
    """
    out = Path(out)
    for name, value in {"workers": workers, "shard_size": shard_size}.items():
        if value < 1:
            raise InputError(f"{name} must be at least 1, not {value}")
    _check_keys(plan)
    record = {
        "format": FORMAT,
        "phys4d": importlib.metadata.version("phys4d"),
        "arguments": json.loads(json.dumps(dict(arguments), allow_nan=False)),
        "shard_size": shard_size,
        "worlds": len(plan),
        "keys": hashlib.sha256("\n".join(item.key for item in plan).encode()).hexdigest(),
    }
    with _alone_in(out):
        _begin(out, record)
        numbered = {
            f"shard-{number:06d}.tar": plan[start : start + shard_size]
            for number, start in enumerate(range(0, len(plan), shard_size))
        }
        if (out / INDEX).is_file():
            return _summary(out, numbered, len(plan), made=0)
        done = {name: kept for name, items in numbered.items() if (kept := _finished(out / name, items))}
        todo = {name: items for name, items in numbered.items() if name not in done}
        waiting = [item for items in todo.values() for item in items]
        if waiting and prepare:
            prepare()
        with tqdm(total=len(plan), initial=len(plan) - len(waiting), unit="clip", disable=not progress) as bar:
            made = _made_by_ray(out, todo, make, bar) if ray else _made_here(out, todo, make, workers, bar)
            with contextlib.closing(made):
                done.update(made)
        rows = [row for name in numbered for row in done[name]]
        with new_file(out / INDEX) as temporary:
            pq.write_table(pa.Table.from_pylist(rows, INDEX_SCHEMA), temporary)
        return _summary(out, numbered, len(plan), made=len(waiting))


def _made_here(
    out: Path, todo: Mapping[str, Sequence[Item]], make: Make, workers: int, bar: tqdm
) -> Generator[tuple[str, list[dict[str, Any]]]]:
    """Worlds by processes of this machine, in order; shards by this process."""
    with contextlib.closing(
        _encoded([item for items in todo.values() for item in items], make, workers)
    ) as worlds:
        stream = _counted(worlds, bar)
        for name, items in todo.items():
            yield name, write_shard(out / name, itertools.islice(stream, len(items)))


def _made_by_ray(
    out: Path, todo: Mapping[str, Sequence[Item]], make: Make, bar: tqdm
) -> Generator[tuple[str, list[dict[str, Any]]]]:
    """Whole shards by Ray tasks, in any order."""
    shards = shards_by_ray(
        functools.partial(_make_shard, make=make), {out / n: items for n, items in todo.items()}
    )
    with contextlib.closing(shards):
        for path, rows in shards:
            bar.update(len(rows))
            yield path.name, rows


def _make_shard(path: Path, items: Sequence[Item], make: Make) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    return write_shard(path, (encode_item(item, make) for item in items))


def encode_item(item: Item, make: Make) -> EncodedWorld:
    """Make one world and encode it. Raises WorkError naming the item and the cause."""
    try:
        world = make(item.payload).validate()
        members = world.to_members()
    except Exception as error:
        # The cause may not survive the way between processes; its name and words do.
        cause = f"{error}" if isinstance(error, WorkError | InputError) else f"{type(error).__name__}: {error}"
        raise WorkError(f"{item.key} could not be made: {cause}") from error
    row = index_row(
        item.key, "", 0, 0, meta=world.meta, fields=world.fields, fps=world.fps, extent=extent_of(world)
    )
    return EncodedWorld(item.key, members, row, world.meta.get("replaces"))


def write_shard(path: Path, worlds: Iterable[EncodedWorld]) -> list[dict[str, Any]]:
    """Write one tar shard and its record, each whole or not at all; return its rows of the index."""
    rows: list[dict[str, Any]] = []
    replaced: list[dict[str, Any]] = []
    offset = 0
    with new_file(path) as temporary:
        # With a fixed clock, WebDataset's own writer gives the same bytes every time: members sorted by name,
        # one USTAR header each, owner 0.
        with temporary.open("wb") as file, TarWriter(file, encoder=False, mtime=0) as tar:
            for world in worlds:
                tar.write({"__key__": world.key, **world.members})
                length = sum(_BLOCK + -(-len(data) // _BLOCK) * _BLOCK for data in world.members.values())
                rows.append({**world.row, "shard": path.name, "offset": offset, "length": length})
                offset += length
                if world.replaces:
                    replaced.append({"key": world.key, **world.replaces})
        size, digest = temporary.stat().st_size, sha256(temporary)
    record = {"sha256": digest, "size": size, "rows": rows, **({"replaced": replaced} if replaced else {})}
    write_text(record_of(path), json.dumps(record, indent=1) + "\n")
    return rows


def record_of(shard: Path) -> Path:
    """Where the checksum and the index rows of a shard are kept."""
    return shard.with_suffix(".json")


def read_record(shard: Path) -> dict[str, Any] | None:
    """The record of a shard, or None where there is none that can be read.

    It has `sha256`, `size` [bytes], `rows`, and `replaced` where worlds stand for others.
    """
    try:
        record = json.loads(record_of(shard).read_text(encoding="utf-8"))
        return record if {"sha256", "size", "rows"} <= record.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def sha256(path: Path) -> str:
    """Hexadecimal checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_keys(plan: Sequence[Item]) -> None:
    if not plan:
        raise InputError("there is nothing to make: the plan is empty")
    seen: set[str] = set()
    for item in plan:
        if not _KEY.fullmatch(item.key):
            raise InputError(f"{item.key!r} is no key: 1 to 80 letters, digits and _+=,@- (no dots, no slashes)")
        if item.key in seen:
            raise InputError(f"the key {item.key} stands twice in the plan")
        seen.add(item.key)


@contextlib.contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Make the folder and hold it: two writers would throw each other's unfinished files away."""
    with explained(out):
        out.mkdir(parents=True, exist_ok=True)
        handle = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy = f"{out}: another process is writing it; wait for it, or choose another --out"
            raise InputError(busy) from None
        yield
    finally:
        os.close(handle)


def _begin(out: Path, record: Mapping[str, Any]) -> None:
    """Write what the set is made with, or compare it with what is written there; clear up after a killed run."""
    path = out / RECORD
    for leftover in out.glob(".*.partial"):
        leftover.unlink()
    if not path.is_file():
        foreign = next(out.iterdir(), None)
        if foreign is not None:
            raise InputError(f"{out}: holds {foreign.name} and is not a data set of ours; choose another --out")
        write_text(path, json.dumps(record, indent=1) + "\n")
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        old = {**before["arguments"], "shard_size": before["shard_size"]}
        same_plan = (before["worlds"], before["keys"]) == (record["worlds"], record["keys"])
        version = (before["phys4d"], before["format"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: is damaged ({error}); choose another --out") from error
    new = {**record["arguments"], "shard_size": record["shard_size"]}
    differing = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if differing:
        was, now = (", ".join(f"{name}={_shown(a.get(name))}" for name in differing) for a in (old, new))
        raise InputError(f"{out}: was made with {was}, not {now}; choose another --out")
    if not same_plan:
        raise InputError(
            f"{out}: was made of other worlds ({before['worlds']} then, {record['worlds']} now, "
            "by the same arguments); choose another --out"
        )
    if version != (record["phys4d"], record["format"]) and not (out / INDEX).is_file():
        raise InputError(
            f"{out}: was begun by phys4d {version[0]}, this is {record['phys4d']}; finish it with that version, "
            "or choose another --out"
        )


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _finished(shard: Path, items: Sequence[Item]) -> list[dict[str, Any]] | None:
    """The rows of a shard that an earlier run has finished; None where it is to be made."""
    if not shard.is_file():
        return None
    record = read_record(shard)
    if record is None:
        return None  # killed between the shard and its record
    if shard.stat().st_size != record["size"] or sha256(shard) != record["sha256"]:
        warnings.warn(f"{shard}: is damaged and will be made again", Phys4DWarning, stacklevel=3)
        return None
    return record["rows"] if [row["key"] for row in record["rows"]] == [item.key for item in items] else None


def _summary(out: Path, shards: Collection[str], worlds: int, *, made: int) -> DatasetSummary:
    sizes = [(out / name).stat().st_size if (out / name).is_file() else 0 for name in shards]
    replaced = []
    for name in shards:
        for entry in (read_record(out / name) or {}).get("replaced", ()):
            replaced.append(f"{entry['key']}, {entry['causes'][0]}")
    return DatasetSummary(out, worlds, len(sizes), sum(sizes), made, tuple(replaced))


def _counted(worlds: Iterable[EncodedWorld], bar: tqdm) -> Iterator[EncodedWorld]:
    for world in worlds:
        bar.update()
        yield world


def _encoded(items: Sequence[Item], make: Make, workers: int) -> Generator[EncodedWorld]:
    """The worlds of `items`, in their order."""
    return in_order(
        functools.partial(_encode_for, make),
        items,
        min(workers, len(items)),
        name=lambda item: item.key,
        mend="what is finished stays: run the same command again, with fewer --workers if memory was short",
    )


def _encode_for(make: Make, item: Item) -> EncodedWorld:
    return encode_item(item, make)
