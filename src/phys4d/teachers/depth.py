"""The embedded depth teacher: a small network whose weights come with the package.

It was trained on simulated RGB-D with strongly varied colours (`phys4d.teachers.train_depth`), so its labels are
not independent of the simulator, and it knows films of the real world only by what they share with that.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from phys4d.atomic import new_file
from phys4d.errors import InputError
from phys4d.teachers.alignment import steady
from phys4d.teachers.depth_net import LEAST_SIDE, MULTIPLE, DepthNet
from phys4d.teachers.teacher import DepthLabels, Teacher, depth_teachers

WEIGHTS = Path(__file__).parent / "weights" / "depth.safetensors"
FORMAT = "phys4d-depth-1"
LARGEST_SIDE = 96
"""Shorter side [px] of the largest picture that the network sees; it was trained on small ones."""
HALF_TRUST = 0.1
"""Expected error, in mean absolute deviations of the clip's disparity, at which the confidence is one half."""
_BATCH = 16
_MEND = "install phys4d again, or train it: python -m phys4d.teachers.train_depth --data DATA --out FILE"


class EmbeddedDepth:
    """Disparity up to one scale and shift a clip, confidence and sky, frame by frame and then made steady."""

    def __init__(self, path: Path = WEIGHTS) -> None:
        """Raises InputError where the weights are missing, damaged or another network's."""
        self.net = load_depth_net(path)
        self.version = hashlib.sha256(path.read_bytes()).hexdigest()[:12]

    def __call__(self, rgb: UInt8[np.ndarray, "T H W 3"]) -> DepthLabels:
        height, width = rgb.shape[1:3]
        size = working_size(height, width)
        small = np.stack([_resized(frame, size) for frame in rgb])
        disparity, log_error, sky_logit = (_to_size(part, (height, width)) for part in self._run(small))
        sky = sky_logit > 0
        confidence = 1 / (1 + np.exp(log_error) / HALF_TRUST)
        return DepthLabels(steady(disparity, ~sky), "disparity", "scale+shift", confidence.astype(np.float32), sky)

    @torch.inference_mode()
    def _run(self, rgb: UInt8[np.ndarray, "T H W 3"]) -> list[np.ndarray]:
        frames = torch.from_numpy(rgb).permute(0, 3, 1, 2).float() / 255
        parts = [self.net(batch) for batch in frames.split(_BATCH)]
        return [torch.cat(part).numpy() for part in zip(*parts)]


def working_size(height: int, width: int) -> tuple[int, int]:
    """The (height, width) at which the network sees a picture of that size: near its training's, in its steps."""
    shorter = min(height, width)
    scale = min(max(shorter, LEAST_SIDE), LARGEST_SIDE) / shorter
    rows, columns = (max(LEAST_SIDE, round(n * scale / MULTIPLE) * MULTIPLE) for n in (height, width))
    return rows, columns


def save_depth_net(net: DepthNet, path: Path, report: dict[str, Any]) -> None:
    """Write weights as fp16 with the architecture and a report (JSON) of their training, whole or not at all."""
    weights = {name: value.to(torch.float16).contiguous() for name, value in net.state_dict().items()}
    about = {"format": FORMAT, "widths": net.widths, "report": report}
    with new_file(path) as temporary:
        temporary.write_bytes(save(weights, {"phys4d": json.dumps(about, sort_keys=True)}))


def load_depth_net(path: Path) -> DepthNet:
    """The network of a file by `save_depth_net`. Raises InputError where it is missing, damaged or another's."""
    if not path.is_file():
        raise InputError(f"{path}: the weights of the depth teacher are missing; {_MEND}")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("phys4d", "{}"))
            if about.get("format") != FORMAT:
                raise InputError(f"{path}: not weights of this depth teacher ({FORMAT}); {_MEND}")
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        net = DepthNet(tuple(about["widths"]))
        net.load_state_dict(weights)
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: damaged weights of the depth teacher ({reason}); {_MEND}") from error
    if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
        raise InputError(f"{path}: weights of the depth teacher hold NaN or infinity; {_MEND}")
    return net.eval().requires_grad_(False)


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if image.shape[:2] == size:
        return image
    shrinks = size[0] < image.shape[0]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _to_size(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if values.shape[1:] == size:
        return values
    return np.stack([cv2.resize(frame, size[::-1], interpolation=cv2.INTER_LINEAR) for frame in values])


depth_teachers.register("embedded")(
    Teacher(
        description="small U-Net trained on phys4d's own simulated RGB-D with varied colours; weights included",
        licence="Apache-2.0",
        units="disparity up to scale and shift",
        alignment="scale+shift",
        load=EmbeddedDepth,
    )
)
