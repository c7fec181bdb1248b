"""Frames a second of the caster, with every label, beside Blender Cycles, with colour alone, on the same scenes.

    PHYS4D_BPY=BLENDER-ENV/bin/python python benchmarks/against_cycles.py [--samples 32] [--frames 6]

Cycles runs in a Python of its own that has the package bpy (`pip install bpy`), on every core; without it this
says so and stops. It is given the same triangles, in plain matte colours, the same camera and a sun, and keeps
what it can between frames; building its scene is not counted. The caster runs in one process a core.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import subprocess
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from phys4d.sim import caster, filming
from phys4d.sim.catalog import build, random_stream
from phys4d.sim.engines import engine_of
from phys4d.sim.lights import Light
from phys4d.sim.motion import Motion, Spheres
from phys4d.sim.scene import SceneSpec
from phys4d.world import Camera

INSIDE = Path(__file__).resolve().with_name("blender") / "render.py"
NAMES = ("ball_drop", "block_domino", "ball_hits_duck", "newtons_cradle", "rope_between_posts")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(128, 128), metavar=("H", "W"))
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--frames", type=int, default=6)
    chosen = parser.parse_args()
    python = os.environ.get("PHYS4D_BPY", "")
    if not Path(python).is_file():
        print("Blender is not here: set PHYS4D_BPY to a Python that has the package bpy")
        return
    size, cores = (chosen.size[0], chosen.size[1]), os.cpu_count() or 1
    print(f"frames/s at {size[0]}x{size[1]} on {cores} cores; the caster with all labels,")
    print(f"Cycles with {chosen.samples} samples, colour alone")
    print(f"{'scene':22}{'caster':>9}{'Cycles':>9}{'ratio':>8}")
    with ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("spawn")) as pool:
        for name in NAMES:
            # Once before the clock starts, in every process.
            list(pool.map(filmed, *zip(*[(name, size, chosen.frames)] * cores)))
            clips = 2 * cores
            started = time.perf_counter()
            list(pool.map(filmed, *zip(*[(name, size, chosen.frames)] * clips)))
            ours = clips * chosen.frames / (time.perf_counter() - started)
            theirs = chosen.frames / theirs_of(name, size, chosen.frames, python, chosen.samples)
            print(f"{name:22}{ours:9.1f}{theirs:9.2f}{ours / theirs:8.0f}")


@functools.cache
def staged(name: str, size: tuple[int, int], frames: int) -> tuple[SceneSpec, Motion, Camera]:
    """A scene that has been simulated, and its camera."""
    spec = build(name, 0)
    motion = engine_of(spec.engine)(spec, frames, 12.0)
    camera, _ = filming.film(motion, spec.viewpoints, size, random_stream(name, 0, "camera 0"), move="static")
    return spec, motion, camera


def filmed(name: str, size: tuple[int, int], frames: int) -> int:
    """Films a clip with the caster; runs in a process of its own."""
    spec, motion, camera = staged(name, size, frames)
    return caster.render(motion, camera, size, spec.lights, spec.sky, rng=np.random.default_rng(0)).frames


def theirs_of(name: str, size: tuple[int, int], frames: int, python: str, samples: int) -> float:
    """Seconds of Cycles for the frames of the clip."""
    spec, motion, camera = staged(name, size, frames)
    with tempfile.TemporaryDirectory() as folder:
        sun = next(light for light in spec.lights if isinstance(light, Light))
        arrays: dict[str, Any] = {
            "intrinsics": camera.intrinsics[0],
            "pose": camera.world_from_camera[0],
            "sun": np.array(sun.direction),
        }
        for index, surface in enumerate(motion.surfaces):
            vertices, faces = (
                meshed(surface) if isinstance(surface, Spheres) else (surface.vertices, surface.faces)
            )
            arrays |= {f"vertices{index}": vertices, f"faces{index}": faces}
            arrays[f"colour{index}"] = np.array(surface.look.colour)
        np.savez(Path(folder) / "scene.npz", **arrays)
        told = subprocess.run(
            [python, str(INSIDE), str(Path(folder) / "scene.npz"), *map(str, size), str(samples)],
            capture_output=True,
            text=True,
            cwd=folder,
        )
        if told.returncode:
            raise SystemExit(f"Blender failed:\n{told.stderr}")
    return float(json.loads(told.stdout.splitlines()[-1])["seconds"])


def meshed(spheres: Spheres) -> tuple[np.ndarray, np.ndarray]:
    """(T,V,3) vertices and faces of spheres as meshes."""
    unit = trimesh.creation.icosphere(subdivisions=3)
    points = spheres.centres[:, :, None] + spheres.radius[None, :, None, None] * unit.vertices
    count = len(unit.vertices)
    faces = np.concatenate([unit.faces + k * count for k in range(len(spheres.radius))])
    return points.reshape(spheres.frames, -1, 3).astype(np.float32), faces


if __name__ == "__main__":
    main()
