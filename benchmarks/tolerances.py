"""What true worlds score on the physics probes, and the tolerances that follow.

    python benchmarks/tolerances.py [--write]

Simulates scenes, each with two perturbed repetitions, and probes them without their segmentation, tracks and meta,
as predictions: a world against itself (the instrument's error) and a repetition against the scene (what the
physics leaves open besides). Prints medians and 95th percentiles; --write stores them where the package reads
them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import warnings
from collections import defaultdict

import numpy as np

from phys4d.atomic import write_text
from phys4d.evaluation import METRICS
from phys4d.evaluation.measure import Pair, Truth
from phys4d.evaluation.probes import ROWS
from phys4d.evaluation.probes.tolerances import FILE
from phys4d.sim.simulate import simulate
from phys4d.world import World4D

SCENES = (
    "ball_drop", "ball_bounce", "ball_collide", "projectile", "roll_behind_box", "two_balls_pass",
    "ball_rolls_off", "ball_and_block", "ball_train",
)  # fmt: skip
SEEDS, MEMBERS, FRAMES = {64: (0, 1, 2), 128: (0, 1)}, 2, 17
PROBES = ("gravity_error", *(row.name for row in ROWS))


def seen(world: World4D) -> World4D:
    """What a prediction has."""
    return dataclasses.replace(world, segmentation=None, tracks=None, track_visibility=None, meta={})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    warnings.simplefilter("error", RuntimeWarning)
    sizes: dict[str, dict[str, dict[str, float]]] = {}
    print(f"{'px':>4}  {'probe':18}{'itself':>17}{'repetition':>17}  worlds")
    for size, seeds in SEEDS.items():
        scores: dict[tuple[str, str], list[float]] = defaultdict(list)
        for scene in SCENES:
            for seed in seeds:
                worlds = [
                    simulate(scene, seed=seed, size=(size, size), frames=FRAMES, perturb=member)
                    for member in range(MEMBERS + 1)
                ]
                truth = Truth(worlds[0])
                for member, world in enumerate(worlds):
                    pair = Pair(seen(world), truth)
                    for name in PROBES:
                        value = METRICS[name].measure(pair).value
                        if np.isfinite(value):
                            scores[name, "member" if member else "itself"].append(value)
        rows = {}
        for name in PROBES:
            found = [scores[name, kind] for kind in ("itself", "member")]
            if not all(found):
                continue
            middle, high = ([float(np.quantile(values, q)) for values in found] for q in (0.5, 0.95))
            rows[name] = {"itself": high[0], "member": high[1], "worlds": sum(len(values) for values in found)}
            texts = [f"{m:8.4f} {h:8.4f}" for m, h in zip(middle, high)]
            print(f"{size:4}  {name:18}{texts[0]}{texts[1]}  {rows[name]['worlds']:6}")
        sizes[str(size)] = rows
    if write:
        source = {
            "by": "benchmarks/tolerances.py", "scenes": SCENES, "members": MEMBERS, "frames": FRAMES,
            "quantile": 0.95,
        }  # fmt: skip
        write_text(FILE, json.dumps({"source": source, "sizes": sizes}, indent=1) + "\n")


if __name__ == "__main__":
    main()
