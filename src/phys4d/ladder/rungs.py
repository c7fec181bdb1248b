"""Which runs there are, and which rung of the ladder and which seed each of them is."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from phys4d.backbones.storage import read_record
from phys4d.errors import InputError
from phys4d.storage import CONFIG, find_model

RECORD = "run.json"
_NUMBERED = re.compile(r"(?P<rung>.+?)[-_](?:seed[-_]?)?(?P<seed>\d+)")


@dataclasses.dataclass(frozen=True)
class Rung:
    """A kind of run. before: the first of these that there is, is what it is compared with.

    made_by: the stages, with settings, by which such a model is trained last.
    """

    title: str
    before: tuple[str, ...] = ("base",)
    made_by: tuple[tuple[str, dict[str, Any]], ...] = ()


_TRAINED = ("finetune", "pretrain", "base")
RUNGS = {
    "base": Rung("the base, trained on RGB", (), (("base", {}),)),
    "control": Rung("RGB only, equal compute", ("base",), (("finetune", {"objective": "control"}), ("base", {}))),
    "pretrain": Rung("stage 1", ("base",), (("pretrain", {}),)),
    "finetune": Rung("stages 1+2", ("pretrain", "base"), (("finetune", {"objective": "physics"}),)),
    "final": Rung("stages 1+2+3", _TRAINED, (("reinforce", {"permute": False}),)),
    "permuted": Rung("1+2+3, rewards permuted", _TRAINED, (("reinforce", {"permute": True}),)),
    "no-warp": Rung(
        "1+2 without the warp loss", _TRAINED, (("finetune", {"objective": "physics", "warp_weight": 0.0}),)
    ),
    "no-pretrain": Rung("2 without 1", _TRAINED, (("finetune", {"objective": "physics"}),)),
    "no-finetune": Rung("3 without 2", ("final", *_TRAINED), (("reinforce", {"permute": False}),)),
}
"""The rungs that have a name, in the order of the tables."""
STAGES = ("pretrain", "finetune", "final")
"""Rungs of which each goes on from the one before; the last of them that there is, is the final model."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One trained model. name: for people. source: for `WorldModel.from_pretrained`.

    record: what it was trained with, as its run.json or its model says; empty where neither does. log: its run's
    log.jsonl, if that is there. weights: a number that differs for other weights.
    """

    rung: str
    seed: int
    name: str
    source: str
    record: dict[str, Any]
    log: Path | None
    weights: str

    def doubt(self) -> str | None:
        """What is odd about a run of this rung, going by how it was trained."""
        made_by = RUNGS[self.rung].made_by if self.rung in RUNGS else ()
        if not made_by or not self.record:
            return None
        stage, settings = self.record.get("stage"), self.record.get("settings") or {}
        for kind, wanted in made_by:
            if stage == kind and all(settings.get(key, value) == value for key, value in wanted.items()):
                return None
        told = {key: settings[key] for _, wanted in made_by for key in wanted if key in settings}
        words = ", ".join([f"stage {stage}", *(f"{key}={value}" for key, value in told.items())])
        return f"{self.name} is called {self.rung}, and was trained otherwise: {words}"


def read_runs(place: Path, *, apart: Iterable[Path] = ()) -> tuple[list[Run], list[str]]:
    """The runs below a folder, or named in a JSON file, by rung and seed; and the folders that hold none.

    place: a folder of runs (each with `final` and run.json) and of model folders, one such folder, or a JSON file
    {"rung": model, or [models of seeds 1, 2, ...]} whose paths start from the file's own folder and whose models
    may be names of shipped ones. apart: folders in there that are something else.

    Raises InputError where there is no run, for a run without a model, and for two of one rung and seed.
    """
    if not place.exists():
        raise InputError(f"{place}: no such folder or file; --ladder wants a folder of runs, or a JSON file")
    if place.is_file():
        runs, others = _listed(place), []
    else:
        runs, others = _found(place, {path.resolve() for path in apart})
    if not runs:
        raise InputError(f"{place}: holds no run; a run is a folder with final/ and {RECORD}, or a model folder")
    count = Counter((run.rung, run.seed) for run in runs)
    for (rung, seed), times in count.items():
        if times > 1:
            names = ", ".join(run.source for run in runs if (run.rung, run.seed) == (rung, seed))
            raise InputError(f"{place}: {names} are both seed {seed} of {rung}; number them {rung}-1, {rung}-2")
    order = in_order({run.rung for run in runs})
    return sorted(runs, key=lambda run: (order.index(run.rung), run.seed)), others


def in_order(rungs: Iterable[str]) -> list[str]:
    """Known rungs by their place on the ladder, then the others by name."""
    known = list(RUNGS)
    return sorted(rungs, key=lambda rung: (known.index(rung) if rung in known else len(known), rung))


def title_of(rung: str) -> str:
    return RUNGS[rung].title if rung in RUNGS else ""


def pairs_of(rungs: Iterable[str], rivals: Iterable[str] = ()) -> list[tuple[str, str]]:
    """(first, second) of the comparisons: the final model with the base, the control and each rival, and every
    rung with the one before it."""
    present = in_order(rungs)
    final = final_of(present)
    others = ("base", "control", "permuted") if final == "final" else ("base", "control")
    pairs = [(other, final) for other in others if other in present and other != final]
    for rung in present:
        before = (RUNGS[rung] if rung in RUNGS else Rung("")).before
        pairs += [(other, rung) for other in before if other in present and other != rung][:1]
    pairs += [(rival, final) for rival in rivals]
    return list(dict.fromkeys(pairs))


def final_of(rungs: Iterable[str]) -> str:
    """The rung that went through most stages; without any of them, the last rung."""
    present = in_order(rungs)
    return next((stage for stage in reversed(STAGES) if stage in present), present[-1])


def _found(place: Path, apart: set[Path]) -> tuple[list[Run], list[str]]:
    if (place / RECORD).is_file() or (place / CONFIG).is_file():
        return [_run(place)], []
    runs, others = [], []
    for folder in sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if (folder / RECORD).is_file() or (folder / CONFIG).is_file() or (folder / "final" / CONFIG).is_file():
            runs.append(_run(folder))
        elif folder.resolve() not in apart:
            others.append(folder.name)
    return runs, others


def _listed(file: Path) -> list[Run]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read as JSON: {error}") from error
    shape = f'{file}: wants {{"rung": "model", "other rung": ["model of seed 1", "model of seed 2"]}}'
    if not isinstance(content, dict):
        raise InputError(shape)
    runs = []
    for rung, models in content.items():
        listed = models if isinstance(models, list) else [models]
        if not listed or not all(isinstance(model, str) and model for model in listed):
            raise InputError(f"{shape}; what it says of {rung!r} is {json.dumps(models)}")
        for number, model in enumerate(listed, start=1):
            path = file.parent / model
            run = _run(path if path.exists() else Path(model))
            seed = number if isinstance(models, list) else run.seed
            runs.append(dataclasses.replace(run, rung=rung, seed=seed))
    return runs


def _run(folder: Path) -> Run:
    """The run of a folder, or of a shipped name."""
    if (folder / RECORD).is_file() and not (folder / CONFIG).is_file():
        if not (folder / "final" / CONFIG).is_file():
            raise InputError(
                f"{folder}: a run without a model in final/; `phys4d train --resume` finishes it, or move it away"
            )
        home = folder / "final"
    else:
        home = folder / "final" if (folder / "final" / CONFIG).is_file() else folder
    model = find_model(home)
    config = read_record(model / CONFIG)
    record = read_record(folder / RECORD) if (folder / RECORD).is_file() else {}
    record = record or (config.get("meta") or {}).get("run") or {}
    name = folder.parent.name if folder.name == "final" else folder.name
    rung, seed = _told(name, record)
    log = home.parent / "log.jsonl"
    known = home.name == "final" and log.is_file()
    return Run(rung, seed, name, str(home), record, log if known else None, weights_of(model))


def _told(name: str, record: dict[str, Any]) -> tuple[str, int]:
    """Rung and seed by a run's name; what the name does not tell, by its record."""
    settings = record.get("settings") or {}
    numbered = _NUMBERED.fullmatch(name)
    rung = numbered["rung"] if numbered else name
    seed = int(numbered["seed"]) if numbered else int(settings.get("seed") or 0)
    if rung == "reinforce":  # Runs are often called by their stage.
        rung = "permuted" if settings.get("permute") else "final"
    return str(record.get("rung") or rung), seed


def weights_of(model: Path) -> str:
    """Of a model folder: its config.json holds the checksums of its weights, and names the base that it shares."""
    config = read_record(model / CONFIG)
    content = (model / CONFIG).read_bytes()
    if config.get("base"):
        content += (find_model(config["base"]) / CONFIG).read_bytes()
    return hashlib.sha256(content).hexdigest()[:12]
