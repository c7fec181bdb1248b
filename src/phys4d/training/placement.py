"""A model where and how it trains: on which device, and what is sharded, recomputed or compiled.

    torchrun --nproc-per-node 8 -m phys4d train finetune --set fsdp=true gradient_checkpointing=true ...

fsdp (FSDP2, `torch.distributed.fsdp.fully_shard`): every process holds its share of the denoising network, and of
the gradients, moments and averages of its weights; a block is whole only while it works. An adapter that alone is
trained, and the heads, are copied to every process and averaged as without fsdp: they are small beside what they
sit on, and each process can then weigh its own losses by their gradients (`balance.py`). All processes must run
the network equally often, so they validate and generate together.

gradient_checkpointing and compile work on the blocks, too: they are the same many times over, and hold nearly all
of the work.
"""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.utils.checkpoint import checkpoint

from phys4d.backbones import Backbone
from phys4d.backbones.pipeline import PipelineBackbone
from phys4d.errors import InputError
from phys4d.model import WorldModel
from phys4d.training.config import TrainConfig
from phys4d.training.ranks import own_device, rank_and_size

_twins: WeakKeyDictionary[WorldModel, WorldModel] = WeakKeyDictionary()
"""Of each sharded model, the same without weights: those that are put together again need a place."""


def place(model: WorldModel, config: TrainConfig) -> WorldModel:
    """The model, in place, on this process's device, and as the settings say; see the module.

    Called when what learns requires gradients and all adapters are there, and before the model runs.
    """
    networks = denoisers_of(model.backbone)
    blocks = [block for some in networks.values() for block in some]
    twin = _without_weights(model) if sharded(config) else None
    # Pipelines do so from the start.
    if config.gradient_checkpointing and not isinstance(model.backbone, PipelineBackbone):
        for block in blocks:
            block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
    if config.compile:
        for block in blocks:
            block.compile()
    if twin is not None:
        _shard(model.backbone, networks)
        _twins[model] = twin
    return model.to(own_device())


def sharded(config: TrainConfig) -> bool:
    """Whether models are sharded, so that all processes must run them together."""
    return config.fsdp and rank_and_size()[1] > 1


def whole(model: WorldModel) -> WorldModel | None:
    """The model with all of its weights, in the first process; None in the others.

    Of a sharded model, a copy on the CPU; every process must come here.
    """
    first = rank_and_size()[0] == 0
    if model not in _twins:
        return model if first else None
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights = get_model_state_dict(model, options=options)
    if not first:
        return None
    made = copy.deepcopy(_twins[model])
    made.load_state_dict(weights, assign=True)
    made.base, made.meta = model.base, model.meta
    return made.eval()


def denoisers_of(backbone: Backbone) -> dict[nn.Module, list[nn.Module]]:
    """The denoising networks of a backbone, without encoders and decoders, and the repeated blocks of each.

    A network is what the outermost lists of layers belong to that an adapter may change, such as the backbone
    itself; its blocks are of the kind that makes up the longest of them.
    """
    lists = {
        name: part
        for name, part in backbone.named_modules()
        if isinstance(part, nn.ModuleList) and _adaptable(part, backbone.lora_targets)
    }
    outermost = min((name.count(".") for name in lists), default=0)
    longest: dict[nn.Module, nn.ModuleList] = {}
    for name, part in lists.items():
        network = backbone.get_submodule(name.rpartition(".")[0])
        if name.count(".") == outermost and len(part) > len(longest.get(network, ())):
            longest[network] = part
    return {
        network: [part for part in network.modules() if type(part) is type(layers[0])]
        for network, layers in longest.items()
    }


def _adaptable(part: nn.Module, targets: Sequence[str]) -> bool:
    return any(f".{name}".endswith(f".{target}") for name, _ in part.named_modules() for target in targets)


def _shard(backbone: Backbone, networks: dict[nn.Module, list[nn.Module]]) -> None:
    if len(networks) != 1:
        raise InputError(
            f"fsdp shards one denoising network, {backbone.name} has {len(networks)}: of several that each see "
            "some times, every process would need the same at once; leave fsdp out"
        )
    ((network, blocks),) = networks.items()
    learns = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    adapter_alone = all(".lora_" in name for name, _ in learns)
    copied = {p for _, p in learns} if adapter_alone else set()
    mesh = init_device_mesh(own_device().type, (rank_and_size()[1],))
    for part in (*blocks, network):
        # Resharded also where it is the root: or what a validation put together would outlive its weights.
        fully_shard(part, mesh=mesh, reshard_after_forward=True, ignored_params=copied)
    if network is backbone:
        # It may predict on a way of its own, where the hooks of `forward` would not put its weights together.
        register_fsdp_forward_method(backbone, "predict_and_explain")
    # Features may be views of each other; nothing here writes into them.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module", UserWarning)


def _without_weights(model: WorldModel) -> WorldModel:
    """A copy whose parameters have shapes but no values."""
    memo = {
        id(p): nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=False) for p in model.parameters()
    }
    return copy.deepcopy(model, memo)
