"""`wan`: Wan 2.1 and 2.2 (arXiv 2503.20314) through diffusers. Flow matching; text by cross-attention.

| model | first frames |
| --- | --- |
| 2.2 TI2V-5B | clean latents in place, their tokens told time 0 |
| 2.1 T2V, 2.2 T2V-A14B | the same, though the checkpoint never saw it: stage 2's adapter has to learn it |
| 2.1 I2V, 2.2 I2V-A14B | further channels: 4 of a mask, and the latents of the frames followed by grey |

The 2.1 I2V also reads the first frame through CLIP.
The A14B models have two experts: `transformer` above the boundary's noise level, `transformer_2` below.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from phys4d.backbones.backbone import Condition, backbones
from phys4d.backbones.pipeline import TRAIN_STEPS, PipelineBackbone
from phys4d.backbones.tiny_parts import WAN_VARIANTS, tiny_wan

MASK = 4
"""Channels of the mask beside the given latents: one for each frame of a latent."""
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Of the pictures that CLIP was trained on (arXiv 2103.00020, released code)."""


@backbones.register("wan")
class Wan(PipelineBackbone):
    """See the module."""

    name = "wan"
    pipelines = ("WanPipeline", "WanImageToVideoPipeline")
    lora_targets = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2")
    guidance_scale = 5.0
    variants = WAN_VARIANTS

    @classmethod
    def tiny(cls, variant: str = WAN_VARIANTS[0]) -> Wan:
        return cls(**tiny_wan(variant), size=(64, 64), frames=17, fps=12)

    def set_up(self) -> None:
        vae = self.parts.config("vae")
        self.latent_channels = vae.get("z_dim", 16)
        self.spatial_multiple = vae.get("scale_factor_spatial", 8) * self.patch[1]
        self.statistics = [
            torch.tensor(vae[name]).view(1, -1, 1, 1, 1) for name in ("latents_mean", "latents_std")
        ]
        self.by_channels = self.network["in_channels"] != self.latent_channels
        self.least_context = 1 if self.by_channels else 0
        self.per_token = bool(self.parts.options.get("expand_timesteps"))
        self.boundary = self.parts.options.get("boundary_ratio")
        if self.boundary is not None:
            self.transformer_2: nn.Module = self.parts.take("transformer_2")

    def usual_window(self) -> tuple[tuple[int, int], int, float]:
        return ((704, 1280), 121, 24.0) if self.per_token else ((480, 832), 81, 16.0)

    @property
    def patch(self) -> tuple[int, int, int]:
        t, h, w = self.network["patch_size"]
        return t, h, w

    def blocks_of(self, transformer: Any) -> nn.ModuleList:
        return transformer.blocks

    def expert(self, t: Float[Tensor, "B"]) -> list[tuple[nn.Module, Tensor | None]]:
        if self.boundary is None:
            return [(self.transformer, None)]
        noisy = t * TRAIN_STEPS >= self.boundary * TRAIN_STEPS
        if bool(noisy.all()):
            return [(self.transformer, None)]
        if not bool(noisy.any()):
            return [(self.transformer_2, None)]
        return [(self.transformer, noisy.nonzero()[:, 0]), (self.transformer_2, (~noisy).nonzero()[:, 0])]

    def call(self, transformer: nn.Module, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        time = t * TRAIN_STEPS
        if self.by_channels:
            x = torch.cat([x, condition.extra["frames"]], dim=1)
        elif self.per_token or bool(condition.known.any()):
            # Clean tokens are at time 0.
            of_frames = torch.where(condition.known[:, 0, :, 0, 0], 0.0, time[:, None])
            tokens = (x.shape[3] // self.patch[1]) * (x.shape[4] // self.patch[2])
            time = of_frames.repeat_interleave(tokens, dim=1)
        return transformer(
            hidden_states=x,
            timestep=time,
            encoder_hidden_states=condition.text,
            encoder_hidden_states_image=condition.extra.get("picture"),
            return_dict=False,
        )[0]

    def extra_shapes(self, latents: Sequence[int]) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        if self.by_channels:
            shapes["frames"] = (MASK + self.latent_channels, *latents)
        if self.network.get("image_dim"):
            encoder = self.parts.config("image_encoder")
            shapes["picture"] = (1 + (encoder["image_size"] // encoder["patch_size"]) ** 2, encoder["hidden_size"])
        return shapes

    def normalised(self, latents: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B C t h w"]:
        mean, std = (value.to(latents) for value in self.statistics)
        return (latents - mean) / std

    def denormalised(self, latents: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B C t h w"]:
        mean, std = (value.to(latents) for value in self.statistics)
        return latents * std + mean

    def cleaned(self, prompt: str) -> str:
        """HTML entities and runs of space resolved, and text mended by ftfy where that is installed."""
        try:
            import ftfy  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError:
            pass
        else:
            prompt = ftfy.fix_text(prompt)
        return re.sub(r"\s+", " ", html.unescape(html.unescape(prompt))).strip()

    def valid_context(self, count: int) -> int:
        # The mask tells frame by frame what is given.
        return max(count, 1) if self.by_channels else super().valid_context(count)

    def condition(self, context: Float[Tensor, "B k H W 3"], prompts: Sequence[str], frames: int) -> Condition:
        clips, count, height, width = context.shape[:4]
        self.check(frames, (height, width))
        self.check_context(count, frames)
        text = self.encode_text(prompts)
        latents = 1 + (frames - 1) // self.latent_stride
        extra: dict[str, Tensor] = {}
        if self.by_channels:
            extra["frames"] = self._frames(context, frames)
            if self.network.get("image_dim"):
                extra["picture"] = torch.stack([self._picture(clip[0]) for clip in context])
            given = extra["frames"][:, MASK:, :0]
        elif count:
            given = self.encode_frames(context)
        else:
            stride = self.spatial_multiple // self.patch[1]
            shape = (clips, self.latent_channels, 0, height // stride, width // stride)
            given = torch.zeros(shape, device=self.device)
        known = torch.arange(latents, device=self.device) < given.shape[2]
        return Condition(
            text, self.held_still(given, latents), known.view(1, 1, -1, 1, 1).expand(clips, -1, -1, -1, -1), extra
        )

    def _frames(self, context: Float[Tensor, "B k H W 3"], frames: int) -> Float[Tensor, "B D t h w"]:
        """The given frames as further channels: which they are, and their latents before grey ones."""
        count = context.shape[1]
        grey = context.new_full((len(context), frames - count, *context.shape[2:]), 0.5)
        latents = self.encode_frames(torch.cat([context, grey], dim=1))
        shown = (torch.arange(frames, device=latents.device) < count).to(latents.dtype)
        # The first latent is a frame alone, which counts as many as the others' frames.
        of_latents = torch.cat([shown[:1].expand(MASK), shown[1:]]).view(-1, MASK).T
        mask = of_latents.view(1, MASK, -1, 1, 1).expand(len(context), -1, -1, *latents.shape[3:])
        return torch.cat([mask, latents], dim=1)

    @torch.no_grad()
    def _picture(self, frame: Float[Tensor, "H W 3"]) -> Float[Tensor, "L D"]:
        """The first frame through CLIP: the layer before the last."""
        return self.encodings.video(frame[None], self._clip_embedding, kind="clip").to(self.device)

    def _clip_embedding(self, clip: Float[Tensor, "1 H W 3"]) -> Float[Tensor, "L D"]:
        encoder = self.parts.get("image_encoder").to(self.device)
        options = self.parts.config("image_processor") if "image_processor" in self.parts else {}
        pixels = clip_pixels(
            clip.to(self.device),
            self.parts.config("image_encoder")["image_size"],
            options.get("image_mean") or CLIP_MEAN,
            options.get("image_std") or CLIP_STD,
        )
        with torch.autocast(self.device.type, enabled=False):
            made = encoder(pixels.to(encoder.dtype), output_hidden_states=True)
        return made.hidden_states[-2][0].float()


def clip_pixels(
    pictures: Float[Tensor, "B H W 3"], size: int, mean: Sequence[float], std: Sequence[float]
) -> Float[Tensor, "B 3 s s"]:
    """Pictures in [0, 1] as CLIP wants them: the shorter side at `size`, its middle, by mean and deviation.

    CLIP's own processor does so with 8-bit pictures, which is the same but for their rounding.
    """
    pixels = pictures.permute(0, 3, 1, 2)
    scale = size / min(pixels.shape[2:])
    shape = [max(size, int(n * scale)) for n in pixels.shape[2:]]
    pixels = F.interpolate(pixels, size=shape, mode="bicubic", antialias=True).clamp(0, 1)
    top, left = ((n - size) // 2 for n in shape)
    pixels = pixels[:, :, top : top + size, left : left + size]
    centre, width = (torch.tensor(value, device=pixels.device).view(3, 1, 1) for value in (mean, std))
    return (pixels - centre) / width
