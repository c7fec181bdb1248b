"""The loop on a regression whose gradients are known: accumulation, averaging, bad steps, continuing, stopping."""

import dataclasses
import itertools
import json
import math
import os
import signal

import numpy as np
import pytest
import torch
from torch import nn

from phys4d.errors import WorkError
from phys4d.training.checkpoint import latest_checkpoint, open_checkpoint
from phys4d.training.config import TrainConfig
from phys4d.training.ending import EndedError
from phys4d.training.loop import autocast, run_stage
from phys4d.training.optimizer import rate_at

CONFIG = TrainConfig(
    steps=20, batch_size=8, lr=0.1, warmup=4, ema=0.9, validate_every=5, checkpoint_every=5, log_every=1, seed=3,
    # The same on every machine: where bfloat16 is fast, sums of it would differ in their third digit.
    precision="float32",
)  # fmt: skip


class Interrupted(Exception):
    """Stands for a killed process."""


class Regression:
    """y = x w + b on batches that depend on their number alone, with noise from torch's generator."""

    name = "regression"
    best = ("norm", "lower")
    stride = 1

    def __init__(self, config=CONFIG, *, noise=0.1, killed_at=None, bad=(), empty=(), singular=(), stop_at=None):
        torch.manual_seed(0)
        self.config, self.noise, self.killed_at = config, noise, killed_at
        self.bad, self.empty, self.singular, self.stop_at = bad, empty, singular, stop_at
        self.trained = nn.Linear(3, 1)
        self.seen = []

    def batches(self, start):
        examples = self.config.batch_size
        number = start * self.config.accumulate
        while True:
            rows = np.arange(number * examples, (number + 1) * examples)
            yield torch.stack(
                [torch.from_numpy(np.random.default_rng(row).normal(size=3)).float() for row in rows]
            )
            number += 1

    def loss(self, batch, step):
        if step == self.killed_at:
            raise Interrupted
        if step in self.empty:
            raise WorkError("the static mask is empty")
        if step in self.singular:
            torch.linalg.inv(torch.zeros(2, 2))
        self.seen.append(step)
        target = batch @ torch.tensor([1.0, -2.0, 3.0]) + self.noise * torch.randn(len(batch))
        error = (self.trained(batch)[:, 0] - target).square().mean()
        return error * (math.nan if step in self.bad else 1.0), {"error": float(error.detach())}

    def validate(self):
        return {"norm": float(self.trained.weight.detach().norm())}

    def stop_reason(self, history):
        return "enough" if self.stop_at is not None and history[-1]["step"] >= self.stop_at else None


def weights(stage):
    return torch.cat([p.detach().flatten() for p in stage.trained.parameters()])


def quiet(_):
    pass


def logged(run):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "clips_per_second"} for line in lines]


def test_it_learns(tmp_path):
    stage = Regression(dataclasses.replace(CONFIG, steps=150), noise=0.0)
    run_stage(stage, tmp_path, say=quiet)
    assert torch.allclose(stage.trained.weight, torch.tensor([[1.0, -2.0, 3.0]]), atol=0.05)


def test_micro_batches_add_up_to_the_batch(tmp_path):
    whole = Regression(noise=0.0)
    parts = Regression(dataclasses.replace(CONFIG, batch_size=2, accumulate=4), noise=0.0)
    run_stage(whole, tmp_path / "a", say=quiet)
    run_stage(parts, tmp_path / "b", say=quiet)
    assert torch.allclose(weights(whole), weights(parts), atol=1e-5)
    assert logged(tmp_path / "a")[1]["error"] == pytest.approx(logged(tmp_path / "b")[1]["error"], rel=1e-5)


@pytest.mark.parametrize("killed_at", [3, 10, 13, 19])
def test_a_continued_run_is_bit_for_bit_the_uninterrupted_one(tmp_path, killed_at):
    whole = Regression()
    history = run_stage(whole, tmp_path / "whole", say=quiet)
    with pytest.raises(Interrupted):
        run_stage(Regression(killed_at=killed_at), tmp_path / "parts", say=quiet)
    found = latest_checkpoint(tmp_path / "parts")
    assert (found.step if found else 0) == killed_at // 5 * 5
    parts = Regression()
    with torch.no_grad():
        # What is not in the checkpoint must not matter.
        if found:
            parts.trained.weight.fill_(99.0)
    assert run_stage(parts, tmp_path / "parts", resume=True, say=quiet) == history
    assert min(parts.seen) == killed_at // 5 * 5
    assert torch.equal(weights(whole), weights(parts))
    ends = [latest_checkpoint(tmp_path / name) for name in ("whole", "parts")]
    assert ends[0].told == ends[1].told
    states = [end.read() for end in ends]
    kinds = ("weights", "average", "exp_avg", "exp_avg_sq")
    assert states[0].keys() == states[1].keys() == {f"{kind}.{n}" for kind in kinds for n in ("weight", "bias")}
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    # Nothing is logged twice, nor forgotten.
    assert logged(tmp_path / "parts") == logged(tmp_path / "whole")


