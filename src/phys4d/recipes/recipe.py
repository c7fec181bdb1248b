"""What a recipe is: the model to start from, and the settings of every stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from phys4d.errors import InputError, Registry, unknown_name
from phys4d.model import WorldModel
from phys4d.training.base import BaseConfig
from phys4d.training.config import TrainConfig
from phys4d.training.finetune import FinetuneConfig
from phys4d.training.pretrain import PretrainConfig
from phys4d.training.reinforce import ReinforceConfig


@dataclasses.dataclass(frozen=True)
class Recipe:
    """start: makes the untrained model for `base`. init: model from which the later stages start by default.

    scenes: rows of the catalogue that the shipped models of this recipe were trained on.
    """

    start: Callable[[], WorldModel]
    init: str | None
    base: BaseConfig
    pretrain: PretrainConfig
    finetune: FinetuneConfig
    reinforce: ReinforceConfig
    scenes: tuple[str, ...] = ()

    def settings(self, stage: str) -> TrainConfig:
        """The settings of a stage. Raises InputError for an unknown one, naming the nearest."""
        stages = ("base", "pretrain", "finetune", "reinforce")
        if stage not in stages:
            raise InputError(unknown_name("stage", stage, stages))
        return getattr(self, stage)

    def model(self, stage: str, init: str | None) -> WorldModel:
        """The model that a stage starts from: `init`, or the recipe's own."""
        if init is not None:
            return WorldModel.from_pretrained(init)
        if stage == "base" or self.init is None:
            return self.start()
        return WorldModel.from_pretrained(self.init)


recipes: Registry[Callable[[], Recipe]] = Registry("recipe")
"""Recipes by name: a recipe is a function that returns a config."""
