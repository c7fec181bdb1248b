"""The demo, step by step: simulate, run the three stages a little, generate, lift, judge, look.

The shipped weights were trained by `phys4d train` with the recipe "nano". Here every stage goes on from the
shipped model before it for a few steps, on new scenes, so that one sees it work; the shipped models are then
judged on scenes that nothing was trained on. A second call continues an interrupted one.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from phys4d import codecs
from phys4d.atomic import new_file
from phys4d.data import open_dataset
from phys4d.data.shards import RECORD, WorldDataset
from phys4d.data.verify import verify
from phys4d.demo import page
from phys4d.errors import InputError, WorkError
from phys4d.evaluation import Report, evaluate
from phys4d.judge import rival_world
from phys4d.model import WorldModel
from phys4d.recipes import recipes
from phys4d.sim.dataset import simulate_dataset
from phys4d.training.config import override
from phys4d.training.measures import generate_from, relift
from phys4d.training.run import train
from phys4d.training.state import History
from phys4d.viewers.gallery import write_gallery
from phys4d.world import World4D

HELD_OUT_SEED, TRAINING_SEED = 7_000_000, 6_000_000
"""Far from the seeds of the data that the shipped models were trained on (below 1,000,000)."""
MODELS = {"base": "nano-base", "control": "nano-control", "final": "nano"}
LIFTER = "nano-lifter"
STAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "pretrain": ("nano-base", ("steps=100", "warmup=10", "ema=0")),
    "finetune": ("nano-pretrain", ("steps=40", "warmup=4", "lr=5e-4", "ema=0")),
    "reinforce": ("nano-finetune", ("steps=4", "accumulate=2", "lr=1e-4", "ema=0")),
}
"""Each stage's starting model and its settings here, on top of those of the recipe."""


def run(
    out: Path,
    *,
    workers: int = 2,
    seed: int = 0,
    video: Path | None = None,
    scenes: Sequence[str] = (),
    clips: int = 2,
) -> Path:
    """Tell the story in the folder `out`; returns its page, `report.html`.

    seed: of the scenes. video: a film to lift; default, a held-out scene stored as mp4. scenes: names, default
    those that the models know; clips: held-out worlds of each. Raises InputError where `out` holds something else.
    """
    out = Path(out)
    if out.is_dir() and any(out.iterdir()) and not (out / "data" / "held-out" / RECORD).is_file():
        raise InputError(f"{out}: holds something that is not a demo of ours; choose another --out")
    if video is not None and not video.is_file():
        raise InputError(f"{video}: not found; --video wants a video file")
    started = time.monotonic()
    names = list(scenes or recipes["nano"]().scenes)
    _say(f"1/6 simulating {len(names)} scenes: {clips} held out of each, 3 to train on")
    # Where a camera will go cannot be told from the first frames: what is to be foretold is filmed by a still one.
    for part, first, count, camera in (
        ("held-out", HELD_OUT_SEED, clips, "static"),
        ("train", TRAINING_SEED, 3, None),
    ):
        simulate_dataset(
            out / "data" / part, names, clips=count * len(names), seed=first + seed, camera=camera, workers=workers
        )
    _verify(out / "data" / "held-out")
    held_out = open_dataset(out / "data" / "held-out")

    _say("2/6 the three stages, for a few steps each")
    histories = {name: _stage(name, out, few=bool(scenes)) for name in STAGES}

    _say(f"3/6 generating {len(held_out)} worlds with each of {', '.join(MODELS.values())}, and judging them")
    worlds = [held_out[i] for i in range(len(held_out))]
    made, reports = _judged(worlds, out)

    _say("4/6 lifting a video")
    lifted = WorldModel.from_pretrained("nano").lift(video or _film(worlds[0], out / "film.mp4"))
    lifted.save(out / "worlds" / "lifted")

    _say("5/6 the gallery of held-out scenes")
    first = WorldDataset(held_out.index.slice(0, len(names)))
    write_gallery(tqdm(first, total=len(first), unit="world"), out / "gallery")

    _say("6/6 pages and pictures")
    report = page.write(out, worlds, made, reports, histories, lifted, film=video is not None)
    _say(f"done in {time.monotonic() - started:.0f} s")
    return report


def _verify(data: Path) -> None:
    found = verify(data)
    print(found)
    if not found.ok:
        raise WorkError(f"{data}: the data set is damaged; remove the folder and run the demo again")


def _stage(name: str, out: Path, *, few: bool) -> History:
    """Some steps of a stage on the demo's own scenes; its validations on the held-out ones."""
    init, settings = STAGES[name]
    if few and name == "reinforce":
        # Of a few chosen scenes the lifter may not be able to judge one; the machinery runs all the same.
        settings = (*settings, "drop=false")
    config = override(
        recipes["nano"]().settings(name),
        (*settings, "validate_every=1000", "checkpoint_every=1000", "validation_worlds=8"),
    )
    return train(
        name,
        config,
        WorldModel.from_pretrained(init),
        [out / "data" / "train"],
        out / "stages" / name,
        held_out=[out / "data" / "held-out"],
        resume=True,
        say=tqdm.write,
    )


def _judged(worlds: list[World4D], out: Path) -> tuple[dict[str, list[World4D]], dict[str, Report]]:
    """Worlds that every shipped model makes of the held-out first frames, and one instrument's reports on them."""
    judge = WorldModel.from_pretrained(LIFTER)
    made, reports = {}, {}
    for column, name in MODELS.items():
        model = WorldModel.from_pretrained(name)
        made[column] = []
        for start in tqdm(range(0, len(worlds), 4), desc=name, unit="batch"):
            made[column] += generate_from(model, worlds[start : start + 4], seed=start)
    for column, seen in {**made, **_rivals(worlds)}.items():
        reports[column] = evaluate(relift(judge, seen), worlds, baselines=False)
        reports[column].save(out / page.report_folder(column))
    return made, reports


def _rivals(worlds: list[World4D]) -> dict[str, list[World4D]]:
    """What needs no model, and the truth, as RGB: seen by the same instrument, whose error is in every column."""
    return {
        name.replace("_", " "): [rival_world(name, world) for world in worlds]
        for name in ("static", "constant_velocity", "truth")
    }


def _film(world: World4D, path: Path) -> Path:
    """A world's colours as an ordinary lossy video."""
    assert world.rgb is not None
    with new_file(path) as temporary:
        temporary.write_bytes(codecs.encode_preview(world.rgb, world.fps))
    return path


def _say(text: str) -> None:
    columns = shutil.get_terminal_size().columns
    print(text[:columns], file=sys.stderr, flush=True)
