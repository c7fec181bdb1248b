"""The shape of report.json as a JSON Schema: what another program may rely on.

`docs/report.schema.json` is this schema, written by `python docs/schema.py`.
"""

from __future__ import annotations

from typing import Any

from phys4d.evaluation.report import MARKS, SCHEMA

URL = "https://json-schema.org/draft/2020-12/schema"
NUMBER = {"type": ["number", "null"]}
TEXT = {"type": "string"}


def row_schema() -> dict[str, Any]:
    """The schema of a metric's row, as reports and ladders have it."""
    return object_of(
        "A metric over all worlds of a group.",
        {
            "value": {**NUMBER, "description": "Mean over scenes of the means over each scene's worlds."},
            "lo": {**NUMBER, "description": "Lower end of the 95 % interval over scenes; null for one scene."},
            "hi": {**NUMBER, "description": "Upper end of it."},
            "coverage": {"type": "number", "minimum": 0, "maximum": 1, "description": "Share that was judged."},
            "unit": {**TEXT, "description": "Empty for a plain number."},
            "better": {"enum": list(MARKS)},
        },
        optional={"std": {**NUMBER, "description": "Standard deviation of the means of several runs."}},
    )


def report_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of report.json; where there is no number, there is null.

    Keys may be added without a new version; a key that goes or changes its meaning raises `schema`.
    """
    row = row_schema()
    curve = {"type": "array", "items": NUMBER, "description": "One number a frame; null where nothing is judged."}
    metrics = map_of({"$ref": "#/$defs/row"})
    world = object_of(
        "One world, or one run of it.",
        {
            "world": {**TEXT, "description": "Unique in the report: scene_id, /view, /run, /sample."},
            "scene": {**TEXT, "description": "Scenario."},
            "scene_id": {**TEXT, "description": "What the bootstrap draws: worlds of one scene_id go together."},
            "category": TEXT,
            "metrics": map_of({"type": "number"}),
            "coverage": map_of({"type": "number"}),
            "missing": {**map_of(TEXT), "description": "metric -> why this world has none."},
            "curves": map_of(curve),
            "baselines": {**map_of(map_of(NUMBER)), "description": "baseline -> metric -> value."},
        },
        optional={"run": {"type": "integer", "minimum": 0}},
    )
    return {
        "$schema": URL,
        "title": "phys4d evaluation report",
        **object_of(
            "What `phys4d evaluate` found.",
            {
                "schema": {"const": SCHEMA},
                "protocol": {"type": "object", "description": "How it was measured: frames, fps, versions, ..."},
                "metrics": metrics,
                "baselines": {**map_of(metrics), "description": "baseline -> metric -> row."},
                "by_category": {**map_of(metrics), "description": "category -> metric -> row."},
                "by_world": {"type": "array", "items": {"$ref": "#/$defs/world"}},
                "missing": {**map_of(TEXT), "description": "metric -> why no world has it."},
            },
            optional={
                "skipped": {
                    "type": "array",
                    "items": object_of("What could not be judged at all.", {"name": TEXT, "reason": TEXT}),
                },
                "notes": {"type": "array", "items": TEXT, "description": "What makes one doubt the numbers."},
                "baseline_curves": {**map_of(map_of(curve)), "description": "baseline -> metric -> mean curve."},
            },
        ),
        "$defs": {"row": row, "world": world},
    }


def object_of(
    description: str, required: dict[str, Any], *, optional: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The schema of an object with these keys."""
    return {
        "type": "object",
        "description": description,
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }


def map_of(values: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object of any keys, all of whose values are such."""
    return {"type": "object", "additionalProperties": values}
