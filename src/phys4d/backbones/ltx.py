"""`ltx`: LTX-Video (arXiv 2501.00103) through diffusers. Flow matching; given frames are clean, told time 0.

A latent stands for eight frames of 32x32 px, and is a token. Times are shifted by the tokens of a window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from phys4d.backbones.backbone import Condition, backbones
from phys4d.backbones.pipeline import TRAIN_STEPS, PipelineBackbone
from phys4d.backbones.tiny_parts import tiny_ltx


@backbones.register("ltx")
class LTX(PipelineBackbone):
    """See the module."""

    name = "ltx"
    pipelines = ("LTXImageToVideoPipeline", "LTXPipeline")
    variants = ("0.9",)
    lora_targets = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
    guidance_scale = 3.0
    least_context = 0
    latent_stride = 8
    text_length = 128

    @classmethod
    def tiny(cls, variant: str = "0.9") -> LTX:
        return cls(**tiny_ltx(), size=(64, 64), frames=17, fps=12)

    def set_up(self) -> None:
        vae = self.parts.config("vae")
        self.latent_channels = vae.get("latent_channels", 128)
        self.spatial_multiple = vae.get("patch_size", 4) * 2 ** sum(vae["spatio_temporal_scaling"])

    def usual_window(self) -> tuple[tuple[int, int], int, float]:
        return (512, 704), 161, 25.0

    @property
    def patch(self) -> tuple[int, int, int]:
        return 1, 1, 1

    def blocks_of(self, transformer: Any) -> nn.ModuleList:
        return transformer.transformer_blocks

    def call(self, transformer: nn.Module, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        frames, height, width = x.shape[2:]
        of_frames = torch.where(condition.known[:, 0, :, 0, 0], 0.0, TRAIN_STEPS * t[:, None])
        edge = self.spatial_multiple
        made = transformer(
            hidden_states=x.flatten(2).transpose(1, 2),
            encoder_hidden_states=condition.text,
            timestep=of_frames.repeat_interleave(height * width, dim=1),
            encoder_attention_mask=condition.extra["words"],
            num_frames=frames,
            height=height,
            width=width,
            rope_interpolation_scale=(self.latent_stride / self.fps, edge, edge),
            return_dict=False,
        )[0]
        return made.transpose(1, 2).unflatten(2, (frames, height, width))

    def extra_shapes(self, latents: Sequence[int]) -> dict[str, tuple[int, ...]]:
        return {"words": (self.text_length,)}

    def embed(self, encoder: Any, prompt: str) -> Float[Tensor, "L D"]:
        # Its text encoder reads the padding, too; its transformer does not.
        ids, mask = self.tokens(prompt)
        hidden = encoder(ids).last_hidden_state
        return (hidden * mask[..., None].to(hidden.dtype))[0]

    def condition(self, context: Float[Tensor, "B k H W 3"], prompts: Sequence[str], frames: int) -> Condition:
        clips, count, height, width = context.shape[:4]
        self.check(frames, (height, width))
        self.check_context(count, frames)
        text = self.encode_text(prompts)
        shape = (clips, self.latent_channels, 0, height // self.spatial_multiple, width // self.spatial_multiple)
        given = self.encode_frames(context) if count else torch.zeros(shape, device=self.device)
        latents = 1 + (frames - 1) // self.latent_stride
        known = torch.arange(latents, device=self.device) < given.shape[2]
        known = known.view(1, 1, -1, 1, 1).expand(clips, -1, -1, -1, -1)
        return Condition(text, self.held_still(given, latents), known, {"words": words_of(text)})

    # The statistics of its latents are weights of its VAE.

    def mode_of(self, vae: Any, pixels: Float[Tensor, "1 3 T H W"]) -> Float[Tensor, "1 C u h w"]:
        mean, std = _statistics(vae)
        return (super().mode_of(vae, pixels).float() - mean) * vae.config.scaling_factor / std

    def decode_clip(self, vae: Any, latents: Float[Tensor, "1 C u h w"]) -> Float[Tensor, "1 3 T H W"]:
        mean, std = _statistics(vae)
        raw = (latents.float() * std / vae.config.scaling_factor + mean).to(vae.dtype)
        # Later versions of its VAE are told how noisy latents are: not at all.
        time = torch.zeros(1, device=raw.device, dtype=raw.dtype) if vae.config.timestep_conditioning else None
        return vae.decode(raw, time, return_dict=False)[0]

    def normalised(self, latents: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B C t h w"]:
        return latents

    def denormalised(self, latents: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B C t h w"]:
        return latents

    @property
    def exponent(self) -> float:
        """mu: grows with the tokens of a window; exp(mu) is how far times are shifted."""
        config = self.parts.config("scheduler")
        few, many = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
        low, high = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
        latents = 1 + (self.most_frames - 1) // self.latent_stride
        tokens = latents * math.prod(n // self.spatial_multiple for n in self.size)
        return low + (high - low) * (tokens - few) / (many - few)

    @property
    def shift(self) -> float:
        return math.exp(self.exponent)

    def schedule(self, steps: int) -> Float[Tensor, "N+1"]:
        scheduler = self.parts.get("scheduler")
        scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps), mu=self.exponent)
        sigmas = scheduler.sigmas.detach().clone().float()
        sigmas[0] = 1.0
        return sigmas


def words_of(text: Float[Tensor, "B L D"]) -> Tensor:
    """Which tokens of texts are words: embeddings of padding are 0."""
    return (text != 0).any(dim=-1).to(text.dtype)


def _statistics(vae: Any) -> tuple[Tensor, Tensor]:
    mean, std = (value.float().view(1, -1, 1, 1, 1) for value in (vae.latents_mean, vae.latents_std))
    return mean, std
