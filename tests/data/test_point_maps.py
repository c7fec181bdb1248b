"""Point maps of other systems as worlds: exact round trips, cameras found again, and refusals."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from phys4d.data.opening import open_world, stored_worlds
from phys4d.data.point_maps import read_point_maps, world_of_point_maps
from phys4d.errors import InputError
from phys4d.evaluation import evaluate
from phys4d.evaluation.point_clips import clip_of_world

sys.path.append(str(Path(__file__).parents[1] / "evaluation"))
from ball_scene import EYE, FRAMES, ball_world

EYES = np.array(EYE) + np.linspace(0, 0.8, FRAMES)[:, None] * [1.0, 0.3, 0.2]
WORLD = ball_world(eyes=EYES)
RELATIVE = 0.4


def save_motioncrafter(path, world=WORLD, **more):
    """As MotionCrafter's run.py writes: world axes, half precision, one scale for all."""
    clip = clip_of_world(world, "world")
    flow = np.concatenate([clip.scene_flow, np.zeros_like(clip.scene_flow[:1])])
    half = {
        name: (RELATIVE * a).astype(np.float16)
        for name, a in {"point_map": clip.points, "scene_flow": flow}.items()
    }
    np.savez(path, **{**half, "valid_mask": clip.valid, "deform_mask": clip.valid, **more})
    return path


def save_geometrycrafter(path, world=WORLD, **more):
    """As GeometryCrafter's run.py writes: camera axes, half precision."""
    clip = clip_of_world(world, "camera")
    arrays = {"point_map": (RELATIVE * clip.points).astype(np.float16), "mask": clip.valid, **more}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_points_in_world_axes_give_back_depth_cameras_and_motion(tmp_path):
    found = world_of_point_maps(save_motioncrafter(tmp_path / "a.npz"))
    assert found.depth == pytest.approx(RELATIVE * WORLD.depth, rel=2e-3)
    assert found.camera.intrinsics == pytest.approx(WORLD.camera.intrinsics, abs=0.2)
    step = np.linalg.norm(np.diff(found.camera.world_from_camera[:, :3, 3], axis=0), axis=-1)
    true = np.linalg.norm(np.diff(WORLD.camera.world_from_camera[:, :3, 3], axis=0), axis=-1)
    assert step == pytest.approx(RELATIVE * true, abs=2e-3)
    assert found.flow == pytest.approx(WORLD.flow, abs=0.3)
    assert found.meta["units"] == "relative"
    assert found.meta["camera"] == "fitted to the points"
    report = evaluate(dataclasses.replace(found, fps=WORLD.fps), WORLD, baselines=False)
    assert report.metrics["abs_rel"]["value"] < 2e-3
    assert report.metrics["chamfer_dynamic"]["value"] < 0.02
    assert report.metrics["flow_epe"]["value"] < 0.1


def test_points_in_camera_axes_have_depth_and_say_that_the_path_is_unknown(tmp_path):
    found = world_of_point_maps(save_geometrycrafter(tmp_path / "a.npz"))
    assert found.depth == pytest.approx(RELATIVE * WORLD.depth, rel=2e-3)
    assert np.ptp(found.camera.world_from_camera, axis=0).max() == 0
    assert "unknown" in found.meta["camera"]
    told = world_of_point_maps(
        save_geometrycrafter(tmp_path / "b.npz", camera_pose=WORLD.camera.world_from_camera, fps=24.0, units="m")
    )
    assert told.meta["camera"] == "poses from the file"
    assert (told.fps, told.meta["units"]) == (24, "m")
    assert "fps_unknown" in found.meta


