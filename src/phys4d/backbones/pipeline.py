"""What the backbones that come as diffusers pipelines share: VAE, text encoder, taps, flow matching.

The transformers are the backbone's modules: they are moved, adapted, trained and saved with it. VAE and text
encoder stay aside (`Parts`); they are read when first needed, follow the transformer's device, and never train.

Times: t is the noise level sigma of flow matching, alpha = 1 - t; the network is told 1000 t. The velocity
v = eps - x0 is what it predicts. A pipeline of another kind overrides `alpha_sigma`, `to_x0_eps` and `target`.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from phys4d.backbones.backbone import Backbone, Condition, backbones, per_clip
from phys4d.backbones.encodings import Encodings
from phys4d.backbones.parts import INDEX, Parts, is_pipeline
from phys4d.errors import InputError, unknown_name

FOLDER = "backbone"
"""Where a saved model keeps a pipeline of its own."""
TAPS = 4
"""Layers whose features the heads read."""
TRAIN_STEPS = 1000
"""What the networks call the time of pure noise."""
REMEMBERED = 64
"""Prompts whose embeddings are kept."""

Made = TypeVar("Made", bound="PipelineBackbone")


class PipelineBackbone(Backbone):
    """See the module.

    pipeline, specs, options: see `Parts`. size, frames, fps: of a window; default, what the model was made for.
    """

    pipelines: ClassVar[tuple[str, ...]]
    """Classes of diffusers pipelines that this is the backbone of."""
    variants: ClassVar[tuple[str, ...]]
    """What `tiny` can make, its default first."""
    latent_stride: ClassVar[int] = 4
    """Frames of a latent, but for the first, which is a frame alone."""
    text_length: int = 512
    """Tokens of a text."""
    tile_above: ClassVar[int] = 480 * 832
    """Pixels of a frame above which the VAE works in tiles."""
    clips_at_once = 1
    sampling_steps = 50

    def __init__(
        self,
        pipeline: str | None = None,
        specs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        size: Sequence[int] | None = None,
        frames: int | None = None,
        fps: float | None = None,
        parts: Parts | None = None,
    ) -> None:
        super().__init__()
        if parts is None:
            parts = Parts(str(pipeline), specs or {}, options)
        if parts.pipeline not in self.pipelines:
            raise InputError(unknown_name(f"pipeline of {self.name}", parts.pipeline, self.pipelines))
        self.parts = parts
        self.transformer: nn.Module = parts.take("transformer")
        self.network: dict[str, Any] = parts.config("transformer")
        self.encodings = Encodings()
        self._texts: collections.OrderedDict[str, Tensor] = collections.OrderedDict()
        self.set_up()
        self.checkpoint_activations()
        self.feature_dims = (self.width,) * TAPS
        usual = self.usual_window()
        self.size = (size[0], size[1]) if size else usual[0]
        self.most_frames, self.fps = frames or usual[1], fps or usual[2]
        self.check(self.most_frames, self.size)

    @classmethod
    def from_pretrained(cls: type[Made], path: Path, *, dtype: torch.dtype = torch.float32, **window: Any) -> Made:
        """The pipeline in a folder, or in a saved model's. dtype: of its weights. window: see `__init__`.

        Raises InputError for a folder that holds none, or one of another backbone.
        """
        path = path if is_pipeline(path) else path / FOLDER
        if not is_pipeline(path):
            raise InputError(f"{path.parent}: holds no {INDEX}; is it the folder of a diffusers pipeline?")
        parts = Parts.read(path, dtype)
        if parts.pipeline not in cls.pipelines:
            other = backbone_of(path).name
            raise InputError(f"{path}: holds {parts.pipeline}, which is a {other}, not a {cls.name}")
        return cls(parts=parts, **window)

    def save_pretrained(self, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
        (folder / FOLDER).mkdir()
        copies = {name: _plain(module, self.parts.specs[name]).to(dtype) for name, module in self.named_children()}
        self.parts.save(folder / FOLDER, copies)

    def describe(self) -> str:
        count = sum(p.numel() for p in self.parameters())
        size = f"{self.most_frames}x{self.size[0]}x{self.size[1]}"
        parameters = f"{_short(count)} parameters"
        return f"{self.name} ({self.parts.pipeline}, {parameters}, windows of {size} at {self.fps:g} fps)"

    def work_at(self, size: tuple[int, int], frames: int, fps: float) -> None:
        self.check_window(frames)
        before, self.most_frames = self.most_frames, frames
        try:
            self.check(frames, size)
        except InputError:
            self.most_frames = before
            raise
        self.size, self.fps = size, fps

    @property
    def window(self) -> dict[str, Any]:
        return {"size": list(self.size), "frames": self.most_frames, "fps": self.fps}

    @property
    def config(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.parts.to_dict() | self.window

    # What a kind of pipeline says of itself.

    @abstractmethod
    def set_up(self) -> None:
        """Set `spatial_multiple`, `latent_channels` and whatever else follows from the configurations."""

    @abstractmethod
    def usual_window(self) -> tuple[tuple[int, int], int, float]:
        """Size [px], frames and frame rate [1/s] that the model was made for."""

    @property
    def width(self) -> int:
        """Channels of the transformer's tokens."""
        return self.network["num_attention_heads"] * self.network["attention_head_dim"]

    @property
    @abstractmethod
    def patch(self) -> tuple[int, int, int]:
        """Latents (t, h, w) of a token."""

    @abstractmethod
    def blocks_of(self, transformer: nn.Module) -> nn.ModuleList:
        """The transformer's layers."""

    @abstractmethod
    def call(self, transformer: nn.Module, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """The transformer's prediction. x: (B,C,t,h,w) of its dtype. t: (B,)."""

    @abstractmethod
    def normalised(self, latents: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B C t h w"]:
        """What the VAE says, on the scale that the transformer works on."""

    @abstractmethod
    def denormalised(self, latents: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B C t h w"]:
        """The way back."""

    # The network.

    @property
    def blocks(self) -> list[nn.Module]:
        """Every layer of every transformer: what may be sharded or recomputed by itself."""
        return [block for transformer in self.children() for block in self.blocks_of(transformer)]

    def checkpoint_activations(self, on: bool = True) -> None:
        """Keep only the layers' inputs for the backward pass, and compute the rest again; so from the start."""
        for transformer in self.children():
            method: Any = getattr(transformer, f"{'enable' if on else 'disable'}_gradient_checkpointing")
            method()

    def expert(self, t: Float[Tensor, "B"]) -> list[tuple[nn.Module, Tensor | None]]:
        """Transformers, and which of the clips at these times each is for; None: all of them."""
        return [(self.transformer, None)]

    def forward(
        self, x: Float[Tensor, "B C t h w"], t: Float[Tensor, "B"], condition: Condition
    ) -> tuple[Float[Tensor, "B C t h w"], list[Float[Tensor, "B f y x D"]]]:
        x = condition.clamp(x)
        prediction, features = None, None
        for transformer, chosen in self.expert(t):
            some = (x, t, condition) if chosen is None else (x[chosen], t[chosen], condition[chosen])
            made, seen = self._one(transformer, *some)
            if chosen is None:
                return made, seen
            if prediction is None or features is None:
                prediction = x.new_zeros(x.shape)
                features = [f.new_zeros(len(x), *f.shape[1:]) for f in seen]
            prediction = prediction.index_put((chosen,), made)
            features = [whole.index_put((chosen,), f) for whole, f in zip(features, seen)]
        assert prediction is not None
        assert features is not None
        return prediction, features

    def _one(
        self, transformer: nn.Module, x: Tensor, t: Tensor, condition: Condition
    ) -> tuple[Tensor, list[Tensor]]:
        blocks = self.blocks_of(transformer)
        taps = [max(0, round((i + 1) * len(blocks) / TAPS) - 1) for i in range(TAPS)]
        dtype = self.working_dtype(transformer)
        told = {
            name: value.to(dtype) if value.is_floating_point() else value
            for name, value in condition.extra.items()
        }
        condition = Condition(condition.text.to(dtype), condition.latents, condition.known, told)
        with _tapped([blocks[i] for i in taps]) as seen:
            made = self.call(transformer, x.to(dtype), t, condition)
        grid = [n // p for n, p in zip(x.shape[2:], self.patch)]
        return made.to(x.dtype), [tokens.to(x.dtype).unflatten(1, grid) for tokens in seen()]

    def working_dtype(self, transformer: nn.Module) -> torch.dtype:
        """What its large matrices are kept in; norms and time embeddings may be finer."""
        return next(
            p.dtype
            for n, p in self.blocks_of(transformer)[0].named_parameters()
            if p.ndim == 2 and "lora" not in n
        )

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def text_width(self) -> int:
        """Channels of a text's tokens."""
        return self.parts.config("text_encoder")["d_model"]

    def extra_shapes(self, latents: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """Shapes, without B, of what a condition holds besides, for latents (t,h,w)."""
        return {}

    # What VAE and text encoder say, stored.

    def use_encodings(self, folder: Path) -> None:
        self.encodings.open(folder, self._encoders())

    @contextlib.contextmanager
    def writing_encodings(self, folder: Path) -> Iterator[None]:
        self.encodings.create(folder, self._encoders(), self.parts.dtype)
        try:
            yield
        finally:
            self.encodings.close()

    def _encoders(self) -> str:
        """Which encoders these are."""
        names = [name for name in ("vae", "text_encoder", "text_encoder_2", "image_encoder") if name in self.parts]
        text = json.dumps([self.name, [self.parts.specs[name] for name in names]], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def unprompted(self, condition: Condition) -> Condition:
        nothing = super().unprompted(condition)
        if "words" not in condition.extra:
            return nothing
        words = (nothing.text != 0).any(dim=-1).to(condition.extra["words"].dtype)
        return dataclasses.replace(nothing, extra={**nothing.extra, "words": words})

    # The VAE.

    def encode(self, video: Float[Tensor, "B T H W 3"]) -> Float[Tensor, "B C t h w"]:
        self.check(video.shape[1], (video.shape[2], video.shape[3]))
        return self.padded(self.encode_frames(video))

    def padded(self, latents: Float[Tensor, "B C u h w"]) -> Float[Tensor, "B C t h w"]:
        """The opposite of `unpadded`."""
        return latents

    def encode_frames(self, video: Float[Tensor, "B T H W 3"]) -> Float[Tensor, "B C u h w"]:
        """Latents of any frames that the VAE takes, on the transformer's scale, not padded."""
        return self.normalised(self.vae_mode(video))

    @torch.no_grad()
    def vae_mode(self, video: Float[Tensor, "B T H W 3"]) -> Float[Tensor, "B C u h w"]:
        """The mode of what the VAE says of each clip, float32, from the store where it is there."""
        clips = [self.encodings.video(clip, self._encode_clip).to(self.device) for clip in video]
        return torch.stack(clips)

    def _encode_clip(self, clip: Float[Tensor, "T H W 3"]) -> Float[Tensor, "C u h w"]:
        vae = self.vae(clip.shape[1] * clip.shape[2])
        pixels = (2 * clip.to(self.device) - 1).permute(3, 0, 1, 2)[None]
        with torch.autocast(self.device.type, enabled=False):
            return self.mode_of(vae, pixels.to(vae.dtype))[0].float()

    def mode_of(self, vae: Any, pixels: Float[Tensor, "1 3 T H W"]) -> Float[Tensor, "1 C u h w"]:
        """Latents of one clip in [-1, 1]."""
        return vae.encode(pixels).latent_dist.mode()

    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B T H W 3"]:
        clips = []
        for clip in self.denormalised(self.unpadded(latents).float()).split(1):
            vae = self.vae(clip.shape[3] * clip.shape[4] * (self.spatial_multiple // self.patch[1]) ** 2)
            with torch.autocast(self.device.type, enabled=False):
                pixels = self.decode_clip(vae, clip.to(self.device, vae.dtype))
            clips.append(((pixels.float() + 1) / 2).clamp(0, 1).permute(0, 2, 3, 4, 1))
        return torch.cat(clips)

    def decode_clip(self, vae: Any, latents: Float[Tensor, "1 C u h w"]) -> Float[Tensor, "1 3 T H W"]:
        """Pixels in [-1, 1] of one clip."""
        return vae.decode(latents, return_dict=False)[0]

    def vae(self, pixels: int) -> Any:
        """The VAE, where the transformer is, in tiles where a frame has many pixels."""
        vae = self.parts.get("vae").to(self.device)
        if hasattr(vae, "enable_tiling"):
            vae.enable_tiling() if pixels > self.tile_above else vae.disable_tiling()
        return vae

    # The text.

    def encode_text(self, prompts: Sequence[str]) -> Float[Tensor, "B L D"]:
        return torch.stack([self._text(self.cleaned(prompt)) for prompt in prompts]).to(self.device)

    def cleaned(self, prompt: str) -> str:
        """The prompt as the pipeline's text encoder gets it."""
        return prompt

    def _text(self, prompt: str) -> Float[Tensor, "L D"]:
        if prompt not in self._texts:
            self._texts[prompt] = self.encodings.text(prompt, self._encode_prompt).cpu()
            if len(self._texts) > REMEMBERED:
                self._texts.popitem(last=False)
        self._texts.move_to_end(prompt)
        return self._texts[prompt]

    @torch.no_grad()
    def _encode_prompt(self, prompt: str) -> Float[Tensor, "L D"]:
        """The text encoder comes to the transformer's device for this alone: it may be the larger of the two."""
        encoder = self.parts.get("text_encoder").to(self.device)
        try:
            with torch.autocast(self.device.type, enabled=False):
                return self.embed(encoder, prompt).float()
        finally:
            encoder.to("cpu")

    def embed(self, encoder: Any, prompt: str) -> Float[Tensor, "L D"]:
        """What the text encoder says of a prompt; 0 where there are no words."""
        ids, mask = self.tokens(prompt)
        hidden = encoder(ids, attention_mask=mask).last_hidden_state
        return (hidden * mask[..., None].to(hidden.dtype))[0]

    def tokens(self, prompt: str) -> tuple[Tensor, Tensor]:
        """Token ids and mask, (1,L)."""
        made = self.parts.get("tokenizer")(
            [prompt],
            padding="max_length",
            max_length=self.text_length,
            truncation=True,
            add_special_tokens=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        return made.input_ids.to(self.device), made.attention_mask.to(self.device)

    # Flow matching.

    def alpha_sigma(self, t: Float[Tensor, "..."]) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        return 1 - t, t

    def to_x0_eps(
        self, prediction: Float[Tensor, "B C t h w"], x: Float[Tensor, "B C t h w"], t: Float[Tensor, "B"]
    ) -> tuple[Float[Tensor, "B C t h w"], Float[Tensor, "B C t h w"]]:
        sigma = per_clip(t)
        return x - sigma * prediction, x + (1 - sigma) * prediction

    def target(
        self, x0: Float[Tensor, "B C t h w"], eps: Float[Tensor, "B C t h w"], t: Float[Tensor, "B"]
    ) -> Float[Tensor, "B C t h w"]:
        return eps - x0

    @property
    def shift(self) -> float:
        """How far times are pushed to the noisy end: t = s u / (1 + (s - 1) u)."""
        config = self.parts.config("scheduler")
        return float(config.get("flow_shift") or config.get("shift") or 1.0)

    def sample_time(self, count: int, generator: torch.Generator | None = None) -> Float[Tensor, "B"]:
        # A logit-normal (SD3, arXiv 2403.03206; Wan, arXiv 2503.20314), shifted as the sampler's times are.
        u = torch.sigmoid(torch.randn(count, generator=generator))
        return self.shift * u / (1 + (self.shift - 1) * u)

    def schedule(self, steps: int) -> Float[Tensor, "N+1"]:
        """The noise levels of the pipeline's own scheduler."""
        scheduler = self.parts.get("scheduler")
        scheduler.set_timesteps(steps)
        sigmas = scheduler.sigmas.detach().clone().float()
        # UniPC begins a millionth below 1, where its own formulas are finite.
        sigmas[0], sigmas[-1] = 1.0, 0.0
        return sigmas

    # Frames and sizes.

    @property
    def frame_step(self) -> int:
        """Windows have 1 + k times so many frames."""
        return self.latent_stride * self.patch[0]

    def valid_frames(self, frames: int) -> int:
        return self._nearest(frames, self.most_frames)

    def _nearest(self, frames: int, most: int) -> int:
        count = max(1, round((frames - 1) / self.frame_step))
        return 1 + self.frame_step * min(count, max(1, (most - 1) // self.frame_step))

    def check_window(self, frames: int) -> None:
        """Raise InputError, naming the nearest, for a number of frames that no window of this model can have."""
        nearest = self._nearest(frames, frames + self.frame_step)
        if frames != nearest:
            raise InputError(f"{self.name} cannot make {frames} frames in one window; the nearest is {nearest}")

    def valid_context(self, count: int) -> int:
        if count <= self.least_context:
            return self.least_context
        # A latent stands for so many frames at once; one that is given must be given whole.
        return 1 + self.latent_stride * -(-(count - 1) // self.latent_stride)

    def held_still(self, given: Float[Tensor, "B C k h w"], latents: int) -> Float[Tensor, "B C t h w"]:
        """The given latents and the last of them again and again; 0 where none is given."""
        rest = latents - given.shape[2]
        last = given[:, :, -1:] if given.shape[2] else given.new_zeros(*given.shape[:2], 1, *given.shape[3:])
        return torch.cat([given, last.expand(-1, -1, rest, -1, -1)], dim=2)


def pipeline_backbones() -> dict[str, type[PipelineBackbone]]:
    """The backbone of each known class of pipeline."""
    kinds = [backbones[name] for name in backbones]
    return {p: kind for kind in kinds if issubclass(kind, PipelineBackbone) for p in kind.pipelines}


def backbone_of(folder: Path) -> type[PipelineBackbone]:
    """The backbone that a diffusers folder holds. Raises InputError naming those that are known."""
    pipeline, known = Parts.read(folder).pipeline, pipeline_backbones()
    if pipeline not in known:
        raise InputError(f"{folder}: {unknown_name('pipeline', pipeline, known)}")
    return known[pipeline]


@contextlib.contextmanager
def _tapped(blocks: Sequence[nn.Module]) -> Iterator[Any]:
    """What the layers put out for the video's tokens while this lasts: a function that lists it."""
    found: dict[int, Tensor] = {}

    def keep(module: nn.Module, _: Any, output: Any) -> None:
        found[id(module)] = output[0] if isinstance(output, tuple) else output

    # Taken off again at once, or recomputing layers for the backward pass would come here, too.
    hooks = [block.register_forward_hook(keep) for block in set(blocks)]
    try:
        yield lambda: [found[id(block)] for block in blocks]
    finally:
        for hook in hooks:
            hook.remove()


def _plain(module: nn.Module, spec: Mapping[str, Any]) -> Any:
    """A copy without adapters."""
    kind: Any = type(module)
    copy = kind.from_config(dict(spec["config"]))
    copy.load_state_dict(
        {k.replace(".base_layer.", "."): v for k, v in module.state_dict().items() if ".lora_" not in k}
    )
    return copy


def _short(count: int) -> str:
    for name, unit in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return str(count)
