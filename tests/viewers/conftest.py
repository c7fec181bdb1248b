"""Worlds that the pages of this room are made of."""

from __future__ import annotations

import pytest
from ball_worlds import ball_world

from phys4d.world import World4D


@pytest.fixture(scope="session")
def ball() -> World4D:
    """The flying ball, with every field but confidence."""
    return ball_world()
