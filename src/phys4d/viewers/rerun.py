"""A world as a Rerun recording: pictures, points, tracks and the camera on one timeline (extra `view`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from phys4d.errors import InputError
from phys4d.geometry import world_points
from phys4d.viewers.pictures import flow_limit, flow_picture, instance_colours, wheel_colour
from phys4d.world import World4D

MAX_CLOUD = 50_000
"""Points that one frame's cloud may hold: the depth pictures carry all of them anyway."""
POINT_RADIUS = 1.5
"""Radius of points and tracks on screen [px]."""


def write_recording(world: World4D, path: Path) -> None:
    """Write a .rrd file with whatever fields the world has. Raises InputError without the extra `view`."""
    rr = _rerun()
    recording = rr.RecordingStream("phys4d")
    recording.save(path, default_blueprint=_blueprint(world))
    try:
        _log_still(rr, recording, world)
        for frame in range(world.frames):
            recording.set_time("frame", sequence=frame)
            recording.set_time("time", duration=frame / world.fps)
            _log_pictures(rr, recording, world, frame)
            _log_space(rr, recording, world, frame)
    finally:
        recording.flush()
        recording.disconnect()


def _rerun() -> Any:
    try:
        import rerun
    except ImportError as error:
        raise InputError("a Rerun recording needs rerun-sdk: pip install 'phys4d[view]'") from error
    return rerun


def _blueprint(world: World4D) -> Any:
    """The space to the left, the pictures to the right."""
    import rerun.blueprint as rrb

    pictures = {"rgb": "Colour", "depth": "Depth", "flow": "Flow", "segmentation": "Instances"}
    views = [
        rrb.Spatial2DView(origin=f"world/camera/{field}", name=name)
        for field, name in pictures.items()
        if field in world.fields
    ]
    # Depth would lift itself into space too, over the coloured points that are already there.
    contents = ["+ /world/**", *(f"- /world/camera/{field}" for field in pictures)]
    space = rrb.Spatial3DView(origin="world", name="World", contents=contents)
    return rrb.Blueprint(rrb.Horizontal(space, rrb.Vertical(*views), column_shares=[3, 1]), collapse_panels=True)


def _log_still(rr: Any, recording: Any, world: World4D) -> None:
    """What does not change: the axes, the names and colours of instances, and what is known of the world."""
    recording.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    if world.segmentation is not None:
        ids = np.unique(world.segmentation)
        classes = [(int(i), f"instance {i}", tuple(c)) for i, c in zip(ids, instance_colours(ids))]
        recording.log("world", rr.AnnotationContext(classes), static=True)
    lines = [f"- **{key}**: `{value}`" for key, value in world.meta.items()]
    recording.log("about", rr.TextDocument("\n".join(lines), media_type=rr.MediaType.MARKDOWN), static=True)


def _log_pictures(rr: Any, recording: Any, world: World4D, frame: int) -> None:
    if world.rgb is not None:
        recording.log("world/camera/rgb", rr.Image(world.rgb[frame]))
    if world.depth is not None:
        recording.log("world/camera/depth", rr.DepthImage(world.depth[frame], meter=1.0))
    if world.segmentation is not None:
        recording.log(
            "world/camera/segmentation", rr.SegmentationImage(world.segmentation[frame].astype(np.uint16))
        )
    if world.flow is not None:
        if frame < len(world.flow):
            picture = flow_picture(world.flow[frame : frame + 1], max=flow_limit(world.flow))[0]
            recording.log("world/camera/flow", rr.Image(picture))
        else:
            # The last frame has no next one; without this its picture would be the one before.
            recording.log("world/camera/flow", rr.Clear(recursive=False))


def _log_space(rr: Any, recording: Any, world: World4D, frame: int) -> None:
    radii = rr.Radius.ui_points(POINT_RADIUS)
    if world.camera is not None:
        height, width = world.size
        pose, intrinsics = world.camera.world_from_camera[frame], world.camera.intrinsics[frame]
        recording.log("world/camera", rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
        pinhole = rr.Pinhole(
            image_from_camera=intrinsics, width=width, height=height, camera_xyz=rr.ViewCoordinates.RDF
        )
        recording.log("world/camera", pinhole)
        if world.depth is not None:
            depth = world.depth[frame]
            points = world_points(*(torch.from_numpy(array) for array in (depth, intrinsics, pose))).numpy()
            seen = np.flatnonzero(depth)
            seen = seen[:: -(-len(seen) // MAX_CLOUD) or 1]
            colours = None if world.rgb is None else world.rgb[frame].reshape(-1, 3)[seen]
            recording.log("world/points", rr.Points3D(points.reshape(-1, 3)[seen], colors=colours, radii=radii))
    if world.tracks is not None and world.track_visibility is not None:
        angles = np.linspace(0, 5.2, len(world.tracks))
        colours = np.rint(255 * (0.2 + 0.8 * wheel_colour(angles))).astype(np.uint8)
        shown = world.track_visibility[:, frame]
        recording.log("world/tracks", rr.Points3D(world.tracks[shown, frame], colors=colours[shown], radii=radii))
        if frame:
            strips = world.tracks[shown, : frame + 1]
            recording.log("world/trails", rr.LineStrips3D(strips, colors=colours[shown], radii=radii))
