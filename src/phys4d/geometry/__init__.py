"""Cameras, warping, point clouds and tracks as torch functions: batched, differentiable, channel-last.

Conventions, everywhere in phys4d. Cameras have OpenCV axes (x right, y down, z forward). The world is z-up,
in metres. Pixel (row i, column j) has its centre at (j + 0.5, i + 0.5), so the image spans [0, W] x [0, H].
Depth is z-depth along the optical axis in metres, 0 where there is no surface. A matrix `a_from_b` takes
coordinates in frame b to frame a. A camera matrix with batch shape (*batch) applies to points of shape
(*batch, *grid, 3): leading axes are matched from the left.
"""

from phys4d.geometry.camera import (
    intrinsics_from_fov,
    invert_rigid,
    look_at,
    pixel_centres,
    project,
    resize_intrinsics,
    transform_points,
    unproject,
    unproject_pixels,
)
from phys4d.geometry.points import chamfer_distance, nearest_distance, world_points
from phys4d.geometry.tracks import chain_tracks, project_tracks, visible_by_depth
from phys4d.geometry.trees import point_tree, tree_chamfer
from phys4d.geometry.warp import (
    backward_warp,
    bilinear_sample,
    consistent_flow,
    forward_warp,
    motion_from_scene_flow,
    rigid_motion,
    scene_flow_from_motion,
    unoccluded,
)

__all__ = [
    "backward_warp",
    "bilinear_sample",
    "chain_tracks",
    "chamfer_distance",
    "consistent_flow",
    "forward_warp",
    "intrinsics_from_fov",
    "invert_rigid",
    "look_at",
    "motion_from_scene_flow",
    "nearest_distance",
    "pixel_centres",
    "point_tree",
    "project",
    "project_tracks",
    "resize_intrinsics",
    "rigid_motion",
    "scene_flow_from_motion",
    "transform_points",
    "tree_chamfer",
    "unoccluded",
    "unproject",
    "unproject_pixels",
    "visible_by_depth",
    "world_points",
]
