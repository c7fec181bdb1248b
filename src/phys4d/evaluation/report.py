"""`Report`: what an evaluation found, for machines, terminals, notebooks and browsers; and two compared."""

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
from phys4d.evaluation.bootstrap import Interval, paired_interval, unpaired_interval

SCHEMA = 1
MARKS = {"lower": "↓", "higher": "↑", "one": "→1"}
"""Which way is better."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One world to look at: the reference on the left and the prediction on the right, (T,H,2W,3) uint8."""

    title: str
    frames: UInt8[np.ndarray, "T H W 3"]
    fps: float


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of `evaluate`. Numbers that do not exist are NaN here and null in JSON.

    protocol: how it was measured (frames, size, alignment, seed, versions, ...).
    metrics: name -> {value, lo, hi, coverage, unit, better}; lo and hi are the 95 % interval over scenes, NaN for
    one scene; better is "lower", "higher" or "one".
    baselines: baseline -> name -> the same. by_category: category -> name -> the same.
    by_world: one {world, scene, scene_id, category, metrics, coverage, missing, curves, baselines} a world; a
    curve has one number a frame.
    missing: name -> why no world has that metric. skipped: (name, reason) of what could not be judged at all, such
    as a damaged file; it is part of no number. cases: the worst and the best worlds; not part of the JSON.
    """

    protocol: dict[str, Any]
    metrics: dict[str, dict[str, Any]]
    baselines: dict[str, dict[str, dict[str, Any]]]
    by_category: dict[str, dict[str, dict[str, Any]]]
    by_world: list[dict[str, Any]]
    missing: dict[str, str]
    skipped: tuple[tuple[str, str], ...] = ()
    cases: tuple[Case, ...] = dataclasses.field(default=(), repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """{"schema": 1, "protocol", "metrics", "baselines", "by_category", "by_world", "missing", "skipped"}."""
        fields = ("protocol", "metrics", "baselines", "by_category", "by_world", "missing")
        skipped = [{"name": name, "reason": reason} for name, reason in self.skipped]
        return {"schema": SCHEMA, **{name: getattr(self, name) for name in fields}, "skipped": skipped}

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
        numbers = ("metrics", "baselines", "by_category", "by_world")
        return cls(**{name: _with_nan(v) if name in numbers else v for name, v in values.items()})

    def table(self) -> str:
        """The metrics, what is missing and what was skipped, as plain text."""
        header = ["metric", "", "value", "95 % interval", "coverage", *self.baselines]
        rows = []
        for name, row in self.metrics.items():
            others = [_number(entry.get(name, {}).get("value")) for entry in self.baselines.values()]
            value = f"{_number(row['value'])} {row['unit']}".strip()
            rows.append([name, MARKS[row["better"]], value, interval_text(row), f"{row['coverage']:.0%}", *others])
        widths = [max(len(line[i]) for line in [header, *rows]) for i in range(len(header))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in [header, *rows]
        ]
        count = self.protocol.get("scenes", 0)
        lines += ["", f"{len(self.by_world)} worlds of {count} scenes; intervals by bootstrap over scenes"]
        if self.missing:
            lines += ["", "not measured:", *(f"  {name}: {reason}" for name, reason in self.missing.items())]
        if self.skipped:
            lines += ["", f"skipped: {len(self.skipped)}", *(f"  {name}: {why}" for name, why in self.skipped)]
        return "\n".join(lines)

    def save(self, path: str | Path) -> Path:
        """Write report.json, report.html and report.md into a folder, all or none; an older report is replaced.

        Raises InputError for a folder that holds something else, and where nothing can be written.
        """
        from phys4d.evaluation.page import markdown, page

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


@dataclasses.dataclass(frozen=True)
class Difference:
    """One metric in two reports. change: b - a with its interval. verdict: which is better, or that none is."""

    name: str
    first: float
    second: float
    change: Interval
    paired: bool
    verdict: str

    @property
    def beyond(self) -> bool:
        """Whether the interval of the change leaves out 0."""
        return bool(self.change.lo > 0 or self.change.hi < 0)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two reports, metric by metric. notes: what differs in how they were measured."""

    differences: dict[str, Difference]
    notes: tuple[str, ...]

    def table(self) -> str:
        """The comparison as plain text."""
        lines = [f"note: {note}" for note in self.notes]
        header = ["metric", "a", "b", "b - a", "95 % interval", "verdict"]
        rows = [
            [d.name, _number(d.first), _number(d.second), f"{d.change.value:+.3g}"]
            + [interval_text(dataclasses.asdict(d.change)), d.verdict + ("" if d.paired else " (unpaired)")]
            for d in self.differences.values()
        ]
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
        lines += ["  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in [header, *rows]]
        return "\n".join(lines)

    __str__ = table


def compare(report_a: Report, report_b: Report, *, seed: int = 0) -> Comparison:
    """Whether each metric of b differs from a's beyond the 95 % interval of the difference.

    Paired over the worlds that both have, where all are the same; otherwise each report's scenes are resampled on
    their own. Raises InputError where the two share no metric.
    """
    names = [name for name in report_a.metrics if name in report_b.metrics]
    if not names:
        raise InputError("the two reports share no metric")
    keys = [[world["world"] for world in report.by_world] for report in (report_a, report_b)]
    paired = sorted(keys[0]) == sorted(keys[1]) and len(set(keys[0])) == len(keys[0])
    protocols = report_a.protocol, report_b.protocol
    settings = ("frames", "size", "fps", "alignment", "judged_from")
    notes = [
        f"{key} differs: {protocols[0].get(key)} and {protocols[1].get(key)}"
        for key in settings
        if protocols[0].get(key) != protocols[1].get(key)
    ]
    found = {name: _difference(name, report_a, report_b, paired, seed) for name in names}
    return Comparison(found, tuple(notes))


def _difference(name: str, report_a: Report, report_b: Report, paired: bool, seed: int) -> Difference:
    worlds_a, worlds_b = report_a.by_world, report_b.by_world
    if paired:
        by_key = {world["world"]: world for world in worlds_b}
        worlds_b = [by_key[world["world"]] for world in worlds_a]
    a, b = ([world["metrics"].get(name, math.nan) for world in worlds] for worlds in (worlds_a, worlds_b))
    scenes_a, scenes_b = ([world["scene_id"] for world in worlds] for worlds in (worlds_a, worlds_b))
    if paired:
        change = paired_interval(a, b, scenes_a, seed=seed)
    else:
        change = unpaired_interval((a, scenes_a), (b, scenes_b), seed=seed)
    first, second = report_a.metrics[name]["value"], report_b.metrics[name]["value"]
    better = report_a.metrics[name]["better"]
    if better == "one":
        gain = abs(first - 1) - abs(second - 1)
    else:
        gain = change.value if better == "higher" else -change.value
    if not (change.lo > 0 or change.hi < 0):
        verdict = "no difference shown"
    else:
        verdict = "b is better" if gain > 0 else "a is better"
    return Difference(name, first, second, change, paired, verdict)


def interval_text(row: dict[str, Any]) -> str:
    """ "[lo, hi]", or "one scene" where there is no spread to speak of."""
    if not (math.isfinite(row["lo"]) and math.isfinite(row["hi"])):
        return "one scene"
    return f"[{_number(row['lo'])}, {_number(row['hi'])}]"


def _number(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.4g}"


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
