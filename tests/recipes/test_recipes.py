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


@pytest.mark.parametrize("name", list(recipes))
def test_a_recipe_starts_from_the_same_weights_whatever_was_drawn_before(name):
    # Or --resume would take its own run for another one.
    torch.manual_seed(1)
    first = recipes[name]().start().state_dict()
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn)  # and it leaves the generator as it was
    second = recipes[name]().start().state_dict()
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'debug'"):
        recipes["debgu"]


def test_the_debug_recipe_needs_no_shipped_model():
    recipe = recipes["debug"]()
    assert all(recipe.model(stage, None).heads is not None for stage in STAGES)
    with pytest.raises(InputError, match="unknown model"):
        recipe.model("base", "no-such-model")