def test_they_open_like_any_world_with_the_film_beside_them(tmp_path):
    WORLD.save(tmp_path / "w")
    save_motioncrafter(tmp_path / "a.npz")
    (tmp_path / "w" / "rgb.mp4").rename(tmp_path / "a.mp4")
    world = open_world(tmp_path / "a.npz")
    assert world.fields == ("rgb", "depth", "flow", "scene_flow", "visible", "camera")
    assert world.fps == pytest.approx(WORLD.fps)
    save_geometrycrafter(tmp_path / "b.npz")
    assert [w.name for w in stored_worlds(tmp_path)] == ["a", "b", "w"]
    short = ball_world(path=np.zeros((3, 3)) + [0, 0, 1.0])
    save_geometrycrafter(tmp_path / "a.npz", short)
    with pytest.raises(InputError, match=r"a\.mp4: is 12x48x64, the points of a\.npz are 3x48x64"):
        open_world(tmp_path / "a.npz")


def test_one_frame_is_a_world(tmp_path):
    one = ball_world(path=np.zeros((1, 3)) + [0, 0, 1.0])
    assert world_of_point_maps(save_geometrycrafter(tmp_path / "a.npz", one)).frames == 1
    assert world_of_point_maps(save_motioncrafter(tmp_path / "b.npz", one)).flow.shape == (0, 48, 64, 2)


def test_what_is_not_valid_may_be_infinite_and_has_no_depth(tmp_path):
    clip = clip_of_world(WORLD, "camera")
    points, mask = clip.points.copy(), clip.valid.copy()
    points[:, :5], mask[:, :5] = np.inf, False
    np.savez(tmp_path / "a.npz", point_map=points.astype(np.float16), mask=mask)
    assert (world_of_point_maps(tmp_path / "a.npz").depth[:, :5] == 0).all()


def _nan(points):
    points[1, 2, 3] = np.nan
    return points


GOOD = clip_of_world(WORLD, "camera")
BAD = {
    "has no point_map; it has x": {"x": np.zeros(3)},
    r"should be floats \(T, H, W, 3\), is float64 \(12, 48, 64\)": {"point_map": GOOD.points[..., 0]},
    r"mask should be \(12, 48, 64\) beside this point_map, is \(11, 48, 64\)": {
        "point_map": GOOD.points,
        "mask": GOOD.valid[1:],
    },
    "point_map holds NaN or infinity in 1 places": {"point_map": _nan(GOOD.points.copy()), "mask": GOOD.valid},
    "no point is valid": {"point_map": GOOD.points, "mask": ~GOOD.valid},
    r"camera_pose should be \(12, 4, 4\)": {"point_map": GOOD.points, "camera_pose": np.eye(4)},
    "no pinhole camera sees these points": {
        "point_map": np.random.default_rng(0).normal(size=(2, 20, 20, 3)) + [0, 0, 5],
        "mask": np.ones((2, 20, 20), bool),
    },
    "camera_pose holds no rigid motion": {
        "point_map": GOOD.points,
        "camera_pose": np.tile(np.diag([1.0, 2, 1, 1]), (FRAMES, 1, 1)) + np.arange(FRAMES)[:, None, None] * 0.1,
    },
    "not a whole .npz file of plain arrays": {"point_map": np.array([{}])},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_files_are_refused(tmp_path, message):
    np.savez(tmp_path / "a.npz", **BAD[message])
    with pytest.raises(InputError, match=message):
        world_of_point_maps(tmp_path / "a.npz")


def test_damaged_files_are_refused(tmp_path):
    path = save_geometrycrafter(tmp_path / "a.npz")
    whole = path.read_bytes()
    for name, data in (("cut", whole[: len(whole) // 2]), ("text", b"not an archive"), ("empty", b"")):
        (tmp_path / f"{name}.npz").write_bytes(data)
        with pytest.raises(InputError, match=r"not a whole .npz file"):
            read_point_maps(tmp_path / f"{name}.npz")
    broken = bytearray(whole)
    broken[len(whole) // 3 : len(whole) // 3 + 64] = bytes(64)
    (tmp_path / "broken.npz").write_bytes(broken)
    with pytest.raises(InputError, match=r"not a whole .npz file"):
        read_point_maps(tmp_path / "broken.npz")
