"""How much a batch of rollouts says: gradients of the policy over independent batches, and the anchor's beside it.

    python benchmarks/policy.py [--model nano-finetune] [--batches 8] [--clips 112]

For every objective: length of the policy's gradient with respect to a fresh adapter, and the mean cosine between
those of any two batches of different scenes, with the standard error over batches. Where it is c, about 1 / c
batches must be averaged until the common part is as long as the noise. The anchor is the diffusion loss on as many
simulated clips.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from held_out import KNOWN, held_out
from torch import Tensor

from phys4d import World4D, WorldModel, open_dataset
from phys4d.evaluation.tables import text_of
from phys4d.recipes import recipes
from phys4d.training.denoising import denoising_loss, given_frames
from phys4d.training.loop import autocast, seed_step
from phys4d.training.policy import Sample, matching_loss, policy_loss
from phys4d.training.reinforce import ReinforceStage

SEED = 9_000_000
"""Far from every seed of training, as those of the other benchmarks are."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano-finetune")
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--clips", type=int, default=8 * len(KNOWN))
    chosen = parser.parse_args()
    rows = [["objective", "rollouts a batch", "|policy|", "|anchor|", "cosine between batches"]]
    with held_out(chosen.clips, seed=SEED) as data:
        for objective in ("kl_mask", "awm"):
            rows.append(measured(chosen.model, data, objective, chosen.batches))
    print(text_of(rows))


def measured(model: str, data: Path, objective: str, batches: int) -> list[str]:
    """A row of the table."""
    config = dataclasses.replace(recipes["nano"]().settings("reinforce"), objective=objective)
    dataset = open_dataset(data)
    stage = ReinforceStage(WorldModel.from_pretrained(model), config, [dataset], list(dataset[:14]))
    adapted = [p for p in stage.model.backbone.parameters() if p.requires_grad]
    policies, anchors = [], []
    for number in range(batches):
        seed_step(config.seed, number)
        scenes, _ = stage.source.batch(number)
        losses = [lost(stage, sample) for sample in stage.rollouts.make(scenes, number)]
        policies.append(gradient(torch.stack(losses).mean(), adapted))
        anchors.append(gradient(anchor(stage, [s.truth for s in scenes]), adapted))
    lengths = [np.mean([float(g.norm()) for g in some]) for some in (policies, anchors)]
    unit = torch.stack([g / g.norm() for g in policies])
    cosines = (unit @ unit.T).numpy()
    others = (cosines.sum(1) - 1) / (batches - 1)
    told = f"{others.mean():+.3f} +- {others.std(ddof=1) / np.sqrt(batches):.3f}"
    rollouts = config.batch_size * config.accumulate
    return [objective, str(rollouts), f"{lengths[0]:.2g}", f"{lengths[1]:.2g}", told]


def lost(stage: ReinforceStage, sample: Sample) -> Tensor:
    """The objective's loss of one group of rollouts."""
    config, backbone = stage.config, stage.model.backbone
    with autocast(config.precision, stage.model.device):
        if config.objective == "awm":
            return matching_loss(backbone, sample, clip=config.clip)[0]
        limits = {"kl_limit": config.kl_limit, "clip": config.clip, "beta": 0.0}
        return policy_loss(backbone, sample, stage.adapter, objective=config.objective, **limits)[0]


def anchor(stage: ReinforceStage, truths: Sequence[World4D]) -> Tensor:
    """The diffusion loss on the scenes themselves."""
    video = stage.model.to_video(torch.from_numpy(np.stack([w.rgb for w in truths])))
    context = given_frames([w.meta for w in truths], stage.model.backbone.most_frames // 2)
    prompts = [str(w.meta["prompt"]) for w in truths]
    with autocast(stage.config.precision, stage.model.device):
        return denoising_loss(stage.model, video, prompts, context, moving_weight=stage.config.moving_weight)[0]


def gradient(loss: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """As one vector."""
    found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in found]).double()


if __name__ == "__main__":
    main()
