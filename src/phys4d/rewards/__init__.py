"""Rewards of stage 3, the advantages that follow from them, and the guards that are never rewarded.

A reward judges a lifted rollout against a scene that was prepared once: `reward_of("chamfer")(world, scene)`. A
new one is a function with that signature in a file here, filed under its name, or a sum of terms.
"""

from phys4d.rewards.advantage import advantages
from phys4d.rewards.chamfer import chamfer_skill
from phys4d.rewards.guards import diversity, rgb_mask_iou, sharpness
from phys4d.rewards.registry import DEFAULT, Reward, RewardParts, rewards
from phys4d.rewards.scene import Errors, Lift, RewardScene, measure, prepare_scene
from phys4d.rewards.terms import reward_of, terms

__all__ = [
    "DEFAULT",
    "Errors",
    "Lift",
    "Reward",
    "RewardParts",
    "RewardScene",
    "advantages",
    "chamfer_skill",
    "diversity",
    "measure",
    "prepare_scene",
    "reward_of",
    "rewards",
    "rgb_mask_iou",
    "sharpness",
    "terms",
]
