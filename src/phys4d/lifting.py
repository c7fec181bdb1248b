"""Lifting many worlds: what a model's heads see in their RGB, batch by batch, and refusals before any work."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from phys4d.errors import InputError
from phys4d.model import WorldModel
from phys4d.training.measures import relift
from phys4d.world import World4D

BATCH = 8


def lifted(model: WorldModel, worlds: Iterable[World4D]) -> Iterator[tuple[World4D, World4D]]:
    """(lifted, world) for each world, in order; neighbours of one size and length are lifted together.

    The model is told nothing but the RGB; a lifted world keeps the meta. Raises MissingFieldError for a world
    without rgb, and InputError for one that the model cannot read.
    """
    model.need_heads()
    for (size, frames), group in itertools.groupby(worlds, key=_extent):
        if size != model.backbone.size:
            own, found = ("x".join(str(n) for n in pair) for pair in (model.backbone.size, size))
            name = model.meta.get("name", model.backbone.name)
            raise InputError(f"{name} reads pictures of {own}, these worlds are {found}; resize them first")
        model.window_of(frames)
        while batch := list(itertools.islice(group, BATCH)):
            yield from zip(relift(model, batch), batch)


def _extent(world: World4D) -> tuple[tuple[int, int], int]:
    world.require("rgb")
    return world.size, world.frames
