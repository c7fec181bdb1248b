"""`WorldModel`: a video diffusion backbone and heads that read its features as a 4D world.

    generate   first frames + caption -> RGB by the sampler -> depth, motion, cameras by the heads
    lift       RGB video              ->                       depth, motion, cameras by the heads

Videos longer than the backbone's window are made and read in overlapping windows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from phys4d.backbones import Backbone, Condition, adapters, backbones
from phys4d.backbones.backbone import per_clip
from phys4d.errors import InputError
from phys4d.heads import HeadOutput, Heads
from phys4d.heads.stitching import stitch, windows
from phys4d.pictures import Picture, read_frames
from phys4d.sampling import Guidance, sample
from phys4d.world import World4D

OVERLAP = 5
"""Frames that a window shares with the one before."""
READ_TIME = 0.02
"""Time (noise) at which the heads read a clean clip."""
KEPT_META = ("scene", "scene_id", "source", "category", "context_frames")
"""What a lifted world says of the world whose colours it was lifted from."""


class WorldModel(nn.Module):
    """A backbone with or without heads.

    backbone: any entry of `phys4d.backbones`. heads: None for a base that makes RGB alone. base: name or folder of
    the model whose backbone weights this one shares; None, its own. meta: where it comes from (JSON).
    """

    def __init__(
        self,
        backbone: Backbone,
        heads: Heads | None = None,
        *,
        base: str | None = None,
        meta: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.backbone, self.heads, self.base, self.meta = backbone, heads, base, dict(meta or {})

    @classmethod
    def tiny(cls, name: str = "nano") -> WorldModel:
        """The real classes with few random weights.

        Raises InputError for an unknown backbone, naming the nearest.
        """
        return cls(backbones[name].tiny()).with_heads(width=8)

    @classmethod
    def from_pretrained(cls, source: str | Path, *, dtype: torch.dtype | None = None) -> WorldModel:
        """A model that ships with phys4d ("nano", "nano-base", ...), the folder of one, or a diffusers pipeline.

        source: a name, a folder that `save_pretrained` or diffusers wrote, or owner/name on the hub. A pipeline
        comes with fresh heads, which see nothing yet; `describe` says what was found. dtype: of a pipeline's
        weights; default, bfloat16 where there is a GPU.

        Raises InputError for an unknown name, naming the nearest, for a folder that holds no whole model, saying
        what it holds, and where the hub is needed and cannot be reached.
        """
        from phys4d.storage import load_model

        return load_model(source, dtype=dtype)

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype = torch.float32) -> Path:
        """Write the model as a folder of safetensors and JSON, whole or not at all; see `phys4d.storage`."""
        from phys4d.storage import save_model

        return save_model(self, Path(folder), dtype=dtype)

    def push_to_hub(self, name: str, *, private: bool = True) -> str:
        """Put the model on the Hugging Face hub as owner/name; returns its address.

        Raises InputError where the hub does not take it, and where it takes its backbone from a folder that nobody
        else has.
        """
        from phys4d.hub import upload

        if self.base and Path(self.base).is_absolute():
            raise InputError(
                f"this model takes its backbone from {self.base}, which others do not have; write the backbone's "
                'name on the hub as "base" into its config.json'
            )

        with tempfile.TemporaryDirectory() as aside:
            return upload(self.save_pretrained(Path(aside) / "model"), name, private=private)

    def describe(self) -> str:
        """What this model is, in a line: its backbone, where that is from, its adapters and heads."""
        heads = "no heads" if self.heads is None else "untrained heads" if self.fresh_heads else "heads"
        source = f" from {self.base}" if self.base else ""
        adapted = f", adapters {' + '.join(self.adapters)}" if self.adapters else ""
        return f"{self.backbone.describe()}{source}{adapted}, {heads}"

    @property
    def fresh_heads(self) -> bool:
        """Whether the heads came with a pipeline that never had any, and have learned nothing yet."""
        return self.meta.get("heads") == "untrained"

    def with_fresh_heads(self) -> WorldModel:
        """This model with heads that have learned nothing, always the same; `meta` says so until a stage trains
        them."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.with_heads()
        self.meta["heads"] = "untrained"
        return self

    def with_heads(self, **options: Any) -> WorldModel:
        """This model with fresh heads. options: of `Heads`."""
        self.meta.pop("heads", None)
        self.heads = Heads(
            self.backbone.feature_dims,
            self.backbone.latent_channels,
            flow_span=self.backbone.flow_span,
            **options,
        )
        self.heads.to(self.device)
        return self

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.backbone.parameters()).device

    @property
    def adapters(self) -> list[str]:
        """Names of the adapters on the backbone."""
        return adapters.adapter_names(self.backbone)

    @torch.no_grad()
    def generate(
        self,
        image: Picture | None,
        prompt: str = "",
        *,
        seed: int = 0,
        frames: int | None = None,
        steps: int | None = None,
    ) -> World4D:
        """A world that begins as `image` shows.

        image: a picture (PIL, (H,W,3) uint8, or a file), or (k,H,W,3) uint8 first frames, from which velocities
        can be seen; cropped and resampled to the backbone's size; None, where the backbone makes worlds out of a
        prompt alone. frames: default, one window. The same seed gives
        the same world. steps: of the sampler; default, the backbone's own. Raises InputError for a number of
        frames that cannot be made, naming the nearest, for more first frames than a window continues, and for what
        is no picture.
        """
        nothing = np.zeros((0, *self.backbone.size, 3), np.uint8)
        context = nothing if image is None else read_frames(image, self.backbone.size)
        world = self.generate_many([context], [prompt], seeds=[seed], frames=frames, steps=steps)[0]
        if isinstance(image, str | Path):
            world.meta["source"] = Path(image).name
        return world

    @torch.no_grad()
    def generate_many(
        self,
        contexts: Sequence[UInt8[np.ndarray, "k H W 3"]],
        prompts: Sequence[str],
        *,
        seeds: Sequence[int],
        frames: int | None = None,
        steps: int | None = None,
        metas: Sequence[dict[str, Any]] | None = None,
        batch: int | None = None,
    ) -> list[World4D]:
        """`generate` for several clips at once, `batch` at a time; contexts may differ in their number of frames.

        batch: default, as many as the backbone makes at once.

        metas: what else each world's meta says. Raises InputError as `generate` does, and where there is not one
        prompt and one seed for each context.
        """
        frames = self.check_frames(self.backbone.most_frames if frames is None else frames)
        steps = self.backbone.sampling_steps if steps is None else steps
        if not len(contexts) == len(prompts) == len(seeds):
            raise InputError(
                f"{len(contexts)} contexts need as many prompts and seeds, not {len(prompts)} and {len(seeds)}"
            )
        for seed in seeds:
            if not 0 <= seed < 2**63:
                raise InputError(f"seed must lie between 0 and 2^63, not {seed}")
        contexts = [read_frames(c, self.backbone.size) if len(c) else c for c in contexts]
        batch = batch or self.backbone.clips_at_once
        worlds: list[World4D] = []
        for i in range(0, len(contexts), batch):
            some, words, numbers = contexts[i : i + batch], prompts[i : i + batch], seeds[i : i + batch]
            rgb = self._extend(some, words, numbers, frames, steps)
            told = [
                {
                    **(metas[i + j] if metas else {}),
                    "mode": "generate",
                    "model": self.meta.get("name", self.backbone.name),
                    "prompt": words[j],
                    "seed": int(numbers[j]),
                    "context_frames": len(some[j]),
                }
                for j in range(len(some))
            ]
            worlds += self.read_worlds(list(rgb), words, self.backbone.fps, told)
        return worlds

    @torch.no_grad()
    def lift(
        self,
        video: str | Path | World4D | UInt8[np.ndarray, "T H W 3"],
        *,
        fps: float | None = None,
        prompt: str = "",
    ) -> World4D:
        """The 4D world that an RGB video shows.

        video: a file, (T,H,W,3) uint8, or a world, of which rgb alone is read; cropped and resampled to the
        backbone's size. fps: of an array; files are resampled to the backbone's rate. prompt: default, the world's
        own. Any number of frames from the shortest window up. Raises InputError for a shorter one, and for a model
        without heads.
        """
        self.need_heads()
        meta: dict[str, Any] = {"mode": "lift"}
        if isinstance(video, str | Path):
            world = World4D.from_video(video, size=self.backbone.size, fps=self.backbone.fps)
            meta["source"] = Path(video).name
        elif isinstance(video, World4D):
            world = video.require("rgb")
            meta |= {k: world.meta[k] for k in KEPT_META if k in world.meta}
        else:
            world = World4D(rgb=read_frames(video, self.backbone.size), fps=fps or self.backbone.fps)
        assert world.rgb is not None
        rgb = read_frames(world.rgb, self.backbone.size)
        try:
            self.window_of(len(rgb))
        except InputError as error:
            raise InputError(f"{meta.get('source', 'this video')}: {error}") from None
        meta["prompt"] = prompt or str(world.meta.get("prompt") or "")
        meta["model"] = self.meta.get("name", self.backbone.name)
        return self.read_worlds([rgb], [meta["prompt"]], world.fps, [meta])[0]

    @torch.no_grad()
    def read_worlds(
        self,
        rgb: Sequence[UInt8[np.ndarray, "T H W 3"]],
        prompts: Sequence[str],
        fps: float,
        metas: Sequence[dict[str, Any]],
    ) -> list[World4D]:
        """What the heads see in clips of one length. A model without heads gives worlds of RGB alone."""
        clips = np.stack(rgb)
        if self.heads is None:
            return [World4D(rgb=c, fps=fps, meta=dict(m)).validate() for c, m in zip(clips, metas)]
        window = self.window_of(clips.shape[1])
        starts = windows(clips.shape[1], window, OVERLAP)
        worlds: list[World4D] = []
        for i in range(0, len(clips), self.backbone.clips_at_once):
            some = slice(i, i + self.backbone.clips_at_once)
            outputs = []
            for start in starts:
                video = self.to_video(torch.from_numpy(clips[some, start : start + window]))
                outputs.append(self.read(video, prompts[some], seed=start))
            worlds += stitch(outputs, starts).worlds(clips[some], fps, metas[some])
        return worlds

    def read(
        self,
        video: Float[Tensor, "B T H W 3"],
        prompts: Sequence[str],
        *,
        t: Float[Tensor, "B"] | None = None,
        seed: int | None = None,
        detach: bool = False,
    ) -> HeadOutput:
        """Heads on one window of video in [0, 1], noised to time t (default, hardly). Keeps the graph.

        The first frame is the condition. seed: of the noise, then the same for every clip, or what is read would
        depend on a clip's neighbours; default, drawn by torch's own state. detach: keep gradients out of the
        backbone. Raises InputError for a model without heads, and frames or a size that are not a window's.
        """
        heads = self.need_heads()
        backbone = self.backbone
        x0 = backbone.encode(video)
        t = torch.full((len(video),), READ_TIME, device=video.device) if t is None else t
        if seed is None:
            eps = torch.randn_like(x0)
        else:
            eps = torch.randn(1, *x0.shape[1:], generator=torch.Generator().manual_seed(seed)).to(x0)
        x = self.noised(x0, eps, t)
        condition = backbone.condition(video[:, :1], prompts, video.shape[1])
        with torch.set_grad_enabled(torch.is_grad_enabled() and not detach):
            features = backbone.features(condition.clamp(x), t, condition)
        latents = backbone.unpadded(condition.clamp(x))
        frames, height, width = video.shape[1:4]
        return heads(features, latents, t, frames, (height, width), chunk=heads.chunk_of((height, width)))

    def noised(self, x0: Tensor, eps: Tensor, t: Float[Tensor, "B"]) -> Tensor:
        """alpha x0 + sigma eps."""
        alpha, sigma = self.backbone.alpha_sigma(t)
        return per_clip(alpha) * x0 + per_clip(sigma) * eps

    def to_video(self, rgb: UInt8[Tensor, "B T H W 3"]) -> Float[Tensor, "B T H W 3"]:
        """Frames as floats in [0, 1], where the model is."""
        return rgb.to(self.device, torch.float32) / 255

    def condition_mixed(
        self, video: Float[Tensor, "B T H W 3"], context: Sequence[int], prompts: Sequence[str]
    ) -> Condition:
        """The condition of clips of which different numbers of first frames are given, or the next more that can
        be (`Backbone.valid_context`)."""
        backbone = self.backbone
        counts = [backbone.valid_context(k) for k in context]
        return Condition.cat(
            [
                backbone.condition(video[i : i + 1, :k], prompts[i : i + 1], video.shape[1])
                for i, k in enumerate(counts)
            ]
        )

    def guidance(self, condition: Condition) -> Guidance | None:
        """The backbone's own classifier-free guidance; None where it wants none."""
        if self.backbone.guidance_scale == 1:
            return None
        return Guidance(self.backbone.guidance_scale, self.backbone.unprompted(condition))

    def check_frames(self, frames: int) -> int:
        """`frames`, or InputError naming the nearest number that one window, or several, can make."""
        most = self.backbone.most_frames
        if frames <= most:
            self.backbone.check(frames, self.backbone.size)
            return frames
        step = most - OVERLAP
        if step < 1:
            raise InputError(f"{self.backbone.name} makes at most {most} frames, not {frames}")
        nearest = most + round((frames - most) / step) * step
        if nearest != frames:
            raise InputError(
                f"{self.backbone.name} makes {most} frames, and {step} more with every further window; {frames} "
                f"is none of these, the nearest is {nearest}"
            )
        return frames

    def window_of(self, frames: int) -> int:
        """The longest window that fits into a clip. Raises InputError where none does."""
        most = min(frames, self.backbone.most_frames)
        for window in range(most, 0, -1):
            if self.backbone.valid_frames(window) == window:
                return window
        least = self.backbone.valid_frames(1)
        told = "1 frame is" if frames == 1 else f"{frames} frames are"
        raise InputError(f"{told} too few for {self.backbone.name}: it reads {least} at least")

    def _extend(
        self,
        contexts: Sequence[np.ndarray],
        prompts: Sequence[str],
        seeds: Sequence[int],
        frames: int,
        steps: int,
    ) -> np.ndarray:
        """(B,frames,H,W,3) uint8 from first frames, window after window."""
        first = min(frames, self.backbone.most_frames)
        video = torch.zeros(len(contexts), first, *self.backbone.size, 3, dtype=torch.uint8)
        for clip, context in zip(video, contexts):
            self.backbone.check_context(len(context), first)
            clip[: len(context)] = torch.from_numpy(np.ascontiguousarray(context))
        given = [len(context) for context in contexts]
        whole: list[Tensor] = []
        while True:
            condition = self.condition_mixed(self.to_video(video), given, prompts)
            latents = sample(
                self.backbone,
                condition,
                steps=steps,
                seed=[s + 7919 * len(whole) for s in seeds],
                guidance=self.guidance(condition),
            )
            made = (self.backbone.decode(latents) * 255).round().to("cpu", torch.uint8)
            # What was given is shown as it was given, not as the latents keep it.
            for clip, shown, k in zip(made, video, given):
                clip[:k] = shown[:k]
            whole.append(made if not whole else made[:, OVERLAP:])
            if sum(part.shape[1] for part in whole) >= frames:
                return torch.cat(whole, dim=1).numpy()
            video = torch.zeros_like(made)
            video[:, :OVERLAP] = made[:, -OVERLAP:]
            given = [OVERLAP] * len(contexts)

    def need_heads(self) -> Heads:
        """The heads. Raises InputError for a model without any."""
        if self.heads is None:
            name = self.meta.get("name", self.backbone.name)
            raise InputError(
                f"{name} has no heads, it makes RGB alone; take a model that went through `phys4d train pretrain`"
            )
        return self.heads
