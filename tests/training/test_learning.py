"""Every stage learns something from a handful of clips in a few dozen steps."""

import json

import numpy as np
import pytest
import torch

from phys4d.training import reinforce
from phys4d.training.config import override
from phys4d.training.loop import run_stage
from phys4d.training.run import train

pytestmark = pytest.mark.slow
STEPS = 40


def quiet(_):
    pass


def logged(run, name):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return np.array([line[name] for line in lines if line["kind"] == "train"])


def ends(values, count=10):
    """Means of the first and of the last values."""
    return values[:count].mean(), values[-count:].mean()


@pytest.mark.parametrize(
    ("stage", "measures", "settings"),
    [
        ("base", ("diffusion",), ("lr=3e-3", "flip=false", "more_context=0")),
        ("pretrain", ("loss", "depth", "motion"), ("lr=3e-3",)),
        ("finetune", ("loss", "depth", "motion", "camera"), ("lr=3e-3",)),
    ],
)
def test_losses_fall(debug, clips, labelled_clips, tmp_path, stage, measures, settings):
    few = (
        f"steps={STEPS}",
        "warmup=4",
        f"validate_every={STEPS}",
        "validation_worlds=1",
        "batch_size=4",
        "ema=0.9",
    )
    config = override(debug.settings(stage), (*few, *settings))
    data = labelled_clips if stage == "pretrain" else clips
    train(stage, config, debug.model(stage, None), [data], tmp_path / "run", say=quiet)
    for name in measures:
        first, last = ends(logged(tmp_path / "run", name))
        assert last < first, f"{name} rose from {first:.4g} to {last:.4g}"


def test_the_policy_gradient_raises_the_reward_and_permuted_rewards_do_not(colour_stage, tmp_path, monkeypatch):
    # The heads have no part in this, and would not bear its rate.
    monkeypatch.setattr(reinforce, "head_losses", lambda *given: (torch.zeros(()), {}))
    rise = {}
    for permute in (False, True):
        stage = colour_stage(
            steps=30, updates=1, batch_size=16, lr=3e-2, rank=4, ema=0.0, checkpoint_every=30, validate_every=30,
            anchor_share=0.0, beta=0.0, permute=permute, kl_limit=1.0,
        )  # fmt: skip
        run_stage(stage, tmp_path / str(permute), say=quiet)
        first, last = ends(logged(tmp_path / str(permute), "reward"), 5)
        rise[permute] = last - first
    assert rise[False] > 0.03
    assert rise[True] < 0.3 * rise[False]
