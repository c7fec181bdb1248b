"""The shape of report.json as a JSON Schema: what another program may rely on.

`docs/report.schema.json` is this schema, written by `python docs/schema.py`.
"""

from __future__ import annotations

from typing import Any

from phys4d.evaluation.report import MARKS, SCHEMA

URL = "https://json-schema.org/draft/2020-12/schema"
_NUMBER = {"type": ["number", "null"]}
_TEXT = {"type": "string"}


def report_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of report.json; where there is no number, there is null.

    Keys may be added without a new version; a key that goes or changes its meaning raises `schema`.
    """
    row = _object(
        "A metric over all worlds of a group.",
        {
            "value": {**_NUMBER, "description": "Mean over scenes of the means over each scene's worlds."},
            "lo": {**_NUMBER, "description": "Lower end of the 95 % interval over scenes; null for one scene."},
            "hi": {**_NUMBER, "description": "Upper end of it."},
            "coverage": {"type": "number", "minimum": 0, "maximum": 1, "description": "Share that was judged."},
            "unit": {**_TEXT, "description": "Empty for a plain number."},
            "better": {"enum": list(MARKS)},
        },
        optional={"std": {**_NUMBER, "description": "Standard deviation of the means of several runs."}},
    )
    curve = {"type": "array", "items": _NUMBER, "description": "One number a frame; null where nothing is judged."}
    metrics = _map({"$ref": "#/$defs/row"})
    world = _object(
        "One world, or one run of it.",
        {
            "world": {**_TEXT, "description": "Unique in the report: scene_id, /view, /run, /sample."},
            "scene": {**_TEXT, "description": "Scenario."},
            "scene_id": {**_TEXT, "description": "What the bootstrap draws: worlds of one scene_id go together."},
            "category": _TEXT,
            "metrics": _map({"type": "number"}),
            "coverage": _map({"type": "number"}),
            "missing": {**_map(_TEXT), "description": "metric -> why this world has none."},
            "curves": _map(curve),
            "baselines": {**_map(_map(_NUMBER)), "description": "baseline -> metric -> value."},
        },
        optional={"run": {"type": "integer", "minimum": 0}},
    )
    return {
        "$schema": URL,
        "title": "phys4d evaluation report",
        **_object(
            "What `phys4d evaluate` found.",
            {
                "schema": {"const": SCHEMA},
                "protocol": {"type": "object", "description": "How it was measured: frames, fps, versions, ..."},
                "metrics": metrics,
                "baselines": {**_map(metrics), "description": "baseline -> metric -> row."},
                "by_category": {**_map(metrics), "description": "category -> metric -> row."},
                "by_world": {"type": "array", "items": {"$ref": "#/$defs/world"}},
                "missing": {**_map(_TEXT), "description": "metric -> why no world has it."},
            },
            optional={
                "skipped": {
                    "type": "array",
                    "items": _object("What could not be judged at all.", {"name": _TEXT, "reason": _TEXT}),
                },
                "notes": {"type": "array", "items": _TEXT, "description": "What makes one doubt the numbers."},
                "baseline_curves": {**_map(_map(curve)), "description": "baseline -> metric -> mean curve."},
            },
        ),
        "$defs": {"row": row, "world": world},
    }


def _object(
    description: str, required: dict[str, Any], *, optional: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }


def _map(values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values}
