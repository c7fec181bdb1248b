"""Compiles the ray caster before the first test that is timed by anybody; lets elastic scenes run once."""

import pytest

from phys4d.sim.engines import ENGINES, engine_of


@pytest.fixture(scope="session", autouse=True)
def _kernels():
    from phys4d.sim.caster import load_kernels

    load_kernels()


@pytest.fixture(scope="session", autouse=True)
def _elastic_scenes_run_once():
    """Elastic bodies take a second or more a scene, and many tests look at the same ones."""
    run, kept = engine_of("elastic"), {}

    def once(spec, frames, fps):
        key = (repr(spec), frames, fps)
        if key not in kept:
            kept[key] = run(spec, frames, fps)
        return kept[key]

    ENGINES._entries["elastic"] = once
    yield
    ENGINES._entries["elastic"] = run
