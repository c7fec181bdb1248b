"""What both suites say of how they measure."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import av
import cv2

from phys4d.evaluation.physics_iq.masks import AVERAGE, DIFFERENCE, WINDOW


def described(exact: bool) -> dict[str, Any]:
    """The settings of the masks, and the versions of what decodes and measures."""
    return {
        "mode": "exact: masks through an MPEG-4 file" if exact else "in memory: masks as they are",
        "masks": {"average": AVERAGE, "difference": DIFFERENCE, "window": WINDOW},
        "versions": {
            "phys4d": importlib.metadata.version("phys4d"),
            "python": platform.python_version(),
            "numpy": importlib.metadata.version("numpy"),
            "opencv": cv2.__version__,
            "av": av.__version__,
            "ffmpeg": av.ffmpeg_version_info,
        },
    }