@pytest.mark.parametrize("stride", [1, 4])
def test_a_run_that_is_asked_to_end_saves_first_and_goes_on_bit_for_bit(tmp_path, stride):
    class Asked(Regression):
        def loss(self, batch, step):
            if step == 9:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().loss(batch, step)

    before = signal.getsignal(signal.SIGTERM)
    whole, parts = Regression(), Asked()
    whole.stride = parts.stride = stride
    history = run_stage(whole, tmp_path / "whole", say=quiet)
    saved = 10 if stride == 1 else 12
    with pytest.raises(EndedError, match=f"saved at step {saved}; --resume continues it"):
        run_stage(parts, tmp_path / "parts", say=quiet)
    assert signal.getsignal(signal.SIGTERM) is before
    assert latest_checkpoint(tmp_path / "parts").step == saved
    again = Regression()
    again.stride = stride
    assert run_stage(again, tmp_path / "parts", resume=True, say=quiet) == history
    assert torch.equal(weights(whole), weights(again))


@pytest.mark.parametrize(("better", "steps"), [("lower", [5, 15]), ("higher", [5, 10, 20])])
def test_the_best_validation_is_kept(tmp_path, better, steps):
    """By the stage's own measure; the start is none of them, and what is no number never is."""

    class Measured(Regression):
        best = ("error", better)

        def validate(self):
            return {"error": next(self.errors)}

    stage = Measured()
    stage.errors = iter([0.0, 3.0, 4.0, 2.0, 5.0] if better == "higher" else [0.0, 3.0, math.nan, 2.0, 2.0])
    kept, history = [], []
    history = run_stage(stage, tmp_path, keep_best=lambda: kept.append(weights(stage).clone()), say=quiet)
    found = [row["step"] for row in history[1:]]
    assert found == [5, 10, 15, 20]
    assert len(kept) == len(steps)
    assert not torch.equal(kept[0], kept[-1])


