"""What a step of training costs, before any weight is read: parameters, memory, operations, time.

The network is built without storage (torch's meta device) and run once at its real size: its operations and what
it keeps for the backward pass are counted, not guessed. Left out are the VAE and the text encoder, whose
encodings are stored, and in memory what the allocator loses between blocks.

Operations are those of the model: 2 (forward) and 2 (backward) for each frozen weight, 2 more for each trained
one, and attention; what is computed again to save memory is no work of the model, and comes on top in time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from phys4d.backbones import Condition, adapters
from phys4d.backbones.parts import Parts, is_pipeline
from phys4d.backbones.pipeline import FOLDER, PipelineBackbone, backbone_of
from phys4d.backbones.storage import read_record
from phys4d.errors import InputError
from phys4d.heads import Heads
from phys4d.training.config import TrainConfig
from phys4d.training.finetune import FinetuneConfig
from phys4d.training.pretrain import PretrainConfig
from phys4d.training.reinforce import ReinforceConfig


@dataclasses.dataclass(frozen=True)
class Device:
    """peak: operations a second, dense bfloat16. memory: bytes."""

    peak: float
    memory: float


DEVICES = {
    "A100 80 GB": Device(312e12, 80e9),
    "H100 80 GB": Device(989e12, 80e9),
    "H200 141 GB": Device(989e12, 141e9),
}
"""By their makers' data sheets (NVIDIA A100, H100 SXM, H200 SXM)."""
UTILISATION = 0.35
"""Share of the peak that a well-run step reaches; what times are told at."""
OPTIMIZED = 4 + 4 + 8 + 4
"""Bytes for each trained weight: itself, its gradient, AdamW's two moments, its average; all float32."""


@dataclasses.dataclass(frozen=True)
class Pass:
    """What one clip costs in one pass of the network.

    linear, attention: operations, forward. inputs: bytes that are kept for the backward pass, where that is only
    the layers' inputs. layer: bytes of what one layer keeps, which is computed again when its turn comes.
    """

    linear: float
    attention: float
    inputs: float
    layer: float


@dataclasses.dataclass(frozen=True)
class Estimate:
    """operations: of a step, on all devices together. again: of those that recomputing adds. memory: bytes by what
    holds them, on each device."""

    parameters: int
    trainable: int
    heads: int
    tokens: int
    clips: int
    operations: float
    again: float
    memory: dict[str, float]

    def lines(self, devices: int) -> list[str]:
        """The estimate in words."""
        total = sum(self.memory.values())
        told = [
            f"parameters  {self.parameters / 1e9:.2f} B in the backbone, {self.trainable / 1e6:.1f} M trained "
            f"({self.heads / 1e6:.1f} M of them in the heads)",
            f"tokens      {self.tokens} a clip, {self.clips} clips a step on {_counted(devices, 'device')}",
            f"memory      {total / 1e9:.0f} GB a device: "
            + ", ".join(f"{name} {size / 1e9:.1f}" for name, size in self.memory.items()),
            f"operations  {self.operations / 1e15:.2f} PFLOP a step, and {self.again / 1e15:.2f} done again",
        ]
        for name, device in DEVICES.items():
            seconds = (self.operations + self.again) / (UTILISATION * device.peak * devices)
            full = "; does not fit: lower batch_size or the window" if total > 0.95 * device.memory else ""
            told.append(
                f"{devices} x {name:12} {seconds:.1f} s a step, {1000 * seconds / 3600:.1f} h for 1,000 steps at "
                f"{UTILISATION:.0%} of the peak{full}"
            )
        return told


