"""What a recipe is: the model to start from, and the settings of every stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from phys4d.backbones.pipeline import PipelineBackbone
from phys4d.errors import InputError, Registry, unknown_name
from phys4d.model import WorldModel
from phys4d.storage import find_model
from phys4d.training.base import BaseConfig
from phys4d.training.config import TrainConfig
from phys4d.training.estimate import Estimate, estimate, of_folder
from phys4d.training.finetune import FinetuneConfig
from phys4d.training.pretrain import PretrainConfig
from phys4d.training.reinforce import ReinforceConfig


@dataclasses.dataclass(frozen=True)
class Window:
    """size: height and width [px]. frames: of a window. fps: frame rate [1/s]."""

    size: tuple[int, int]
    frames: int
    fps: float


@dataclasses.dataclass(frozen=True)
class Recipe:
    """start: makes the untrained model for `base`. init: model from which the later stages start by default.

    scenes: rows of the catalogue that the shipped models of this recipe were trained on. windows: at which each
    stage works, where the backbone lets one choose; with data of another size the data decide. published: makes
    the backbone of `init` without its weights (on the meta device), for estimates.
    """

    start: Callable[[], WorldModel]
    init: str | None
    base: BaseConfig
    pretrain: PretrainConfig
    finetune: FinetuneConfig
    reinforce: ReinforceConfig
    scenes: tuple[str, ...] = ()
    windows: Mapping[str, Window] = dataclasses.field(default_factory=dict)
    published: Callable[[], PipelineBackbone] | None = None

    def settings(self, stage: str) -> TrainConfig:
        """The settings of a stage. Raises InputError for an unknown one, naming the nearest."""
        stages = ("base", "pretrain", "finetune", "reinforce")
        if stage not in stages:
            raise InputError(unknown_name("stage", stage, stages))
        return getattr(self, stage)

    def model(self, stage: str, init: str | None) -> WorldModel:
        """The model that a stage starts from: `init`, or the recipe's own."""
        if init is None and (stage == "base" or self.init is None):
            return self.start()
        model = WorldModel.from_pretrained(init or str(self.init))
        window = self.windows.get(stage)
        if window is not None:
            model.backbone.work_at(window.size, window.frames, window.fps)
        return model

    def estimate(self, stage: str, config: TrainConfig, init: str | None, devices: int = 1) -> Estimate:
        """What a step of a stage costs; no weights are read. init: a folder, of whose network it is told.

        Raises InputError for a recipe of a model that is too small for that to be a question.
        """
        if self.published is None:
            raise InputError("only recipes of large models are estimated; give --data to try a step of this one")
        backbone = self.published() if init is None else of_folder(find_model(init))
        window = self.windows[stage if stage in self.windows else "finetune"]
        return estimate(config, backbone, window.size, window.frames, devices)


recipes: Registry[Callable[[], Recipe]] = Registry("recipe")
"""Recipes by name: a recipe is a function that returns a config."""
