"""The command that judges worlds: a model's, stored ones, a suite's, or two reports against each other.

Heavy modules are imported inside the command, so that --help and typing errors answer at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from phys4d.cli.app import Count, arg, command
from phys4d.errors import InputError, WorkError

_USES = (
    "say what to evaluate: --model M --data DATA, or --prediction DIR [--reference DIR], or --suite NAME, "
    "or --ladder RUNS --data DATA, or --compare A B"
)


@command
def evaluate(
    *,
    out: Annotated[Path | None, arg(metavar="REPORT", help_behavior_hint="")] = None,
    model: Annotated[str, arg(metavar="MODEL", help_behavior_hint="")] = "",
    data: Annotated[Path | None, arg(metavar="DATA", help_behavior_hint="")] = None,
    prediction: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")] = None,
    reference: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")] = None,
    mode: Annotated[str, arg(metavar="generate|lift")] = "generate",
    lifter: Annotated[str, arg(metavar="MODEL", help_behavior_hint="(default: the model's own heads)")] = "",
    suite: Annotated[str, arg(metavar="NAME", help_behavior_hint="")] = "",
    videos: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")] = None,
    benchmark: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")] = None,
    subset: Annotated[tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="(default: all)")] = (),
    exact: Annotated[bool, arg(help_behavior_hint="")] = False,
    runs: Count = 1,
    ladder: Annotated[Path | None, arg(metavar="RUNS", help_behavior_hint="")] = None,
    recipe: Annotated[str, arg(metavar="NAME", help_behavior_hint="(default: nano)")] = "",
    compare: Annotated[tuple[Path, ...], arg(metavar="REPORT_A REPORT_B", help_behavior_hint="")] = (),
    limit: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: all)")] = None,
    steps: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: the backbone's own)")] = None,
    seed: Count = 0,
    workers: Count = 1,
) -> None:
    """Judge 4D worlds, with baselines and 95 % intervals: report.json, report.html and report.md in REPORT.

    Either a model on a data set, or predicted worlds against references, or a suite (the protocol of a public
    benchmark), or the runs of a ladder of stages, or two reports against each other. What is damaged is skipped
    and listed; the exit code is then 1.

    Args:
        out: folder of the report.
        model: a name or a folder; it makes (or lifts) a world for each world of --data, or what a suite asks for.
        data: data set with the references.
        prediction: a data set, a world, or a folder of worlds: world folders, videos, .npz point maps.
        reference: the same, in the same order; folders of worlds pair up by their names.
        mode: generate: from the reference's first frames; lift: from its RGB.
        lifter: model that reads depth and motion off the RGB, so that models are judged by one instrument.
        suite: protocol to run; `phys4d info` lists them.
        videos: for a suite: what was made already, in place of --model.
        benchmark: for a suite: the folder of its public data.
        subset: for a suite: categories or scenarios by name.
        exact: for a suite: the public code's own path where ours differs in rounding.
        runs: generations of each item, for the spread between seeds.
        ladder: folder of runs (control-1, final-1, ...) or JSON {"rung": ["model"]}: all on --data, by one lifter.
        recipe: for a ladder: its scenes are the rows that training knew.
        compare: two reports: which differences are beyond their intervals.
        limit: at most so many worlds, evenly from the whole.
        steps: of the sampler.
        seed: of generations and of the bootstrap.
        workers: processes that judge. The numbers do not depend on them.
    """
    if compare:
        from phys4d.evaluation import Report
        from phys4d.evaluation import compare as differences

        others = (
            *(out, model, data, prediction, reference, lifter, suite, videos),
            *(benchmark, subset, exact, ladder, recipe),
        )
        if len(compare) != 2 or any(others):
            raise InputError("--compare wants two reports and nothing else: --compare REPORT_A REPORT_B")
        print(differences(Report.load(compare[0]), Report.load(compare[1])))
        return
    if out is None and (suite or model or prediction or ladder):
        raise InputError("say where the report goes: --out REPORT")
    if out is None:
        raise InputError(_USES)
    from phys4d.judge import evaluate_model, evaluate_suite, evaluate_worlds
    from phys4d.suites import SuiteRequest

    if ladder:
        others = (model, prediction, reference, suite, videos, benchmark, subset, exact)
        if any(others) or mode != "generate" or runs != 1 or data is None:
            raise InputError(
                "--ladder RUNS wants --data DATA and --out, and takes no more than --lifter, --recipe, --limit, "
                "--steps, --seed and --workers"
            )
        _climb(ladder, data, out, lifter, recipe, limit, steps, seed, workers)
        return
    if recipe:
        raise InputError("--recipe belongs to --ladder RUNS")
    if suite:
        if data or prediction or reference or lifter:
            raise InputError(f"--suite {suite} takes --model or --videos, and --benchmark, not {_given(locals())}")
        request = SuiteRequest(
            model or None, videos, benchmark, subset, limit, runs, exact, steps, seed=seed, workers=workers
        )
        report = evaluate_suite(suite, request, out)
    elif videos or benchmark or subset or exact:
        raise InputError("--videos, --benchmark, --subset and --exact belong to --suite NAME")
    elif bool(model) == (prediction is not None) or (model and reference) or (prediction and data):
        raise InputError(_USES)
    elif model:
        if data is None:
            raise InputError("--model needs --data, the worlds it is judged by")
        report = evaluate_model(
            model,
            data,
            out,
            mode=mode,
            lifter=lifter or None,
            limit=limit,
            steps=steps,
            seed=seed,
            runs=runs,
            workers=workers,
        )
    elif runs != 1:
        raise InputError("--runs belongs to --model or --suite: stored worlds are what they are")
    else:
        assert prediction is not None
        report = evaluate_worlds(
            prediction, reference, out, lifter=lifter or None, limit=limit, seed=seed, workers=workers
        )
    print(report.table())
    print(out)
    if report.skipped:
        raise WorkError(f"{len(report.skipped)} could not be judged; the report lists them and says why")


def _climb(
    ladder: Path,
    data: Path,
    out: Path,
    lifter: str,
    recipe: str,
    limit: int | None,
    steps: int | None,
    seed: int,
    workers: int,
) -> None:
    from phys4d.ladder import climb

    results = climb.evaluate_ladder(
        ladder,
        data,
        out,
        lifter=lifter or climb.LIFTER,
        recipe=recipe or climb.RECIPE,
        limit=limit,
        steps=steps,
        seed=seed,
        workers=workers,
        say=lambda line: print(f"phys4d: {line}", file=sys.stderr),
    )
    print(results.table())
    print(out)
    if results.skipped:
        raise WorkError(f"{len(results.skipped)} could not be judged; the results list them and say why")


def _given(options: dict[str, Any]) -> str:
    return ", ".join(f"--{name}" for name in ("data", "prediction", "reference", "lifter") if options[name])