def test_the_averaged_weights_are_what_is_validated_and_left(tmp_path):
    config = dataclasses.replace(CONFIG, steps=12, checkpoint_every=1, keep=12, validate_every=12)
    stage = Regression(config)
    average = weights(stage)
    history = run_stage(stage, tmp_path, say=quiet)
    for step in range(12):
        raw = open_checkpoint(tmp_path / "checkpoints" / f"step-{step + 1:08d}").read()
        decay = min(0.9, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * torch.cat([raw["weights.weight"].flatten(), raw["weights.bias"]])
    assert torch.allclose(weights(stage), average, atol=1e-6)
    assert history[-1]["norm"] == pytest.approx(float(average[:3].norm()), rel=1e-5)


def test_without_averaging_the_last_weights_are_left(tmp_path):
    stage = Regression(dataclasses.replace(CONFIG, ema=0.0))
    run_stage(stage, tmp_path, say=quiet)
    assert torch.equal(stage.trained.weight, latest_checkpoint(tmp_path).read()["weights.weight"])


@pytest.mark.parametrize("fault", ["bad", "empty", "singular"])
def test_a_bad_step_is_skipped_and_counted(tmp_path, fault):
    config = dataclasses.replace(CONFIG, steps=6, ema=0.0, checkpoint_every=1, keep=6, max_bad_steps=3)
    said = []
    stage = Regression(config, **{fault: (2, 3)})
    run_stage(stage, tmp_path, say=said.append)
    found = [open_checkpoint(folder) for folder in sorted((tmp_path / "checkpoints").iterdir())]
    values = [checkpoint.read()["weights.weight"] for checkpoint in found]
    same = [torch.equal(a, b) for a, b in itertools.pairwise(values)]
    # values[i] is after step i: steps 2 and 3 changed nothing, the others did.
    assert same == [False, True, True, False, False]
    assert [checkpoint.told["bad"] for checkpoint in found] == [0, 0, 1, 2, 0, 0]
    assert any("step 3 skipped" in text and "2 in a row" in text for text in said)
    assert torch.isfinite(stage.trained.weight).all()
    kept = [json.loads(line) for line in (tmp_path / "bad-steps.jsonl").read_text().splitlines()]
    assert [row["step"] for row in kept] == [2, 3]
    assert all(row["reason"] for row in kept)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_skipped_step_names_the_clips_that_it_read(tmp_path, wrapped):
    class Named(Regression):
        def batches(self, start):
            for number, rows in enumerate(super().batches(start)):
                batch = {"rows": rows, "key": [f"clip-{number}-{i}" for i in range(2)]}
                yield ("rollouts", batch) if wrapped else batch

        def loss(self, batch, step):
            return super().loss((batch[1] if wrapped else batch)["rows"], step)

    run_stage(Named(dataclasses.replace(CONFIG, accumulate=2), bad=(4,)), tmp_path, say=quiet)
    [row] = [json.loads(line) for line in (tmp_path / "bad-steps.jsonl").read_text().splitlines()]
    assert row["clips"] == ["clip-8-0", "clip-8-1", "clip-9-0", "clip-9-1"]


@pytest.mark.parametrize("fault", ["bad", "empty"])
def test_too_many_bad_steps_stop_the_run(tmp_path, fault):
    stage = Regression(dataclasses.replace(CONFIG, max_bad_steps=4), **{fault: range(7, 100)})
    with pytest.raises(WorkError, match=r"4 bad steps in a row, stopped at step 10.*bad-steps\.jsonl"):
        run_stage(stage, tmp_path, say=quiet)
    assert latest_checkpoint(tmp_path).step == 10


def test_gradients_are_clipped_to_their_norm(tmp_path):
    stage = Regression(dataclasses.replace(CONFIG, steps=1, grad_clip=0.5), noise=0.0)
    run_stage(stage, tmp_path, say=quiet)
    norm = torch.cat([p.grad.flatten() for p in stage.trained.parameters()]).norm()
    told = next(line["grad_norm_backbone"] for line in logged(tmp_path) if line["kind"] == "train")
    assert told > 1
    assert float(norm) == pytest.approx(0.5, rel=1e-4)


class TwoParts(Regression):
    """A backbone and heads that add up, the heads with a hundred times the gradient."""

    def __init__(self, config):
        super().__init__(config, noise=0.0)
        self.trained = nn.ModuleDict({"backbone": nn.Linear(3, 1), "heads": nn.Linear(3, 1)})

    def loss(self, batch, step):
        parts = self.trained["backbone"](batch) + 100 * self.trained["heads"](batch)
        return (parts - batch.sum(1, keepdim=True)).square().mean(), {}

    def validate(self):
        return {"one": 1.0}


def test_backbone_and_heads_are_clipped_and_paced_apart(tmp_path):
    config = dataclasses.replace(CONFIG, steps=1, grad_clip=0.5, backbone_rate=0.1, weight_decay=0.0, ema=0)
    stage = TwoParts(config)
    before = {name: part.weight.detach().clone() for name, part in stage.trained.items()}
    run_stage(stage, tmp_path, say=quiet)
    told = next(line for line in logged(tmp_path) if line["kind"] == "train")
    assert told["grad_norm_heads"] > 50 * told["grad_norm_backbone"] > 50 * 0.5
    for part in stage.trained.values():
        norm = torch.cat([p.grad.flatten() for p in part.parameters()]).norm()
        assert float(norm) == pytest.approx(0.5, rel=1e-4)
    # Adam's first step is the rate itself, whatever the gradient.
    moved = {
        name: float((part.weight.detach() - before[name]).abs().max()) for name, part in stage.trained.items()
    }
    assert moved["backbone"] == pytest.approx(0.1 * moved["heads"], rel=1e-3)


def test_a_stopped_run_stays_stopped(tmp_path):
    first = Regression(stop_at=10)
    history = run_stage(first, tmp_path, say=quiet)
    assert history[-1]["step"] == 10
    assert max(first.seen) == 9
    again = Regression(stop_at=10)
    assert run_stage(again, tmp_path, resume=True, say=quiet) == history
    assert not again.seen
    assert torch.equal(weights(again), weights(first))


def test_checkpoints_fall_on_multiples_of_the_stride(tmp_path):
    stage = Regression(dataclasses.replace(CONFIG, steps=14, keep=9))
    stage.stride = 4
    run_stage(stage, tmp_path, say=quiet)
    assert sorted(int(p.name[5:]) for p in (tmp_path / "checkpoints").iterdir()) == [8, 14]


def test_the_rate_rises_then_falls_to_a_twentieth():
    config = TrainConfig(steps=100, warmup=10)
    rates = [rate_at(step, config) for step in range(101)]
    assert rates[0] == pytest.approx(0.1, rel=1e-3)
    assert np.argmax(rates) in (9, 10)
    assert rates[100] == pytest.approx(0.05)
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert {rate_at(s, dataclasses.replace(config, schedule="constant")) for s in range(10, 100)} == {1.0}


def test_autocast_is_what_was_asked_for():
    device = torch.device("cpu")
    x = torch.randn(2, 2)
    for precision, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        with autocast(precision, device):
            assert (x @ x).dtype == kind
