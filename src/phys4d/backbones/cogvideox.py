"""`cogvideox`: CogVideoX 1.0 and 1.5 (arXiv 2408.06072), from text or a picture, through diffusers.

v-prediction: alpha = sqrt(alpha_bar), sigma = sqrt(1 - alpha_bar), of a thousand times of which the last is pure
noise; v = alpha eps - sigma x0. The picture models get the first frames' latents as further channels. The text
models get them in place, though their checkpoints never saw that: stage 2's adapter has to learn it. Text and
video tokens attend to each other in one sequence.

The VAE decodes latents in pairs, so windows have 1 + 8 k frames. The 1.5 models patch two latents together; a copy
of the first latent before it makes their number even, and is left out again when it is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from phys4d.backbones.backbone import Condition, backbones, per_clip
from phys4d.backbones.parts import diffusers
from phys4d.backbones.pipeline import TRAIN_STEPS, PipelineBackbone
from phys4d.backbones.tiny_parts import COGVIDEOX_VARIANTS, tiny_cogvideox
from phys4d.errors import InputError

MOST_1_5 = 300
"""Latents along each edge that the positions of the 1.5 models reach."""
MOTION = 2.0
"""What the 1.5 picture model is told beside the time ("ofs"), always."""


@backbones.register("cogvideox")
class CogVideoX(PipelineBackbone):
    """See the module."""

    name = "cogvideox"
    pipelines = ("CogVideoXPipeline", "CogVideoXImageToVideoPipeline")
    lora_targets = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
    guidance_scale = 6.0
    variants = COGVIDEOX_VARIANTS
    # Its VAE needs 18 GB for one 480x720 frame group without tiles (diffusers' own estimate).
    tile_above = 256 * 384

    @classmethod
    def tiny(cls, variant: str = COGVIDEOX_VARIANTS[0]) -> CogVideoX:
        return cls(**tiny_cogvideox(variant), size=(64, 64), frames=17, fps=12)

    def set_up(self) -> None:
        vae, network = self.parts.config("vae"), self.network
        self.latent_channels = vae.get("latent_channels", 16)
        self.stride = 2 ** (len(vae["block_out_channels"]) - 1)
        self.spatial_multiple = self.stride * network["patch_size"]
        self.scale = float(vae.get("scaling_factor", 1.15258426))
        self.picture_scale = 1 / self.scale if vae.get("invert_scale_latents") else self.scale
        self.text_length = network.get("max_text_seq_length", 226)
        self.by_channels = network["in_channels"] != self.latent_channels
        self.least_context = 1 if self.by_channels else 0
        self.fixed = bool(network.get("use_learned_positional_embeddings"))
        scheduler = diffusers().CogVideoXDDIMScheduler.from_config(self.parts.config("scheduler"))
        self.ddim: Any = scheduler
        # alpha at t = 0, 1/1000, ..., 1; what diffusers calls timestep i is at t = (i + 1) / 1000.
        table = scheduler.alphas_cumprod.double().sqrt()
        self.alphas = torch.cat([torch.ones(1, dtype=torch.float64), table])

    def usual_window(self) -> tuple[tuple[int, int], int, float]:
        network = self.network
        if network["sample_height"] == network["sample_width"] == MOST_1_5:
            # What 1.5 calls its sample size is the most that its positions reach.
            return (768, 1360), network["sample_frames"], 16.0
        return self._reach(), network["sample_frames"], 16.0 if self.patch[0] > 1 else 8.0

    def _reach(self) -> tuple[int, int]:
        """Height and width [px] of the sample size in its configuration."""
        return self.network["sample_height"] * self.stride, self.network["sample_width"] * self.stride

    @property
    def patch(self) -> tuple[int, int, int]:
        edge = self.network["patch_size"]
        return self.network.get("patch_size_t") or 1, edge, edge

    @property
    def frame_step(self) -> int:
        return 2 * self.latent_stride

    def blocks_of(self, transformer: Any) -> nn.ModuleList:
        return transformer.transformer_blocks

    def check(self, frames: int, size: tuple[int, int]) -> None:
        super().check(frames, size)
        own = self._reach()
        if self.patch[0] > 1 and (size[0] > own[0] or size[1] > own[1]):
            raise InputError(
                f"this {self.name} makes at most {own[0]}x{own[1]}, not {size[0]}x{size[1]}; the nearest is "
                f"{min(own[0], size[0])}x{min(own[1], size[1])}"
            )
        if self.fixed and tuple(size) != own:
            raise InputError(
                f"this {self.name} has learned positions, so that it makes {own[0]}x{own[1]} alone, not "
                f"{size[0]}x{size[1]}; the nearest is {own[0]}x{own[1]}, other checkpoints take any size"
            )

    def _nearest(self, frames: int, most: int) -> int:
        return self.network["sample_frames"] if self.fixed else super()._nearest(frames, most)

    def call(self, transformer: nn.Module, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        if self.by_channels:
            x = torch.cat([x, condition.extra["frames"]], dim=1)
        told = {"ofs": x.new_full((1,), MOTION)} if self.network.get("ofs_embed_dim") else {}
        made = transformer(
            hidden_states=x.transpose(1, 2),
            encoder_hidden_states=condition.text,
            timestep=t * TRAIN_STEPS - 1,
            image_rotary_emb=self._rotary(x),
            return_dict=False,
            **told,
        )[0]
        return made.transpose(1, 2)

    def _rotary(self, x: Float[Tensor, "B C t h w"]) -> tuple[Tensor, Tensor] | None:
        """Rotary positions of the tokens; 1.0 stretches them to the size it was trained at, 1.5 cuts them out."""
        network = self.network
        if not network.get("use_rotary_positional_embeddings"):
            return None
        embeddings: Any = diffusers().models.embeddings
        (per, edge, _), (frames, height, width) = self.patch, x.shape[2:]
        grid = (height // edge, width // edge)
        base = (network["sample_height"] // edge, network["sample_width"] // edge)
        options: dict[str, Any] = {
            "embed_dim": network["attention_head_dim"], "grid_size": grid, "temporal_size": frames // per,
            "device": x.device,
        }  # fmt: skip
        if per == 1:
            return embeddings.get_3d_rotary_pos_embed(crops_coords=_fitted(grid, base), **options)
        return embeddings.get_3d_rotary_pos_embed(crops_coords=None, grid_type="slice", max_size=base, **options)

    def extra_shapes(self, latents: Sequence[int]) -> dict[str, tuple[int, ...]]:
        return {"frames": (self.latent_channels, *latents)} if self.by_channels else {}

    def embed(self, encoder: Any, prompt: str) -> Float[Tensor, "L D"]:
        # Its text encoder reads the padding, too.
        return encoder(self.tokens(prompt)[0]).last_hidden_state[0]

    def normalised(self, latents: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B C t h w"]:
        return latents * self.scale

    def denormalised(self, latents: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B C t h w"]:
        return latents / self.scale

    def padded(self, latents: Float[Tensor, "B C u h w"]) -> Float[Tensor, "B C t h w"]:
        missing = -latents.shape[2] % self.patch[0]
        return torch.cat([latents[:, :, :1]] * missing + [latents], dim=2)

    def unpadded(self, latents: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B C u h w"]:
        return latents[:, :, self.patch[0] - 1 :]

    def condition(self, context: Float[Tensor, "B k H W 3"], prompts: Sequence[str], frames: int) -> Condition:
        clips, count, height, width = context.shape[:4]
        self.check(frames, (height, width))
        self.check_context(count, frames)
        latents = 1 + (frames - 1) // self.latent_stride
        if count:
            given = self.vae_mode(context)
        else:
            shape = (clips, self.latent_channels, 0, height // self.stride, width // self.stride)
            given = torch.zeros(shape, device=self.device)
        known = torch.arange(latents, device=self.device) < (0 if self.by_channels else given.shape[2])
        known = known.view(1, 1, -1, 1, 1).expand(clips, -1, -1, -1, -1)
        extra = {"frames": self._frames(self.picture_scale * given, latents)} if self.by_channels else {}
        still = self.held_still(given[:, :, :0] if self.by_channels else self.normalised(given), latents)
        return Condition(self.encode_text(prompts), self.padded(still), self.padded(known), extra)

    def _frames(self, given: Float[Tensor, "B C k h w"], latents: int) -> Float[Tensor, "B C t h w"]:
        """The given latents, then zeros. A single one stands at the padding's place, as in the pipeline."""
        if given.shape[2] > 1:
            given = torch.cat([given[:, :, :1]] * (-latents % self.patch[0]) + [given], dim=2)
        rest = latents + -latents % self.patch[0] - given.shape[2]
        return torch.cat([given, given.new_zeros(*given.shape[:2], rest, *given.shape[3:])], dim=2)

    def draw_noise(self, shape: Sequence[int], generator: torch.Generator) -> Float[Tensor, "C t h w"]:
        # Frames before channels, as the pipeline draws it.
        channels, frames, height, width = shape
        return torch.randn(frames, channels, height, width, generator=generator).transpose(0, 1)

    # v-prediction.

    def alpha_sigma(self, t: Float[Tensor, "..."]) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        table = self.alphas.to(t.device)
        place = (t.double() * TRAIN_STEPS).clamp(0, TRAIN_STEPS)
        nearest = place.round()
        # float32 times that mean one of the thousand are that one.
        place = torch.where((place - nearest).abs() < 1e-3, nearest, place)
        below = place.floor().long().clamp_max(TRAIN_STEPS - 1)
        alpha = torch.lerp(table[below], table[below + 1], place - below)
        return alpha.to(t.dtype), (1 - alpha**2).clamp_min(0).sqrt().to(t.dtype)

    def to_x0_eps(
        self, prediction: Float[Tensor, "B C t h w"], x: Float[Tensor, "B C t h w"], t: Float[Tensor, "B"]
    ) -> tuple[Float[Tensor, "B C t h w"], Float[Tensor, "B C t h w"]]:
        alpha, sigma = (per_clip(value) for value in self.alpha_sigma(t))
        return alpha * x - sigma * prediction, sigma * x + alpha * prediction

    def target(
        self, x0: Float[Tensor, "B C t h w"], eps: Float[Tensor, "B C t h w"], t: Float[Tensor, "B"]
    ) -> Float[Tensor, "B C t h w"]:
        alpha, sigma = (per_clip(value) for value in self.alpha_sigma(t))
        return alpha * eps - sigma * x0

    def sample_time(self, count: int, generator: torch.Generator | None = None) -> Float[Tensor, "B"]:
        return (torch.randint(TRAIN_STEPS, (count,), generator=generator) + 1) / TRAIN_STEPS

    def schedule(self, steps: int) -> Float[Tensor, "N+1"]:
        """The times of the pipeline's scheduler, and 0."""
        self.ddim.set_timesteps(steps)
        return torch.cat([(self.ddim.timesteps.float() + 1) / TRAIN_STEPS, torch.zeros(1)])


def _fitted(grid: tuple[int, int], base: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The largest place of the grid's shape in the middle of the base: (top, left), (bottom, right)."""
    height, width = grid
    rows, columns = base
    if height / width > rows / columns:
        size = rows, round(rows / height * width)
    else:
        size = round(columns / width * height), columns
    top, left = (round((whole - own) / 2) for whole, own in zip(base, size))
    return (top, left), (top + size[0], left + size[1])
