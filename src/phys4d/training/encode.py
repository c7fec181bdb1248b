"""Encoding data before training: what VAE and text encoder say is stored, so that training reads neither."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from phys4d.data.shards import concatenate, open_dataset
from phys4d.errors import InputError
from phys4d.model import WorldModel


@torch.no_grad()
def encode_data(model: WorldModel, data: Sequence[str | Path], out: str | Path, *, progress: bool = True) -> int:
    """Store the encodings of every clip of data sets, of the first frames that stages may give, and of their
    prompts; returns the number of clips. An unfinished store is continued.

    Raises InputError for a model without a VAE, data that it cannot read, and a store of another model.
    """
    backbone = model.backbone
    worlds = concatenate([open_dataset(path) for path in data])
    first = worlds.read(0, ("rgb",))
    backbone.work_at(first.size, first.frames, first.fps)
    with backbone.writing_encodings(Path(out)):
        backbone.encode_text([""])
        for index in tqdm(range(len(worlds)), desc="encode", unit="clip", disable=not progress):
            world = worlds.read(index, ("rgb",))
            if (world.size, world.frames) != (first.size, first.frames):
                raise InputError(
                    f"{worlds.row(index)['key']}: worlds of several sizes; encode each size by itself"
                )
            assert world.rgb is not None
            video = model.to_video(torch.from_numpy(world.rgb)[None])
            backbone.encode(video)
            prompt = str(world.meta.get("prompt") or "")
            for count in contexts(model, int(world.meta.get("context_frames") or 1), world.frames):
                backbone.condition(video[:, :count], [prompt], world.frames)
    return len(worlds)


def contexts(model: WorldModel, least: int, frames: int) -> Iterator[int]:
    """Numbers of first frames that a stage may give of a clip: one to the heads; what determines the clip, or up
    to half of it, to the diffusion loss."""
    valid = model.backbone.valid_context
    yield from sorted({valid(1), *(valid(k) for k in range(least, max(least, frames // 2) + 1))})
