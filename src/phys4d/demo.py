"""`phys4d demo`: the story so far, on whatever machine there is. Simulate, store, verify, look."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from tqdm import tqdm

from phys4d.data import open_dataset
from phys4d.data.shards import RECORD
from phys4d.data.verify import verify
from phys4d.errors import InputError, WorkError
from phys4d.sim.catalog import SCENES
from phys4d.sim.dataset import simulate_dataset
from phys4d.viewers.gallery import write_gallery


def run(out: Path, *, workers: int = 2, size: tuple[int, int] = (128, 128), seed: int = 0) -> Path:
    """Make a gallery of one world of every scene in `out`; returns its page.

    The worlds are a data set in `out/data`, so that a second call with the same arguments takes them from there.
    """
    names = list(SCENES)
    out = Path(out)
    if out.is_dir() and any(out.iterdir()) and not (out / "data" / RECORD).is_file():
        raise InputError(f"{out}: holds something that is not a demo of ours; choose another --out")
    started = time.monotonic()
    _say(f"1/3 simulating {len(names)} scenes at 17x{size[0]}x{size[1]}")
    simulate_dataset(
        out / "data", names, clips=len(names), seed=seed, size=size, workers=workers, shard_size=len(names)
    )
    _say("2/3 verifying what was stored")
    report = verify(out / "data")
    print(report)
    if not report.ok:
        raise WorkError(f"{out / 'data'}: the data set is damaged; remove the folder and run the demo again")
    _say("3/3 writing pages and pictures")
    worlds = open_dataset(out / "data")
    page = write_gallery(tqdm(worlds, total=len(worlds), unit="world"), out)
    _say(f"done in {time.monotonic() - started:.0f} s")
    return page


def _say(text: str) -> None:
    columns = shutil.get_terminal_size().columns
    print(text[:columns], file=sys.stderr, flush=True)
