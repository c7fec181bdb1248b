"""Reading a data set: a folder of WebDataset tar shards and `index.parquet`, one row and one key per world.

The index says where in which shard a world lies, so any world is one open, one seek and one read away. A folder
of tar shards without an index, made by others with the same member names, is indexed by scanning its headers.
"""

from __future__ import annotations

import dataclasses
import io
import json
import operator
import re
import tarfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, overload

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from phys4d.errors import InputError, MissingFieldError
from phys4d.members import MEMBERS
from phys4d.world import World4D

INDEX = "index.parquet"
"""The file whose presence says that a data set is finished."""
RECORD = "dataset.json"
"""What a data set was made with; written before anything else."""
INDEX_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("shard", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("frames", pa.int32()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("fps", pa.float64()),
        ("scene", pa.string()),
        ("scene_id", pa.string()),
        ("seed", pa.int64()),
        ("prompt", pa.string()),
        ("category", pa.string()),
        ("view", pa.int32()),
        ("perturb", pa.int32()),
        ("context_frames", pa.int32()),
        ("volumetric", pa.bool_()),
        ("source", pa.string()),
        ("fields", pa.list_(pa.string())),
    ]
)
"""Columns of the index. `offset` is that of the world's first tar header in its shard and `length` runs to the end
of its last member's padding [bytes]; the columns from `scene` to `source` come from the world's meta and may be
null."""

_BLOCK = 512
_READ_AT_ONCE = 2**22
_NAME = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")


@dataclasses.dataclass(frozen=True)
class WorldDataset:
    """Worlds on disk, read one at a time: `len(ds)`, `ds[i]`, `for world in ds`; `ds[a:b]` is a view.

    index: pyarrow.Table with the columns of INDEX_SCHEMA and `path`, the shard as a file. Any filtered or sorted
    version of it is a data set again: `WorldDataset(ds.index.filter(...))`. No file stays open, so a data set can
    be pickled, forked and shared between threads.
    """

    index: pa.Table

    def __len__(self) -> int:
        return self.index.num_rows

    @overload
    def __getitem__(self, item: int) -> World4D: ...
    @overload
    def __getitem__(self, item: slice) -> WorldDataset: ...
    def __getitem__(self, item: int | slice) -> World4D | WorldDataset:
        """One whole world, validated, or a view. Raises InputError where its shard is damaged."""
        if isinstance(item, slice):
            return WorldDataset(self.index.take(pa.array(range(*item.indices(len(self))), pa.int64())))
        return self.read(item)

    def __iter__(self) -> Iterator[World4D]:
        return (self.read(i) for i in range(len(self)))

    def row(self, i: int) -> dict[str, Any]:
        """Row `i` of the index; negative numbers count from the end."""
        i = operator.index(i)
        if not -len(self) <= i < len(self):
            raise IndexError(f"world {i} of {len(self)}")
        i %= len(self)
        return {name: self.index.column(name)[i].as_py() for name in self.index.column_names}

    def read(self, i: int, fields: Collection[str] | None = None) -> World4D:
        """World `i`; with `fields`, only those are decoded (none: meta and fps alone).

        Raises MissingFieldError where it lacks one of them, InputError where its shard is missing, cut short or
        damaged; both name shard and key.
        """
        i = operator.index(i)
        if not -len(self) <= i < len(self):
            raise IndexError(f"world {i} of {len(self)}")
        path, key, offset, length = (
            self.index.column(name)[i % len(self)].as_py() for name in ("path", "key", "offset", "length")
        )
        return load_world(Path(path), key, offset, length, fields)

    def select(self, *, fields: Collection[str] = (), **columns: Any) -> WorldDataset:
        """The worlds that have all of `fields` and, in each named column, that value or one of those values.

        `ds.select(scene="ball_drop", view=[0, 1], volumetric=False, fields=("depth", "flow"))`
        """
        index = self.index
        for name, wanted in columns.items():
            if name not in index.column_names:
                raise InputError(f"the index has no column {name!r}; it has {', '.join(index.column_names)}")
            several = isinstance(wanted, Collection) and not isinstance(wanted, str)
            try:
                values = pa.array(list(wanted) if several else [wanted], index.schema.field(name).type)
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise InputError(f"{wanted!r} does not fit the column {name!r}: {error}") from error
            index = index.filter(pc.field(name).isin(values))
        if fields:
            held = index.column("fields").to_pylist()
            index = index.filter(pa.array([set(fields) <= set(names or ()) for names in held], pa.bool_()))
        return WorldDataset(index)

    def __repr__(self) -> str:
        shards = len(self.index.column("path").unique())
        return f"WorldDataset({len(self)} worlds in {shards} shards)"


