"""The network: a dense decoder in the manner of DPT (arXiv 2103.13413) over tokens, frames and noisy latents.

Cells of 8x8 pixels are decoded to 4x4 and 2x2, whose pixels the last layer then writes out. Frames mix at the two
coarse levels alone, so that the rest can be done a few frames at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from phys4d.backbones.layers import TimeEmbedding
from phys4d.errors import InputError
from phys4d.heads.layers import Block, Cells, Match, Pair, full_precision, shifted
from phys4d.heads.output import HeadOutput

CELL = 8
"""Edge of a cell, the coarsest level of the decoder [px]."""
MULTIPLE = 16
"""Heights and widths must be multiples of this [px]."""
FINE_PIXELS = 1 << 22
"""The finest levels do so many pixels at a time: they are what fills the memory with long clips."""
CONFIDENCE_LIMIT = 4.0
MAPS = ("u", "v", "delta", "log_depth", "depth_confidence", "motion_confidence", "visibility", "sky", "share")
"""What the last layer writes. share: how far a pixel follows the backbone's own motion."""
START = {"log_depth": math.log(2.0), "visibility": 2.0, "sky": -2.0, "share": -3.0}
"""What an untrained head says; the other maps start at 0."""


class Encoder(nn.Module):
    """Pictures of every frame at 1/2, 1/4 and 1/8 of their size, for sharp edges and for matching.

    They come with where they are in the frame: how far the ground is depends on its row.
    """

    def __init__(self, channels: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        half, quarter, eighth = widths
        self.to_half = nn.Conv2d(4 * channels + 2, half, 3, padding=1)
        self.to_quarter = nn.Conv2d(half, quarter, 3, stride=2, padding=1)
        self.to_eighth = nn.Conv2d(quarter, eighth, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(Block(width, temporal=False) for width in widths)

    def forward(self, pictures: Float[Tensor, "N C H W"]) -> tuple[Tensor, Tensor, Tensor]:
        fine = F.pixel_unshuffle(pictures, 2)
        rows, columns = (torch.linspace(-1, 1, n, device=fine.device, dtype=fine.dtype) for n in fine.shape[-2:])
        place = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).expand(len(fine), -1, -1, -1)
        half = self.blocks[0](F.silu(self.to_half(torch.cat([fine, place], dim=1))))
        quarter = self.blocks[1](F.silu(self.to_quarter(half)))
        return half, quarter, self.blocks[2](F.silu(self.to_eighth(quarter)))


class CameraHead(nn.Module):
    """Focal length, gravity and poses from the picture's layout at a coarse level, in full precision."""

    LAYOUT = 4

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = 2 * width
        self.into = nn.Linear(self.LAYOUT**2 * width, hidden)
        self.scene = nn.Linear(2 * hidden, 4)
        self.twist = nn.Linear(hidden, 12)
        for layer in (self.scene, self.twist):
            nn.init.normal_(layer.weight, std=1e-3)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.scene.bias.copy_(torch.tensor([math.log(1.2), 0.0, 0.95, 0.3]))

    def forward(self, x: Float[Tensor, "N C h w"], frames: int) -> tuple[Tensor, Tensor, Tensor]:
        """log_focal (B,), gravity (B,3) and camera0_from_camera (B,T,4,4)."""
        part = (x.shape[-2] // self.LAYOUT, x.shape[-1] // self.LAYOUT)
        layout = F.avg_pool2d(x.float(), part).flatten(1).unflatten(0, (-1, frames))
        hidden = F.silu(self.into(layout))
        scene = self.scene(torch.cat([hidden.mean(1), hidden[:, 0]], dim=-1))
        # A pose is what the steps up to its frame add up to, and what its frame shows against the first.
        step, place = self.twist(hidden).split(6, dim=-1)
        twist = F.pad(step[:, :-1].cumsum(1), (0, 0, 1, 0)) + place - place[:, :1]
        return scene[:, 0], F.normalize(scene[:, 1:], dim=-1), rigid_motion_of(twist)


class Heads(nn.Module):
    """Features and noisy latents of a video diffusion backbone to depth, motion and cameras.

    feature_dims: channels D of each tapped layer. latent_channels: C of the latents. width: channels at half the
    resolution; 2x and 3x as many below; a multiple of 8.
    pixel_latents: the latents are the noisy video itself, at its frame rate and resolution; default, where they
    have 3 channels. Then their pictures give edges and matches between frames; latents of a VAE join the cells.
    flow_span: the last feature is the backbone's own motion (`Backbone.flow_span`); each pixel follows it as far
    as the heads learn to trust it.
    config: what `__init__` needs to build the same network again: JSON.
    """

    def __init__(
        self,
        feature_dims: Sequence[int],
        latent_channels: int,
        *,
        width: int = 32,
        pixel_latents: bool | None = None,
        flow_span: int = 0,
    ) -> None:
        super().__init__()
        pixels = latent_channels == 3 if pixel_latents is None else pixel_latents
        self.config: dict[str, Any] = {
            "feature_dims": list(feature_dims),
            "latent_channels": latent_channels,
            "width": width,
            "pixel_latents": pixels,
            "flow_span": flow_span,
        }
        self.flow_span = flow_span
        half, quarter, eighth = widths = (width, 2 * width, 3 * width)
        tapped = feature_dims[:-1] if flow_span else feature_dims
        self.taps = nn.ModuleList(nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, eighth)) for dim in tapped)
        self.time = TimeEmbedding(eighth)
        self.cells = Cells(eighth, eighth)
        if pixels:
            self.encoder = Encoder(latent_channels, widths)
            self.pairs = nn.ModuleList(Pair(level) for level in widths)
            self.trust = nn.Linear(eighth, sum(widths))
            self.match = Match(quarter, quarter)
        else:
            self.latent_cells = Cells(latent_channels, eighth)
        self.at_eighth = nn.ModuleList(Block(eighth, temporal=True) for _ in range(2))
        self.to_quarter = nn.Conv2d(eighth, quarter, 1)
        self.at_quarter = nn.ModuleList(Block(quarter, temporal=True) for _ in range(2))
        self.to_half = nn.Conv2d(quarter, half, 1)
        self.at_half = nn.Sequential(*(Block(half, temporal=False) for _ in range(2)))
        self.last = nn.Conv2d(half, 4 * len(MAPS), 1)
        self.camera = CameraHead(quarter)
        self._start()

    def _start(self) -> None:
        with torch.no_grad():
            for i, name in enumerate(MAPS):
                weight, bias = self.last.weight[4 * i : 4 * i + 4], self.last.bias
                assert bias is not None
                weight.normal_(std=0.01 if name in START else 0.0)
                bias[4 * i : 4 * i + 4] = START.get(name, 0.0)

    def forward(
        self,
        features: list[Float[Tensor, "B f y x D"]],
        latents: Float[Tensor, "B C t h w"],
        t: Float[Tensor, "B"],
        frames: int,
        size: tuple[int, int],
        chunk: int | None = None,
    ) -> HeadOutput:
        """Read a clip of `frames` frames of `size` (height, width) [px] at diffusion time t.

        chunk: do the fine levels so many frames at a time, with the same result in less memory; where it is less
        than the clip, a backward pass computes again what it needs instead of keeping it.
        Raises InputError for features, latents, frames or a size that do not fit.
        """
        self._check(features, latents, frames, size)
        height, width = size
        time = self.time(t)
        tokens = torch.stack([tap(f) for tap, f in zip(self.taps, features)]).sum(0)
        tokens = tokens + time[:, None, None, None]
        grid = (frames, height // CELL, width // CELL)
        x = self.cells(tokens, grid)
        skips = self._skips(latents, time, frames) if self.config["pixel_latents"] else None
        if skips is None:
            x = x + self.latent_cells(latents.permute(0, 2, 3, 4, 1), grid)
        else:
            x = x + self.pairs[2](skips[2], shifted(skips[2], frames, 1))
        # Long clips of large frames fill the memory with what the backward pass needs: that is computed again.
        thrifty = chunk is not None and chunk < len(x) and torch.is_grad_enabled()
        for block in self.at_eighth:
            x = _again(block, x, frames) if thrifty else block(x, frames)
        x = _doubled(self.to_quarter(x))
        if skips is not None:
            x = x + self.pairs[1](skips[1], shifted(skips[1], frames, 1)) + self.match(skips[1], frames)
        for block in self.at_quarter:
            x = _again(block, x, frames) if thrifty else block(x, frames)
        fine = [x] if skips is None else [x, skips[0], shifted(skips[0], frames, 1)]
        parts = zip(*(p.split(chunk or len(x)) for p in fine))
        maps = torch.cat([_again(self._fine, *part) if thrifty else self._fine(*part) for part in parts])
        if self.flow_span:
            own = _own_motion(features[-1], self.flow_span, frames, size)
            share = torch.sigmoid(maps[:, MAPS.index("share") :])
            maps = torch.cat([maps[:, :2] + share * own, maps[:, 2:]], dim=1)
        with full_precision(x.device):
            cameras = self.camera(x, frames)
        return _output(maps.unflatten(0, (-1, frames)), *cameras)

    @staticmethod
    def chunk_of(size: tuple[int, int]) -> int:
        """Frames that the fine levels should do at a time."""
        return max(1, FINE_PIXELS // (size[0] * size[1]))

    def _skips(self, latents: Tensor, time: Tensor, frames: int) -> list[Tensor]:
        """The encoder's levels, each channel scaled by how far the noise level lets it be trusted."""
        levels = self.encoder(latents.transpose(1, 2).flatten(0, 1))
        trust = 1 + self.trust(time).repeat_interleave(frames, dim=0)[:, :, None, None]
        return [x * g for x, g in zip(levels, trust.split([x.shape[1] for x in levels], dim=1))]

    def _fine(self, x: Tensor, here: Tensor | None = None, after: Tensor | None = None) -> Tensor:
        """From 1/4 of the resolution to all maps (n,8,H,W) in full precision, each frame by itself."""
        x = _doubled(self.to_half(x))
        if here is not None:
            x = x + self.pairs[0](here, after)
        x = self.at_half(x)
        with full_precision(x.device):
            return F.pixel_shuffle(self.last(F.silu(x.float())), 2)

    def _check(self, features: list[Tensor], latents: Tensor, frames: int, size: tuple[int, int]) -> None:
        dims = [f.shape[-1] for f in features]
        if dims != self.config["feature_dims"]:
            raise InputError(f"these heads read features of {self.config['feature_dims']} channels, not {dims}")
        if frames < 2 or any(n % MULTIPLE or n <= 0 for n in size):
            raise InputError(
                f"heads read at least 2 frames of a height and width of multiples of {MULTIPLE}, not {frames} of "
                f"{size[0]}x{size[1]}"
            )
        found, wanted = latents.shape[1], self.config["latent_channels"]
        video = tuple(latents.shape[2:]) == (frames, *size)
        if found != wanted or (self.config["pixel_latents"] and not video):
            extent = f" of {frames}x{size[0]}x{size[1]}" if self.config["pixel_latents"] else ""
            raise InputError(
                f"these heads read latents of {wanted} channels{extent}, not {tuple(latents.shape[1:])}"
            )


def _again(run: Callable[..., Tensor], *values: Any) -> Tensor:
    """`run`, whose inside is computed again for the backward pass."""
    return checkpoint(run, *values, use_reentrant=False, preserve_rng_state=False)


def _doubled(x: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C 2h 2w"]:
    return F.interpolate(x, scale_factor=2, mode="bilinear")


def _own_motion(
    flows: Float[Tensor, "B f y x F"], span: int, frames: int, size: tuple[int, int]
) -> Float[Tensor, "N 2 H W"]:
    """The backbone's own motion at every pixel, as the last layer writes motion; see `Backbone.flow_span`."""
    rows, columns = flows.shape[2:4]
    by_frame = flows.float().unflatten(-1, (span, 3)).movedim(-2, 2)
    by_frame = torch.cat([by_frame[:, :1, 0], by_frame[:, 1:].flatten(1, 2)], dim=1)[:, :frames]
    there = F.interpolate(by_frame.flatten(0, 1).permute(0, 3, 1, 2), size=size, mode="bilinear")
    # The mean over what moves: around it cells are empty, and must not slow it down.
    pixels = there.new_tensor([size[1] / columns, size[0] / rows])[:, None, None]
    return there[:, 1:] / there[:, :1].clamp_min(0.02) * pixels / (size[0] / 32)


def _output(maps: Tensor, log_focal: Tensor, gravity: Tensor, camera0_from_camera: Tensor) -> HeadOutput:
    value = dict(zip(MAPS, maps.unbind(2)))
    # Motion as a share of the picture, so that another resolution means the same.
    pixels = maps.shape[-2] / 32
    motion = torch.stack([pixels * value["u"], pixels * value["v"], 0.1 * value["delta"]], dim=-1)
    return HeadOutput(
        log_depth=value["log_depth"],
        depth_log_confidence=_bounded(value["depth_confidence"]),
        motion=motion[:, :-1],
        motion_log_confidence=_bounded(value["motion_confidence"])[:, :-1],
        visibility=value["visibility"][:, :-1],
        sky=value["sky"],
        log_focal=log_focal,
        gravity=gravity,
        camera0_from_camera=camera0_from_camera,
    )


def _bounded(x: Tensor) -> Tensor:
    return CONFIDENCE_LIMIT * torch.tanh(x / CONFIDENCE_LIMIT)


def rigid_motion_of(twist: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 4 4"]:
    """The rigid motion of a rotation vector [rad], by Rodrigues' formula, and a translation [m]."""
    zero = torch.zeros_like(twist[..., 0])
    x, y, z = twist[..., :3].unbind(-1)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    # The root has no slope at 0, where `skew` alone carries the gradient.
    turns = (x * x + y * y + z * z).clamp_min(1e-16).sqrt()[..., None, None] / math.pi
    eye = torch.eye(3, dtype=twist.dtype, device=twist.device)
    rotation = eye + turns.sinc() * skew + 0.5 * (turns / 2).sinc().square() * (skew @ skew)
    bottom = eye.new_tensor([0.0, 0, 0, 1]).expand(*zero.shape, 1, 4)
    return torch.cat([torch.cat([rotation, twist[..., 3:, None]], dim=-1), bottom], dim=-2)
