"""Depth by any model of `transformers` that estimates it: Depth Anything, Depth Pro, DPT, ZoeDepth, GLPN, ...

Named `hf:FOLDER`, or `hf:ORGANISATION/NAME` on the hub. Pictures are prepared here, as the model's own
`preprocessor_config.json` says, because the processors that do it elsewhere want torchvision.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float32, UInt8

from phys4d.errors import InputError
from phys4d.teachers.alignment import steady
from phys4d.teachers.teacher import DepthLabels, Teacher

PREFIX = "hf:"
RELATIVE = ("dpt", "depth_anything", "chmv2", "tipsv2_dpt")
"""Kinds of models that give disparity up to scale and shift, unless their configuration says metric."""
METRIC = ("zoedepth", "glpn", "depth_pro")
"""Kinds of models that give depth in metres."""
HALF_TRUST = 0.1
"""Change against the frames around, in mean absolute deviations of the clip, at which confidence is one half."""
_BATCH = 4


class TransformersDepth:
    """A model's depth frame by frame; of relative models made steady over the clip."""

    def __init__(self, source: str) -> None:
        """source: a folder, or a name on the hub. Raises InputError where there is no such model."""
        with _explained(source):
            # Imported here: it takes seconds, and the default teachers do without.
            from transformers import AutoConfig, AutoModelForDepthEstimation
            from transformers.utils.hub import cached_file

            config = AutoConfig.from_pretrained(source)
            self.kind = str(config.model_type)
            stated = getattr(config, "depth_estimation_type", None)
            self.metric = stated == "metric" if stated else self.kind in METRIC
            if not stated and self.kind not in (*METRIC, *RELATIVE):
                raise InputError(
                    f"{source}: of models of the kind {self.kind!r} it is not known whether they give metres or "
                    f"disparity; known are {', '.join(sorted({*METRIC, *RELATIVE}))}"
                )
            self.net: Any = AutoModelForDepthEstimation.from_pretrained(source).eval().requires_grad_(False)
            found = cached_file(source, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
        settings = json.loads(Path(found).read_text(encoding="utf-8")) if found else {}
        size = settings.get("size") or {}
        self.side = int(size.get("shortest_edge") or min(size.get("height", 384), size.get("width", 384)))
        self.multiple = int(settings.get("ensure_multiple_of") or getattr(config, "patch_size", None) or 32)
        self.mean = np.array(settings.get("image_mean", (0.485, 0.456, 0.406)), np.float32)
        self.std = np.array(settings.get("image_std", (0.229, 0.224, 0.225)), np.float32)
        self.version = f"{self.kind} {_digest(self.net)}"
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.net.to(self.device)

    def __call__(self, rgb: UInt8[np.ndarray, "T H W 3"]) -> DepthLabels:
        values = np.concatenate([self._run(rgb[t : t + _BATCH]) for t in range(0, len(rgb), _BATCH)])
        if self.metric:
            values = np.maximum(values, 1e-3)
            return DepthLabels(values, "depth", "metric", agreement(1 / values))
        values = steady(values, np.ones(values.shape, np.bool_))
        return DepthLabels(values, "disparity", "scale+shift", agreement(values))

    @torch.inference_mode()
    def _run(self, rgb: UInt8[np.ndarray, "T H W 3"]) -> Float32[np.ndarray, "T H W"]:
        height, width = rgb.shape[1:3]
        scale = self.side / min(height, width)
        rows, columns = (max(1, round(n * scale / self.multiple)) * self.multiple for n in (height, width))
        smaller = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        frames = np.stack([cv2.resize(frame, (columns, rows), interpolation=smaller) for frame in rgb])
        pixels = torch.from_numpy((frames.astype(np.float32) / 255 - self.mean) / self.std).permute(0, 3, 1, 2)
        depth = self.net(pixel_values=pixels.to(self.device)).predicted_depth.float().cpu().numpy()
        return np.stack([cv2.resize(d, (width, height), interpolation=cv2.INTER_LINEAR) for d in depth])


def agreement(disparity: Float32[np.ndarray, "T H W"]) -> Float32[np.ndarray, "T H W"]:
    """Confidence in [0, 1] by how little each pixel's disparity differs from the median with its two neighbours
    in time, for teachers that say nothing of their own. One frame agrees with itself."""
    before = np.concatenate([disparity[:1], disparity[:-1]])
    after = np.concatenate([disparity[1:], disparity[-1:]])
    around = np.stack([before, disparity, after])
    spread = max(float(np.abs(disparity - np.median(disparity)).mean()), 1e-9)
    off = np.abs(disparity - np.median(around, axis=0)) / spread
    return (1 / (1 + off / HALF_TRUST)).astype(np.float32)


def transformers_teacher(name: str) -> Teacher[DepthLabels]:
    """The entry of `hf:SOURCE`."""
    source = name.removeprefix(PREFIX)
    return Teacher(
        description=f"the depth model {source} of transformers",
        licence="that of the model",
        units="metres, or disparity up to scale and shift, as the model has it",
        alignment="scale+shift",
        load=lambda: TransformersDepth(source),
    )


def _digest(net: torch.nn.Module) -> str:
    """Twelve letters that stand for the weights."""
    sum_ = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        sum_.update(name.encode())
        sum_.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return sum_.hexdigest()[:12]


@contextlib.contextmanager
def _explained(source: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise InputError(f"{PREFIX}{source}: needs transformers ({error}); pip install transformers") from error
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{PREFIX}{source}: no depth model here, and none that can be reached under that name ({reason}); "
            "give the folder of one that was downloaded before, or use the teacher 'embedded', which needs none"
        ) from error
