"""Settings, and how `--set` changes them."""

import dataclasses

import pytest

from phys4d.errors import InputError
from phys4d.training.base import BaseConfig
from phys4d.training.config import TrainConfig, override
from phys4d.training.finetune import FinetuneConfig
from phys4d.training.reinforce import ReinforceConfig


def test_assignments_take_the_type_of_their_field():
    config = override(BaseConfig(), ["steps=12", "lr=2e-4", "flip=false", "schedule=constant", " ema = 0 "])
    assert (config.steps, config.lr, config.flip, config.schedule, config.ema) == (
        12,
        2e-4,
        False,
        "constant",
        0.0,
    )
    assert type(config.ema) is float
    assert dataclasses.replace(config, steps=1000, lr=3e-4, flip=True, schedule="cosine", ema=0.99) == BaseConfig()


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(InputError, match=r"unknown setting of BaseConfig 'batchsize'\. Did you mean 'batch_size'"):
        override(BaseConfig(), ["batchsize=4"])
    # What belongs to another stage is unknown here.
    with pytest.raises(InputError, match="rank"):
        override(BaseConfig(), ["rank=4"])


@pytest.mark.parametrize(
    "text", ["steps=1.5", "steps=many", "lr=fast", "lr=nan", "lr=inf", "flip=perhaps", "cache=2", "steps="]
)
def test_a_value_of_another_type_is_refused_with_its_key(text):
    key, _, value = text.partition("=")
    with pytest.raises(InputError, match=f"--set {key}={value}: not a value of type (int|float|bool)"):
        override(BaseConfig(), [text])


def test_an_assignment_needs_an_equals_sign():
    with pytest.raises(InputError, match="key=value"):
        override(BaseConfig(), ["steps"])


@pytest.mark.parametrize(
    ("kind", "changes", "told"),
    [
        (TrainConfig, {"batch_size": 0}, "batch_size must be at least 1, not 0"),
        (TrainConfig, {"validation_worlds": 0}, "validation_worlds"),
        (TrainConfig, {"max_bad_steps": 0}, "max_bad_steps"),
        (TrainConfig, {"steps": -1}, "steps must be at least 0"),
        (TrainConfig, {"lr": 0.0}, "lr"),
        (TrainConfig, {"grad_clip": 0.0}, "grad_clip"),
        (TrainConfig, {"ema": 1.0}, "ema"),
        (TrainConfig, {"schedule": "cosin"}, "Did you mean 'cosine'"),
        (FinetuneConfig, {"objective": "physic"}, "Did you mean 'physics'"),
        (ReinforceConfig, {"objective": "kl-mask"}, "Did you mean 'kl_mask'"),
        (ReinforceConfig, {"batch_size": 1}, "batch_size must be at least 2"),
        (ReinforceConfig, {"updates": 0}, "updates"),
        (ReinforceConfig, {"window": 6}, "window of 6"),
        (ReinforceConfig, {"eta": 0.0}, "eta"),
    ],
)
def test_impossible_settings_are_refused(kind, changes, told):
    with pytest.raises(InputError, match=told):
        kind(**changes)


def test_every_stage_says_what_it_reads():
    assert BaseConfig().fields == ("rgb",)
    assert FinetuneConfig(objective="control").fields == ("rgb",)
    assert set(FinetuneConfig().fields) == {"rgb", "depth", "flow", "scene_flow", "visible", "camera"}
    assert set(ReinforceConfig().fields) > set(FinetuneConfig().fields)
