"""What `phys4d verify` knows beyond worlds: models, checkpoints, training runs and reports.

Importing this module adds them to `phys4d.data.verify.verifiers`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from phys4d.backbones.storage import CONFIG as BACKBONE
from phys4d.backbones.storage import read_record
from phys4d.data.verify import Verification, Verifier, verifiers
from phys4d.data.writer import plural
from phys4d.errors import InputError, Phys4DError
from phys4d.evaluation import Report, bootstrap
from phys4d.members import is_world_folder
from phys4d.model import WorldModel
from phys4d.storage import CONFIG, changed_files
from phys4d.training.checkpoint import FOLDER as CHECKPOINTS
from phys4d.training.checkpoint import STATE, open_checkpoint

RUN, REPORT = "run.json", "report.json"


def _check_model(path: Path, found: Verification) -> None:
    """Files are as they were written, can be loaded for use, and every weight is a number."""
    files = [file for file in path.rglob("*") if file.is_file()]
    found.size += sum(file.stat().st_size for file in files)
    found.others.append(plural(len(files), "file"))
    try:
        found.problems += [f"{path / name}: is not as it was written" for name in changed_files(path)]
        model = WorldModel.from_pretrained(path)
    except InputError as error:
        found.problems.append(error.line)
        return
    state = model.state_dict()
    found.others.append(f"{sum(v.numel() for v in state.values()) / 1e6:.3g} M weights")
    found.problems += _not_finite(path, state)


def _check_checkpoint(path: Path, found: Verification) -> None:
    found.size += sum(file.stat().st_size for file in path.iterdir())
    tensors: dict[str, Tensor] = {}
    try:
        tensors = open_checkpoint(path).read()
    except Phys4DError as error:
        found.problems.append(str(error))
    found.others.append(f"{plural(len(tensors), 'tensor')} of {path.name}")
    found.problems += _not_finite(path, tensors)


def _check_run(path: Path, found: Verification) -> None:
    """Its records, every checkpoint, the samples, and the model at the end where there is one yet."""
    try:
        read_record(path / RUN)
    except InputError as error:
        found.problems.append(str(error))
    for name in ("log.jsonl", "history.json"):
        if (path / name).exists():
            found.problems += _json_problems(path / name)
    for folder in sorted((path / CHECKPOINTS).glob("step-[0-9]*")):
        _check_checkpoint(folder, found)
    for folder in sorted((path / "samples").glob("*")):
        if is_world_folder(folder):
            verifiers["world folder"].check(folder, found)
    if (path / "final").exists():
        _check_model(path / "final", found)
    else:
        found.others.append("not finished")


def _check_report(path: Path, found: Verification) -> None:
    """It can be read, and its summary is what its worlds amount to."""
    folder = path if path.is_dir() else path.parent
    found.size += _bytes_in(folder, REPORT)
    try:
        report = Report.load(path)
    except InputError as error:
        found.problems.append(str(error))
        found.others.append(plural(0, "metric"))
        return
    found.others.append(f"{plural(len(report.metrics), 'metric')} of {plural(len(report.by_world), 'world')}")
    if path.is_dir():
        absent = [name for name in ("report.html", "report.md") if not (path / name).is_file()]
        found.problems += [f"{path / name}: not found" for name in absent]
    try:
        found.problems += [f"{path}: {problem}" for problem in _summary_problems(report)]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        found.problems.append(f"{path}: not built as a report is ({type(error).__name__}: {error})")


def _summary_problems(report: Report) -> Iterator[str]:
    scenes = [world["scene_id"] for world in report.by_world]
    for name, row in report.metrics.items():
        values = [world["metrics"].get(name, math.nan) for world in report.by_world]
        if all(math.isnan(value) for value in values):
            yield f"{name} is {row['value']:.4g}, but no world has it"
            continue
        value = float(bootstrap.scene_means(values, scenes).mean())
        if not math.isclose(value, row["value"], rel_tol=1e-6, abs_tol=1e-9):
            yield f"{name} is {row['value']:.4g}, but its worlds amount to {value:.4g}"


def _json_problems(path: Path) -> list[str]:
    """A log has one JSON object a line; anything else is one JSON value."""
    try:
        text = path.read_text(encoding="utf-8")
        for part in text.splitlines() if path.suffix == ".jsonl" else [text]:
            json.loads(part)
    except (OSError, ValueError) as error:
        return [f"{path}: damaged ({error})"]
    return []


def _not_finite(path: Path, state: dict[str, Tensor]) -> list[str]:
    wrong = [n for n, v in state.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
    return [f"{path}: {plural(len(wrong), 'tensor')} with NaN or infinity (first: {wrong[0]})"] if wrong else []


def _bytes_in(folder: Path, *patterns: str) -> int:
    return sum(file.stat().st_size for pattern in patterns for file in folder.glob(pattern))


def _is_report(path: Path) -> bool:
    return path.name == REPORT if path.is_file() else (path / REPORT).is_file()


verifiers.register("training run")(
    Verifier(lambda path: (path / RUN).is_file() or (path / CHECKPOINTS).is_dir(), _check_run)
)
verifiers.register("checkpoint")(Verifier(lambda path: (path / STATE).is_file(), _check_checkpoint))
verifiers.register("report")(Verifier(_is_report, _check_report))
verifiers.register("model")(
    Verifier(lambda path: (path / CONFIG).is_file() or (path / BACKBONE).is_file(), _check_model)
)
