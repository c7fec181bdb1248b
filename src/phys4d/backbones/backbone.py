"""The contract that every video diffusion backbone keeps, so that one sampler and three stages serve them all.

Notation: a clean latent x0 and noise eps give x = alpha x0 + sigma eps. The time t runs from 0 (clean) to 1
(noise); what alpha and sigma are at t, and what the network's output means, only the backbone knows
(`alpha_sigma`, `to_x0_eps`). Latents are (B,C,T',h,w); videos (B,T,H,W,3) float in [0, 1].
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from phys4d.errors import InputError, Registry

backbones: Registry[type[Backbone]] = Registry("backbone")
"""Backbones by name: `@backbones.register("nano")`."""


@dataclasses.dataclass(frozen=True)
class Condition:
    """What determines a generation: a text and the first frames.

    text: whatever `encode_text` returned, with B first.
    latents: (B,C,T',h,w) clean latents of the first frames; anything where nothing is known.
    known: (B,1,T',1,1) bool, which latent frames are given. They are never noised, trained or sampled.
    """

    text: Tensor
    latents: Float[Tensor, "B C t h w"]
    known: Bool[Tensor, "B 1 t 1 1"]

    def clamp(self, x: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B C t h w"]:
        """x with the known latent frames put back."""
        return torch.where(self.known, self.latents.to(x.dtype), x)

    def repeat(self, times: int) -> Condition:
        """Every condition `times` times in a row: one group of rollouts each."""
        repeated = (v.repeat_interleave(times, dim=0) for v in (self.text, self.latents, self.known))
        return Condition(*repeated)

    def __getitem__(self, index: slice | Tensor) -> Condition:
        return Condition(self.text[index], self.latents[index], self.known[index])


class Backbone(nn.Module, ABC):
    """A text- and image-conditioned video diffusion model behind one interface."""

    name: ClassVar[str]
    spatial_multiple: int
    """Heights and widths must be multiples of this [px]."""
    size: tuple[int, int]
    """Height and width [px] at which the backbone makes videos unless asked otherwise."""
    most_frames: int
    """Frames of the longest window."""
    feature_dims: tuple[int, ...]
    """Channels D of each tapped layer."""
    flow_span: int = 0
    """Not 0: the last feature is no layer, but how the backbone itself moves things, for so many frames a token
    (the first token: for frame 0 alone): share of a cell that moves, and that share times the displacement x, y to
    the next frame [cells], frame by frame."""
    latent_channels: int
    lora_targets: tuple[str, ...]
    """Name endings of the linear layers that an adapter may change."""
    sampling_steps: int = 30
    """Steps of a generation, unless somebody asks for another number."""
    fps: float
    """Frame rate at which the backbone was trained [1/s]."""
    config: dict[str, Any]
    """What `__init__` needs to build the same network again: JSON."""

    @classmethod
    @abstractmethod
    def tiny(cls) -> Backbone:
        """The real class with few random weights, for tests and dry runs."""

    @classmethod
    @abstractmethod
    def from_pretrained(cls, path: Path) -> Backbone:
        """The backbone that was saved in a folder. Raises InputError where there is none, or another one."""

    @abstractmethod
    def encode(self, video: Float[Tensor, "B T H W 3"]) -> Float[Tensor, "B C t h w"]:
        """Video in [0, 1] to latents."""

    @abstractmethod
    def decode(self, latents: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B T H W 3"]:
        """Latents to video in [0, 1]."""

    @abstractmethod
    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """B prompts to whatever `forward` takes as text, B first."""

    @abstractmethod
    def condition(self, context: Float[Tensor, "B k H W 3"], prompts: Sequence[str], frames: int) -> Condition:
        """The first k frames and the prompts as the condition of a clip of `frames` frames."""

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "B C t h w"], t: Float[Tensor, "B"], condition: Condition
    ) -> tuple[Float[Tensor, "B C t h w"], list[Float[Tensor, "B f y x D"]]]:
        """The network's own prediction (see `to_x0_eps`) and the tapped features on their (frame, y, x) grid."""

    def predict(
        self, x: Float[Tensor, "B C t h w"], t: Float[Tensor, "B"], condition: Condition
    ) -> Float[Tensor, "B C t h w"]:
        """The prediction alone."""
        return self(x, t, condition)[0]

    def predict_and_explain(
        self,
        x: Float[Tensor, "B C t h w"],
        t: Float[Tensor, "B"],
        condition: Condition,
        x0: Float[Tensor, "B C t h w"],
    ) -> tuple[Float[Tensor, "B C t h w"], Float[Tensor, ""]]:
        """The prediction, and a loss of the backbone's own about how it came by it; 0 for most. x0: clean."""
        prediction = self.predict(x, t, condition)
        return prediction, prediction.new_zeros(())

    def features(
        self, x: Float[Tensor, "B C t h w"], t: Float[Tensor, "B"], condition: Condition
    ) -> list[Float[Tensor, "B f y x D"]]:
        """The tapped features alone."""
        return self(x, t, condition)[1]

    @abstractmethod
    def alpha_sigma(self, t: Float[Tensor, "..."]) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        """(alpha, sigma) at time t."""

    @abstractmethod
    def to_x0_eps(
        self, prediction: Float[Tensor, "B C t h w"], x: Float[Tensor, "B C t h w"], t: Float[Tensor, "B"]
    ) -> tuple[Float[Tensor, "B C t h w"], Float[Tensor, "B C t h w"]]:
        """What the prediction says about the clean latent and the noise."""

    @abstractmethod
    def target(
        self, x0: Float[Tensor, "B C t h w"], eps: Float[Tensor, "B C t h w"], t: Float[Tensor, "B"]
    ) -> Float[Tensor, "B C t h w"]:
        """What `forward` should have predicted: the target of the diffusion loss."""

    def loss_weight(self, t: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        """Weight of the squared error of `forward` in the diffusion loss at time t."""
        return torch.ones_like(t)

    @abstractmethod
    def sample_time(self, count: int, generator: torch.Generator | None = None) -> Float[Tensor, "B"]:
        """Times of training examples, from the distribution that the backbone was trained with."""

    @abstractmethod
    def schedule(self, steps: int) -> Float[Tensor, "N+1"]:
        """Times of a generation in `steps` steps, from 1 down to 0."""

    @abstractmethod
    def valid_frames(self, frames: int) -> int:
        """The number of frames nearest to `frames` that one window can have; `frames` itself where it can."""

    def check(self, frames: int, size: tuple[int, int]) -> None:
        """Raise InputError, naming the nearest that would do, for frames or a size this backbone cannot make."""
        nearest = self.valid_frames(frames)
        if nearest != frames:
            raise InputError(f"{self.name} cannot make {frames} frames in one window; the nearest is {nearest}")
        best = tuple(max(1, round(n / self.spatial_multiple)) * self.spatial_multiple for n in size)
        if best != tuple(size):
            raise InputError(
                f"{self.name} needs a height and width of multiples of {self.spatial_multiple}, not "
                f"{size[0]}x{size[1]}; the nearest is {best[0]}x{best[1]}"
            )


def per_clip(value: Float[Tensor, "B"]) -> Float[Tensor, "B 1 1 1 1"]:
    """A number for each clip, shaped to meet latents."""
    return value.reshape(-1, 1, 1, 1, 1)
