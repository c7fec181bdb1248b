"""The shape of results.json as a JSON Schema.

`docs/results.schema.json` is this schema, written by `python docs/schema.py`.
"""

from __future__ import annotations

from typing import Any

from phys4d.evaluation.schema import NUMBER, TEXT, URL, map_of, object_of, row_schema
from phys4d.ladder.results import COMMON, OWN, SCHEMA

_COUNT = {"type": "integer", "minimum": 0}


def results_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of results.json; where there is no number, there is null.

    Keys may be added without a new version; a key that goes or changes its meaning raises `schema`.
    """
    curve = {"type": "array", "items": NUMBER}
    return {
        "$schema": URL,
        "title": "phys4d ladder results",
        **object_of(
            "What `phys4d evaluate --ladder` found.",
            {
                "schema": {"const": SCHEMA},
                "protocol": {"type": "object", "description": "Data, lifter, frames, size, seed, versions, ..."},
                "rungs": {**map_of(_rung()), "description": "rung -> its runs, in the order of the tables."},
                "rivals": {"type": "array", "items": TEXT, "description": "What needs no model."},
                "final": {**TEXT, "description": "The rung that the comparisons are about."},
                "judgings": {
                    "type": "object",
                    "description": "By the common lifter, and by the models' own heads.",
                    "properties": {name: {"$ref": "#/$defs/judging"} for name in (COMMON, OWN)},
                    "required": [COMMON],
                },
                "notes": {"type": "array", "items": TEXT, "description": "What makes one doubt the numbers."},
                "skipped": {"type": "array", "items": {"type": "array", "items": TEXT}},
            },
        ),
        "$defs": {
            "row": row_schema(),
            "difference": _difference(),
            "judging": object_of(
                "What one way of judging found.",
                {
                    "groups": {"type": "array", "items": {"$ref": "#/$defs/group"}},
                    "curves": {
                        **map_of(map_of(object_of("", dict.fromkeys(("mean", "lo", "hi"), curve)))),
                        "description": "rung or rival -> metric -> a number a frame, as a loss: 0 is perfect.",
                    },
                },
            ),
            "group": object_of(
                "Some of the worlds; the first group is all of them.",
                {
                    "name": TEXT,
                    "kind": {"enum": ["all", "rows", "category"]},
                    "worlds": _COUNT,
                    "scenes": _COUNT,
                    "metrics": map_of(map_of({"$ref": "#/$defs/row"})),
                    "differences": {"type": "array", "items": {"$ref": "#/$defs/difference"}},
                },
            ),
        },
    }


def _rung() -> dict[str, Any]:
    compute: dict[str, Any] = {"steps": NUMBER, "clips": NUMBER, "seconds": NUMBER}
    run = {"name": TEXT, "seed": _COUNT, "stage": {"type": ["string", "null"]}, "weights": TEXT}
    runs = {"type": "array", "items": object_of("", {**run, "compute": object_of("", compute)})}
    return object_of("", {"title": TEXT, "seeds": _COUNT, "runs": runs})


def _difference() -> dict[str, Any]:
    return object_of(
        "A metric of two rungs: the change is second - first, over the same scenes.",
        {
            "first": TEXT,
            "second": TEXT,
            "metric": TEXT,
            "change": NUMBER,
            "lo": {**NUMBER, "description": "Lower end of the 95 % interval over scenes."},
            "hi": NUMBER,
            "relative": {**NUMBER, "description": "The change as a share of the first's mean."},
            "beyond": {"type": "boolean", "description": "Whether the interval leaves out 0."},
            "verdict": {"enum": ["better", "worse", "none shown"], "description": "Of the second."},
            "p": NUMBER,
            "p_adjusted": {**NUMBER, "description": "By Holm's method, for all metrics of the pair."},
            "holds": {"type": "boolean", "description": "Beyond its interval, and by p_adjusted."},
            "seeds_better": {**_COUNT, "description": "Pairs of a seed of each in which the second is ahead."},
            "seed_pairs": _COUNT,
        },
    )
