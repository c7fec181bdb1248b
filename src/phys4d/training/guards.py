"""What stage 3 looks at and never rewards, and when it stops: a reward that rises alone is being gamed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from phys4d.errors import InputError
from phys4d.model import WorldModel
from phys4d.rewards import Lift, Reward, RewardScene
from phys4d.rewards.guards import diversity, rgb_mask_iou, sharpness
from phys4d.training.measures import generate_from
from phys4d.training.state import History

SAMPLES = 2
"""Generations of each held-out scene, from which diversity is taken."""
NEW_REWARD = 0.01
"""A smaller rise of the held-out reward is no rise."""


def rewarded(scenes: Sequence[RewardScene], *, drop: bool) -> list[RewardScene]:
    """The scenes that can be rewarded. Without `drop`, also those that only their lifter makes unfit."""
    if drop:
        return [scene for scene in scenes if not scene.dropped]
    # A scene whose truth is unfit has no points to hold a rollout against.
    return [dataclasses.replace(scene, dropped="") for scene in scenes if scene.dynamic]


class Guarded:
    """Held-out scenes, what the policy makes of them, and how RGB alone judges that.

    Raises InputError where no held-out scene can be rewarded.
    """

    def __init__(
        self, scenes: Sequence[RewardScene], lift: Lift, score: Reward, steps: int, *, drop: bool = True
    ) -> None:
        self.scenes = rewarded(scenes, drop=drop)
        if not self.scenes:
            raise InputError(
                f"none of the {len(scenes)} held-out scenes can be rewarded (the first: {scenes[0].dropped}); "
                "give more of them, or a lifter that sees motion"
            )
        self.lift, self.score, self.steps = lift, score, steps

    def measure(self, model: WorldModel) -> dict[str, float]:
        """The mean over the scenes of each row of `by_scene`."""
        return {name: float(np.nanmean(values)) for name, values in self.by_scene(model).items()}

    def by_scene(self, model: WorldModel, *, best_of: int = 1) -> dict[str, list[float]]:
        """held_out_reward; mask_iou, sharpness (1 as the truth) and diversity, from RGB alone; one a scene.

        best_of: so many takes of each scene are made, and the one that the reward likes best is measured. The
        reward knows the truth, so that this is no way to generate; it tells what a policy could gain by it.
        """
        silent = WorldModel(model.backbone)
        worlds = [scene.truth for scene in self.scenes]
        takes = [
            generate_from(silent, worlds, self.steps, seed=1000 * take) for take in range(max(SAMPLES, best_of))
        ]
        earned, overlap, sharp, varied = [], [], [], []
        for index, scene in enumerate(self.scenes):
            rgb = [take[index].rgb for take in takes]
            clips = [frames for frames in rgb if frames is not None]
            true = scene.truth.rgb
            assert true is not None
            scores = [self.score(world, scene).reward for world in self.lift(np.stack(clips[:best_of]))]
            best = int(np.argmax(scores))
            earned.append(scores[best])
            overlap.append(rgb_mask_iou(clips[best], true).value)
            sharp.append(sharpness(clips[best], true).value)
            varied.append(diversity(clips[:SAMPLES]))
        return {"held_out_reward": earned, "mask_iou": overlap, "sharpness": sharp, "diversity": varied}


def parted(history: History, most_worse: float) -> str | None:
    """Why the run should stop: the reward rose since the start, and an RGB-only measure fell by `most_worse` of
    itself (diversity: by half)."""
    first, last = history[0], history[-1]
    if last["held_out_reward"] - first["held_out_reward"] < NEW_REWARD:
        return None
    # Noise that goes is no loss of sharpness, and a policy that learns varies less.
    least = {
        "mask_iou": (1 - most_worse) * first["mask_iou"],
        "sharpness": (1 - most_worse) * min(first["sharpness"], 1.0),
        "diversity": 0.5 * first["diversity"],
    }
    for name, bound in least.items():
        if last[name] < bound:
            return (
                f"the held-out reward rose from {first['held_out_reward']:.3f} to {last['held_out_reward']:.3f}, "
                f"but {name}, which no reward looks at, fell from {first[name]:.3f} to {last[name]:.3f}"
            )
    return None
