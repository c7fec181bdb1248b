"""Recipes: every stage has settings, and the same recipe always starts from the same model."""

import pytest
import torch

from phys4d.errors import InputError
from phys4d.recipes import recipes
from phys4d.training.run import STAGES


@pytest.mark.parametrize("name", list(recipes))
def test_every_stage_has_settings_of_its_kind(name):
    recipe = recipes[name]()
    for stage, (_, kind) in STAGES.items():
        assert type(recipe.settings(stage)) is kind
    with pytest.raises(InputError, match="Did you mean 'base'"):
        recipe.settings("bas")


LARGE = [name for name in recipes if recipes[name]().published is not None]


@pytest.mark.parametrize("name", [name for name in recipes if name not in LARGE])
def test_a_recipe_starts_from_the_same_weights_whatever_was_drawn_before(name):
    # Or --resume would take its own run for another one.
    torch.manual_seed(1)
    first = recipes[name]().start().state_dict()
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn)  # and it leaves the generator as it was
    second = recipes[name]().start().state_dict()
    assert all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize("name", LARGE)
def test_the_base_of_a_large_model_is_a_public_checkpoint(name):
    recipe = recipes[name]()
    with pytest.raises(InputError, match="the base of this recipe is a public checkpoint: give its folder"):
        recipe.model("base", None)
    assert set(recipe.windows) == {"pretrain", "finetune", "reinforce"}
    # Those are windows that it can make; its network is built without storage for that.
    backbone = recipe.published()
    for window in recipe.windows.values():
        backbone.work_at(window.size, window.frames, window.fps)


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'debug'"):
        recipes["debgu"]


def test_the_debug_recipe_needs_no_shipped_model():
    recipe = recipes["debug"]()
    assert all(recipe.model(stage, None).heads is not None for stage in STAGES)
    with pytest.raises(InputError, match="unknown model"):
        recipe.model("base", "no-such-model")
