"""Exports, read back by the libraries that own the formats."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
import trimesh
from ball_worlds import ball_world

from phys4d.errors import InputError, MissingFieldError
from phys4d.geometry import world_points
from phys4d.viewers import export, export_kinds
from phys4d.world import World4D


@pytest.fixture(scope="module")
def world() -> World4D:
    return ball_world(3, (24, 32))


def surface(world: World4D, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Points [m] and colours of a frame's surface."""
    arrays = (world.depth, world.camera.intrinsics, world.camera.world_from_camera)
    points = world_points(*(torch.from_numpy(array[frame]) for array in arrays)).numpy()
    return points[world.depth[frame] > 0], world.rgb[frame][world.depth[frame] > 0]


def test_ply_frames_hold_the_points_in_world_axes(world, tmp_path):
    folder = export(world, "ply", tmp_path / "clouds")
    assert sorted(path.name for path in folder.iterdir()) == [f"frame_{t:04d}.ply" for t in range(3)]
    for frame in range(3):
        cloud = trimesh.load(folder / f"frame_{frame:04d}.ply")
        points, colours = surface(world, frame)
        assert np.allclose(cloud.vertices, points, atol=1e-6)
        assert np.array_equal(cloud.colors[:, :3], colours)
    # The floor is at z = 0 and the ball above it: the world is z-up.
    ball = world.segmentation[2][world.depth[2] > 0] == 3
    assert np.abs(points[~ball, 2]).max() < 1e-3 < points[ball, 2].min()


def test_ply_replaces_its_own_folder_and_no_other(world, tmp_path):
    export(world, "ply", tmp_path / "clouds")
    shorter = ball_world(2, (8, 8))
    assert len(list(export(shorter, "ply", tmp_path / "clouds").iterdir())) == 2
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("done")
    with pytest.raises(InputError, match="not a folder of ply frames"):
        export(world, "ply", precious)
    assert (precious / "thesis.txt").read_text() == "done"
    for kind in ("html", "npz", "rrd", "glb"):
        with pytest.raises(InputError, match="is a folder"):
            export(world, kind, precious)


def test_npz_is_exact_and_needs_no_pickle(world, tmp_path):
    path = export(world, "npz", tmp_path / "world.npz")
    with np.load(path, allow_pickle=False) as stored:
        for name in world.fields:
            if name != "camera":
                assert np.array_equal(stored[name], getattr(world, name))
                assert stored[name].dtype == getattr(world, name).dtype
        assert np.array_equal(stored["intrinsics"], world.camera.intrinsics)
        assert np.array_equal(stored["world_from_camera"], world.camera.world_from_camera)
        assert float(stored["fps"]) == world.fps
        assert json.loads(str(stored["meta"])) == world.meta
        assert "confidence" not in stored.files


def test_npz_keeps_the_name_it_was_given(world, tmp_path):
    export(world, "npz", tmp_path / "arrays.bin")
    assert [entry.name for entry in tmp_path.iterdir()] == ["arrays.bin"]


def test_glb_is_y_up_with_one_cloud_a_frame(world, tmp_path):
    path = export(world, "glb", tmp_path / "world.glb")
    scene = trimesh.load_scene(path)
    assert len(scene.geometry) == 3
    points, colours = surface(world, 0)
    transform, name = scene.graph["frame_0000"]
    cloud = scene.geometry[name]
    placed = trimesh.transform_points(cloud.vertices, transform)
    assert np.allclose(placed, np.stack([points[:, 0], points[:, 2], -points[:, 1]], -1), atol=1e-5)
    head = np.frombuffer(path.read_bytes()[:20], dtype="<u4")
    assert head[2] == path.stat().st_size
    document = json.loads(path.read_bytes()[20 : 20 + head[3]])
    steps = document["animations"][0]["samplers"]
    assert {step["interpolation"] for step in steps} == {"STEP"}
    ends = [document["accessors"][step["input"]]["max"][0] for step in steps]
    assert ends == pytest.approx([(t + 1) / world.fps for t in range(3)])
    # Colours of glTF are linear: half of the light is 188 in sRGB.
    shades = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]]
    view = document["bufferViews"][shades["bufferView"]]
    start = 28 + head[3] + view["byteOffset"]
    linear = (
        np.frombuffer(path.read_bytes()[start : start + view["byteLength"]], dtype="<u2").reshape(-1, 4) / 65535
    )
    assert np.allclose(linear[:, :3], (colours / 255) ** 2.2, atol=0.02)


def test_rrd_holds_the_world_on_a_timeline(world, tmp_path):
    pytest.importorskip("rerun")
    from rerun.chunk import RrdReader

    path = export(world, "rrd", tmp_path / "world.rrd")
    assert path.stat().st_size > 10_000
    rows: dict[str, int] = {}
    timelines: set[str] = set()
    for chunk in RrdReader(path).stream():
        rows[chunk.entity_path] = rows.get(chunk.entity_path, 0) + chunk.num_rows
        timelines |= set(chunk.timeline_names)
    for entity in ("points", "tracks", "camera/rgb", "camera/depth", "camera/segmentation", "camera/flow"):
        assert rows[f"/world/{entity}"] == world.frames
    assert {"frame", "time"} <= timelines


def test_rrd_of_a_video_alone_and_without_rerun(world, tmp_path, monkeypatch):
    if "rerun" in sys.modules:
        export(World4D(rgb=world.rgb), "rrd", tmp_path / "video.rrd")
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(InputError, match=r"pip install 'phys4d\[view\]'"):
        export(world, "rrd", tmp_path / "world.rrd")
    assert not (tmp_path / "world.rrd").exists()


def test_html_is_the_page(world, tmp_path):
    text = export(world, "html", tmp_path / "new" / "world.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")


def test_errors_name_the_mend(world, tmp_path):
    with pytest.raises(InputError, match=r"(?s)Did you mean 'html'.*glb, html, npz, ply, rrd"):
        export(world, "htm", tmp_path / "x")
    assert set(export_kinds()) == {"html", "ply", "npz", "glb", "rrd", "world"}
    video = World4D(rgb=world.rgb)
    for kind in ("ply", "glb"):
        with pytest.raises(MissingFieldError, match="depth, camera"):
            export(video, kind, tmp_path / "x")
    with pytest.raises(InputError, match="not a valid world"):
        export(World4D(rgb=world.rgb, fps=-1.0), "npz", tmp_path / "x")
    assert not list(tmp_path.iterdir())