def open_dataset(path: str | Path | Sequence[str | Path]) -> WorldDataset:
    """Open a data set folder, a folder of tar shards, one .tar shard, or a list of these, one after another.

    Raises InputError for a missing path, an unfinished data set, a damaged index or a missing shard.
    """
    if not isinstance(path, str | Path):
        return concatenate([open_dataset(one) for one in path])
    path = Path(path)
    if path.is_file():
        return WorldDataset(_table(scan_shard(path), path.parent))
    if not path.is_dir():
        raise InputError(f"{path}: no such data set")
    if (path / INDEX).is_file():
        return WorldDataset(_read_index(path))
    shards = sorted(path.glob("*.tar"))
    if (path / RECORD).is_file():
        raise InputError(f"{path}: is not finished; run the same command again to finish it")
    if not shards:
        world = "; it is a world folder: use World4D.load" if (path / "meta.json").is_file() else ""
        raise InputError(f"{path}: not a data set (it has neither {INDEX} nor .tar shards){world}")
    return WorldDataset(_table([row for shard in shards for row in scan_shard(shard)], path))


def concatenate(datasets: Sequence[WorldDataset]) -> WorldDataset:
    """Several data sets as one, in their order."""
    if not datasets:
        raise InputError("no data set is given")
    return WorldDataset(pa.concat_tables([dataset.index for dataset in datasets]).combine_chunks())


def load_world(path: Path, key: str, offset: int, length: int, fields: Collection[str] | None = None) -> World4D:
    """The world `key` in the bytes [offset, offset + length) of a shard; see `WorldDataset.read`."""
    wanted = {name for name, member in MEMBERS.items() if fields is None or set(member.fields) & set(fields)}
    members = _read_members(path, key, offset, length, wanted | {"meta.json"})
    world = World4D.from_members(members, fields, source=f"{path}: {key}")
    missing = [name for name in fields or () if name not in world.fields]
    if missing:
        raise MissingFieldError(
            f"{path}: {key} has no {', '.join(missing)}; choose worlds by ds.select(fields=...)"
        )
    if world.fields or fields is None:
        try:
            world.validate()
        except InputError as error:
            raise InputError(f"{path}: {key} is {error}") from error
    return world


def index_row(
    key: str,
    shard: str,
    offset: int,
    length: int,
    *,
    meta: Mapping[str, Any],
    fields: Collection[str],
    fps: float | None,
    extent: tuple[int | None, int | None, int | None],
) -> dict[str, Any]:
    """One row of the index as JSON values. `extent`: see `extent_of`."""
    row: dict[str, Any] = {"key": key, "shard": shard, "offset": offset, "length": length, "fps": fps}
    row.update(zip(("frames", "height", "width"), extent))
    for name in ("scene", "scene_id", "prompt", "category", "source"):
        value = meta.get(name)
        row[name] = value if value is None else str(value)
    for name in ("seed", "view", "perturb", "context_frames"):
        value = meta.get(name)
        row[name] = value if type(value) is int else None
    row["volumetric"] = bool(meta.get("volumetric", False))
    row["fields"] = list(fields)
    return row


def extent_of(world: World4D) -> tuple[int, int | None, int | None]:
    """(frames, height, width) of a world; one without any picture has no size."""
    pictures = set(world.fields) - {"camera", "tracks", "track_visibility"}
    height, width = world.size if pictures else (None, None)
    return world.frames, height, width


