"""The VAE of Open-Sora 1.2: frames one by one through the image VAE of SDXL, then their latents along time.

17 frames at a time become 5 latents: the first for a frame alone, the others for four. Parameters are named as in
the public checkpoint (hpcai-tech/OpenSora-VAE-v1.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from phys4d.backbones.opensora.checkpoint import Checkpointed
from phys4d.backbones.parts import diffusers

STRIDE = 4
"""Frames of a latent."""
SPATIAL_SCALE = 0.18215
"""Of the image VAE's latents, as Open-Sora takes them."""
SDXL = {
    "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 4,
    "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
    "norm_num_groups": 32,
}  # fmt: skip
"""The image VAE, which the checkpoint only names: PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers."""


class CausalConv(nn.Module):
    """A convolution that sees no later frame. stride: along time."""

    def __init__(self, channels: int, out: int, kernel: int, *, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.padding = (kernel // 2,) * 4 + (kernel - stride, 0)
        self.conv = nn.Conv3d(channels, out, kernel, stride=(stride, 1, 1), bias=bias)

    def forward(self, x: Float[Tensor, "B C T h w"]) -> Float[Tensor, "B D t h w"]:
        return self.conv(F.pad(x, self.padding))


class ResBlock(nn.Module):
    def __init__(self, channels: int, out: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, channels), CausalConv(channels, out, 3, bias=False)
        self.norm2, self.conv2 = nn.GroupNorm(groups, out), CausalConv(out, out, 3, bias=False)
        if channels != out:
            self.conv3 = CausalConv(channels, out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return h + (self.conv3(x) if hasattr(self, "conv3") else x)


class Encoder(nn.Module):
    def __init__(self, out: int, widths: Sequence[int], halved: Sequence[bool], depth: int, groups: int) -> None:
        super().__init__()
        self.conv_in = CausalConv(4, widths[0], 3, bias=False)
        self.block_res_blocks, self.conv_blocks = nn.ModuleList(), nn.ModuleList()
        before = widths[0]
        for level, width in enumerate(widths):
            self.block_res_blocks.append(_chain(before, width, depth, groups))
            before = width
            if level < len(widths) - 1:
                self.conv_blocks.append(CausalConv(width, width, 3, stride=2) if halved[level] else nn.Identity())
        self.res_blocks = _chain(before, before, depth, groups)
        self.norm1 = nn.GroupNorm(groups, before)
        self.conv2 = CausalConv(before, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level, blocks in enumerate(self.block_res_blocks):
            for block in _of(blocks):
                x = block(x)
            if level < len(self.conv_blocks):
                x = self.conv_blocks[level](x)
        for block in self.res_blocks:
            x = block(x)
        return self.conv2(F.silu(self.norm1(x)))


class Decoder(nn.Module):
    def __init__(
        self, channels: int, widths: Sequence[int], halved: Sequence[bool], depth: int, groups: int
    ) -> None:
        super().__init__()
        before = widths[-1]
        self.conv1 = CausalConv(channels, before, 3)
        self.res_blocks = _chain(before, before, depth, groups)
        blocks, convs = [], []
        for level in reversed(range(len(widths))):
            blocks.insert(0, _chain(before, widths[level], depth, groups))
            before = widths[level]
            if level:
                convs.insert(0, CausalConv(before, 2 * before, 3) if halved[level - 1] else nn.Identity())
        self.block_res_blocks, self.conv_blocks = nn.ModuleList(blocks), nn.ModuleList(convs)
        self.halved = list(halved)
        self.norm1 = nn.GroupNorm(groups, before)
        self.conv_out = CausalConv(before, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for block in self.res_blocks:
            x = block(x)
        for level in reversed(range(len(self.block_res_blocks))):
            for block in _of(self.block_res_blocks[level]):
                x = block(x)
            if level:
                x = self.conv_blocks[level - 1](x)
                if self.halved[level - 1]:
                    # The channels of two frames, that of each beside the other.
                    x = x.unflatten(1, (-1, 2)).permute(0, 1, 3, 2, 4, 5).flatten(2, 3)
        return self.conv_out(F.silu(self.norm1(x)))


class TemporalVAE(nn.Module):
    def __init__(
        self, channels: int, widths: Sequence[int], halved: Sequence[bool], depth: int, groups: int
    ) -> None:
        super().__init__()
        self.encoder = Encoder(2 * channels, widths, halved, depth, groups)
        self.quant_conv = CausalConv(2 * channels, 2 * channels, 1)
        self.post_quant_conv = CausalConv(channels, channels, 1)
        self.decoder = Decoder(channels, widths, halved, depth, groups)


class Spatial(nn.Module):
    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module


class OpenSoraVAE(Checkpointed):
    """See the module. spatial: configuration of the image VAE. filters, num_res_blocks, channel_multipliers,
    num_groups: of the one along time. micro_frame_size: frames at a time. shift, scale: of the latents."""

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        spatial: dict[str, Any] | None = None,
        filters: int = 128,
        num_res_blocks: int = 4,
        channel_multipliers: Sequence[int] = (1, 2, 2, 4),
        num_groups: int = 32,
        micro_frame_size: int = 17,
        shift: Sequence[float] = (-0.10, 0.34, 0.27, 0.98),
        scale: Sequence[float] = (3.85, 2.32, 2.33, 3.06),
        **_: Any,
    ) -> None:
        super().__init__()
        self.config = {
            "spatial": spatial or SDXL, "filters": filters, "num_res_blocks": num_res_blocks,
            "channel_multipliers": list(channel_multipliers), "num_groups": num_groups,
            "micro_frame_size": micro_frame_size, "shift": list(shift), "scale": list(scale),
        }  # fmt: skip
        self.micro = micro_frame_size
        self.spatial_vae = Spatial(diffusers().AutoencoderKL(**self.config["spatial"]))
        widths = [filters * m for m in channel_multipliers]
        self.temporal_vae = TemporalVAE(4, widths, (False, True, True), num_res_blocks, num_groups)
        self.register_buffer("scale", torch.tensor(scale).view(1, -1, 1, 1, 1))
        self.register_buffer("shift", torch.tensor(shift).view(1, -1, 1, 1, 1))

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights."""
        return next(self.parameters()).dtype

    def encode(self, video: Float[Tensor, "1 3 T H W"]) -> Float[Tensor, "1 4 t h w"]:
        """The mode of the latents of a clip in [-1, 1]."""
        frames = [
            self.spatial_vae.module.encode(frame).latent_dist.mode() for frame in video[0].transpose(0, 1).split(1)
        ]
        latents = SPATIAL_SCALE * torch.cat(frames).transpose(0, 1)[None]
        whole = []
        for part in latents.split(self.micro, dim=2):
            part = F.pad(part, (0, 0, 0, 0, -part.shape[2] % STRIDE, 0))
            moments = self.temporal_vae.quant_conv(self.temporal_vae.encoder(part))
            whole.append(moments.chunk(2, dim=1)[0])
        return (torch.cat(whole, dim=2) - self.shift) / self.scale

    def decode(self, latents: Float[Tensor, "1 4 t h w"], frames: int) -> Float[Tensor, "1 3 T H W"]:
        """A clip of so many frames, in [-1, 1]."""
        latents = latents * self.scale + self.shift
        whole = []
        for part in latents.split(-(-self.micro // STRIDE), dim=2):
            count = min(self.micro, frames)
            made = self.temporal_vae.decoder(self.temporal_vae.post_quant_conv(part))
            whole.append(made[:, :, -count % STRIDE :])
            frames -= count
        pictures = torch.cat(whole, dim=2)[0].transpose(0, 1) / SPATIAL_SCALE
        decoded = [self.spatial_vae.module.decode(picture).sample for picture in pictures.split(1)]
        return torch.cat(decoded).transpose(0, 1)[None]


def _chain(channels: int, out: int, depth: int, groups: int) -> nn.ModuleList:
    return nn.ModuleList(ResBlock(channels if i == 0 else out, out, groups) for i in range(depth))


def _of(blocks: nn.Module) -> nn.ModuleList:
    assert isinstance(blocks, nn.ModuleList)
    return blocks
