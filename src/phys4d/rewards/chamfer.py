"""The 4D Chamfer skill: how much of the way from a frozen world to the true one a rollout has gone."""

from __future__ import annotations

from phys4d.errors import InputError
from phys4d.rewards.registry import DEFAULT, RewardParts, rewards
from phys4d.rewards.scene import RewardScene, measure
from phys4d.world import World4D

WEIGHTS = (0.6, 0.2, 0.2)
"""Shares of the dynamic Chamfer skill, the background and the track skill."""


@rewards.register(DEFAULT)
def chamfer_skill(world: World4D, scene: RewardScene) -> RewardParts:
    """R = 0.6 skill(CD_dynamic) + 0.2 (1 - CD_background / tau_d) + 0.2 skill(track EPE).

    skill(e) = clip((e_static - e) / (e_static - e_floor), -1, 1): 0 for the lifted first frame held still, 1 for
    the lifted true video. world: a lifted rollout with depth, flow, visible and camera, in any world frame and at
    any scale of depth. Raises InputError for a dropped scene, other frames or another size, and MissingFieldError.
    """
    if scene.dropped:
        raise InputError(f"this scene cannot be rewarded: {scene.dropped}")
    errors = measure(world, scene)
    dynamic = _skill(errors.dynamic, scene.static.dynamic, scene.floor.dynamic)
    background = 1 - errors.background / scene.truncation
    track = _skill(errors.track, scene.static.track, scene.floor.track)
    reward = WEIGHTS[0] * dynamic + WEIGHTS[1] * background + WEIGHTS[2] * track
    return RewardParts(reward, dynamic, background, track, errors)


def _skill(error: float, static: float, floor: float) -> float:
    # A scene is dropped where the lifter finds no difference; a caller that keeps it gets a sign.
    return min(max((static - error) / max(static - floor, 1e-6), -1.0), 1.0)
