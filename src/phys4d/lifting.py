"""Lifting many worlds: what a model's heads see in their RGB, batch by batch, and refusals before any work."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

from phys4d.errors import InputError, Phys4DError
from phys4d.model import WorldModel
from phys4d.training.measures import relift
from phys4d.world import World4D

BATCH = 8


def lifted(model: WorldModel, worlds: Iterable[World4D]) -> Iterator[tuple[World4D, World4D]]:
    """(lifted, world) for each world, in order; neighbours of one size and length are lifted together.

    The model is told nothing but the RGB; a lifted world keeps the meta. Raises MissingFieldError for a world
    without rgb, and InputError for one that the model cannot read.
    """
    for batch in _batches(worlds):
        yield from zip(_lift(model, batch), batch)


def tried(model: WorldModel, loads: Iterable[Callable[[], World4D]]) -> Iterator[World4D | Phys4DError]:
    """Each world, loaded and lifted, in order, or the error that kept it from that; as `lifted`."""
    loads = iter(loads)
    while some := [_attempt(load) for load in itertools.islice(loads, BATCH)]:
        readable = [world for world in some if isinstance(world, World4D)]
        found: Iterator[World4D | Phys4DError] = itertools.chain.from_iterable(
            _attempted(model, batch) for batch in _batches(readable)
        )
        yield from (next(found) if isinstance(world, World4D) else world for world in some)


def _attempt(load: Callable[[], World4D]) -> World4D | Phys4DError:
    try:
        return load().require("rgb")
    except Phys4DError as error:
        return error


def _attempted(model: WorldModel, batch: list[World4D]) -> list[World4D] | list[Phys4DError]:
    try:
        return _lift(model, batch)
    except Phys4DError as error:
        return [error] * len(batch)


def _batches(worlds: Iterable[World4D]) -> Iterator[list[World4D]]:
    """Neighbours of one size and length, at most BATCH together."""
    for _, group in itertools.groupby(worlds, key=_extent):
        while batch := list(itertools.islice(group, BATCH)):
            yield batch


def _lift(model: WorldModel, batch: list[World4D]) -> list[World4D]:
    """What the model sees in worlds of one extent. Raises InputError where it cannot read such worlds."""
    model.need_heads()
    size, frames = _extent(batch[0])
    if size != model.backbone.size:
        own, found = ("x".join(str(n) for n in pair) for pair in (model.backbone.size, size))
        name = model.meta.get("name", model.backbone.name)
        raise InputError(f"{name} reads pictures of {own}, these worlds are {found}; resize them first")
    model.window_of(frames)
    return relift(model, batch)


def _extent(world: World4D) -> tuple[tuple[int, int], int]:
    world.require("rgb")
    return world.size, world.frames
