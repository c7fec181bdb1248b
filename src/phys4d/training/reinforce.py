"""Stage 3, simulation-grounded reinforcement learning: rollouts are rewarded for matching the simulator.

    scene -> truth W*; its first frames and caption -> G rollouts; a frozen lifter (the whole stage-2 model) turns
    each rollout's RGB into a world W; R = 4D Chamfer skill of W against W* (`phys4d.rewards`)

    transition   mu = alpha' x0 + sqrt(sigma'^2 - s^2) eps,  x' = mu + s z,  s = sigma' sin(eta pi / 2)
                 inside one early window of steps shared by the group; the plain ODE outside
    log-prob     l = mean(-(x' - mu)^2 / (2 s^2)),  ratio rho = exp(l - l_old), exactly 1 on the first update
    advantage    A = clip((R - mean_group) / (std_batch + 1e-4), +-5)
    loss         E[-w A rho keep] + beta |v - v_ref|^2 + lambda L_diffusion(simulated clips)    (`policy.py`)
                 with lambda such that the last term's gradient is a given share of the others'

w evens out the steps' gradients. objective "kl_mask": keep = 0 where mean((mu - mu_old)^2 / 2 s^2) > tau and the
update would go further that way; "clip": the PPO clip of the paper; "awm": ODE rollouts and an advantage-weighted
diffusion loss. Where this departs from the textbook: l is a mean over latents, so ratios stay within 1e-4 of 1;
the reference is the policy with its adapter off; the reward's instrument is frozen and is not what validation
looks at: RGB-only overlap, sharpness and diversity are, and the run stops where they fall while the reward rises.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from phys4d.backbones import adapters
from phys4d.data.shards import WorldDataset
from phys4d.errors import InputError
from phys4d.model import WorldModel
from phys4d.rewards import prepare_scene, reward_of
from phys4d.sampling import draw_window
from phys4d.training.balance import balanced
from phys4d.training.config import TrainConfig
from phys4d.training.denoising import denoising_loss, given_frames
from phys4d.training.finetune import FIELDS, FinetuneConfig, free_name, head_losses
from phys4d.training.guards import Guarded, parted
from phys4d.training.measures import stage_batches
from phys4d.training.placement import place, sharded
from phys4d.training.policy import OBJECTIVES, Sample, matching_loss, policy_loss
from phys4d.training.rollouts import Rollouts
from phys4d.training.scenes import RewardScenes
from phys4d.training.state import History
from phys4d.world import World4D


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReinforceConfig(TrainConfig):
    """Settings of stage 3, beside those of every stage.

    batch_size: rollouts of a scene (G). accumulate: scenes of a batch, of every process. updates: optimizer steps
    on each batch of rollouts. reward: see `reward_of`. objective: "kl_mask", "clip" or "awm". guidance: scale of
    classifier-free guidance, in rollouts and replay alike; 1: none. sampling_steps, window, eta: of the rollouts;
    kl_limit: tau of kl_mask; clip: of the ratio. beta: weight of the distance to stage 2; anchor_share: see above;
    anchor_clips: simulated clips beside each scene's rollouts, on which the policy's own heads train too;
    moving_weight: of the anchor, see the base stage. permute: deal the rewards anew within each group, the control
    that learns from the anchor alone. rank, alpha: of the adapter. most_worse: share by which overlap or sharpness
    may fall, while the reward rises, until the run stops. drop: leave out scenes on which the lifter cannot tell
    the truth from its first frame held still; without it a lifter that learned nothing will do. fresh: processes
    that simulate new scenes of the data's rows meanwhile; 0: scenes are read from the data.
    """

    batch_size: int = 8
    accumulate: int = 4
    updates: int = 4
    reward: str = "chamfer"
    objective: str = "kl_mask"
    guidance: float = 1.0
    sampling_steps: int = 6
    window: int = 2
    eta: float = 0.8
    kl_limit: float = 1e-5
    clip: float = 1e-4
    beta: float = 1e-3
    anchor_share: float = 0.3
    anchor_clips: int = 2
    moving_weight: float = 4.0
    permute: bool = False
    rank: int = 16
    alpha: float = 32.0
    most_worse: float = 0.15
    drop: bool = True
    fresh: int = 0
    schedule: str = "constant"
    ema: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        self._one_of("objective", OBJECTIVES)
        self._at_least(2, "batch_size")
        self._at_least(1, "updates", "anchor_clips", "rank")
        self._at_least(0, "kl_limit", "clip", "beta", "anchor_share", "fresh")
        draw_window(self.sampling_steps, self.window, 0)
        if not 0 < self.eta <= 1:
            raise InputError(f"eta must lie in (0, 1], not {self.eta:g}")

    @property
    def fields(self) -> tuple[str, ...]:
        return (*FIELDS, "segmentation", "tracks", "track_visibility")


class ReinforceStage:
    """See the module."""

    name, best = "reinforce", ("held_out_reward", "higher")

    def __init__(
        self,
        model: WorldModel,
        config: ReinforceConfig,
        data: Sequence[WorldDataset],
        held_out: Sequence[World4D],
    ) -> None:
        if model.heads is None:
            raise InputError(
                "stage 3 needs a model with heads, to see what its rollouts do: run `train finetune` first"
            )
        # The whole model as it came, frozen: its backbone is the policy's with the new adapter off, which is all
        # that will change of it.
        self.lifter = WorldModel(model.backbone, copy.deepcopy(model.heads).requires_grad_(False).eval())
        self.adapter = free_name(model, self.name)
        adapters.add_adapter(model.backbone, self.adapter, rank=config.rank, alpha=config.alpha)
        model.heads.requires_grad_(True)
        self.model, self.config, self.data = model, config, data
        # What a layer draws while it trains would make the replay differ from the rollout.
        self.trained: nn.Module = model.eval()
        self.stride = config.updates
        place(model, config)
        self.lifter.to(model.device)
        score = reward_of(config.reward)
        self.rollouts = Rollouts(model, config, self.lift, score)
        scenes = [prepare_scene(world, self.lift) for world in held_out]
        self.guards = Guarded(scenes, self.lift, score, config.sampling_steps, drop=config.drop)
        self.head_config = FinetuneConfig()
        self.source = RewardScenes(
            data,
            self.lift,
            count=config.accumulate,
            fields=config.fields,
            seed=config.seed,
            drop=config.drop,
            fresh=config.fresh,
            together=sharded(config),
        )

    def lift(self, rgb: np.ndarray, fps: float = 12.0) -> list[World4D]:
        """Videos (N,T,H,W,3) as worlds, through the frozen lifter, which is told nothing but the pixels."""
        with adapters.without(self.model.backbone, self.adapter):
            return self.lifter.read_worlds(list(rgb), [""] * len(rgb), fps, [{} for _ in rgb])

    def batches(self, start: int) -> Iterator[tuple[Sample, dict[str, Any]]]:
        """Each batch of rollouts `updates` times, scene by scene, with fresh anchor clips beside it."""
        config = self.config
        anchor = TrainConfig(
            batch_size=config.anchor_clips,
            accumulate=config.accumulate,
            workers=config.workers,
            cache=config.cache,
            seed=config.seed + 1,
        )
        return self.turns(start, stage_batches(self.data, FIELDS, anchor, start))

    def turns(self, start: int, clips: Iterator[dict[str, Any]]) -> Iterator[tuple[Sample, dict[str, Any]]]:
        """See `batches`; clips: the anchor's."""
        with contextlib.closing(self.source):
            for number in itertools.count(start // self.config.updates):
                scenes, dropped = self.source.batch(number)
                samples = self.rollouts.make(scenes, number)
                for made in samples:
                    made.told |= {"dropped_scenes": float(dropped), "scene_wait_seconds": self.source.waited}
                for _ in range(self.config.updates):
                    for made in samples:
                        yield made, next(clips)

    def loss(self, batch: tuple[Sample, dict[str, Any]], step: int) -> tuple[Tensor, dict[str, float]]:
        config, backbone, (made, clips) = self.config, self.model.backbone, batch
        if config.objective == "awm":
            policy, told = matching_loss(backbone, made, clip=config.clip)
        else:
            policy, told = policy_loss(
                backbone,
                made,
                self.adapter,
                objective=config.objective,
                kl_limit=config.kl_limit,
                clip=config.clip,
                beta=config.beta,
            )
        video = self.model.to_video(clips["rgb"])
        context = given_frames(clips["meta"], backbone.most_frames // 2)
        anchor, _ = denoising_loss(self.model, video, clips["prompt"], context, moving_weight=config.moving_weight)
        # The heads follow the policy's features, but do not pull at them.
        heads, _ = head_losses(self.model.read(video, clips["prompt"], detach=True), clips, self.head_config)
        adapted = [p for p in backbone.parameters() if p.requires_grad]
        told |= made.told | {"anchor": float(anchor.detach())}
        return balanced(policy, anchor, adapted, config.anchor_share) + heads, told

    def validate(self) -> dict[str, float]:
        """Reward on held-out scenes, beside what no reward looks at."""
        return self.guards.measure(self.model)

    def stop_reason(self, history: History) -> str | None:
        return parted(history, self.config.most_worse)
