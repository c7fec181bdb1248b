"""What the stages look at on held-out worlds, and how they read their batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from phys4d.data.loader import training_loader
from phys4d.data.shards import WorldDataset
from phys4d.evaluation import evaluate
from phys4d.losses import moving_pixels, relative_depth_loss
from phys4d.model import WorldModel
from phys4d.training.config import TrainConfig
from phys4d.training.ranks import rank_and_size
from phys4d.world import World4D


def stage_batches(
    data: Sequence[WorldDataset], fields: Sequence[str], config: TrainConfig, start: int
) -> Iterator[dict[str, Any]]:
    """The stage's (micro-)batches from step `start` on, of this process; see `training_loader`."""
    rank, ranks = rank_and_size()
    return iter(
        training_loader(
            list(data),
            batch_size=config.batch_size,
            fields=fields,
            seed=config.seed,
            workers=config.workers,
            start=start * config.accumulate,
            cache=config.cache,
            rank=rank,
            world_size=ranks,
        )
    )


def generate_from(
    model: WorldModel,
    worlds: Sequence[World4D],
    steps: int | None = None,
    *,
    seed: int = 0,
    batch: int | None = None,
) -> list[World4D]:
    """Worlds generated from the first `context_frames` frames, or the next more that will do, and the prompts of
    others.

    steps: of the sampler; default, the backbone's own.
    """
    contexts, prompts, metas = [], [], []
    for world in worlds:
        assert world.rgb is not None
        contexts.append(world.rgb[: model.backbone.valid_context(int(world.meta.get("context_frames") or 1))])
        prompts.append(str(world.meta.get("prompt") or ""))
        metas.append({k: world.meta[k] for k in ("scene", "scene_id", "category") if k in world.meta})
    seeds = [seed + i for i in range(len(worlds))]
    frames = worlds[0].frames
    return model.generate_many(
        contexts, prompts, seeds=seeds, frames=frames, steps=steps, metas=metas, batch=batch
    )


def relift(
    model: WorldModel, worlds: Sequence[World4D], *, captions: bool = False, batch: int | None = None
) -> list[World4D]:
    """What a model's heads see in the RGB of worlds of one length.

    captions: tell it those of the worlds; a judge of generated worlds is told nothing of their conditions.
    """
    found: list[World4D] = []
    batch = batch or model.backbone.clips_at_once
    for i in range(0, len(worlds), batch):
        some = worlds[i : i + batch]
        rgb = [w.rgb for w in some if w.rgb is not None]
        prompts = [str(w.meta.get("prompt") or "") if captions else "" for w in some]
        found += model.read_worlds(rgb, prompts, some[0].fps, [dict(w.meta) for w in some])
    return found


def lifting_measures(
    model: WorldModel,
    worlds: Sequence[World4D],
    metrics: Sequence[str],
    alignment: Any = "scale",
    *,
    relative: bool = False,
) -> dict[str, float]:
    """Metrics of held-out worlds, lifted from their RGB, against their labels, and `flow_epe_moving`.

    That is the end-point error [px] where the labels' flow leaves the median of its frame by half a pixel, which
    flow labels alone can tell: over all pixels, seeing no motion at all is nearly the best answer. relative: also
    `disparity_l1`, the error of disparity after a scale and a shift of each clip, in the label's mean deviations:
    all that such a label can tell of depth.
    """
    lifted = relift(model, worlds, captions=True)
    report = evaluate(lifted, list(worlds), baselines=False, metrics=list(metrics), alignment=alignment)
    found = {name: row["value"] for name, row in report.metrics.items()}
    mine, theirs = (
        torch.from_numpy(np.stack([w.flow for w in some if w.flow is not None])) for some in (lifted, worlds)
    )
    moving = moving_pixels(theirs)
    if relative:
        found["disparity_l1"] = disparity_error(lifted, worlds)
    return found | {"flow_epe_moving": float((mine - theirs).norm(dim=-1)[moving].mean())}


def disparity_error(lifted: Sequence[World4D], worlds: Sequence[World4D]) -> float:
    """See `lifting_measures`; NaN where no clip has a pixel that both see."""
    seen, true = (
        torch.from_numpy(np.stack([w.depth for w in some if w.depth is not None])) for some in (lifted, worlds)
    )
    mask = (seen > 0) & (true > 0)
    some = mask.flatten(1).any(dim=1)
    if not some.any():
        return float("nan")
    seen, true, mask = seen[some], true[some], mask[some]
    disparity = torch.where(mask, 1 / true.clamp_min(1e-6), 0.0)
    return float(relative_depth_loss(seen.clamp_min(1e-6).log(), disparity, mask).parts["data"])


def generation_measures(model: WorldModel, worlds: Sequence[World4D]) -> dict[str, float]:
    """RGB-only measures of clips generated from the first frames of held-out worlds.

    psnr [dB] over generated frames; change_iou: overlap of the pixels that differ from the last given frame by
    more than a tenth of the range, in the middle of the clip and at its end (a still world scores 0; NaN where
    nothing changes in either).
    """
    silent = WorldModel(model.backbone)
    made = generate_from(silent, worlds)
    fake, true = (_colours(some) for some in (made, worlds))
    given = [int(w.meta.get("context_frames") or 1) for w in made]
    anchor = torch.stack([clip[k - 1] for clip, k in zip(true, given)])
    frames = true.shape[1]
    free = torch.stack([torch.arange(frames) >= k for k in given])
    error = (true - fake).square().mean(dim=(2, 3, 4))[free].mean()
    return {
        "psnr": float(-10 * torch.log10(error.clamp_min(1e-10))),
        "change_iou_half": _change_iou(true[:, frames // 2], fake[:, frames // 2], anchor),
        "change_iou_end": _change_iou(true[:, -1], fake[:, -1], anchor),
    }


def _change_iou(
    true: Float[Tensor, "B H W 3"], fake: Float[Tensor, "B H W 3"], anchor: Float[Tensor, "B H W 3"]
) -> float:
    a, b = ((v - anchor).abs().amax(-1) > 0.1 for v in (true, fake))
    return float((a & b).sum() / (a | b).sum())


def _colours(worlds: Sequence[World4D]) -> Float[Tensor, "B T H W 3"]:
    return torch.from_numpy(np.stack([w.rgb for w in worlds if w.rgb is not None])).float() / 255
