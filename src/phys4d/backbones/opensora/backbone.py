"""`opensora`: Open-Sora 1.2 behind the contract. Rectified flow; given frames are clean latents, told time 0.

The public checkpoints come apart; as folders transformer/ (hpcai-tech/OpenSora-STDiT-v3), vae/ (hpcai-tech/
OpenSora-VAE-v1.2), text_encoder/ and tokenizer/ (T5 v1.1 XXL) beside a model_index.json they are one model.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from phys4d.backbones.backbone import Condition, backbones
from phys4d.backbones.opensora.vae import SDXL
from phys4d.backbones.pipeline import TRAIN_STEPS, PipelineBackbone
from phys4d.backbones.tiny_parts import tiny_opensora

MOST = 33
"""Frames of the longest window: the VAE takes 17 at a time, and in a third such part a latent would again stand
for one frame alone, so that features no longer lie evenly over the frames."""


@backbones.register("opensora")
class OpenSora(PipelineBackbone):
    """See the module."""

    name = "opensora"
    pipelines = ("OpenSoraPipeline",)
    variants = ("1.2",)
    lora_targets = ("qkv", "attn.proj", "q_linear", "kv_linear", "cross_attn.proj", "mlp.fc1", "mlp.fc2")
    guidance_scale = 7.0
    sampling_steps = 30
    least_context = 0

    @classmethod
    def tiny(cls, variant: str = "1.2") -> OpenSora:
        return cls(**tiny_opensora(), size=(64, 64), frames=17, fps=12)

    def set_up(self) -> None:
        self.latent_channels = self.network.get("in_channels", 4)
        image = self.parts.config("vae").get("spatial") or SDXL
        self.stride = 2 ** (len(image["block_out_channels"]) - 1)
        self.spatial_multiple = self.stride * self.patch[1]
        self.text_length = self.network.get("model_max_length", 300)

    def usual_window(self) -> tuple[tuple[int, int], int, float]:
        return (240, 432), MOST, 24.0

    @property
    def width(self) -> int:
        return self.network.get("hidden_size", 1152)

    @property
    def patch(self) -> tuple[int, int, int]:
        t, h, w = self.network.get("patch_size", (1, 2, 2))
        return t, h, w

    @property
    def text_width(self) -> int:
        return self.network.get("caption_channels", 4096)

    def blocks_of(self, transformer: Any) -> nn.ModuleList:
        pairs = zip(transformer.spatial_blocks, transformer.temporal_blocks)
        return nn.ModuleList(block for pair in pairs for block in pair)

    def _nearest(self, frames: int, most: int) -> int:
        return super()._nearest(frames, min(most, MOST))

    def call(self, transformer: nn.Module, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        height, width = (n * self.stride for n in x.shape[3:])
        made = transformer(
            x,
            t * TRAIN_STEPS,
            condition.text,
            condition.extra["words"],
            condition.known[:, 0, :, 0, 0],
            self.fps,
            (height, width),
        )
        # It is the way to the clean clip that the network tells, and beside it a variance that was never trained.
        return -made[:, : self.latent_channels]

    def extra_shapes(self, latents: Sequence[int]) -> dict[str, tuple[int, ...]]:
        return {"words": (self.text_length,)}

    def cleaned(self, prompt: str) -> str:
        return prompt.lower().strip()

    def unprompted(self, condition: Condition) -> Condition:
        """The learned embedding of no caption, as long as the caption that it stands for."""
        nothing: Any = self.transformer.y_embedder.y_embedding  # pyright: ignore[reportAttributeAccessIssue]
        return dataclasses.replace(condition, text=nothing.to(condition.text).expand_as(condition.text))

    def condition(self, context: Float[Tensor, "B k H W 3"], prompts: Sequence[str], frames: int) -> Condition:
        clips, count, height, width = context.shape[:4]
        self.check(frames, (height, width))
        self.check_context(count, frames)
        latents = 1 + (frames - 1) // self.latent_stride
        if count:
            given = self.encode_frames(context)
        else:
            shape = (clips, self.latent_channels, 0, height // self.stride, width // self.stride)
            given = torch.zeros(shape, device=self.device)
        known = torch.arange(latents, device=self.device) < given.shape[2]
        text = self.encode_text(prompts)
        words = {"words": (text != 0).any(dim=-1)}
        still = self.held_still(given, latents)
        return Condition(text, still, known.view(1, 1, -1, 1, 1).expand(clips, -1, -1, -1, -1), words)

    def mode_of(self, vae: Any, pixels: Float[Tensor, "1 3 T H W"]) -> Float[Tensor, "1 C u h w"]:
        return vae.encode(pixels)

    def decode_clip(self, vae: Any, latents: Float[Tensor, "1 C u h w"]) -> Float[Tensor, "1 3 T H W"]:
        return vae.decode(latents, 1 + (latents.shape[2] - 1) * self.latent_stride)

    def normalised(self, latents: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B C t h w"]:
        return latents

    def denormalised(self, latents: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B C t h w"]:
        return latents

    @property
    def shift(self) -> float:
        # By the window: the square root of its pixels, and of its latent frames as Open-Sora counts them.
        height, width = self.size
        return math.sqrt(height * width) / 512 * math.sqrt(max(1, self.most_frames // 17 * 5))

    def schedule(self, steps: int) -> Float[Tensor, "N+1"]:
        t = torch.linspace(1, 0, steps + 1)
        times = self.shift * t / (1 + (self.shift - 1) * t)
        times[0] = 1.0
        return times
