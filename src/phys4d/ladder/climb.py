"""`evaluate_ladder`: every run on the same held-out worlds, by the same instrument; what is finished is read.

RESULTS/reports/JUDGE-ID/RUN-WEIGHTS   a report of each run and way of judging, and of what needs no model
RESULTS/ledger.jsonl                   a line for each, see `ledger.py`
RESULTS/results.json, .md, horizon.png what comes of them, see `Results`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from phys4d.data.shards import WorldDataset
from phys4d.errors import InputError, MissingFieldError
from phys4d.evaluation import Report
from phys4d.judge import check_fit, chosen_worlds, evaluate_model, evaluate_rival
from phys4d.ladder.ledger import LEDGER, compute_of, decisive, enter, entries
from phys4d.ladder.results import COMMON, FILE, HEADLINES, OWN, TRUTH, Judging, Results, judging_of
from phys4d.ladder.rungs import Run, final_of, in_order, read_runs, title_of, weights_of
from phys4d.model import WorldModel
from phys4d.recipes import recipes
from phys4d.storage import find_model

LIFTER = "nano-lifter"
RECIPE = "nano"
RIVALS = ("static", "last_frame", "constant_velocity", TRUTH)
REPORTS = "reports"
_OURS = (REPORTS, LEDGER, FILE, "results.md", "horizon.png")


def evaluate_ladder(
    runs: Path,
    data: Path,
    out: Path,
    *,
    lifter: str = LIFTER,
    recipe: str = RECIPE,
    limit: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    workers: int = 1,
    say: Callable[[str], None] = lambda line: None,
) -> Results:
    """Judge every run of a ladder, and what needs no model; write results, pictures and the ledger into `out`.

    runs: see `read_runs`. data: held-out worlds. lifter: the model that reads depth and motion off all of them;
    runs with heads are also judged by their own. recipe: its `scenes` are the rows that training knew. limit,
    steps, seed, workers: as in `evaluate_model`. Called again, it goes on: finished reports are read.

    Raises InputError, before any work, for what `read_runs` refuses, for a run or a lifter that does not fit the
    data, for a lifter without heads, and where `out` holds something else.
    """
    known_rows = recipes[recipe]().scenes
    found, others = read_runs(runs, apart=[out, data])
    if taken := sorted({run.rung for run in found} & set(RIVALS)):
        raise InputError(f"{runs}: no rung can be called {taken[0]}, as that is judged beside them; rename it")
    _check_place(out)
    worlds = chosen_worlds(data, limit)
    with_heads = _check_models(found, lifter, worlds)
    if others:
        say(f"{runs}: {', '.join(others)} hold no run and are left out")
    judged = {
        "data": data.resolve().name, "data_id": _fingerprint(worlds), "limit": limit, "steps": steps, "seed": seed,
    }  # fmt: skip
    common = {"by": lifter_name(lifter), "weights": weights_of(find_model(lifter)), **judged}
    own = {"by": "own heads", **judged}
    settings: dict[str, Any] = {"limit": limit, "seed": seed, "workers": workers}
    reports: dict[str, dict[str, list[Report]]] = {COMMON: {}, OWN: {}}
    for run in found:
        for kind, how, reader in ((COMMON, common, lifter), (OWN, own, None)):
            if kind == OWN and run not in with_heads:
                continue

            def make(place: Path, run: Run = run, reader: str | None = reader) -> Report:
                return evaluate_model(
                    run.source, data, place, lifter=reader, steps=steps, baselines=False, **settings
                )

            report = _report(out / REPORTS / _folder(how) / f"{run.name}-{run.weights}", make)
            reports[kind].setdefault(run.rung, []).append(report)
            enter(out / LEDGER, run, how, report, HEADLINES)
    rivals, notes = {}, [doubt for run in found if (doubt := run.doubt())] + _twins(found)
    for name in RIVALS:
        try:
            rivals[name] = _report(
                out / REPORTS / _folder(common) / name,
                lambda place, name=name: evaluate_rival(name, data, place, lifter=lifter, **settings),
            )
        except MissingFieldError as error:
            notes.append(f"{name.replace('_', ' ')} is left out: {error.line}")
    judgings = {COMMON: judging_of(reports[COMMON], rivals, known_rows, seed)}
    if reports[OWN]:
        judgings[OWN] = judging_of(reports[OWN], {}, known_rows, seed)
    every = [r for by_rung in reports.values() for some in by_rung.values() for r in some] + list(rivals.values())
    protocol = every[0].protocol
    results = Results(
        protocol={
            **{key: protocol[key] for key in ("worlds", "scenes", "frames", "size", "fps", "judged_from")},
            "lifter": common["by"], "lifter_weights": common["weights"], **judged, "recipe": recipe,
            **{key: protocol[key] for key in ("alignment", "bootstrap", "versions")},
        },
        rungs=_rungs(found),
        rivals=list(rivals),
        final=final_of({run.rung for run in found}),
        judgings=judgings,
        notes=notes + _row_notes(worlds, known_rows, recipe) + _blind(judgings[COMMON]),
        skipped=list(dict.fromkeys(one for report in every for one in report.skipped)),
    )  # fmt: skip
    results.save(out)
    return results


def _report(place: Path, make: Callable[[Path], Report]) -> Report:
    """The finished report of a place, whose name says all that it depends on; made where there is none."""
    if (place / "report.json").is_file() and not (there := Report.load(place)).skipped:
        return there
    return make(place)


def _check_place(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: a file stands where the folder of the results is to be")
    names = [path.name for path in out.iterdir()] if out.is_dir() else []
    # A killed run may have left a hidden part of a file.
    if strange := [name for name in names if name not in _OURS and not name.startswith(".")]:
        raise InputError(f"{out}: holds {strange[0]}, which is no result of a ladder; choose another --out")
    entries(out / LEDGER)  # A ledger that cannot be read should be said now, not after the first judging.


def _check_models(runs: list[Run], lifter: str, worlds: WorldDataset) -> list[Run]:
    """The runs with heads. Raises InputError for models that do not fit the worlds."""
    reader = WorldModel.from_pretrained(lifter)
    if reader.heads is None:
        raise InputError(f"{lifter}: has no heads to read depth and motion with; choose another --lifter")
    try:
        check_fit(reader, worlds, "lift")
    except InputError as error:
        raise InputError(f"the lifter {lifter}: {error}") from error
    with_heads = []
    for run in runs:
        model = WorldModel.from_pretrained(run.source)
        try:
            check_fit(model, worlds, "generate")
        except InputError as error:
            raise InputError(f"{run.name}: {error}") from error
        if model.heads is not None:
            with_heads.append(run)
    return with_heads


def lifter_name(lifter: str) -> str:
    """Of a shipped model or a folder, without where it lies."""
    path = Path(lifter)
    return path.parent.name if path.name == "final" and path.parent.name else path.name


def _rungs(runs: list[Run]) -> dict[str, dict[str, Any]]:
    return {
        rung: {
            "title": title_of(rung),
            "seeds": sum(run.rung == rung for run in runs),
            "runs": [
                {
                    "name": run.name, "seed": run.seed, "stage": run.record.get("stage"), "weights": run.weights,
                    "compute": compute_of(run),
                }
                for run in runs
                if run.rung == rung
            ],
        }
        for rung in in_order({run.rung for run in runs})
    }  # fmt: skip


def _twins(runs: list[Run]) -> list[str]:
    """Seeds of one rung that are no two runs."""
    notes = []
    for rung, weights in dict.fromkeys((run.rung, run.weights) for run in runs):
        same = [str(run.seed) for run in runs if (run.rung, run.weights) == (rung, weights)]
        notes += [f"seeds {', '.join(same)} of {rung} are the same model"] if len(same) > 1 else []
    return notes


def _blind(judging: Judging) -> list[str]:
    """Short tables' metrics in which the lifter cannot tell the truth from the first rung."""
    gains = [d for d in judging.groups[0].differences if d["second"] == TRUTH and d["metric"] in HEADLINES]
    blind = [d["metric"] for d in gains if d["verdict"] != "better"]
    if not blind:
        return []
    return [
        f"seen by the lifter, the truth itself is not shown to be better than {gains[0]['first']} in "
        f"{', '.join(blind)}: on these worlds it can see no gain there"
    ]


def _row_notes(worlds: WorldDataset, known_rows: tuple[str, ...], recipe: str) -> list[str]:
    scenes = {str(scene) for scene in worlds.index.column("scene").to_pylist()}
    if not scenes & set(known_rows):
        return [f"no row is among the scenes of the recipe {recipe}: all of them are held out"]
    if scenes <= set(known_rows):
        return [f"every row is among the scenes of the recipe {recipe}: seeds are held out, rows are not"]
    return []


def _folder(judged: dict[str, Any]) -> str:
    """Named by all that decides what a judging finds."""
    identity = hashlib.sha256(json.dumps(decisive(judged), sort_keys=True).encode()).hexdigest()[:8]
    return f"{str(judged['by']).replace(' ', '-')}-{identity}"


def _fingerprint(worlds: WorldDataset) -> str:
    """A number that differs for other worlds, by what the data set's index says of them."""
    rows = worlds.index.drop_columns(["path", "shard", "offset"]).to_pylist()
    return hashlib.sha256(json.dumps(rows, sort_keys=True, default=str).encode()).hexdigest()[:12]
