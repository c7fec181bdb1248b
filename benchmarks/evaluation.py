"""Time and memory of the evaluation, and what it is held against.

    python benchmarks/evaluation.py

Seconds are of one core of this machine, the best of two; where processes work together, of the clock on the wall.
Every block names its target or prints the other side of its comparison.
"""

from __future__ import annotations

import dataclasses
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import phys4d
from phys4d.evaluation import METRICS
from phys4d.evaluation.measure import Pair, Truth, cut
from phys4d.geometry import chamfer_distance, point_tree, tree_chamfer, world_points
from phys4d.judge import evaluate_worlds
from phys4d.world import World4D

FRAMES, POINTS, FEW = 16, 50_000, 10_000
WORLDS = 32
MEMORY = """
import resource, sys
from pathlib import Path
from phys4d.judge import evaluate_worlds
evaluate_worlds(Path(sys.argv[1]), Path(sys.argv[1]), Path(sys.argv[2]), limit=int(sys.argv[3]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def best(work: Callable[[], Any], repetitions: int = 2) -> float:
    """Seconds of a core that the work takes: in one thread, what the clock shows on a quiet machine."""
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def chamfer(world: World4D, other: World4D) -> None:
    """4D Chamfer of two clouds of 16 frames of 50,000 points; the other side is all pairs, of fewer points."""
    clouds = [_cloud(w) for w in (world, other)]
    few = [cloud[0][:FEW] for cloud in clouds]
    tau = 1.0

    def by_trees(first: list[np.ndarray], second: list[np.ndarray]) -> float:
        return float(np.mean([tree_chamfer(point_tree(a), point_tree(b), tau) for a, b in zip(first, second)]))

    def by_pairs() -> float:
        a, b = map(torch.from_numpy, few)
        return float(chamfer_distance(a, b, truncation=tau))

    print(f"4D Chamfer, 2 x {FRAMES} frames x {POINTS:,} points (target: 3 s, 1 GB)")
    print(f"  KD trees                    {best(lambda: by_trees(*clouds)):8.3f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  most memory so far          {peak:8.0f} MB, with torch, the simulator and both worlds")
    print(f"one frame of it, 2 x {FEW:,} points")
    print(f"  KD trees                    {best(lambda: by_trees([few[0]], [few[1]])):8.3f} s")
    print(f"  all pairs (torch)           {best(by_pairs):8.3f} s")
    print(f"  difference                  {abs(by_trees([few[0]], [few[1]]) - by_pairs()):8.1e} m")


def _cloud(world: World4D) -> list[np.ndarray]:
    world.require("depth", "camera")
    assert world.depth is not None
    assert world.camera is not None
    k, pose = (torch.from_numpy(m).double() for m in (world.camera.intrinsics, world.camera.world_from_camera))
    points = world_points(torch.from_numpy(world.depth).double(), k, pose).reshape(world.frames, -1, 3).numpy()
    chosen = np.random.default_rng(0).permutation(points.shape[1])[:POINTS]
    return [frame[chosen] for frame in points[:FRAMES]]


def every_metric(world: World4D, other: World4D) -> None:
    """All metrics of one world, and the time that each adds; what several share is paid by the first."""

    def measure() -> dict[str, float]:
        pair, times = Pair(other, Truth(world), start=1), {}
        for name, metric in METRICS.items():
            start = time.process_time()
            metric.measure(pair)
            times[name] = time.process_time() - start
        return times

    runs = [measure() for _ in range(2)]
    fastest = min(runs, key=lambda times: sum(times.values()))
    frames, (height, width) = world.frames, world.size
    print(f"\nall metrics of a world of {frames}x{height}x{width} (target: 5 s)")
    for name, seconds in sorted(fastest.items(), key=lambda item: -item[1]):
        if seconds >= 0.02:
            print(f"  {name:28}{seconds:6.2f} s")
    print(f"  {'together':28}{sum(fastest.values()):6.2f} s")


def linear(world: World4D, other: World4D) -> None:
    """Time of all metrics against the number of frames."""
    print("\nall metrics against frames (target: linear)")
    for frames in (4, 8, 16):
        mine, truth = cut(other, frames), cut(world, frames)

        def measure(mine: World4D = mine, truth: World4D = truth) -> None:
            pair = Pair(mine, Truth(truth), start=1)
            for metric in METRICS.values():
                metric.measure(pair)

        seconds = best(measure, 1)
        print(f"  {frames:3} frames  {seconds:6.2f} s  {1000 * seconds / frames:6.0f} ms a frame")


def workers_and_memory(world: World4D, folder: Path) -> None:
    """Stored worlds through `phys4d evaluate`: one process against two, and the memory for more worlds."""
    for i in range(WORLDS):
        dataclasses.replace(world, meta={**world.meta, "scene_id": f"scene-{i}"}).save(
            folder / "data" / f"w{i:02}"
        )
    data, reports = folder / "data", []
    print(f"\n{WORLDS} stored worlds of 17x64x64, start of the workers included (target: the same bytes)")
    for workers in (1, 2):
        out = folder / f"report-{workers}"
        start = time.perf_counter()
        evaluate_worlds(data, data, out, workers=workers)
        reports.append((out / "report.json").read_bytes())
        print(f"  {workers} worker{'s' if workers > 1 else ' '}  {time.perf_counter() - start:6.2f} s")
    print(f"  report.json is {'the same' if reports[0] == reports[1] else 'NOT the same'}")
    print("memory of one process (target: constant)")
    for count in (4, WORLDS):
        words: list[str] = [sys.executable, "-c", MEMORY, str(data), str(folder / f"memory-{count}"), str(count)]
        peak = float(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()[-1])
        print(f"  {count:3} worlds  {peak:6.0f} MB")


def main() -> None:
    torch.set_num_threads(1)
    world, other = (phys4d.simulate("ball_ramp", seed=seed, size=(256, 256), frames=17) for seed in (1, 2))
    other = dataclasses.replace(other, segmentation=None, tracks=None, track_visibility=None)
    chamfer(world, other)
    every_metric(world, other)
    linear(world, other)
    small = phys4d.simulate("ball_drop", seed=1, size=(64, 64), frames=17)
    with tempfile.TemporaryDirectory() as folder:
        workers_and_memory(small, Path(folder))


if __name__ == "__main__":
    main()
