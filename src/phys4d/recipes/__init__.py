"""Recipes: which model, and with which settings each stage is run."""

from phys4d.recipes import debug, nano, proof, video
from phys4d.recipes.recipe import Recipe, recipes

__all__ = ["Recipe", "debug", "nano", "proof", "recipes", "video"]
