"""Engines move things: `SceneSpec` in, `Motion` out. One file an engine, filed in `ENGINES` by its name.

To add an engine, write a file with a function decorated by `@ENGINES.register("name")`, and import it in
`engine_of`.
"""

from __future__ import annotations

from collections.abc import Callable

from phys4d.errors import Registry
from phys4d.sim.motion import Motion
from phys4d.sim.scene import SceneSpec

Engine = Callable[[SceneSpec, int, float], Motion]
"""(spec, frames, fps) -> Motion; deterministic."""

ENGINES: Registry[Engine] = Registry("engine")
KERNELS: dict[str, Callable[[], None]] = {}
"""What compiles the kernels of an engine, for those that have some."""


def engine_of(name: str) -> Engine:
    """The engine of that name; an unknown one raises InputError with the known ones."""
    # Imported when first asked for: an engine may need packages that take seconds to load.
    from phys4d.sim.engines import elastic, grains, heat, liquid, mujoco, smoke  # noqa: F401

    return ENGINES[name]


def load_kernels_of(name: str) -> None:
    """Compile what an engine needs, once for a machine and a version."""
    engine_of(name)
    if name in KERNELS:
        KERNELS[name]()
