"""Low-rank adapters (LoRA, arXiv 2106.09685) on a backbone, through peft.

Several may lie on one backbone and add up: W + sum_i B_i A_i alpha_i / r_i. Stage 2 trains one, stage 3 a second
one on top; the policy with the second one off is stage 3's reference.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from phys4d.backbones.backbone import Backbone
from phys4d.errors import InputError, unknown_name

NAME = re.compile(r"\w+")
"""An adapter's name is part of the names of its weights and of its file."""


def add_adapter(backbone: Backbone, name: str, *, rank: int, alpha: float) -> None:
    """Put a fresh adapter, which changes nothing yet, on the backbone's `lora_targets`, on top of those it has.

    All adapters are on afterwards, and only its weights require gradients. Raises InputError where there is one of
    that name, and for a name or a rank that cannot be.
    """
    from peft import LoraConfig, inject_adapter_in_model

    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InputError(f"an adapter's name is made of letters, digits and _, not {name!r}")
    if name in adapter_names(backbone):
        raise InputError(f"this model already has an adapter {name!r}; give the new one another name")
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise InputError(f"an adapter's rank is a whole number from 1 up, not {rank!r}")
    if not isinstance(alpha, int | float) or not 0 < alpha < float("inf"):
        raise InputError(f"an adapter's alpha is a positive number, not {alpha!r}")
    scale: Any = alpha  # peft's annotation says int; it only divides it by the rank.
    config = LoraConfig(r=rank, lora_alpha=scale, target_modules=list(backbone.lora_targets))
    with warnings.catch_warnings():
        # peft warns that a second adapter is added to a model that has one, which is what is wanted.
        warnings.simplefilter("ignore", UserWarning)
        inject_adapter_in_model(config, backbone, adapter_name=name)
    for key, parameter in backbone.named_parameters():
        if _belongs(key, name):
            # Steps of training are too small for the half precision that a large backbone may come in.
            parameter.data = parameter.data.float()
    activate(backbone, adapter_names(backbone))
    train_only(backbone, name)


def adapter_names(backbone: Backbone) -> list[str]:
    """The adapters that lie on a backbone, oldest first."""
    for module in adapted(backbone):
        return list(module.lora_A)
    return []


def active_adapters(backbone: Backbone) -> list[str]:
    """The adapters that are switched on."""
    for module in adapted(backbone):
        return [] if module.disable_adapters else list(module.active_adapters)
    return []


def activate(backbone: Backbone, names: Sequence[str]) -> None:
    """Switch exactly these adapters on; which weights require gradients stays as it is.

    Raises InputError for a name that is not there.
    """
    there = adapter_names(backbone)
    for name in names:
        if name not in there:
            raise InputError(unknown_name("adapter", name, there))
    wanted = {n: p.requires_grad for n, p in backbone.named_parameters()}
    for module in adapted(backbone):
        module.enable_adapters(bool(names))
        if names:
            module.set_adapter(list(names))
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(wanted[name])


@contextlib.contextmanager
def without(backbone: Backbone, name: str) -> Iterator[None]:
    """The backbone with one adapter switched off, for as long as this lasts.

    Raises InputError for a name that is not there.
    """
    there = adapter_names(backbone)
    if name not in there:
        raise InputError(unknown_name("adapter", name, there))
    were_on = active_adapters(backbone)
    activate(backbone, [n for n in were_on if n != name])
    try:
        yield
    finally:
        activate(backbone, were_on)


def train_only(backbone: Backbone, name: str) -> None:
    """Require gradients of this adapter's weights and of nothing else in the backbone."""
    for key, parameter in backbone.named_parameters():
        parameter.requires_grad_(_belongs(key, name))


def adapter_state(backbone: Backbone, name: str) -> dict[str, Tensor]:
    """The weights of one adapter by their names in the backbone."""
    return {k: v for k, v in backbone.state_dict().items() if _belongs(k, name)}


def adapted(backbone: nn.Module) -> Iterator[Any]:
    """The layers that adapters lie on."""
    # Asked of the module and not of peft's class: importing peft takes seconds, and most models have no adapter.
    return (module for module in backbone.modules() if hasattr(module, "lora_A"))


def _belongs(key: str, name: str) -> bool:
    return re.search(rf"\.lora_[AB]\.{re.escape(name)}\.", key) is not None
