"""STDiT3, the transformer of Open-Sora 1.2 (github.com/hpcaitech/Open-Sora, v1.2.0; Apache-2.0).

Spatial and temporal blocks take turns; each attends to the text as well. Frames that are clean are modulated by
the time 0 instead of t. Parameters are named as in the public checkpoint (hpcai-tech/OpenSora-STDiT-v3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from phys4d.backbones.opensora.checkpoint import Checkpointed

FREQUENCIES = 256
"""Channels of the sinusoids of times and frame rates."""


class HeadNorm(nn.Module):
    """Root-mean-square norm over a head's channels, in full precision."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        full = x.float()
        return self.weight * (full * torch.rsqrt(full.square().mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


class SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int, *, normalised: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = HeadNorm(width // heads) if normalised else nn.Identity()
        self.k_norm = HeadNorm(width // heads) if normalised else nn.Identity()
        self.proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "N L D"], angles: Float[Tensor, "L d"] | None) -> Float[Tensor, "N L D"]:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = self.q_norm(q), self.k_norm(k)
        if angles is not None:
            q, k = rotated(q, angles), rotated(k, angles)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_linear = nn.Linear(width, width)
        self.kv_linear = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(
        self, x: Float[Tensor, "B N D"], text: Float[Tensor, "B L D"], words: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B N D"]:
        q = self.q_linear(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv_linear(text).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        made = F.scaled_dot_product_attention(q, k, v, attn_mask=words[:, None, None])
        return self.proj(made.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, channels: int, hidden: int, out: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, hidden), nn.Linear(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Block(nn.Module):
    """temporal: attends along the frames of each place; else over the places of each frame."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, *, normalised: bool, temporal: bool) -> None:
        super().__init__()
        self.temporal, self.width = temporal, width
        self.attn = SelfAttention(width, heads, normalised=normalised)
        self.cross_attn = CrossAttention(width, heads)
        self.mlp = MLP(width, int(width * mlp_ratio), width)
        self.scale_shift_table = nn.Parameter(torch.randn(6, width) / width**0.5)

    def forward(
        self,
        x: Float[Tensor, "B N D"],
        text: Float[Tensor, "B L D"],
        words: Bool[Tensor, "B L"],
        time: Float[Tensor, "B T 6 D"],
        angles: Float[Tensor, "T d"],
    ) -> Float[Tensor, "B N D"]:
        frames = time.shape[1]
        shift, scale, gate, shift2, scale2, gate2 = (
            value[:, :, None] for value in (self.scale_shift_table + time).unbind(2)
        )

        def by_frame(value: Tensor) -> Tensor:
            return value.unflatten(1, (frames, -1))

        h = by_frame(self._norm(x)) * (1 + scale) + shift
        h = h.transpose(1, 2) if self.temporal else h
        made = self.attn(h.flatten(0, 1), angles if self.temporal else None).unflatten(0, h.shape[:2])
        made = made.transpose(1, 2) if self.temporal else made
        x = x + (gate * made).flatten(1, 2)
        x = x + self.cross_attn(x, text, words)
        h = by_frame(self._norm(x)) * (1 + scale2) + shift2
        return x + (gate2 * self.mlp(h)).flatten(1, 2)

    def _norm(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, (self.width,), eps=1e-6)


class PatchEmbedding(nn.Module):
    def __init__(self, patch: Sequence[int], channels: int, width: int) -> None:
        super().__init__()
        size = (patch[0], patch[1], patch[2])
        self.proj = nn.Conv3d(channels, width, size, stride=size)

    def forward(self, x: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B D t y x"]:
        return self.proj(x)


class NumberEmbedding(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, value: Float[Tensor, "..."]) -> Float[Tensor, "... D"]:
        rates = torch.exp(
            -math.log(10_000) * torch.arange(FREQUENCIES // 2, device=value.device) / (FREQUENCIES // 2)
        )
        angles = value.float()[..., None] * rates
        return self.mlp(torch.cat([angles.cos(), angles.sin()], dim=-1).to(next(self.parameters()).dtype))


class CaptionEmbedding(nn.Module):
    """y_embedding: what stands for no caption, on the scale of the text encoder."""

    y_embedding: Tensor

    def __init__(self, channels: int, width: int, length: int) -> None:
        super().__init__()
        self.y_proj = MLP(channels, width, width)
        self.register_buffer("y_embedding", torch.randn(length, channels) / channels**0.5)

    def forward(self, text: Float[Tensor, "B L C"]) -> Float[Tensor, "B L D"]:
        return self.y_proj(text)


class FinalLayer(nn.Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, out)
        self.scale_shift_table = nn.Parameter(torch.randn(2, width) / width**0.5)

    def forward(self, x: Float[Tensor, "B T S D"], time: Float[Tensor, "B T D"]) -> Float[Tensor, "B T S P"]:
        shift, scale = (value[:, :, None] for value in (self.scale_shift_table + time[:, :, None]).unbind(2))
        return self.linear(F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift)


class Rotary(nn.Module):
    """freqs: of each pair of a head's channels, along the frames."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        freqs = 10_000 ** (-torch.arange(0, channels, 2)[: channels // 2].float() / channels)
        self.freqs = nn.Parameter(freqs, requires_grad=False)


class STDiT3(Checkpointed):
    """See the module. The arguments are those of the public config.json; others in it are left out.

    input_sq_size: edge [px] of the square at which positions are one apart.
    """

    def __init__(
        self,
        input_sq_size: int = 512,
        in_channels: int = 4,
        patch_size: Sequence[int] = (1, 2, 2),
        hidden_size: int = 1152,
        depth: int = 28,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
        pred_sigma: bool = True,
        caption_channels: int = 4096,
        model_max_length: int = 300,
        qk_norm: bool = True,
        **_: Any,
    ) -> None:
        super().__init__()
        self.config = {
            "input_sq_size": input_sq_size, "in_channels": in_channels, "patch_size": list(patch_size),
            "hidden_size": hidden_size, "depth": depth, "num_heads": num_heads, "mlp_ratio": mlp_ratio,
            "pred_sigma": pred_sigma, "caption_channels": caption_channels, "model_max_length": model_max_length,
            "qk_norm": qk_norm,
        }  # fmt: skip
        self.patch, self.square = tuple(patch_size), input_sq_size
        self.out_channels = in_channels * 2 if pred_sigma else in_channels
        self.recompute = False
        self.rope = Rotary(hidden_size // num_heads)
        self.x_embedder = PatchEmbedding(patch_size, in_channels, hidden_size)
        self.t_embedder = NumberEmbedding(hidden_size)
        self.fps_embedder = NumberEmbedding(hidden_size)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(hidden_size, 6 * hidden_size))
        self.y_embedder = CaptionEmbedding(caption_channels, hidden_size, model_max_length)
        self.spatial_blocks, self.temporal_blocks = (
            nn.ModuleList(
                Block(hidden_size, num_heads, mlp_ratio, normalised=qk_norm, temporal=temporal)
                for _ in range(depth)
            )
            for temporal in (False, True)
        )
        self.final_layer = FinalLayer(hidden_size, math.prod(patch_size) * self.out_channels)

    def enable_gradient_checkpointing(self) -> None:
        """Keep the layers' inputs alone for the backward pass."""
        self.recompute = True

    def disable_gradient_checkpointing(self) -> None:
        """Keep everything again."""
        self.recompute = False

    def forward(
        self,
        x: Float[Tensor, "B C T h w"],
        t: Float[Tensor, "B"],
        text: Float[Tensor, "B L C"],
        words: Bool[Tensor, "B L"],
        clean: Bool[Tensor, "B T"],
        fps: float,
        size: tuple[int, int],
    ) -> Float[Tensor, "B E T h w"]:
        """t: 1000 is noise. words: which tokens of the text count. clean: frames without noise. fps, size [px]: of
        the video. E: the velocity x0 - eps, and as many channels that nothing reads."""
        tokens = self.x_embedder(x)
        frames, rows, columns = tokens.shape[2:]
        tokens = tokens.flatten(3).permute(0, 2, 3, 1) + self._places(rows, columns, size).to(tokens)
        rate = self.fps_embedder(torch.full_like(t, fps))
        time = self.t_embedder(torch.where(clean, 0.0, t[:, None])) + rate[:, None]
        modulation = self.t_block(time).unflatten(-1, (6, -1))
        angles = torch.arange(frames, device=x.device)[:, None] * self.rope.freqs.float()
        caption = self.y_embedder(text)
        tokens = tokens.flatten(1, 2)
        for pair in zip(self.spatial_blocks, self.temporal_blocks):
            for block in pair:
                given = (tokens, caption, words, modulation, angles)
                if self.recompute and torch.is_grad_enabled():
                    tokens = checkpoint(block, *given, use_reentrant=False)
                else:
                    tokens = block(*given)
        made = self.final_layer(tokens.unflatten(1, (frames, -1)), time)
        _, high, wide = self.patch
        made = made.view(len(x), frames, rows, columns, high, wide, self.out_channels)
        return made.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)

    def _places(self, rows: int, columns: int, size: tuple[int, int]) -> Float[Tensor, "S D"]:
        """Sinusoids of where a token is, columns first, on a square of as many tokens, by the resolution."""
        scale = (size[0] * size[1]) ** 0.5 / self.square
        base = round((rows * columns) ** 0.5)
        device = self.rope.freqs.device
        width = self.config["hidden_size"] // 2
        rates = 10_000 ** (-torch.arange(0, width, 2, device=device).float() / width)
        y, x = (torch.arange(n, device=device) / scale * (base / n) for n in (rows, columns))
        along_x, along_y = (place[:, None] * rates for place in (x, y))
        parts = [
            torch.cat([along_x.sin(), along_x.cos()], dim=-1).expand(rows, -1, -1),
            torch.cat([along_y.sin(), along_y.cos()], dim=-1)[:, None].expand(-1, columns, -1),
        ]
        return torch.cat(parts, dim=-1).flatten(0, 1)


def rotated(x: Float[Tensor, "N H L d"], angles: Float[Tensor, "L e"]) -> Float[Tensor, "N H L d"]:
    """Neighbouring pairs of channels turned by the angles."""
    cos, sin = angles.cos(), angles.sin()
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1).flatten(-2).to(x.dtype)
