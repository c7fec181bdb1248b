"""`Report`: what an evaluation found, for machines, terminals, notebooks and browsers."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from phys4d.atomic import new_folder, write_text
from phys4d.errors import InputError
from phys4d.evaluation.tables import aligned, interval_text, number_text, spread_text

SCHEMA = 1
_REQUIRED = ("protocol", "metrics", "baselines", "by_category", "by_world", "missing")
MARKS = {"lower": "↓", "higher": "↑", "one": "→1"}
"""Which way is better."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One world to look at: pictures of one size side by side, named from the left; frames (T,H,nW,3) uint8."""

    title: str
    frames: UInt8[np.ndarray, "T H W 3"]
    fps: float
    panels: tuple[str, ...] = ("reference", "prediction")


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of `evaluate`. Numbers that do not exist are NaN here and null in JSON.

    protocol: how it was measured (frames, size, alignment, seed, versions, ...).
    metrics: name -> {value, lo, hi, coverage, unit, better} and, where the worlds were made in several runs, std.
    lo and hi are the 95 % interval over scenes, NaN for one scene; better is "lower", "higher" or "one"; std is
    the standard deviation of the runs' means.
    baselines: baseline -> name -> the same. by_category: category -> name -> the same.
    by_world: one {world, scene, scene_id, category, run, metrics, coverage, missing, curves, baselines} a world; a
    curve has one number a frame.
    missing: name -> why no world has that metric. skipped: (name, reason) of what could not be judged at all, such
    as a damaged file; it is part of no number. notes: what makes one doubt the numbers. baseline_curves: baseline
    -> name -> the mean over worlds at each frame. cases: the worst and the best worlds; not part of the JSON.
    """

    protocol: dict[str, Any]
    metrics: dict[str, dict[str, Any]]
    baselines: dict[str, dict[str, dict[str, Any]]]
    by_category: dict[str, dict[str, dict[str, Any]]]
    by_world: list[dict[str, Any]]
    missing: dict[str, str]
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    baseline_curves: dict[str, dict[str, list[float]]] = dataclasses.field(default_factory=dict)
    cases: tuple[Case, ...] = dataclasses.field(default=(), repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The fields but for `cases`, with "schema" before them; `skipped` as a list of {"name", "reason"}."""
        return {
            "schema": SCHEMA,
            **{name: getattr(self, name) for name in _REQUIRED},
            "skipped": [{"name": name, "reason": reason} for name, reason in self.skipped],
            "notes": list(self.notes),
            "baseline_curves": self.baseline_curves,
        }

    def to_json(self) -> str:
        """`to_dict` as JSON; NaN is null."""
        return json.dumps(_map_numbers(self.to_dict(), _null), indent=1, ensure_ascii=False, allow_nan=False)

    @classmethod
    def load(cls, path: str | Path) -> Report:
        """Read a report folder or its report.json; without the pictures of its cases.

        Raises InputError where there is none, or it is damaged or of another version.
        """
        path = Path(path)
        file = path / "report.json" if path.is_dir() else path
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{file}: no report there ({error.strerror}); `Report.save` writes one") from error
        except ValueError as error:
            raise InputError(f"{file}: not a report: {error}") from error
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            found = content.get("schema") if isinstance(content, dict) else type(content).__name__
            raise InputError(f"{file}: not a report of schema {SCHEMA} (found {found!r})")
        try:
            values = {
                f.name: content[f.name] for f in dataclasses.fields(cls) if f.name not in ("skipped", "cases")
            }
            values["skipped"] = tuple((str(e["name"]), str(e["reason"])) for e in content.get("skipped", ()))
        except KeyError as error:
            raise InputError(f"{file}: a report without {error}") from error
        numbers = ("metrics", "baselines", "by_category", "by_world", "baseline_curves")
        return cls(**{name: _with_nan(v) if name in numbers else v for name, v in values.items()})

    def table(self) -> str:
        """The metrics, what is missing and what was skipped, as plain text."""
        seeds = any("std" in row for row in self.metrics.values())
        spread = ["over seeds"] if seeds else []
        header = ["metric", "", "value", "95 % interval", *spread, "coverage", *self.baselines]
        rows = []
        for name, row in self.metrics.items():
            others = [number_text(entry.get(name, {}).get("value")) for entry in self.baselines.values()]
            value = f"{number_text(row['value'])} {row['unit']}".strip()
            spread = [spread_text(row)] if seeds else []
            cells = [name, MARKS[row["better"]], value, interval_text(row), *spread, f"{row['coverage']:.0%}"]
            rows.append([*cells, *others])
        lines = aligned([header, *rows])
        count = self.protocol.get("scenes", 0)
        lines += ["", f"{len(self.by_world)} worlds of {count} scenes; intervals by bootstrap over scenes"]
        if seeds:
            lines[-1] += f"; ± is the standard deviation of the means of {self.protocol.get('runs')} runs"
        lines += [f"note: {note}" for note in self.notes]
        if self.missing:
            lines += ["", "not measured:", *(f"  {name}: {reason}" for name, reason in self.missing.items())]
        if self.skipped:
            lines += ["", f"skipped: {len(self.skipped)}", *(f"  {name}: {why}" for name, why in self.skipped)]
        return "\n".join(lines)

    def save(self, path: str | Path) -> Path:
        """Write report.json, report.html and report.md into a folder, all or none; an older report is replaced.

        Raises InputError for a folder that holds something else, and where nothing can be written.
        """
        from phys4d.evaluation.markdown import markdown
        from phys4d.evaluation.page import page

        path = Path(path)
        if path.exists() and not (path.is_dir() and ((path / "report.json").exists() or not any(path.iterdir()))):
            raise InputError(f"{path}: exists and is not a report; choose another place")
        with new_folder(path) as folder:
            (folder / "report.json").write_text(self.to_json(), encoding="utf-8")
            (folder / "report.html").write_text(page(self), encoding="utf-8")
            (folder / "report.md").write_text(markdown(self), encoding="utf-8")
        return path

    def save_html(self, path: str | Path) -> Path:
        """Write the self-contained page alone, whole or not at all."""
        from phys4d.evaluation.page import page

        path = Path(path)
        write_text(path, page(self))
        return path

    def _repr_html_(self) -> str:
        from phys4d.evaluation.page import body

        return body(self)

    def __str__(self) -> str:
        return self.table()


def _null(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _map_numbers(value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _map_numbers(entry, change) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_map_numbers(entry, change) for entry in value]
    return change(value) if isinstance(value, float) else value


def _with_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_with_nan(entry) for entry in value]
    return math.nan if value is None else value
