"""Stage 3: what is frozen, what gets which gradient, how rollouts are reused, counted and continued."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from brightness import painter, unprepared

from phys4d.backbones import adapters
from phys4d.errors import InputError
from phys4d.training import scenes
from phys4d.training.checkpoint import latest_checkpoint
from phys4d.training.loop import run_stage, seed_step
from phys4d.training.reinforce import ReinforceStage


def quiet(_):
    pass


def logged(run, kind="train"):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    timed = ("clips_per_second", "scene_wait_seconds")
    return [{k: v for k, v in x.items() if k not in timed} for x in lines if x["kind"] == kind]


def state_of(module):
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(("objective", "guidance"), [("kl_mask", 1.0), ("awm", 1.0), ("kl_mask", 3.0)])
def test_every_rollout_is_used_so_often_and_moves_only_after_the_first(
    colour_stage, tmp_path, objective, guidance
):
    stage = colour_stage(objective=objective, guidance=guidance, accumulate=2, lr=1e-2)
    film = np.random.default_rng(0).integers(0, 256, (1, 5, 64, 64, 3), dtype=np.uint8)
    start, seen = state_of(stage.model), ReinforceStage.lift(stage, film)[0]
    run_stage(stage, tmp_path, say=quiet)
    rows = logged(tmp_path)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["masked"] == 0 for row in rows[::2]] == [True] * 3
    if objective != "awm":
        assert [row["moved"] for row in rows[::2]] == [0.0] * 3
        assert all(row["moved"] > 0 for row in rows[1::2])
    rewards = [row["reward"] for row in rows]
    assert rewards[::2] == rewards[1::2]
    assert len(set(rewards)) == 3
    # The instrument is the model that stage 3 began with, and no part of the policy.
    again = ReinforceStage.lift(stage, film)[0]
    assert np.array_equal(again.depth, seen.depth)
    assert np.array_equal(again.flow, seen.flow)
    assert adapters.active_adapters(stage.model.backbone)[-1] == stage.adapter
    mine = {p.data_ptr() for p in stage.model.heads.parameters()}
    assert not mine & {p.data_ptr() for p in stage.lifter.heads.parameters()}
    assert not any(p.requires_grad for p in stage.lifter.heads.parameters())
    # Of the policy the new adapter and the heads have changed.
    now = state_of(stage.model)
    changed = {name for name in now if not torch.equal(now[name], start[name])}
    assert {name.partition(".")[0] for name in changed} == {"backbone", "heads"}
    assert all(".reinforce." in name for name in changed if name.startswith("backbone"))


def gradients(stage, batch):
    stage.model.zero_grad(set_to_none=True)
    seed_step(0, 0)
    loss, _ = stage.loss(batch, 0)
    loss.backward()
    found = {"adapter": 0.0, "heads": 0.0}
    for name, parameter in stage.model.named_parameters():
        if parameter.grad is not None:
            kind = "adapter" if ".reinforce." in name else "heads"
            assert kind == "adapter" or name.startswith("heads.")
            found[kind] = max(found[kind], float(parameter.grad.abs().max()))
    return found


def test_the_heads_learn_from_the_anchor_and_do_not_pull_at_the_adapter(colour_stage):
    stage = colour_stage(anchor_share=0.0, beta=0.0)
    sample, clips = next(stage.batches(0))
    silent = dataclasses.replace(sample, advantage=torch.zeros(2))
    found = gradients(stage, (silent, clips))
    assert found["heads"] > 0
    assert found["adapter"] == 0
    alone = gradients(stage, (sample, clips))["adapter"]
    assert alone > 0
    stage.config = dataclasses.replace(stage.config, anchor_share=1.0)
    assert gradients(stage, (silent, clips))["adapter"] == 0
    assert gradients(stage, (sample, clips))["adapter"] != alone


def test_permuting_deals_the_same_rewards_anew_within_each_group(colour_stage):
    dealt = []
    for permute in (False, True):
        stage = colour_stage(batch_size=6, accumulate=2, permute=permute)
        samples = stage.rollouts.make(stage.source.batch(0)[0], 0)
        dealt.append(torch.stack([sample.advantage for sample in samples]))
    assert not torch.equal(*dealt)
    assert torch.equal(*(rows.sort(dim=1).values for rows in dealt))
    assert torch.allclose(dealt[0].sum(dim=1), torch.zeros(2), atol=1e-4)
    # Brighter is better.
    stage = colour_stage(batch_size=6)
    (sample,) = stage.rollouts.make(stage.source.batch(0)[0], 0)
    seen = (255 * stage.model.backbone.decode(sample.rollout.latents)).round()
    bright = seen[:, 1:, :8, :8].mean(dim=(1, 2, 3, 4))
    assert sample.advantage.argmax() == bright.argmax()
    assert sample.advantage.argmin() == bright.argmin()


def test_scenes_that_cannot_be_rewarded_are_replaced_and_counted(colour_stage, monkeypatch):
    stage = colour_stage(accumulate=2)
    order = [scene.truth.meta["scene_id"] for scene in stage.source.batch(0)[0]]

    def fussy(truth, lift):
        dull = truth.meta["scene_id"] == order[0]
        return dataclasses.replace(unprepared(truth, lift), dropped="dull" if dull else "")

    monkeypatch.setattr(scenes, "prepare_scene", fussy)
    found, dropped = stage.source.batch(0)
    assert found[0].truth.meta["scene_id"] == order[1]
    assert len(found) == 2
    assert dropped == 1
    sample, _ = next(stage.batches(0))
    assert sample.told["dropped_scenes"] == 1
    monkeypatch.setattr(
        scenes, "prepare_scene", lambda *given: dataclasses.replace(unprepared(*given), dropped="dull")
    )
    with pytest.raises(InputError, match="only 0 of 5 scenes can be rewarded"):
        stage.source.batch(0)


def test_groups_without_variance_teach_nothing_and_are_counted(colour_stage):
    stage = colour_stage(accumulate=2)
    stage.rollouts.score = lambda world, scene: type("Parts", (), {"reward": 0.5})
    for sample in stage.rollouts.make(stage.source.batch(0)[0], 0):
        assert sample.told["silent_groups"] == 2
        assert torch.equal(sample.advantage, torch.zeros(2))


def test_a_continued_run_is_bit_for_bit_the_uninterrupted_one(colour_stage, tmp_path):
    whole = colour_stage()
    run_stage(whole, tmp_path / "whole", say=quiet)
    killed = colour_stage()
    usual = killed.loss

    def dies(batch, step):
        if step == 3:
            raise KeyboardInterrupt
        return usual(batch, step)

    killed.loss = dies
    with pytest.raises(KeyboardInterrupt):
        run_stage(killed, tmp_path / "parts", say=quiet)
    assert latest_checkpoint(tmp_path / "parts").step == 2
    parts = colour_stage()
    run_stage(parts, tmp_path / "parts", resume=True, say=quiet)
    assert same(state_of(whole.model), state_of(parts.model))
    assert logged(tmp_path / "whole") == logged(tmp_path / "parts")


def test_stages_can_follow_each_other(colour_stage):
    model = painter()
    adapters.add_adapter(model.backbone, "reinforce", rank=2, alpha=4.0)
    stage = colour_stage(model)
    assert model.adapters == ["reinforce", stage.adapter]
    trained = {name for name, p in model.backbone.named_parameters() if p.requires_grad}
    assert trained
    assert all(f".{stage.adapter}." in name for name in trained)


def test_a_model_without_heads_is_refused(colour_stage):
    with pytest.raises(InputError, match="run `train finetune` first"):
        colour_stage(painter(heads=False))


def test_an_unknown_reward_names_the_nearest(colour_stage):
    with pytest.raises(InputError, match="Did you mean 'chamfer'"):
        colour_stage(reward="chamfr")
