"""Transformer parts of `nano`: attention over every token of a clip, modulated by time and text."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """A transformer block whose norms are shifted, scaled and gated by time and text (as in DiT).

    The modulation is one vector for all blocks plus a table of each block's own (adaLN-single, PixArt-alpha): at
    this size a projection per block would hold as many weights as the block.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        table = torch.zeros(6, width)
        self.modulation = nn.Parameter(table)

    def forward(self, x: Float[Tensor, "B N D"], shared: Float[Tensor, "B 6 D"]) -> Float[Tensor, "B N D"]:
        shift1, scale1, gate1, shift2, scale2, gate2 = (shared + self.modulation)[:, :, None].unbind(1)
        q, k, v = self._split(self.qkv(self.norm1(x) * (1 + scale1) + shift1))
        # Unit queries and keys keep the attention logits bounded, hence bf16 safe.
        q, k = functional.normalize(q, dim=-1), functional.normalize(k, dim=-1)
        scale = math.sqrt(q.shape[-1])
        mixed = functional.scaled_dot_product_attention(q * scale, k, v).transpose(1, 2).flatten(2)
        x = x + gate1 * self.out(mixed)
        hidden = functional.gelu(self.up(self.norm2(x) * (1 + scale2) + shift2), approximate="tanh")
        return x + gate2 * self.down(hidden)

    def _split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, count, _ = qkv.shape
        q, k, v = qkv.reshape(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return q, k, v


class TimeEmbedding(nn.Module):
    """t in [0, 1] as sinusoids, then a small network."""

    def __init__(self, width: int, frequencies: int = 64) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.network = nn.Sequential(nn.Linear(2 * frequencies, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Float[Tensor, "B"]) -> Float[Tensor, "B D"]:
        return self.network(sinusoids(1000 * t, self.frequencies))


class TextEmbedding(nn.Module):
    """Captions as hashed words with their places, each through a small network, averaged.

    Hashing needs no vocabulary file and never meets an unknown word; two words share a row once in a thousand.
    """

    LENGTH = 24
    ROWS = 4096

    def __init__(self, width: int, inner: int = 64) -> None:
        super().__init__()
        self.words = nn.Embedding(self.ROWS, inner, padding_idx=0)
        self.places = nn.Parameter(torch.randn(self.LENGTH, inner) * 0.1)
        self.network = nn.Sequential(nn.Linear(inner, width), nn.SiLU(), nn.Linear(width, width))
        nn.init.normal_(self.words.weight, std=0.3)

    @classmethod
    def tokens(cls, prompts: Sequence[str]) -> Int[Tensor, "B L"]:
        """Rows of the words of each prompt; 0 pads."""
        ids = torch.zeros(len(prompts), cls.LENGTH, dtype=torch.long)
        for i, prompt in enumerate(prompts):
            words = re.findall(r"[a-z]+|\d+(?:\.\d+)?", prompt.lower())[: cls.LENGTH]
            for j, word in enumerate(words):
                digest = hashlib.blake2s(word.encode(), digest_size=4).digest()
                ids[i, j] = 1 + int.from_bytes(digest, "little") % (cls.ROWS - 1)
        return ids

    def forward(self, tokens: Int[Tensor, "B L"]) -> Float[Tensor, "B D"]:
        present = (tokens > 0).unsqueeze(-1)
        each = self.network(self.words(tokens) + self.places)
        return (each * present).sum(1) / present.sum(1).clamp_min(1)


def sinusoids(position: Float[Tensor, "*batch"], frequencies: int) -> Float[Tensor, "*batch 2F"]:
    """cos and sin of position at geometrically spaced rates from 1 to 1e-4."""
    rates = torch.exp(torch.linspace(0, -math.log(1e4), frequencies, device=position.device))
    angle = position[..., None].float() * rates
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def cells_to_pixels(values: Float[Tensor, "B g y x n"], fine: int, span: int = 1) -> Float[Tensor, "B T C h w"]:
    """What cells say of each of `span` frames and fine^2 parts, (span, C, fine, fine) in each, on a grid."""
    batch, groups, rows, columns, _ = values.shape
    values = values.reshape(batch, groups, rows, columns, span, -1, fine, fine)
    return values.permute(0, 1, 4, 5, 2, 6, 3, 7).reshape(batch, groups * span, -1, rows * fine, columns * fine)
