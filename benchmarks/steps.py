"""Quality against the number of sampling steps, which is how a backbone's own number is chosen.

    python benchmarks/steps.py [--model nano] [--clips 56] [--steps 1 2 3 4 6 8]

Held-out films by a still camera, generated from their first frames, from colours alone: psnr [dB], overlap of what
moves (mask_iou), sharpness of what moves (1: as the truth), diversity of two takes, and seconds a world. Square
brackets: 95 % intervals by bootstrap over scenes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from phys4d import World4D, WorldModel, open_dataset
from phys4d.demo.page import ranged, text_of
from phys4d.evaluation.bootstrap import interval
from phys4d.recipes import recipes
from phys4d.rewards.guards import diversity, rgb_mask_iou, sharpness
from phys4d.sim.dataset import simulate_dataset
from phys4d.training.measures import generate_from

KNOWN = recipes["nano"]().scenes
SEED = 8_000_000
"""As the ladder's: far from every seed of training."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--clips", type=int, default=4 * len(KNOWN))
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 3, 4, 6, 8])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        simulate_dataset(
            Path(folder), list(KNOWN), clips=chosen.clips, seed=SEED, camera="static", workers=2, progress=False
        )
        worlds = list(open_dataset(folder))
    model = WorldModel(WorldModel.from_pretrained(chosen.model).backbone)
    rows = [["steps", "psnr [dB]", "mask_iou", "sharpness", "diversity", "s a world"]]
    for steps in chosen.steps:
        started = time.perf_counter()
        takes = [generate_from(model, worlds, steps, seed=1000 * take) for take in range(2)]
        seconds = (time.perf_counter() - started) / (2 * len(worlds))
        told = [measured(worlds, takes, name) for name in ("psnr", "mask_iou", "sharpness", "diversity")]
        rows.append([str(steps), *told, f"{seconds:.2f}"])
    print(f"{chosen.model}, {len(worlds)} held-out scenes")
    print(text_of(rows))


def measured(worlds: list[World4D], takes: list[list[World4D]], name: str) -> str:
    """The mean of a measure over scenes, with its interval."""
    values = []
    for world, *made in zip(worlds, *takes, strict=True):
        clips = [take.rgb for take in made if take.rgb is not None]
        assert world.rgb is not None
        match name:
            case "psnr":
                given = int(world.meta.get("context_frames") or 1)
                error = np.square(clips[0][given:].astype(float) - world.rgb[given:]).mean()
                values.append(float(10 * np.log10(255**2 / max(error, 1e-3))))
            case "mask_iou":
                values.append(rgb_mask_iou(clips[0], world.rgb).value)
            case "sharpness":
                values.append(sharpness(clips[0], world.rgb).value)
            case _:
                values.append(diversity(clips))
    found = interval(values, [str(i) for i in range(len(values))])
    return ranged(found.value, found.lo, found.hi)


if __name__ == "__main__":
    main()
