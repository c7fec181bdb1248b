"""Batches for training: shuffled exactly, decoded in parallel, and continued bit for bit from any step."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from phys4d.data.shards import WorldDataset, concatenate
from phys4d.errors import InputError, MissingFieldError, Phys4DError, WorkError
from phys4d.world import World4D

Batch = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingLoader:
    """An endless stream of batches (or `epochs` of them); see `training_loader`.

    Its whole state is a number: the batches that were taken. Iterating again starts again at `epoch` and `start`.
    """

    dataset: WorldDataset
    fields: tuple[str, ...]
    batch_size: int
    seed: int
    workers: int
    epoch: int
    start: int
    epochs: int | None
    drop_last: bool
    rank: int
    world_size: int
    cache: bool = False

    def __len__(self) -> int:
        """Batches of one epoch, on every rank."""
        whole, rest = divmod(len(self.dataset), self.batch_size * self.world_size)
        return whole + (rest > 0 and not self.drop_last)

    def indices(self) -> Iterator[list[int]]:
        """Which worlds make up each batch: the whole order, of this rank."""
        skipped, first = divmod(self.start, len(self))
        last = None if self.epochs is None else self.epoch + self.epochs
        group = self.batch_size * self.world_size
        for epoch in itertools.count(self.epoch + skipped):
            if epoch == last:
                return
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.dataset))
            for step in range(first, len(self)):
                at = step * group + self.rank * self.batch_size
                yield order[at : at + self.batch_size].tolist()
            first = 0

    def __iter__(self) -> Iterator[Batch]:
        workers = 0 if self.cache else self.workers
        batches = DataLoader(
            _Batches(self.dataset, self.fields, cache=self.cache),
            batch_size=None,
            sampler=_Order(self),
            num_workers=workers,
            collate_fn=_as_is,
            pin_memory=torch.cuda.is_available(),
            multiprocessing_context="spawn" if workers else None,
            # A generator of its own: the global one belongs to the training, which must not depend on this.
            generator=torch.Generator().manual_seed(self.seed),
        )
        iterator = iter(batches)
        while True:
            try:
                batch = next(iterator)
            except StopIteration:
                return
            except RuntimeError as error:
                if "worker" not in str(error):
                    raise
                raise WorkError(
                    f"a loader process died ({error}); if memory was short, use fewer workers or smaller batches"
                ) from error
            if isinstance(batch, Phys4DError):
                raise batch
            yield batch.tensors() if isinstance(batch, _Arrays) else batch


def training_loader(
    dataset: WorldDataset | Sequence[WorldDataset],
    *,
    batch_size: int,
    fields: Sequence[str],
    seed: int = 0,
    workers: int = 0,
    epoch: int = 0,
    start: int = 0,
    epochs: int | None = None,
    drop_last: bool = True,
    rank: int = 0,
    world_size: int = 1,
    cache: bool = False,
) -> TrainingLoader:
    """Shuffled batches of `fields`, endless unless `epochs` says how many.

    A batch is a dict. Each field is a tensor (B, *its World4D shape) of the World4D dtype; `camera` comes as
    `intrinsics` (B,T,3,3) and `world_from_camera` (B,T,4,4). Beside them `fps` (B,) float32, and lists of B:
    `key`, `prompt` (str) and `meta` (dict).

    The order depends on seed and epoch alone, each world comes once an epoch, and rank r of `world_size` gets its
    share of every global batch. To resume, pass as `start` the number of batches already taken since `epoch`; it
    may exceed an epoch. workers: decoding processes. cache: keep what was decoded in memory, in this process (then
    `workers` is not used): small data, read many times.
    Raises MissingFieldError where a world lacks a field, InputError for worlds of several sizes or too few.
    """
    data = dataset if isinstance(dataset, WorldDataset) else concatenate(dataset)
    if min(batch_size, world_size) < 1 or min(workers, epoch, start, seed) < 0 or not 0 <= rank < world_size:
        raise InputError(
            f"impossible loader: batch_size={batch_size}, seed={seed}, workers={workers}, epoch={epoch}, "
            f"start={start}, rank={rank} of {world_size}"
        )
    if world_size > 1 and not drop_last:
        raise InputError("drop_last=False leaves the ranks with batches of different sizes; use it on one rank")
    _check_fields(data, fields)
    _check_sizes(data, batch_size)
    loader = TrainingLoader(
        dataset=data,
        fields=tuple(fields),
        batch_size=batch_size,
        seed=seed,
        workers=workers,
        epoch=epoch,
        start=start,
        epochs=epochs,
        drop_last=drop_last,
        rank=rank,
        world_size=world_size,
        cache=cache,
    )
    if not len(loader):
        ranks = f" on each of {world_size} ranks" if world_size > 1 else ""
        raise InputError(f"{len(data)} worlds do not fill one batch of {batch_size}{ranks}")
    return loader


def _collate(worlds: Sequence[World4D], keys: Sequence[str], fields: Sequence[str]) -> _Arrays:
    """Worlds as one batch; see `training_loader`. Raises InputError where their shapes differ."""
    batch = _Arrays()
    for field in fields:
        values = [getattr(world, field) for world in worlds]
        if field == "camera":
            batch["intrinsics"] = _stack("camera", [camera.intrinsics for camera in values], keys)
            batch["world_from_camera"] = _stack("camera", [camera.world_from_camera for camera in values], keys)
        else:
            batch[field] = _stack(field, values, keys)
    batch["fps"] = np.array([world.fps for world in worlds], dtype=np.float32)
    batch["key"] = list(keys)
    batch["prompt"] = [str(world.meta.get("prompt") or "") for world in worlds]
    batch["meta"] = [world.meta for world in worlds]
    return batch


def _stack(field: str, arrays: Sequence[np.ndarray], keys: Sequence[str]) -> np.ndarray:
    for array, key in zip(arrays, keys):
        if array.shape != arrays[0].shape:
            raise InputError(
                f"{field} of {key} is {array.shape} and of {keys[0]} {arrays[0].shape}: a batch needs one size; "
                "select worlds of one size, or use batch_size=1"
            )
    return np.stack(arrays)


def _check_fields(dataset: WorldDataset, fields: Sequence[str]) -> None:
    unknown = [name for name in fields if name not in World4D.FIELDS]
    if unknown or not fields:
        raise InputError(
            f"World4D has no field {', '.join(unknown) or '(none asked for)'}; its fields: "
            f"{', '.join(World4D.FIELDS)}"
        )
    held = dataset.index.column("fields").to_pylist()
    lacking = [i for i, names in enumerate(held) if not set(fields) <= set(names)]
    if lacking:
        first = dataset.row(lacking[0])
        missing = [name for name in fields if name not in first["fields"]]
        raise MissingFieldError(
            f"{len(lacking)} of {len(dataset)} worlds lack a field of {', '.join(fields)}: {first['key']} in "
            f"{first['path']} has no {', '.join(missing)}.\n"
            "Label them first, or leave them out: ds.select(fields=...)"
        )


def _check_sizes(dataset: WorldDataset, batch_size: int) -> None:
    sizes = dataset.index.group_by(["frames", "height", "width"]).aggregate([([], "count_all")]).to_pylist()
    if len(sizes) > 1 and batch_size > 1:
        listed = ", ".join(
            f"{s['frames']}x{s['height']}x{s['width']} ({s['count_all']} worlds)" for s in sizes[:5]
        )
        raise InputError(
            f"worlds of several sizes do not fit one batch: {listed}.\n"
            "Choose one, ds.select(frames=..., height=..., width=...), or use batch_size=1"
        )


class _Arrays(dict[str, Any]):
    """A batch on its way between processes, as NumPy arrays.

    A worker that ends while its queue moves tensors to shared memory aborts with a message of C++; one that
    pickles arrays just ends.
    """

    def tensors(self) -> Batch:
        return {name: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for name, v in self.items()}

    def pin_memory(self) -> Batch:
        """Called by torch in its own thread, where there is a GPU."""
        return {name: v.pin_memory() if isinstance(v, torch.Tensor) else v for name, v in self.tensors().items()}


class _Batches(Dataset[Any]):
    """Batches by their list of indices. Errors travel as values: torch would wrap their words in tracebacks."""

    def __init__(self, dataset: WorldDataset, fields: tuple[str, ...], *, cache: bool) -> None:
        self.dataset, self.fields = dataset, fields
        self.kept: dict[int, World4D] | None = {} if cache else None

    def __getitem__(self, indices: list[int]) -> _Arrays | Phys4DError:
        try:
            worlds = [self._read(i) for i in indices]
            keys = [self.dataset.index.column("key")[i].as_py() for i in indices]
            return _collate(worlds, keys, self.fields)
        except Phys4DError as error:
            return error

    def _read(self, i: int) -> World4D:
        if self.kept is None:
            return self.dataset.read(i, self.fields)
        if i not in self.kept:
            self.kept[i] = self.dataset.read(i, self.fields)
        return self.kept[i]


class _Order(Sampler[list[int]]):
    def __init__(self, loader: TrainingLoader) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[list[int]]:
        return self.loader.indices()


def _as_is(batch: Any) -> Any:
    return batch
