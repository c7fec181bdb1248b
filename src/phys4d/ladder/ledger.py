"""The ledger: one line for every run and judging, appended and never rewritten, so that evidence grows.

What a line says is enough to make it again: the recipe's settings, the seed, the code, the data, the judge.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from phys4d.atomic import explained
from phys4d.errors import InputError
from phys4d.evaluation import Report
from phys4d.ladder.rungs import Run

LEDGER = "ledger.jsonl"
VERSION = 1


def enter(ledger: Path, run: Run, judged: dict[str, Any], report: Report, metrics: Iterable[str]) -> bool:
    """Append what a judging found, unless the same run was judged the same way before; whether it did.

    judged: by what, on which data, in which way. metrics: names of the numbers to keep. Raises InputError for a
    ledger that cannot be read.
    """
    line = entry(run, judged, report, metrics)
    if line["id"] in {there.get("id") for there in entries(ledger)}:
        return False
    with explained(ledger):
        ledger.parent.mkdir(parents=True, exist_ok=True)
        with ledger.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
    return True


def entries(ledger: Path) -> list[dict[str, Any]]:
    """The lines of a ledger, none where there is no file. Raises InputError for a line that is no entry."""
    if not ledger.exists():
        return []
    found = []
    for number, line in enumerate(ledger.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            there = json.loads(line)
        except ValueError:
            there = None
        if not isinstance(there, dict) or "id" not in there:
            raise InputError(f"{ledger}:{number}: no entry of a ledger; remove this line, or choose another --out")
        found.append(there)
    return found


def entry(run: Run, judged: dict[str, Any], report: Report, metrics: Iterable[str]) -> dict[str, Any]:
    """The line of a run and a judging; `id` is the same for the same run judged the same way."""
    code = {"phys4d": report.protocol["versions"].get("phys4d")}
    worlds = report.protocol["worlds"]  # Fewer than were asked for, where some are damaged.
    identity = json.dumps([run.rung, run.seed, run.weights, decisive(judged), code, worlds], sort_keys=True)
    record = run.record
    return {
        "ledger": VERSION,
        "id": hashlib.sha256(identity.encode()).hexdigest()[:16],
        "entered": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "run": run.name,
        "rung": run.rung,
        "seed": run.seed,
        "weights": run.weights,
        "recipe": record.get("recipe"),
        "stage": record.get("stage"),
        "settings": record.get("settings"),
        "started_from": {"model": record.get("model"), "weights": record.get("weights")},
        "data": {"train": record.get("data"), "held_out": record.get("held_out")},
        "trained_with": record.get("versions"),
        "compute": compute_of(run),
        "judged": judged,
        "code": checkout(),
        "versions": report.protocol["versions"],
        "worlds": worlds,
        "scenes": report.protocol["scenes"],
        "metrics": {
            name: {key: _plain(report.metrics[name][key]) for key in ("value", "lo", "hi")}
            for name in metrics
            if name in report.metrics
        },
    }


def decisive(judged: dict[str, Any]) -> dict[str, Any]:
    """What of a judging's description decides its numbers: the name of the data's folder does not."""
    return {key: value for key, value in judged.items() if key != "data"}


def compute_of(run: Run) -> dict[str, float | int | None]:
    """Steps, clips and seconds of training, null where they are not known.

    clips: of one process, batch by batch. seconds: in steps, without validations, by the rate that the log tells.
    """
    settings = run.record.get("settings") or {}
    steps = settings.get("steps")
    seconds = None
    if run.log is not None:
        lines = run.log.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.endswith("}")]  # A killed run may end within a line.
        rows = [row for row in rows if row.get("kind") == "train"]
        steps = rows[-1]["step"] if rows else steps
        ends = [0, *(row["step"] for row in rows)]
        batch = int(settings.get("batch_size") or 0) * int(settings.get("accumulate") or 1)
        rates = [row.get("clips_per_second") for row in rows]
        if batch and rates and all(rates):
            seconds = round(sum(batch * (b - a) / rate for a, b, rate in zip(ends, ends[1:], rates)), 1)
    per_step = settings.get("batch_size") and settings["batch_size"] * int(settings.get("accumulate") or 1)
    return {"steps": steps, "clips": steps * per_step if steps and per_step else None, "seconds": seconds}


def checkout() -> dict[str, Any] | None:
    """Commit of the code that judges, and whether it was changed since; None outside a git checkout."""
    here = Path(__file__)
    git = shutil.which("git")
    if git is None:
        return None

    def ask(*words: str) -> str | None:
        told = subprocess.run([git, "-C", str(here.parent), *words], capture_output=True, text=True, check=False)
        return told.stdout.strip() if told.returncode == 0 else None

    # An installed package may lie within somebody else's checkout.
    if ask("ls-files", "--error-unmatch", here.name) is None:
        return None
    return {"commit": ask("rev-parse", "HEAD"), "changed": bool(ask("status", "--porcelain", "--", ".."))}


def _plain(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