def estimate(
    config: TrainConfig,
    backbone: PipelineBackbone,
    size: tuple[int, int],
    frames: int,
    devices: int = 1,
) -> Estimate:
    """What a step costs on clips of this size [px] and length.

    backbone: built on the meta device. It is given an adapter where the stage trains one. devices: over which
    weights are sharded, and each of which takes `batch_size` clips.

    Raises InputError for a stage that is not for pipelines, and what the backbone cannot make.
    """
    backbone.work_at(size, frames, backbone.fps)
    one = cost_of(backbone)
    heads = _heads(config, backbone)
    reading = cost_of_heads(heads, backbone)
    trained_backbone = _trained(config, backbone)
    trained_heads = sum(p.numel() for p in heads.parameters())
    frozen = sum(p.numel() for p in backbone.parameters()) - trained_backbone
    forward = one.linear + one.attention
    # Gradients with respect to the activations: as much as forward; of attention's products twice as much.
    backward = one.linear * (1 + 2 * trained_backbone / max(frozen, 1)) + 2 * one.attention
    read = 3 * (reading.linear + reading.attention)
    clips = config.batch_size * config.accumulate * devices
    if isinstance(config, PretrainConfig):
        operations, again, at_once = clips * (forward + read), 0.0, config.batch_size * reading.inputs
    elif isinstance(config, FinetuneConfig):
        passes = 2 if config.objective == "physics" else 1
        operations = clips * (passes * (forward + backward) + (read if passes == 2 else 0))
        again, at_once = clips * passes * forward, passes * one.inputs + one.layer
        at_once = config.batch_size * (at_once + (reading.inputs if passes == 2 else 0))
    elif isinstance(config, ReinforceConfig):
        guided = 2 if config.guidance != 1 else 1
        rollouts = clips * forward * (guided * config.sampling_steps + 1) / config.updates
        replay = clips * config.window * guided * (2 * forward + backward)
        anchors = config.anchor_clips * config.accumulate * devices
        operations = rollouts + replay + anchors * (2 * forward + backward + read)
        again = clips * config.window * guided * forward + anchors * forward
        at_once = config.batch_size * (config.window * guided * one.inputs + one.layer)
        at_once += config.anchor_clips * (one.inputs + reading.inputs)
    else:
        raise InputError(
            "the base stage of a pipeline is its public checkpoint; estimate pretrain, finetune or reinforce"
        )
    memory = {
        "frozen weights": 2.0 * frozen / devices,
        "trained weights": OPTIMIZED * float(trained_backbone + trained_heads) / devices,
        "activations": at_once,
    }
    return Estimate(
        parameters=frozen,
        trainable=trained_backbone + trained_heads,
        heads=trained_heads,
        tokens=_tokens(backbone),
        clips=clips,
        operations=operations,
        again=again,
        memory=memory,
    )


def without_storage(
    kind: type[PipelineBackbone],
    parts: Mapping[str, Any],
    size: tuple[int, int] | None = None,
    frames: int | None = None,
    fps: float | None = None,
) -> PipelineBackbone:
    """A backbone whose weights are shapes alone. parts: see `Parts`."""
    made = Parts(parts["pipeline"], parts["specs"], parts.get("options"), device="meta")
    return kind(parts=made, size=size, frames=frames, fps=fps).to(torch.bfloat16)


def of_folder(folder: Path) -> PipelineBackbone:
    """The same, by the configurations of a diffusers folder or of a model that refers to one.

    Raises InputError for a model of another kind.
    """
    if not is_pipeline(folder):
        base = read_record(folder / "config.json").get("base")
        inner = Path(base) if base else folder / FOLDER
        if not is_pipeline(inner):
            raise InputError(f"{folder}: is no model on a diffusers pipeline, and too small to be estimated")
        folder = inner
    parts = Parts.read(folder)
    return without_storage(backbone_of(folder), parts.to_dict())


def cost_of(backbone: PipelineBackbone) -> Pass:
    """One pass of one clip through a backbone on the meta device, at its own window."""
    x, t, condition = example(backbone)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        backbone(x, t, condition)
    linear, attention = _parted(counted)
    layers = len(backbone.blocks_of(backbone.transformer))
    backbone.checkpoint_activations(False)
    tables = {_tokens(backbone) + more for more in (0, backbone.text_length)} | {backbone.text_length}
    kept = _kept_for_backward(lambda: backbone(x.requires_grad_(), t, condition), tables)
    return Pass(linear, attention, layers * _tokens(backbone) * backbone.width * 2.0, kept / layers)


