"""The ladder of the models that ship (docs/shipped.json), on a few worlds that nothing was trained on.

    python docs/ladder.py [--clips 1] [--out RESULTS]

Prints its tables; its curves over time become docs/horizon.webp. Every second row that the models know, and some
that they do not; clips: of each row, from seeds that no training and no other page uses.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from phys4d.evaluation.tables import text_of
from phys4d.ladder import evaluate_ladder
from phys4d.ladder.horizon import draw
from phys4d.ladder.tables import published
from phys4d.recipes import recipes
from phys4d.sim.dataset import simulate_dataset

DOCS = Path(__file__).resolve().parent
KNOWN = recipes["nano"]().scenes[::2]
NEW = ("pendulum", "newtons_cradle", "rope_swings", "flag", "soft_ball_bounces")
SEED = 9_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1, help="of each row")
    parser.add_argument("--out", type=Path, help="folder of the results; default, one that is removed")
    chosen = parser.parse_args()
    rows = [*KNOWN, *NEW]
    with _folder(chosen.out) as out, tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "HELD-OUT"
        simulate_dataset(data, rows, clips=chosen.clips * len(rows), seed=SEED, camera="static", progress=False)
        began = time.process_time()
        with contextlib.redirect_stdout(sys.stderr):
            results = evaluate_ladder(DOCS / "shipped.json", data, out)
        spent = time.process_time() - began
        draw(results, DOCS / "horizon.webp", dpi=75)
        print(results.table())
        if chosen.out is None:
            print(f"\n{spent:.0f} s of processor time for {results.protocol['worlds']} worlds")
        print(f"\n{text_of(published())}")


@contextlib.contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


if __name__ == "__main__":
    main()
