"""Compiles the ray caster before the first test that is timed by anybody."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _kernels():
    from phys4d.sim.caster import load_kernels

    load_kernels()
