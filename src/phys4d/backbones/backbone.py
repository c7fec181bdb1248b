"""The contract that every video diffusion backbone keeps, so that one sampler and three stages serve them all.

Notation: a clean latent x0 and noise eps give x = alpha x0 + sigma eps. The time t runs from 0 (clean) to 1
(noise); what alpha and sigma are at t, and what the network's output means, only the backbone knows
(`alpha_sigma`, `to_x0_eps`). Latents are (B,C,T',h,w); videos (B,T,H,W,3) float in [0, 1].
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
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
    extra: whatever else the backbone's `forward` wants to be told, by name, B first: first frames as further
    channels, embeddings of a picture, masks of the text.
    """

    text: Tensor
    latents: Float[Tensor, "B C t h w"]
    known: Bool[Tensor, "B 1 t 1 1"]
    extra: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)

    def clamp(self, x: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B C t h w"]:
        """x with the known latent frames put back."""
        return torch.where(self.known, self.latents.to(x.dtype), x)

    def repeat(self, times: int) -> Condition:
        """Every condition `times` times in a row: one group of rollouts each."""
        return self._each(lambda value: value.repeat_interleave(times, dim=0))

    def __getitem__(self, index: slice | Tensor) -> Condition:
        return self._each(lambda value: value[index])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Condition:
        extra = {name: change(value) for name, value in self.extra.items()}
        return Condition(change(self.text), change(self.latents), change(self.known), extra)

    @staticmethod
    def cat(conditions: Sequence[Condition]) -> Condition:
        """The conditions of several batches as one batch's."""
        first = conditions[0]
        return Condition(
            torch.cat([c.text for c in conditions]),
            torch.cat([c.latents for c in conditions]),
            torch.cat([c.known for c in conditions]),
            {name: torch.cat([c.extra[name] for c in conditions]) for name in first.extra},
        )


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
    least_context: int = 1
    """Fewest first frames that it can be given; 0: a text alone will do."""
    guidance_scale: float = 1.0
    """Of classifier-free guidance in a generation; 1: none."""
    clips_at_once: int = 8
    """Clips that are made or read together where nobody asks for another number."""

    @classmethod
    @abstractmethod
    def tiny(cls) -> Backbone:
        """The real class with few random weights, for tests and dry runs."""

    @classmethod
    @abstractmethod
    def from_pretrained(cls, path: Path) -> Backbone:
        """The backbone that was saved in a folder. Raises InputError where there is none, or another one."""

    def save_pretrained(self, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Write configuration and weights, without adapters, into an existing folder, for `from_pretrained`."""
        from phys4d.backbones.storage import save_backbone

        save_backbone(self, folder, dtype=dtype)

    def describe(self) -> str:
        """What this is, in a few words."""
        return self.name

    @property
    def window(self) -> dict[str, Any] | None:
        """What `work_at` was told: size, frames, fps; None where it is part of the network."""
        return None

    def work_at(self, size: tuple[int, int], frames: int, fps: float) -> None:
        """Make and read windows of `frames` frames of this size [px] and rate from now on, where it can choose.

        Raises InputError, naming the nearest, for what it cannot make.
        """
        self.check(frames, size)

    def use_encodings(self, folder: Path) -> None:
        """Take what VAE and text encoder say from a store where it is there. Raises InputError for one that is not
        this backbone's, and where there is no VAE."""
        raise InputError(f"{self.name} has no VAE whose encodings could be stored")

    def writing_encodings(self, folder: Path) -> AbstractContextManager[None]:
        """Store what is encoded as long as this lasts. Raises InputError as `use_encodings` does."""
        raise InputError(f"{self.name} has no VAE whose encodings could be stored")

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
        """The first k frames and the prompts as the condition of a clip of `frames` frames.

        Raises InputError, naming the nearest, for a k that cannot be.
        """

    def unprompted(self, condition: Condition) -> Condition:
        """The same first frames with an empty prompt, for classifier-free guidance."""
        return dataclasses.replace(condition, text=self.encode_text([""] * len(condition.known)))

    def valid_context(self, count: int) -> int:
        """The least number of first frames that it can be given which shows `count` frames or more."""
        return max(count, self.least_context)

    def check_context(self, count: int, frames: int) -> None:
        """Raise InputError, naming the nearest, for first frames of which a clip of `frames` cannot be made."""
        valid = [k for k in range(self.least_context, frames) if self.valid_context(k) == k]
        if count in valid:
            return
        below, above = [k for k in valid if k < count][-1:], [k for k in valid if k > count][:1]
        raise InputError(
            f"{self.name} makes a window of {frames} frames out of {_listed(valid)} first frames, not {count}; "
            f"give {' or '.join(str(k) for k in below + above)}"
        )

    def draw_noise(self, shape: Sequence[int], generator: torch.Generator) -> Float[Tensor, "C t h w"]:
        """Noise of one clip's latents, on the CPU."""
        return torch.randn(*shape, generator=generator)

    def unpadded(self, latents: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B C u h w"]:
        """Latents without those that stand for no frame but fill the network's patches."""
        return latents

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


def _listed(numbers: Sequence[int]) -> str:
    """A few numbers in words: 1 to 16; 1, 5, 9, ..., 29; 1 or 5."""
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]} to {numbers[-1]}"
    if len(numbers) > 4:
        return f"{', '.join(str(n) for n in numbers[:3])}, ..., {numbers[-1]}"
    return " or ".join(str(n) for n in numbers)


def per_clip(value: Float[Tensor, "B"]) -> Float[Tensor, "B 1 1 1 1"]:
    """A number for each clip, shaped to meet latents."""
    return value.reshape(-1, 1, 1, 1, 1)
