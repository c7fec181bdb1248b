"""Quality against the number of sampling steps, which is how a backbone's own number is chosen.

    python benchmarks/steps.py [--model nano] [--clips 56] [--steps 1 2 3 4 6 8]

Held-out films by a still camera, generated from their first frames, from colours alone: psnr [dB], overlap of what
moves (mask_iou), sharpness of what moves (1: as the truth), diversity of two takes, and seconds a world. Square
brackets: 95 % intervals by bootstrap over scenes.
"""

from __future__ import annotations

import argparse
import time

from held_out import KNOWN, held_out

from phys4d import World4D, WorldModel, open_dataset
from phys4d.evaluation.bootstrap import interval
from phys4d.evaluation.quality import psnr
from phys4d.evaluation.tables import ranged, text_of
from phys4d.rewards.guards import diversity, rgb_mask_iou, sharpness
from phys4d.training.measures import generate_from


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--clips", type=int, default=4 * len(KNOWN))
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 3, 4, 6, 8])
    chosen = parser.parse_args()
    with held_out(chosen.clips) as data:
        worlds = list(open_dataset(data))
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
                values.append(psnr(clips[0][given:], world.rgb[given:]).value)
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
