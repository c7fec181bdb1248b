"""The films that benchmarks of models share: simulated anew at each run, from seeds that no training uses."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from phys4d.recipes import recipes
from phys4d.sim.dataset import simulate_dataset

KNOWN = recipes["nano"]().scenes
"""Rows that nano was trained on."""
SEED = 8_000_000
"""Far from every seed of training, and from those of the demo."""


@contextmanager
def held_out(clips: int, *, seed: int = SEED) -> Iterator[Path]:
    """A data set of so many clips of the known rows, by a still camera; it is removed in the end."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "held-out"
        simulate_dataset(data, list(KNOWN), clips=clips, seed=seed, camera="static", workers=2, progress=False)
        yield data