def scan_shard(path: Path) -> list[dict[str, Any]]:
    """Index rows of a shard from its tar headers and each world's meta.json, in the order of the file.

    How large the worlds are would take decoding them: frames, height and width stay None.
    """
    worlds: dict[str, dict[str, Any]] = {}
    end = 0
    try:
        with tarfile.open(path, "r:") as tar, path.open("rb") as file:
            current = None
            for info in tar:
                start, end = info.offset, info.offset_data + -(-info.size // _BLOCK) * _BLOCK
                name = _NAME.fullmatch(info.name)
                if not info.isreg() or name is None:
                    continue
                key, member = name.groups()
                if key != current:
                    if key in worlds:
                        raise InputError(
                            f"{path}: the members of {key} do not lie together; sort the shard by name"
                        )
                    current, worlds[key] = key, {"offset": start, "members": []}
                worlds[key]["members"].append(member)
                worlds[key]["length"] = end - worlds[key]["offset"]
                if member == "meta.json":
                    file.seek(info.offset_data)
                    worlds[key]["meta"] = file.read(info.size)
            # tarfile takes a damaged header for the end of the archive.
            file.seek(end)
            if end > path.stat().st_size or any(file.read(_BLOCK)):
                raise InputError(f"{path}: is damaged or cut short at byte {end}; make or copy it again")
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{path}: not a readable tar shard ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    rows = [_scanned_row(path, key, world) for key, world in worlds.items()]
    if not rows:
        raise InputError(f"{path}: holds no world (members are named KEY.rgb.mkv, KEY.meta.json, ...)")
    return rows


def _scanned_row(path: Path, key: str, world: Mapping[str, Any]) -> dict[str, Any]:
    if "meta" not in world:
        raise InputError(f"{path}: {key} has no meta.json; it has {', '.join(world['members'])}")
    try:
        meta = json.loads(world["meta"])
        fps = float(meta["fps"])
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: {key}.meta.json is damaged or lacks fps ({error})") from error
    held = {field for name in world["members"] if name in MEMBERS for field in MEMBERS[name].fields}
    fields = [name for name in World4D.FIELDS if name in held]
    place = (key, path.name, world["offset"], world["length"])
    return index_row(*place, meta=meta, fields=fields, fps=fps, extent=(None, None, None))


def _read_index(folder: Path) -> pa.Table:
    try:
        index = pq.ParquetFile(folder / INDEX).read()
        index = index.select(INDEX_SCHEMA.names).cast(INDEX_SCHEMA).combine_chunks()
    except (pa.ArrowException, KeyError, OSError) as error:
        raise InputError(f"{folder / INDEX}: not a readable index of a data set ({error})") from error
    if any(index.column(name).null_count for name in ("key", "shard", "offset", "length", "fields")):
        raise InputError(f"{folder / INDEX}: has rows without key, shard, offset, length or fields")
    for shard in index.column("shard").unique().to_pylist():
        # A shard is a plain file name: an index from elsewhere must not reach outside its folder.
        if Path(shard).name != shard or not (folder / shard).is_file():
            raise InputError(f"{folder}: the shard {shard} of its index is missing; copy or make it again")
    return _with_path(index, folder)


def _table(rows: Sequence[Mapping[str, Any]], folder: Path) -> pa.Table:
    return _with_path(pa.Table.from_pylist(list(rows), INDEX_SCHEMA), folder)


def _with_path(index: pa.Table, folder: Path) -> pa.Table:
    paths = [str(folder / shard) for shard in index.column("shard").to_pylist()]
    return index.append_column("path", pa.array(paths, pa.string()))


def _read_members(path: Path, key: str, offset: int, length: int, wanted: Collection[str]) -> dict[str, bytes]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            if offset < 0 or length <= 0 or offset + length > size:
                raise InputError(
                    f"{path}: {key} should lie in bytes {offset} to {offset + length}, but the shard has {size}; "
                    "it is cut short or not the one that was indexed: make or copy it again"
                )
            if length > _READ_AT_ONCE and len(wanted) < len(MEMBERS):
                # Large worlds: only the wanted members are worth reading.
                return _walk(file, offset, offset + length, key, wanted)
            file.seek(offset)
            return _walk(io.BytesIO(file.read(length)), 0, length, key, wanted)
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{path}: {key} is damaged ({error}); make or copy this shard again") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _walk(file: IO[bytes], at: int, end: int, key: str, wanted: Collection[str]) -> dict[str, bytes]:
    """The wanted members of a world that lies between two offsets."""
    start, members = at, {}
    while at < end:
        file.seek(at)
        header = tarfile.TarInfo.frombuf(file.read(_BLOCK), "utf-8", "surrogateescape")
        if not header.isreg():
            return _walk_extended(file, start, end, key, wanted)
        name = _member_of(key, header.name)
        if name in wanted:
            members[name] = file.read(header.size)
        at += _BLOCK + -(-header.size // _BLOCK) * _BLOCK
    return members


def _walk_extended(file: IO[bytes], start: int, end: int, key: str, wanted: Collection[str]) -> dict[str, bytes]:
    """The same for tars by others, whose long names and clocks need the extended headers that tarfile knows."""
    members = {}
    file.seek(start)
    with tarfile.open(fileobj=io.BytesIO(file.read(end - start)), mode="r:") as tar:
        for info in tar:
            content = tar.extractfile(info) if info.isreg() else None
            if content is not None and (name := _member_of(key, info.name)) in wanted:
                members[name] = content.read()
    return members


def _member_of(key: str, name: str) -> str:
    if not name.startswith(f"{key}."):
        raise tarfile.ReadError(f"{name} lies where the index says {key}")
    return name.removeprefix(f"{key}.")
