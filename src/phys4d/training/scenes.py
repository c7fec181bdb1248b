"""Scenes for stage 3 to reward: read from data, or simulated by other processes while the model rolls out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np

from phys4d.data.processes import in_order
from phys4d.data.shards import WorldDataset, concatenate
from phys4d.errors import InputError
from phys4d.rewards import RewardScene, prepare_scene
from phys4d.sim.dataset import Clip, make_clip
from phys4d.training.guards import rewarded
from phys4d.training.ranks import any_of, from_all, rank_and_size
from phys4d.world import World4D

FRESH_SEED = 50_000_000
"""Of the first scene that is simulated for stage 3 itself: far from all stored ones."""
SPARE = 2
"""Scenes a batch that are simulated ahead beside those it needs, for some cannot be rewarded."""
MOST_TRIES = 50
"""Of fresh scenes for each one that is needed."""


class RewardScenes:
    """The scenes of every batch, drawn by its number.

    data: whose worlds are read, and whose rows, size, length and rate fresh scenes have. lift: the frozen lifter.
    count: scenes of a batch for each process, which take its candidates by turns. fresh: processes that simulate
    new scenes, by a still camera; 0: worlds are read. together: whether all processes must lift equally often,
    because their lifter is sharded. waited: seconds that the last batch waited for worlds.
    """

    def __init__(
        self,
        data: Sequence[WorldDataset],
        lift: Any,
        *,
        count: int,
        fields: tuple[str, ...],
        seed: int,
        drop: bool,
        fresh: int = 0,
        together: bool = False,
    ) -> None:
        self.worlds, self.lift, self.count = concatenate(list(data)), lift, count
        self.fields, self.seed, self.drop = fields, seed, drop
        self.fresh, self.together, self.waited = fresh, together, 0.0
        self.rank, self.ranks = rank_and_size()
        self._stream: Generator[World4D] | None = None
        self._following = -1
        self._rows = sorted(set(self.worlds.index.column("scene").to_pylist()))

    def batch(self, number: int) -> tuple[list[RewardScene], int]:
        """This process's scenes of a batch, and how many could not be rewarded and were replaced in all of them.

        Raises InputError where there are too few that can be.
        """
        found: list[RewardScene] = []
        self.tried, self.waited = 0, 0.0
        candidates = self._fresh(number) if self.fresh else self._stored(number)
        unfinished = any_of if self.together else bool
        while unfinished(len(found) < self.count):
            scene = self._next_lifted(candidates)
            if scene is None:
                raise InputError(
                    f"only {len(found)} of {self.tried} scenes can be rewarded, a batch needs {self.count}: give "
                    "more data, or a lifter that sees motion"
                )
            found += rewarded([scene], drop=self.drop)
        return found[: self.count], sum(from_all(self.tried - len(found)))

    def _next_lifted(self, candidates: Iterator[World4D]) -> RewardScene | None:
        """The next candidate that the lifter had to look at; None where there is no other."""
        while True:
            began = time.perf_counter()
            world = next(candidates, None)
            self.waited += time.perf_counter() - began
            if world is None:
                return None
            self.tried += 1
            scene = prepare_scene(world, self.lift)
            if scene.dynamic:
                return scene

    def _stored(self, number: int) -> Iterator[World4D]:
        order = np.random.default_rng([self.seed, 3, number]).permutation(len(self.worlds))
        return (self.worlds.read(int(index), self.fields) for index in order[self.rank :: self.ranks])

    def _fresh(self, number: int) -> Iterator[World4D]:
        """The candidates of a batch; those of the next ones are in the making meanwhile."""
        ahead = self.count + SPARE
        if self._stream is None or number != self._following:
            self.close()
            clips = (self._clip(n, k) for n in itertools.count(number) for k in range(ahead))
            self._stream = in_order(make_clip, clips, self.fresh, name=lambda clip: clip.key)
        self._following = number + 1
        # All of a batch are taken from the stream, whether it needs them or not: the next one begins after them.
        yield from [next(self._stream) for _ in range(ahead)]
        yield from (make_clip(self._clip(number, k)) for k in range(ahead, MOST_TRIES * self.count))

    def _clip(self, number: int, k: int) -> Clip:
        """This process's k-th candidate of a batch."""
        first = self.worlds.index.slice(0, 1).to_pylist()[0]
        rng = np.random.default_rng([self.seed, 6, number, k * self.ranks + self.rank])
        row = self._rows[int(rng.integers(len(self._rows)))]
        seed = FRESH_SEED + int(rng.integers(10**9))
        extent = (first["height"], first["width"])
        return Clip(row, seed, 0, 0, extent, first["frames"], first["fps"], "static", None)

    def close(self) -> None:
        """Let go of the processes."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
