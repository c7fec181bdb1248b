"""How good the default teachers of stage 1 are, beside predictors that do not look, and how fast.

    python benchmarks/teachers.py [--clips 2] [--depth embedded] [--flow dis] [--recording FOLDER]

Simulated scenes of every category, by still and by moving cameras, from seeds that no training used; and a
recorded RGB-D sequence, where there is one (below $PHYS4D_REAL or ../shared/real). Depth after one scale and shift
of disparity a clip, for every predictor: `constant`, `rows` (disparity grows to the bottom), and `plane` (the best
plane in disparity, fitted to the truth itself). Flow against none. Square brackets: 95 % intervals by bootstrap
over clips, of the recording over its frames.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from lift import KITCHEN_INTRINSICS

from phys4d import World4D, open_dataset, read_rgbd
from phys4d.evaluation.bootstrap import interval, paired_interval
from phys4d.sim.catalog import SCENES
from phys4d.sim.dataset import simulate_dataset
from phys4d.teachers import depth_teachers, flow_teachers
from phys4d.teachers.alignment import aligned_error

SEED = 78_000_000
SHARES = (1.0, 0.8, 0.6, 0.4, 0.2)
"""Of the surface, the surest part."""


def main() -> None:
    home = Path(os.environ.get("PHYS4D_REAL", Path(__file__).resolve().parents[2] / "shared" / "real"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=2, help="of every row")
    parser.add_argument("--depth", default="embedded")
    parser.add_argument("--flow", default="dis")
    parser.add_argument("--recording", type=Path, default=home / "kitchen_rgbd")
    chosen = parser.parse_args()
    depth, flow = depth_teachers[chosen.depth].load(), flow_teachers[chosen.flow].load()
    sets = simulated(chosen.clips)
    if chosen.recording.is_dir():
        own = (chosen.recording / "intrinsics.txt").exists()
        film = read_rgbd(
            chosen.recording, intrinsics=None if own else KITCHEN_INTRINSICS, size=(96, 128), fps=15.0
        )
        sets[chosen.recording.name] = [film]
    seen = {name: [depth(world.rgb) for world in worlds] for name, worlds in sets.items()}
    print(f"depth by {chosen.depth}: relative error after scale and shift\n")
    print(
        f"{'':17}{'clips':>6}{'teacher':>24}{'constant':>10}{'rows':>8}{'plane':>8}{'over the best of these':>26}"
    )
    for name, worlds in sets.items():
        print_depth(name, worlds, [labels.values for labels in seen[name]])
    print("\nits error where it is surest, by the share of the surface that is kept")
    print(f"{'':17}" + "".join(f"{share:8.0%}" for share in SHARES))
    for name, worlds in sets.items():
        print(f"{name:17}" + "".join(f"{e:8.3f}" for e in by_confidence(worlds, seen[name])))
    print(
        f"\nflow by {chosen.flow}: end-point error [px], of what moves by more than half a pixel, where it agrees"
    )
    print(f"{'':17}{'teacher':>24}{'no motion':>11}{'agreeing':>10}{'share':>8}")
    for name, worlds in sets.items():
        print_flow(name, worlds, [flow(world.rgb) for world in worlds])
    print("\nframes/s of 256x256, one thread")
    rgb = np.random.default_rng(0).integers(0, 255, (33, 256, 256, 3), dtype=np.uint8)
    for name, teacher in (("depth", depth), ("flow", flow)):
        started = time.perf_counter()
        teacher(rgb)
        print(f"{name:17}{len(rgb) / (time.perf_counter() - started):8.1f}")


def simulated(clips: int) -> dict[str, list[World4D]]:
    """Worlds by category, every other one by a moving camera."""
    sets: dict[str, list[World4D]] = {}
    for k in range(clips):
        with tempfile.TemporaryDirectory() as folder:
            simulate_dataset(
                Path(folder) / "data",
                list(SCENES),
                clips=len(list(SCENES)),
                seed=SEED + k,
                frames=9,
                camera=None if k % 2 else "static",
                progress=False,
            )
            for world in open_dataset(Path(folder) / "data"):
                if not world.meta.get("volumetric"):
                    sets.setdefault(str(world.meta["category"]), []).append(world)
    return sets


def print_depth(name: str, worlds: list[World4D], values: list[np.ndarray]) -> None:
    rows: dict[str, list[float]] = {}
    for world, disparity in zip(worlds, values):
        assert world.depth is not None
        surface = world.depth > 0
        for guess, map_ in {"teacher": disparity, **blind(world.depth, surface)}.items():
            error = aligned_error(map_, world.depth, surface)
            # A recording is one clip: its frames stand for clips.
            told = [e[s].mean() for e, s in zip(error, surface)] if len(worlds) == 1 else [error[surface].mean()]
            rows.setdefault(guess, []).extend(map(float, told))
    keys = [str(i) for i in range(len(rows["teacher"]))]
    mean = {guess: float(np.mean(errors)) for guess, errors in rows.items()}
    best = min((guess for guess in mean if guess != "teacher"), key=mean.__getitem__)
    own, gain = interval(rows["teacher"], keys), paired_interval(rows[best], rows["teacher"], keys)
    told = f"{own.value:.3f} [{own.lo:.3f}, {own.hi:.3f}]"
    change = f"{gain.value:+.3f} [{gain.lo:+.3f}, {gain.hi:+.3f}]"
    others = f"{mean['constant']:10.3f}{mean['rows']:8.3f}{mean['plane']:8.3f}"
    print(f"{name:17}{len(worlds):6}{told:>24}{others}{change:>26}")


def blind(depth: np.ndarray, surface: np.ndarray) -> dict[str, np.ndarray]:
    """Disparities of predictors that do not look at the picture; the plane even knows the truth."""
    frames, height, width = depth.shape
    y, x = np.mgrid[:height, :width] / max(height, width)
    rows = np.broadcast_to(y, depth.shape)
    design = np.stack([np.broadcast_to(part, depth.shape)[surface] for part in (np.ones_like(y), x, y)], axis=1)
    (a, b, c), *_ = np.linalg.lstsq(design, 1 / depth[surface].astype(np.float64), rcond=None)
    plane = np.broadcast_to(a + b * x + c * y, depth.shape)
    return {"constant": np.zeros((frames, height, width)), "rows": rows, "plane": plane}


def by_confidence(worlds: list[World4D], labels: list) -> list[float]:
    """Mean relative error of the surest shares of the surface, over clips."""
    errors = []
    for world, seen in zip(worlds, labels):
        assert world.depth is not None
        surface = world.depth > 0
        error, sure = aligned_error(seen.values, world.depth, surface)[surface], seen.confidence[surface]
        errors.append([error[sure >= np.quantile(sure, 1 - share)].mean() for share in SHARES])
    return np.mean(errors, axis=0).tolist()


def print_flow(name: str, worlds: list[World4D], labels: list) -> None:
    own, none, agreeing, share = [], [], [], []
    for world, seen in zip(worlds, labels):
        assert world.flow is not None
        assert world.visible is not None
        length = np.linalg.norm(world.flow, axis=-1)
        moving = world.visible & (length > 0.5)
        if moving.sum() < 50:
            continue
        error = np.linalg.norm(seen.flow - world.flow, axis=-1)
        own.append(float(error[moving].mean()))
        none.append(float(length[moving].mean()))
        trusted = moving & seen.consistent
        agreeing.append(float(error[trusted].mean()) if trusted.any() else np.nan)
        share.append(float(seen.consistent[moving].mean()))
    if not own:
        return
    found = interval(own, [str(i) for i in range(len(own))])
    told = f"{found.value:.2f} [{found.lo:.2f}, {found.hi:.2f}]"
    print(f"{name:17}{told:>24}{np.mean(none):11.2f}{np.nanmean(agreeing):10.2f}{np.mean(share):8.0%}")


if __name__ == "__main__":
    main()
