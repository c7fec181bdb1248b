"""phys4d: physics-consistent 4D worlds from video diffusion models: simulate, train, generate, evaluate.

The names below are the whole public door; each is loaded when it is first used, so that `import phys4d` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phys4d.data.opening import open_world
    from phys4d.data.recordings import read_rgbd
    from phys4d.data.shards import open_dataset
    from phys4d.errors import InputError, MissingFieldError, Phys4DError, WorkError
    from phys4d.evaluation import Report, evaluate
    from phys4d.model import WorldModel
    from phys4d.sim.dataset import simulate_dataset
    from phys4d.sim.simulate import scenes, simulate
    from phys4d.viewers import export
    from phys4d.world import Camera, World4D

_HOME = {
    "Camera": "phys4d.world",
    "InputError": "phys4d.errors",
    "MissingFieldError": "phys4d.errors",
    "Phys4DError": "phys4d.errors",
    "Report": "phys4d.evaluation",
    "WorkError": "phys4d.errors",
    "World4D": "phys4d.world",
    "WorldModel": "phys4d.model",
    "evaluate": "phys4d.evaluation",
    "export": "phys4d.viewers",
    "open_dataset": "phys4d.data.shards",
    "open_world": "phys4d.data.opening",
    "read_rgbd": "phys4d.data.recordings",
    "scenes": "phys4d.sim.simulate",
    "simulate": "phys4d.sim.simulate",
    "simulate_dataset": "phys4d.sim.dataset",
}

__version__ = "0.1.0"

__all__ = [
    "Camera",
    "InputError",
    "MissingFieldError",
    "Phys4DError",
    "Report",
    "WorkError",
    "World4D",
    "WorldModel",
    "__version__",
    "evaluate",
    "export",
    "open_dataset",
    "open_world",
    "read_rgbd",
    "scenes",
    "simulate",
    "simulate_dataset",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'phys4d' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    if not name.endswith("Error"):
        # In a notebook a world shows itself through the viewers; they set the hook when they are loaded.
        importlib.import_module("phys4d.viewers")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
