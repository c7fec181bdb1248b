"""A world told again: its bodies at other times, in other places, of other sizes, and every field agrees with it.

Only what some frame shows can be shown: a body is moved as the front that was seen of it, and behind it comes what
other frames see there, else the surroundings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import ndimage

from phys4d.evaluation.alignment import take, tensors
from phys4d.evaluation.chamfer import surface_points
from phys4d.geometry import (
    forward_warp,
    invert_rigid,
    motion_from_scene_flow,
    pixel_centres,
    project,
    transform_points,
    unoccluded,
)
from phys4d.world import World4D

NEEDS = ("rgb", "depth", "scene_flow", "segmentation", "camera")
COVERED = 0.5
"""Share of a pixel that a moved surface must cover to be seen there."""
_SQUARE = np.ones((3, 3), np.uint8)
LOOKS = 5
"""Frames, evenly from the clip, that may tell what is behind a body."""


@dataclasses.dataclass(frozen=True)
class Edit:
    """What one body does instead. source (T,): the frame whose view of it is shown; -1 where it is gone.

    shift (T,3) [m]: by how much it is moved from there, in world axes. scale (T,): by how much it is larger.
    """

    source: Int[np.ndarray, "T"]
    shift: Float[np.ndarray, "T 3"]
    scale: Float[np.ndarray, "T"]

    @classmethod
    def none(cls, frames: int) -> Edit:
        """Everything as it was."""
        return cls(np.arange(frames), np.zeros((frames, 3)), np.ones(frames))

    def leaves(self, t: int) -> bool:
        """Whether frame t, and the motion out of it, stay as they were."""
        later = slice(t, min(t + 2, len(self.source)))
        same = (self.source[later] == np.arange(later.start, later.stop)).all()
        return bool(same and not self.shift[later].any() and (self.scale[later] == 1).all())


def retell(world: World4D, edits: Mapping[int, Edit]) -> World4D:
    """The world in which the bodies of these instances do something else.

    Colours, depth, segmentation, scene flow, flow and visibility agree with each other; frames that no edit
    touches are as they were. Without tracks, and without the state of the simulation, which would no longer be
    true. Raises MissingFieldError without the fields of NEEDS.
    """
    rgb, depth, moved, ids, camera = (value for value in take(world, *NEEDS))
    k, pose = tensors(camera)
    points = surface_points(world)
    means = _means(points, ids, edits)
    new = {
        "rgb": rgb.copy(), "depth": depth.copy(), "segmentation": ids.copy(),
        "scene_flow": np.concatenate([moved, np.zeros_like(moved[:1])]),
    }  # fmt: skip
    rims = np.stack([_with_rim(np.isin(frame, list(edits)), frame) for frame in ids])
    still = ~rims & (depth > 0)
    frames = len(depth)
    for t in range(frames):
        touched = {i: edit for i, edit in edits.items() if not edit.leaves(t)}
        if not touched:
            continue
        hole = _with_rim(np.isin(ids[t], list(touched)), ids[t])
        _fill(new, t, hole, points, still, rgb, k, pose)
        for instance, edit in touched.items():
            source = int(edit.source[t])
            if source < 0 or not (ids[source] == instance).any():
                continue
            _draw(new, t, instance, edit, means[instance], (points, rgb, moved, ids), k, pose)
    meta = {key: value for key, value in world.meta.items() if key not in ("physics", "instances")}
    values = {**new, "scene_flow": new["scene_flow"][:-1].astype(np.float32)}
    z, step = (torch.from_numpy(values[name]).double() for name in ("depth", "scene_flow"))
    flow, z_next = motion_from_scene_flow(z[:-1], step, k[:-1], k[1:], pose[:-1], pose[1:])
    surface = (z[:-1] > 0) & (z_next > 0)
    seen = (unoccluded(flow, z_next, z[1:]) & surface).numpy()
    flow = torch.where(surface[..., None], flow, 0).float().numpy()
    for t in range(frames - 1):
        if all(edit.leaves(t) for edit in edits.values()):
            flow[t] = flow[t] if world.flow is None else world.flow[t]
            seen[t] = seen[t] if world.visible is None else world.visible[t]
    return dataclasses.replace(
        world, **values, flow=flow, visible=seen, tracks=None, track_visibility=None, confidence=None, meta=meta
    )


def _with_rim(mask: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """A body's pixels, and the background's beside them, which share its colour."""
    return mask | ((ids == 0) & (cv2.dilate(mask.astype(np.uint8), _SQUARE) > 0))


def _means(points: np.ndarray, ids: np.ndarray, edits: Mapping[int, Edit]) -> dict[int, np.ndarray]:
    """Mean visible point (T,3) of each body; between frames in which it is seen, by straight lines."""
    found = {}
    for instance in edits:
        mean = np.full((len(ids), 3), np.nan)
        for t in range(len(ids)):
            if (ids[t] == instance).any():
                mean[t] = points[t][ids[t] == instance].mean(0)
        known = np.flatnonzero(np.isfinite(mean[:, 0]))
        if known.size:
            mean = np.stack(
                [np.interp(np.arange(len(ids)), known, mean[known, axis]) for axis in range(3)], axis=-1
            )
        found[instance] = mean
    return found


def _fill(
    new: dict[str, np.ndarray], t: int, hole: np.ndarray, points: np.ndarray, still: np.ndarray, rgb: np.ndarray,
    k: torch.Tensor, pose: torch.Tensor,
) -> None:  # fmt: skip
    """Put what is behind into the hole: seen by other frames, else the nearest pixel along the rows."""
    height, width = hole.shape
    behind = np.full(hole.shape, np.inf)
    colour = np.zeros((height, width, 3), np.uint8)
    for other in np.unique(np.linspace(0, len(points) - 1, LOOKS).round().astype(int)):
        seen = torch.from_numpy(points[other][still[other]])
        pixel, z = (v.numpy() for v in project(transform_points(invert_rigid(pose[t]), seen), k[t]))
        column, row = np.floor(pixel).astype(int).T
        good = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (z > 0)
        column, row, z, paint = column[good], row[good], z[good], rgb[other][still[other]][good]
        order = np.argsort(-z)  # The nearest is written last.
        layer, shade = np.full(hole.shape, np.inf), np.zeros_like(colour)
        layer[row[order], column[order]], shade[row[order], column[order]] = z[order], paint[order]
        nearer = layer < behind
        behind, colour = np.where(nearer, layer, behind), np.where(nearer[..., None], shade, colour)
    told = hole & np.isfinite(behind)
    new["depth"][t][told], new["rgb"][t][told] = behind[told], colour[told]
    rest, source = hole & ~told, ~hole | told
    if rest.any() and source.any():
        row, column = ndimage.distance_transform_edt(~source, sampling=(4, 1), return_indices=True)[1]  # type: ignore[index]
        for name in ("depth", "rgb"):
            new[name][t][rest] = new[name][t][row, column][rest]
    new["segmentation"][t][hole] = 0
    new["scene_flow"][t][hole] = 0


def _draw(
    new: dict[str, np.ndarray], t: int, instance: int, edit: Edit, means: np.ndarray,
    shown: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], k: torch.Tensor, pose: torch.Tensor,
) -> None:  # fmt: skip
    """Splat the body, as frame edit.source[t] shows it, into frame t, behind what is nearer."""
    points, rgb, moved, ids = shown
    source, frames = int(edit.source[t]), len(points)
    mask = ids[source] == instance
    middle = means[source]
    here = middle + edit.scale[t] * (points[source] - middle) + edit.shift[t]
    step = np.zeros_like(here)
    if t + 1 < frames and (later := int(edit.source[t + 1])) >= 0:
        if later == source + 1:
            motion = moved[source].astype(np.float64)
        else:
            motion = np.broadcast_to(means[later] - middle, here.shape)
        step = motion + edit.shift[t + 1] - edit.shift[t]
        step = step + (edit.scale[t + 1] - edit.scale[t]) * (points[source] - middle)
    pixel, z = project(transform_points(invert_rigid(pose[t]), torch.from_numpy(here)), k[t])
    front = torch.where(torch.from_numpy(mask) & (z > 0), z, 0)
    payload = torch.cat([torch.from_numpy(a).double() for a in (rgb[source], step)] + [front[..., None]], dim=-1)
    flow = pixel - pixel_centres(*mask.shape, dtype=pixel.dtype)
    drawn, cover = forward_warp(payload, torch.where(front[..., None] > 0, flow, 0), front)
    drawn, depth = drawn.numpy(), new["depth"][t]
    # What grows, or comes nearer, is spread thinner, and has gaps between its splats.
    _, before = project(transform_points(invert_rigid(pose[source]), torch.from_numpy(points[source])), k[source])
    larger = (
        float(edit.scale[t] * before[front > 0].mean() / front[front > 0].mean()) if (front > 0).any() else 1.0
    )
    enough = (cover.numpy() > COVERED / max(larger, 1.0) ** 2).astype(np.uint8)
    closed = cv2.morphologyEx(np.pad(enough, 2), cv2.MORPH_CLOSE, _SQUARE)
    covered = (closed[2:-2, 2:-2] > 0) & (cover.numpy() > 0)
    seen = covered & ((depth <= 0) | (drawn[..., -1] < depth))
    new["rgb"][t][seen] = drawn[seen][:, :3].round().clip(0, 255)
    new["scene_flow"][t][seen] = drawn[seen][:, 3:6]
    new["depth"][t][seen] = drawn[seen][:, -1]
    new["segmentation"][t][seen] = instance
