"""Which worlds a run trains on, which it only looks at, and whether its model and stage can use them."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence

from phys4d.backbones import Backbone
from phys4d.data.shards import WorldDataset, concatenate
from phys4d.errors import InputError, MissingFieldError, Phys4DWarning


def split(
    sets: Sequence[WorldDataset], held_out: Sequence[WorldDataset], most: int
) -> tuple[WorldDataset, WorldDataset]:
    """(worlds to train on, at most `most` held-out ones).

    Without sets of their own, a tenth of the scenes is held out, chosen by their names alone; views and perturbed
    repetitions of a scene stay on one side. Raises InputError where there is nothing to train on.
    """
    if not sets:
        raise InputError("there is no data to train on; give some with --data")
    worlds = concatenate(list(sets))
    scenes = _scenes(worlds)
    if held_out:
        given = concatenate(list(held_out))
        shared = set(scenes) & set(_scenes(given))
        if shared:
            warnings.warn(
                f"{len(shared)} of the held-out scenes are also trained on (such as {min(shared)}): validation "
                "will flatter the model",
                Phys4DWarning,
                stacklevel=2,
            )
        return worlds, _spread(given, most)
    order = sorted(set(scenes), key=lambda scene: hashlib.sha256(scene.encode()).digest())
    chosen = set(order[: min(most, max(1, len(order) // 10))])
    if len(chosen) == len(order):
        raise InputError("one scene is not enough: one is held out, another is needed to train on")
    apart = [scene in chosen for scene in scenes]
    trained = WorldDataset(worlds.index.filter([not held for held in apart]))
    return trained, _spread(WorldDataset(worlds.index.filter(apart)), most)


def check(backbone: Backbone, stage: str, fields: Sequence[str], *sets: WorldDataset) -> None:
    """Raise MissingFieldError where a world lacks one of the fields, and InputError where the backbone cannot make
    worlds of that many frames or that size, naming the nearest, or where sizes differ within a set."""
    for worlds in sets:
        held = worlds.index.column("fields").to_pylist()
        lacking = [i for i, names in enumerate(held) if not set(fields) <= set(names)]
        if lacking:
            row = worlds.row(lacking[0])
            missing = [name for name in fields if name not in row["fields"]]
            raise MissingFieldError(
                f"{len(lacking)} of {len(worlds)} worlds lack what `train {stage}` learns from: {row['key']} in "
                f"{row['path']} has no {', '.join(missing)}.\nGive data sets that `phys4d simulate` made, or take "
                "a stage that needs less."
            )
        extents = {_extent(worlds, i) for i in _different(worlds)}
        for frames, height, width in sorted(extents):
            backbone.check(frames, (height, width))
        if len(extents) > 1:
            listed = ", ".join(f"{t}x{h}x{w}" for t, h, w in sorted(extents))
            raise InputError(f"worlds of several sizes cannot be trained together: {listed}")


def _scenes(worlds: WorldDataset) -> list[str]:
    """The scene of every world; a perturbed repetition counts as the scene that it repeats."""
    rows = worlds.index.select(["scene_id", "key", "perturb"]).to_pylist()
    return [(row["scene_id"] or row["key"]).removesuffix(f"-p{row['perturb'] or ''}") for row in rows]


def _spread(worlds: WorldDataset, most: int) -> WorldDataset:
    """At most so many, evenly from the whole."""
    if len(worlds) <= most:
        return worlds
    return WorldDataset(worlds.index.take([i * len(worlds) // most for i in range(most)]))


def _different(worlds: WorldDataset) -> list[int]:
    """The first world of every size in the index."""
    rows = worlds.index.select(["frames", "height", "width"]).to_pylist()
    first: dict[tuple[int | None, ...], int] = {}
    for i, row in enumerate(rows):
        first.setdefault(tuple(row.values()), i)
    return list(first.values())


def _extent(worlds: WorldDataset, i: int) -> tuple[int, int, int]:
    row = worlds.row(i)
    if None not in (row["frames"], row["height"], row["width"]):
        return row["frames"], row["height"], row["width"]
    # A bare shard does not say how large its worlds are.
    world = worlds.read(i, ("rgb",))
    return (world.frames, *world.size)
