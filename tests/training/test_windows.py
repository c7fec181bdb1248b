"""Short windows of clips: cut alike from every field, while they are asked for, where a backbone has them."""

import dataclasses

import pytest
import torch

from phys4d.data.shards import open_dataset
from phys4d.errors import InputError
from phys4d.model import WorldModel
from phys4d.training.finetune import FinetuneConfig, FinetuneStage
from phys4d.training.pretrain import PretrainConfig, PretrainStage
from phys4d.training.windows import BETWEEN, EVERY, short_window


def numbered(frames):
    """A batch whose fields hold the number of their frame."""
    every = {name: torch.arange(frames).expand(2, frames) for name in EVERY}
    return every | {name: torch.arange(frames - 1).expand(2, frames - 1) for name in BETWEEN} | {"meta": [{}, {}]}


def test_every_field_is_cut_at_the_same_frames():
    starts = set()
    for seed in range(40):
        torch.manual_seed(seed)
        cut = short_window(numbered(9), 5)
        start = int(cut["rgb"][0, 0])
        starts.add(start)
        for name in EVERY:
            assert cut[name].tolist() == [list(range(start, start + 5))] * 2
        for name in BETWEEN:
            assert cut[name].tolist() == [list(range(start, start + 4))] * 2
        assert cut["meta"] == [{}, {}]
    assert starts == {0, 1, 2, 3, 4}


def test_a_batch_without_some_fields_is_cut_as_well():
    batch = {name: value for name, value in numbered(9).items() if name in ("rgb", "depth", "visible")}
    cut = short_window(batch, 5)
    assert {name: value.shape[1] for name, value in cut.items()} == {"rgb": 5, "depth": 5, "visible": 4}


@pytest.mark.parametrize(("stage", "config"), [(PretrainStage, PretrainConfig), (FinetuneStage, FinetuneConfig)])
def test_heads_read_short_windows_first_and_whole_clips_last(stage, config, clips, labelled_clips, monkeypatch):
    data = [open_dataset(labelled_clips if stage is PretrainStage else clips)]
    made = stage(WorldModel.tiny("nano"), config(steps=4, batch_size=2, short_frames=5, short_share=0.5), data, [])
    read = []
    real = made.model.read

    def spy(video, *arguments, **named):
        read.append(video.shape[1])
        return real(video, *arguments, **named)

    monkeypatch.setattr(made.model, "read", spy)
    batches = made.batches(0)
    for step in range(4):
        made.loss(next(batches), step)
    assert read == [5, 5, 17, 17]
    made.config = dataclasses.replace(made.config, short_frames=0)
    made.loss(next(batches), 0)
    assert read[-1] == 17


def test_a_window_that_the_backbone_has_not_is_refused():
    with pytest.raises(InputError, match=r"short_frames=6: the backbone reads windows of 5 frames"):
        PretrainStage(WorldModel.tiny("nano"), PretrainConfig(short_frames=6), [], [])
