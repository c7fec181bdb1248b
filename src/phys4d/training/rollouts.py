"""Rewarded rollouts of stage 3: a group for each scene, the scenes of a batch dealt out to the processes.

Whatever is random in a group depends on the numbers of its batch and of the group in it, not on the process that
rolls it out, and advantages are taken over the whole batch: any number of processes learns from the same rollouts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from phys4d.backbones import Condition
from phys4d.model import WorldModel
from phys4d.rewards import Reward, RewardScene, advantages
from phys4d.sampling import Guidance, Rollout, draw_window, rollout, sample
from phys4d.training.loop import autocast
from phys4d.training.policy import Sample, match_error
from phys4d.training.ranks import from_all, rank_and_size
from phys4d.world import World4D

if TYPE_CHECKING:
    from phys4d.training.reinforce import ReinforceConfig


class Rollouts:
    """model: the policy; lift: videos and their frame rate to worlds, by the frozen lifter; score: the reward."""

    def __init__(
        self, model: WorldModel, config: ReinforceConfig, lift: Callable[..., list[World4D]], score: Reward
    ) -> None:
        self.model, self.config, self.lift, self.score = model, config, lift, score

    @torch.no_grad()
    def make(self, scenes: Sequence[RewardScene], batch: int) -> list[Sample]:
        """G rewarded rollouts of each scene that this process has of a batch."""
        config, backbone = self.config, self.model.backbone
        rank, ranks = rank_and_size()
        seeds = [[config.seed, 4, batch, index * ranks + rank] for index in range(len(scenes))]
        rolled, scores = [], []
        for scene, seed in zip(scenes, seeds):
            # As the replay will run, or the ratio would not be 1; lifting and rewards are in full precision.
            with autocast(config.precision, self.model.device):
                rolled.append(self.generations(self.condition(scene.truth), batch, _number(seed)))
            rgb = (backbone.decode(rolled[-1].latents) * 255).round().to("cpu", torch.uint8).numpy()
            scores.append([self.score(world, scene).reward for world in self.lift(rgb, scene.truth.fps)])
        # Group k of the batch is with process k modulo their number.
        table = torch.tensor([row for rows in zip(*from_all(scores)) for row in rows])
        advantage, kept = advantages(table)
        if config.permute:
            dealt = np.random.default_rng([config.seed, 5, batch]).permuted(advantage.numpy(), axis=1)
            advantage = torch.from_numpy(dealt)
        told = {"silent_groups": float((~kept).sum())}
        samples = [
            Sample(made, a.to(self.model.device), {**told, "reward": float(r.mean()), "spread": float(r.std())})
            for made, a, r in zip(rolled, advantage[rank::ranks], table[rank::ranks])
        ]
        for made, seed in zip(samples, seeds) if config.objective == "awm" else ():
            self._match(made, torch.Generator().manual_seed(_number([*seed, 1])))
        return samples

    def generations(self, condition: Condition, batch: int, seed: int) -> Rollout:
        """G generations of one scene: with a noisy window, or for "awm" by the ODE."""
        config, backbone = self.config, self.model.backbone
        steps, group = config.sampling_steps, config.batch_size
        guidance = None
        if config.guidance != 1:
            guidance = Guidance(config.guidance, backbone.unprompted(condition))
        if config.objective == "awm":
            repeated, guided = condition.repeat(group), guidance and guidance.repeat(group)
            latents = sample(backbone, repeated, steps=steps, seed=seed, guidance=guided)
            return Rollout(latents, (), repeated, guided)
        window = draw_window(steps, config.window, config.seed + batch)
        return rollout(
            backbone,
            condition,
            steps=steps,
            window=window,
            eta=config.eta,
            seed=seed,
            group=group,
            guidance=guidance,
        )

    def condition(self, truth: World4D) -> Condition:
        """First frames and caption of one scene."""
        assert truth.rgb is not None
        video = self.model.to_video(torch.from_numpy(truth.rgb)[None])
        given = [int(truth.meta.get("context_frames") or 1)]
        return self.model.condition_mixed(video, given, [str(truth.meta.get("prompt") or "")])

    def _match(self, made: Sample, generator: torch.Generator) -> None:
        """A time and noise for "awm", and the error under them before the updates."""
        latents = made.rollout.latents
        t = self.model.backbone.sample_time(1, generator)
        eps = torch.randn(1, *latents.shape[1:], generator=generator)
        made.t, made.eps = t.to(latents.device).expand(len(latents)), eps.to(latents.device).expand_as(latents)
        with autocast(self.config.precision, self.model.device):
            made.error = match_error(self.model.backbone, made)


def _number(seed: Sequence[int]) -> int:
    return int(np.random.default_rng(seed).integers(2**31))