def cost_of_heads(heads: Heads, backbone: PipelineBackbone) -> Pass:
    """One reading of one clip's features."""
    x, t, _ = example(backbone)
    grid = [n // p for n, p in zip(x.shape[2:], backbone.patch)]
    features = [torch.empty(1, *grid, dim, device="meta") for dim in backbone.feature_dims]
    latents = backbone.unpadded(x)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        heads(features, latents, t, backbone.most_frames, backbone.size)
    linear, attention = _parted(counted)
    chunk = heads.chunk_of(backbone.size)
    kept = _kept_for_backward(lambda: heads(features, latents, t, backbone.most_frames, backbone.size, chunk))
    return Pass(linear, attention, kept, 0.0)


def example(backbone: PipelineBackbone) -> tuple[Tensor, Tensor, Condition]:
    """Latents, time and condition of one clip, on the meta device."""
    latents = 1 + (backbone.most_frames - 1) // backbone.latent_stride
    latents += -latents % backbone.patch[0]
    stride = backbone.spatial_multiple // backbone.patch[1]
    shape = (1, backbone.latent_channels, latents, backbone.size[0] // stride, backbone.size[1] // stride)
    x = torch.empty(shape, device="meta")
    known = torch.zeros(1, 1, latents, 1, 1, dtype=torch.bool, device="meta")
    text = torch.empty(1, backbone.text_length, backbone.text_width, device="meta")
    extra = {name: torch.empty(1, *more, device="meta") for name, more in backbone.extra_shapes(shape[2:]).items()}
    return x, torch.empty(1, device="meta"), Condition(text, x, known, extra)


def _heads(config: TrainConfig, backbone: PipelineBackbone) -> Heads:
    width = getattr(config, "head_width", 32)
    with torch.device("meta"):
        return Heads(backbone.feature_dims, backbone.latent_channels, width=width)


def _trained(config: TrainConfig, backbone: PipelineBackbone) -> int:
    """Weights of the backbone that the stage trains; its adapter is put on."""
    backbone.requires_grad_(False)
    if isinstance(config, FinetuneConfig | ReinforceConfig) and getattr(config, "tuned", "adapter") == "adapter":
        with torch.device("meta"):
            adapters.add_adapter(backbone, "estimated", rank=config.rank, alpha=config.alpha)
    elif getattr(config, "tuned", "") == "full":
        backbone.requires_grad_(True)
    return sum(p.numel() for p in backbone.parameters() if p.requires_grad)


def _parted(counted: FlopCounterMode) -> tuple[float, float]:
    """(products with weights, products of attention)."""
    by_kind = {str(kind): float(count) for kind, count in counted.flop_counts.get("Global", {}).items()}
    attention = sum(n for kind, n in by_kind.items() if "bmm" in kind or "attention" in kind)
    return sum(by_kind.values()) - attention, attention


def _kept_for_backward(run: Any, tables: Collection[int] = ()) -> float:
    """Bytes of the tensors that autograd keeps, other than weights. tables: edges of attention's tables of all
    pairs of tokens, which are left out: fused attention never stores them."""
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        table = value.ndim > 2 and value.shape[-1] in tables and value.shape[-2] in tables
        if not isinstance(value, nn.Parameter) and not table:
            storage = value.untyped_storage()
            kept[storage._cdata] = storage.nbytes()
        return value

    held: Sequence[Any] = ()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        held = (run(),)
    del held
    return float(sum(kept.values()))


def _tokens(backbone: PipelineBackbone) -> int:
    x, _, _ = example(backbone)
    t, h, w = (n // p for n, p in zip(x.shape[2:], backbone.patch))
    return t * h * w


def _counted(count: int, name: str) -> str:
    return f"{count} {name}" + ("s" if count != 1 else "")
