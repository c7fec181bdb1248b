"""How fast worlds are simulated with every label, and where the time goes.

    python benchmarks/simulate.py [--size 64 64] [--clips 120] [--category garment inflatable] [--runs 3]

Prints, for every scene of some categories, the processor's seconds for a clip by part (the best of a few runs);
then the clips a minute of a data set of each category by one worker and by two, one after the other in one
run, beside what the processor's seconds of its clips leave possible on two cores that do nothing else.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from phys4d.sim import caster, filming
from phys4d.sim.catalog import SCENES, build, names_of, random_stream
from phys4d.sim.dataset import simulate_dataset
from phys4d.sim.engines import engine_of


def best_of(runs: int, work: Callable[[], object]) -> tuple[float, object]:
    """Least time of the processor [s] of several runs, and the last result."""
    times, result = [], None
    for _ in range(runs):
        started = time.process_time()
        result = work()
        times.append(time.process_time() - started)
    return min(times), result


def parts(name: str, size: tuple[int, int], runs: int) -> tuple[float, float, float]:
    """Seconds of moving, of filming and of encoding one clip of 17 frames."""
    spec = build(name, 0)
    moving, motion = best_of(runs, lambda: engine_of(spec.engine)(spec, 17, 12.0))
    camera, _ = filming.film(motion, spec.viewpoints, size, random_stream(name, 0, "camera 0"))
    rng = random_stream(name, 0, "tracks 0")
    filmed, world = best_of(runs, lambda: caster.render(motion, camera, size, spec.lights, spec.sky, rng=rng))
    encoding, _ = best_of(runs, world.to_members)
    return moving, filmed, encoding


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(64, 64), metavar=("H", "W"))
    parser.add_argument("--clips", type=int, default=120)
    categories = sorted({SCENES[name].category for name in SCENES})
    parser.add_argument("--category", nargs="+", choices=categories, default=categories, help="default: all")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    size = tuple(arguments.size)
    caster.load_kernels()
    print(f"processor seconds for a clip of 17x{size[0]}x{size[1]}, best of {arguments.runs}")
    print(f"{'scene':24}{'moving':>9}{'filming':>9}{'storing':>9}{'in all':>9}")
    alone: dict[str, list[float]] = {}
    for name in (name for name in SCENES if SCENES[name].category in arguments.category):
        seconds = parts(name, size, arguments.runs)
        alone.setdefault(SCENES[name].category, []).append(sum(seconds))
        print(f"{name:24}" + "".join(f"{s:9.3f}" for s in (*seconds, sum(seconds))))
    print(
        f"\ndata sets of {arguments.clips} clips, all scenes of a category in turn, start of the workers included"
    )
    print(f"{'category':17}{'scenes':>7}{'1 worker':>16}{'2 workers':>16}{'possible':>16}")
    for category in sorted(arguments.category):
        names = names_of((), category, everything=False)
        rates = [rate(names, arguments.clips, size, workers) for workers in (1, 2)]
        possible = 2 * 60 * len(names) / sum(alone[category])
        told = (f"{each:6.0f} clips/min" for each in (*rates, possible))
        print(f"{category:17}{len(names):7}" + "".join(f"{text:>16}" for text in told))


def rate(names: list[str], clips: int, size: tuple[int, int], workers: int) -> float:
    """Clips a minute of a whole data set."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        simulate_dataset(
            Path(folder) / "data", names, clips=clips, size=size, workers=workers, shard_size=16, progress=False
        )
        return 60 * clips / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
