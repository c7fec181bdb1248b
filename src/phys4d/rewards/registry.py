"""Rewards by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from phys4d.errors import Registry
from phys4d.rewards.scene import Errors, RewardScene
from phys4d.world import World4D

DEFAULT = "chamfer"


@dataclasses.dataclass(frozen=True)
class RewardParts:
    """reward: what is maximised, in -1..1. dynamic, background, track: its parts, 1 at best. errors: in metres."""

    reward: float
    dynamic: float
    background: float
    track: float
    errors: Errors


Reward = Callable[[World4D, RewardScene], RewardParts]

rewards: Registry[Reward] = Registry("reward")
"""Rewards by name: `@rewards.register("chamfer")`."""
