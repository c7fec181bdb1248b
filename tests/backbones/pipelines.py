"""Folders of tiny diffusers pipelines, written by diffusers itself."""

from pathlib import Path
from typing import Any

import torch

from phys4d.backbones import backbones
from phys4d.backbones.parts import diffusers


def pipeline(name: str, variant: str, *, euler: bool = False) -> tuple[Any, Any]:
    """A diffusers pipeline of random weights, always the same, and the backbone whose parts it shares.

    euler: its scheduler is the first-order one, as our sampler is.
    """
    torch.manual_seed(0)
    backbone = backbones[name].tiny(variant).eval()
    parts = dict(backbone.named_children())
    parts |= {part: backbone.parts.get(part) for part in backbone.parts.specs if part not in parts}
    if euler:
        parts["scheduler"] = diffusers().FlowMatchEulerDiscreteScheduler(shift=backbone.shift)
    kind = getattr(diffusers(), backbone.parts.pipeline)
    made = kind(**parts, **backbone.parts.options)
    made.set_progress_bar_config(disable=True)
    return made, backbone


def pipeline_folder(folder: Path, name: str, variant: str, **options: Any) -> Path:
    """The folder that diffusers writes of it."""
    pipeline(name, variant, **options)[0].save_pretrained(folder)
    return folder
