"""Rewards as weighted sums of terms: `reward_of("0.8*chamfer + 0.2*gravity")`.

Every term is 1 at best. One that has nothing to judge in a rollout (no free flight, say) counts 0 there.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable

from phys4d.errors import InputError, Registry, unknown_name
from phys4d.evaluation.evaluate import METRICS
from phys4d.evaluation.measure import Pair, Truth
from phys4d.rewards.chamfer import chamfer_skill
from phys4d.rewards.guards import rgb_mask_iou
from phys4d.rewards.registry import Reward, RewardParts, rewards
from phys4d.rewards.scene import RewardScene
from phys4d.world import World4D

Term = Callable[[World4D, RewardScene, RewardParts], float]
terms: Registry[Term] = Registry("reward")
"""Terms by name. The parts are those of the 4D Chamfer skill, which every reward is told beside."""

_PRODUCT = re.compile(r"(?:(?P<weight>\d*\.?\d+)\s*\*\s*)?(?P<name>\w+)")


@terms.register("chamfer")
def _chamfer(world: World4D, scene: RewardScene, parts: RewardParts) -> float:
    """The 4D Chamfer skill."""
    return parts.reward


@terms.register("dynamic")
def _dynamic(world: World4D, scene: RewardScene, parts: RewardParts) -> float:
    """The skill in where what moves is."""
    return parts.dynamic


@terms.register("track")
def _track(world: World4D, scene: RewardScene, parts: RewardParts) -> float:
    """The skill in how the points of what moves go."""
    return parts.track


@terms.register("mask")
def _mask(world: World4D, scene: RewardScene, parts: RewardParts) -> float:
    """Overlap of what moves in the colours. A reward of this no longer has it as its guard."""
    if world.rgb is None or scene.truth.rgb is None:
        raise InputError("the reward mask needs the rollout's and the truth's rgb")
    return rgb_mask_iou(world.rgb, scene.truth.rgb).value


@terms.register("gravity")
def _gravity(world: World4D, scene: RewardScene, parts: RewardParts) -> float:
    """1 - |g_eff / g - 1|, at least 0, over the free flights of the truth."""
    return _kept(world, scene, "gravity_error")


@terms.register("energy")
def _energy(world: World4D, scene: RewardScene, parts: RewardParts) -> float:
    """1 - the largest rise of energy as a share of the largest kinetic energy, in passive scenes."""
    return _kept(world, scene, "energy_error")


def _kept(world: World4D, scene: RewardScene, metric: str) -> float:
    """1 - a metric's error, at least 0; judged from the first frame that was not given."""
    start = int(scene.truth.meta.get("context_frames") or 1)
    found = METRICS[metric].measure(Pair(world, Truth(scene.truth), start=start))
    return 1 - min(found.value, 1.0) if math.isfinite(found.value) else math.nan


def reward_of(text: str) -> Reward:
    """A reward by its name, or a weighted sum of terms, such as "0.8*chamfer + 0.2*gravity".

    Raises InputError for an unknown name, with the nearest, and for what is no sum.
    """
    if text.strip() in rewards:
        return rewards[text.strip()]
    weights: dict[str, float] = {}
    for product in text.split("+"):
        match = _PRODUCT.fullmatch(product.strip())
        if not match:
            raise InputError(f"reward {text!r}: write a name, or a sum such as 0.8*chamfer + 0.2*gravity")
        if match["name"] not in terms:
            raise InputError(unknown_name("reward", match["name"], sorted({*terms, *rewards})))
        weights[match["name"]] = weights.get(match["name"], 0.0) + float(match["weight"] or 1)

    def reward(world: World4D, scene: RewardScene) -> RewardParts:
        parts = chamfer_skill(world, scene)
        values = {name: terms[name](world, scene, parts) for name in weights}
        total = sum(weights[name] * value for name, value in values.items() if math.isfinite(value))
        return dataclasses.replace(parts, reward=total)

    return reward
