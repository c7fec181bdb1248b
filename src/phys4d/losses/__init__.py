"""Losses of stages 1 and 2 as pure functions: channel-last, masks explicit, an empty mask is an error.

| file | losses |
| --- | --- |
| masked.py | `Loss`, `masked_mean`, `confident` |
| depth.py | `relative_depth_loss`, `metric_depth_loss`, `align_scale_shift` |
| motion.py | `motion_loss`, `moving_pixels` |
| binary.py | `visibility_loss`, `sky_loss` |
| cameras.py | `camera_loss` |
| warp.py | `warp_loss`, `depth_edges` |
| diffusion.py | `diffusion_loss` |
"""

from phys4d.losses.binary import sky_loss, visibility_loss
from phys4d.losses.cameras import camera_loss
from phys4d.losses.depth import align_scale_shift, metric_depth_loss, relative_depth_loss
from phys4d.losses.diffusion import diffusion_loss
from phys4d.losses.masked import Loss, confident, masked_mean
from phys4d.losses.motion import motion_loss, moving_pixels
from phys4d.losses.warp import depth_edges, warp_loss

__all__ = [
    "Loss",
    "align_scale_shift",
    "camera_loss",
    "confident",
    "depth_edges",
    "diffusion_loss",
    "masked_mean",
    "metric_depth_loss",
    "motion_loss",
    "moving_pixels",
    "relative_depth_loss",
    "sky_loss",
    "visibility_loss",
    "warp_loss",
]
