"""`nano`: the embedded video diffusion backbone. A transformer on pixel patches that trains on two CPU cores.

17 frames of 64x64 are one anchor (the last known frame, beside the first) and four groups of four frames, in
cells of 8x8 px: 320 tokens with full attention. It predicts the clean clip (x0) under flow matching,
alpha = 1 - t, sigma = t. Two blocks look at the anchor alone and cut objects out of it (`cutter`); the noisy
frames say where each of them may be (`registration`); each is a token more, which says in the end how it moves
(`motions`); and the frames are put together from the pieces (`compositor`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from phys4d.backbones.backbone import Backbone, Condition, backbones, per_clip
from phys4d.backbones.compositor import FLOWS, SPAN, Compositor
from phys4d.backbones.cutter import PATCH, Cutter, filled
from phys4d.backbones.layers import Block, TextEmbedding, TimeEmbedding, sinusoids
from phys4d.backbones.leaving import cut_loss
from phys4d.backbones.motions import Motion, Motions, expectation_loss
from phys4d.backbones.registration import likelihood
from phys4d.backbones.storage import load_backbone
from phys4d.errors import InputError

CHANGE = 0.1
"""Variance of frame minus anchor, about that of the training clips; latents lie in [-1, 1]."""
EXACT = 0.05
"""Noise that clean frames are taken to have."""
TAPS = 4
"""Layers whose features the heads read."""


@backbones.register("nano")
class Nano(Backbone):
    """See the module.

    width, depth, heads: of the transformer. size: (height, width) [px]. groups: of four frames. objects: that are
    cut out, at most.
    """

    name = "nano"
    spatial_multiple = PATCH
    latent_channels = 3
    lora_targets = ("qkv", "out", "up", "down", "motion")
    fps = 12.0
    sampling_steps = 3
    flow_span = SPAN

    def __init__(
        self,
        width: int = 160,
        depth: int = 4,
        heads: int = 2,
        size: Sequence[int] = (64, 64),
        groups: int = 4,
        objects: int = 8,
    ) -> None:
        super().__init__()
        self.config = {
            "width": width, "depth": depth, "heads": heads, "size": list(size), "groups": groups,
            "objects": objects,
        }  # fmt: skip
        self.size, self.objects = (size[0], size[1]), objects
        self.most_frames = 1 + SPAN * groups
        self.rows, self.columns = size[0] // PATCH, size[1] // PATCH
        self.taps = [round((i + 1) * depth / TAPS) - 1 for i in range(TAPS)]
        self.feature_dims = (width,) * TAPS + (FLOWS,)
        self.anchor_patch = nn.Linear((3 + 3) * PATCH**2, width)
        self.patch = nn.Linear((3 + 1) * SPAN * PATCH**2, width)
        self.place = nn.Parameter(torch.randn(self.rows * self.columns, width) * 0.5)
        self.group_place = nn.Parameter(torch.randn(1 + groups, 1, width) * 0.5)
        self.time = TimeEmbedding(width)
        self.text = TextEmbedding(width)
        self.anchor_place = nn.Linear(32, width)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.looking_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.looking = nn.ModuleList(Block(width, heads) for _ in range(2))
        self.cutter = Cutter(width, self.rows, self.columns, objects)
        self.motions = Motions(width, self.most_frames - 1, PATCH)
        self.object_place = nn.Parameter(torch.randn(objects, width) * 0.5)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.compositor = Compositor(width)

    @classmethod
    def tiny(cls) -> Nano:
        return cls(width=32, depth=4, heads=2)

    @classmethod
    def from_pretrained(cls, path: Path) -> Nano:
        return load_backbone(cls, path)

    def encode(self, video: Float[Tensor, "B T H W 3"]) -> Float[Tensor, "B 3 T H W"]:
        self.check(video.shape[1], (video.shape[2], video.shape[3]))
        return (2 * video - 1).permute(0, 4, 1, 2, 3)

    def decode(self, latents: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "B T H W 3"]:
        return ((latents.float() + 1) / 2).clamp(0, 1).permute(0, 2, 3, 4, 1)

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        return TextEmbedding.tokens(prompts).to(self.place.device)

    def condition(self, context: Float[Tensor, "B k H W 3"], prompts: Sequence[str], frames: int) -> Condition:
        count = context.shape[1]
        self.check_context(count, frames)
        last = context[:, -1:].expand(-1, frames - count, -1, -1, -1)
        known = torch.arange(frames, device=context.device) < count
        return Condition(
            text=self.encode_text(prompts),
            latents=self.encode(torch.cat([context, last], dim=1)),
            known=known.reshape(1, 1, frames, 1, 1).expand(len(prompts), -1, -1, -1, -1),
        )

    def forward(
        self, x: Float[Tensor, "B 3 T H W"], t: Float[Tensor, "B"], condition: Condition
    ) -> tuple[Float[Tensor, "B 3 T H W"], list[Float[Tensor, "B f y x D"]]]:
        return self._composed(x, t, condition)[:2]

    def predict_and_explain(
        self,
        x: Float[Tensor, "B 3 T H W"],
        t: Float[Tensor, "B"],
        condition: Condition,
        x0: Float[Tensor, "B 3 T H W"],
    ) -> tuple[Float[Tensor, "B 3 T H W"], Float[Tensor, ""]]:
        made, _, scene, motion = self._composed(x, t, condition)
        given = condition.known[:, 0, :, 0, 0]
        last = given.sum(1) - 1
        logs = self._likelihood(x0[:, :, 1:], t, torch.ones_like(given[:, 1:]), scene)
        told = expectation_loss(motion, logs, last, PATCH) + cut_loss(scene[1][:, :, 3], x0, last)
        return made, told

    def _composed(
        self, x: Tensor, t: Tensor, condition: Condition
    ) -> tuple[Tensor, list[Tensor], tuple[Tensor, Tensor], Motion]:
        """(prediction, features, background and objects, their motion)."""
        given = condition.known[:, 0, :, 0, 0]
        count = given.sum(1)
        last = (count - 1).reshape(-1, 1, 1, 1, 1).expand(-1, 3, 1, *self.size)
        anchor = condition.latents.gather(2, last)[:, :, 0]
        first = condition.latents[:, :, 0]
        text = self.text(condition.text)
        start = self.anchor_patch(_patches(torch.cat([anchor, first], dim=1)[:, :, None], 1))[:, 0] + self.place
        start = start + self.anchor_place(sinusoids(count.float(), 16))[:, None]
        for block in self.looking:
            start = block(start, self.looking_modulation(text).unflatten(-1, (6, -1)))
        matte, centre, objects = self.cutter(start, anchor)
        # To a power: what shows but faintly through an object must not colour what is behind it.
        background = filled(anchor.float(), (1 - matte.sum(1, keepdim=True)) ** 4)
        cut = torch.cat([anchor[:, None] * matte[:, :, None], matte[:, :, None]], dim=2)
        logs = self._likelihood(x, t, given, (background, cut))
        objects = objects + self.object_place + self.motions.evidence(logs, centre)
        known = condition.known.to(x.dtype).expand(-1, -1, -1, *self.size)
        change = self._change(x, t, condition, anchor[:, :, None])
        rest = (
            self.patch(_patches(torch.cat([change, known], dim=1)[:, :, 1:], SPAN)) + start[:, None] + self.place
        )
        groups = rest.shape[1]
        tokens = torch.cat([start[:, None], rest], dim=1) + self.group_place[: 1 + groups]
        tokens = torch.cat([tokens.flatten(1, 2), objects], dim=1)
        shared = self.modulation(self.time(t) + text).unflatten(-1, (6, -1))
        features = []
        for index, block in enumerate(self.blocks):
            tokens = block(tokens, shared)
            if index in self.taps:
                features.append(tokens[:, : -self.objects].unflatten(1, (1 + groups, self.rows, self.columns)))
        motion = self.motions(tokens[:, -self.objects :], logs[:, :, 1:], count - 1)
        made, flows = self.compositor(features[-1][:, 1:], background, cut, centre, motion)
        features.append(flows)
        made = condition.clamp(torch.cat([first[:, :, None], made], dim=2))
        return made, features, (background, cut), motion

    def _likelihood(
        self, x: Tensor, t: Tensor, clean: Bool[Tensor, "B T"], scene: tuple[Tensor, Tensor]
    ) -> Float[Tensor, "B K T H W"]:
        """Of every displacement of each object in each frame, those that are `clean` and the noisy ones."""
        alpha, sigma = self.alpha_sigma(t)
        alpha, sigma = torch.where(clean, 1.0, alpha[:, None]), torch.where(clean, EXACT, sigma[:, None])
        return likelihood(x, alpha, sigma, *scene)

    def _change(self, x: Tensor, t: Tensor, condition: Condition, anchor: Tensor) -> Tensor:
        """Best linear guess, from the noisy clip, of how each frame differs from the anchor; exact where known.

        At t = 1 it is 0: pure noise says nothing, and a small network need not learn to overlook it.
        """
        alpha, sigma = (per_clip(v) for v in self.alpha_sigma(t))
        gain = alpha * CHANGE / (alpha**2 * CHANGE + sigma**2)
        return torch.where(condition.known, condition.latents - anchor, gain * (x - alpha * anchor))

    def alpha_sigma(self, t: Float[Tensor, "..."]) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        return 1 - t, t

    def to_x0_eps(
        self, prediction: Float[Tensor, "B 3 T H W"], x: Float[Tensor, "B 3 T H W"], t: Float[Tensor, "B"]
    ) -> tuple[Float[Tensor, "B 3 T H W"], Float[Tensor, "B 3 T H W"]]:
        sigma = per_clip(t)
        return prediction, (x - (1 - sigma) * prediction) / sigma

    def target(
        self, x0: Float[Tensor, "B 3 T H W"], eps: Float[Tensor, "B 3 T H W"], t: Float[Tensor, "B"]
    ) -> Float[Tensor, "B 3 T H W"]:
        return x0

    def loss_weight(self, t: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        # The error of v = (x - x0) / t, bounded: motion is decided at high noise, and the last steps only polish.
        return 1 / t.clamp_min(0.4) ** 2

    def sample_time(self, count: int, generator: torch.Generator | None = None) -> Float[Tensor, "B"]:
        return torch.sigmoid(torch.randn(count, generator=generator) + 0.8)

    def schedule(self, steps: int) -> Float[Tensor, "N+1"]:
        t = torch.linspace(1, 0, steps + 1)
        # More steps where the noise is high, as in SD3: t' = s t / (1 + (s - 1) t) with s = 3.
        return 3 * t / (1 + 2 * t)

    def valid_frames(self, frames: int) -> int:
        groups = round((frames - 1) / SPAN)
        return 1 + SPAN * min(max(groups, 1), (self.most_frames - 1) // SPAN)

    def check(self, frames: int, size: tuple[int, int]) -> None:
        super().check(frames, size)
        if tuple(size) != self.size:
            raise InputError(
                f"this nano was made for {self.size[0]}x{self.size[1]}, not {size[0]}x{size[1]}; resize the "
                "videos, or train a nano of that size"
            )


def _patches(x: Float[Tensor, "B C T H W"], span: int) -> Float[Tensor, "B f N P"]:
    """Cells of span x 8 x 8 as vectors: f groups of N cells."""
    batch, channels, frames, height, width = x.shape
    cells = x.reshape(batch, channels, frames // span, span, height // PATCH, PATCH, width // PATCH, PATCH)
    return cells.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(
        batch, frames // span, height // PATCH * (width // PATCH), channels * span * PATCH**2
    )
