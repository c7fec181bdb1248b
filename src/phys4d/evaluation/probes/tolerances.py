"""What true worlds score: a probe that finds less has found nothing.

`tolerances.json` is written by `benchmarks/tolerances.py`, which simulates scenes and ensembles of them with
perturbed parameters, takes every label from them but the pictures' own, and probes them.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from phys4d.errors import InputError, unknown_name

FILE = Path(__file__).with_name("tolerances.json")


@functools.cache
def measured() -> dict[str, dict[str, dict[str, Any]]]:
    """size [px] -> metric -> {itself, member, worlds}: 95th percentiles over true worlds.

    itself: of a world against itself, which is the instrument's own error. member: of a member of an ensemble
    against another, which adds what the physics leaves open. worlds: how many had something to judge.
    """
    return json.loads(FILE.read_text(encoding="utf-8"))["sizes"]


def tolerance(name: str, size: tuple[int, int]) -> float:
    """What 95 % of true worlds of about that (height, width) stay below: of the nearest size that was measured.

    Raises InputError for a metric that was not measured there.
    """
    nearest = min(measured(), key=lambda known: abs(int(known) - min(size)))
    rows = measured()[nearest]
    if name not in rows:
        raise InputError(unknown_name("probe", name, rows))
    return max(rows[name]["itself"], rows[name]["member"])
