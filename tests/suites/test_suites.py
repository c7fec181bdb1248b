"""Suites of public protocols: the truth scores perfectly, layouts agree, faults are seen, bad input is refused."""

import dataclasses
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from phys4d.errors import InputError
from phys4d.evaluation.point_clips import clip_of_world
from phys4d.suites import SuiteRequest, suite_of, suites
from phys4d.suites.tapvid3d import answer, video_of_world
from phys4d.world import World4D

sys.path.append(str(Path(__file__).parents[1] / "evaluation"))
from ball_scene import EYE, FRAMES, as_prediction, ball_world, fall, in_own_axes

EYES = np.array(EYE) + np.linspace(0, 0.4, FRAMES)[:, None] * [1.0, 0.3, 0.2]
WORLDS = [ball_world(eyes=EYES), ball_world(fall(start=(-0.4, 0, 1.6), velocity=(2.0, 0, 1.0)), seed=1)]
NAMES = ("tapvid3d", "video-depth", "point-maps", "scene-flow")


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """Two worlds; nobody writes to them."""
    return stored(tmp_path_factory.mktemp("suites") / "truth", WORLDS)


def stored(folder, worlds):
    for i, world in enumerate(worlds):
        world.save(folder / f"w{i}")
    return folder


def values(name, **request):
    report = suite_of(name)(SuiteRequest(**request))
    return {key: row["value"] for key, row in report.metrics.items()}


def test_they_are_all_there():
    assert set(NAMES) <= set(suites())


@pytest.mark.parametrize("name", NAMES)
def test_the_truth_scores_perfectly_beats_the_baselines_and_states_its_protocol(name, truth):
    report = suite_of(name)(SuiteRequest(videos=truth, benchmark=truth))
    assert report.missing == {}
    assert report.protocol["suite"] == name
    assert "/" in report.protocol["source"]
    for key, row in report.metrics.items():
        perfect = 1.0 if row["better"] == "higher" else 0.0
        # Stored depth has a 16-bit code, and TAE moves by whole pixels on slanted surfaces.
        loose = {"tae_original": 3.0, "tae": 0.1}.get(key, 2e-3)
        assert row["value"] == pytest.approx(perfect, abs=loose), key
        assert row["coverage"] > 0.5
    for rival in ("static", "noise"):
        for key, row in report.baselines[rival].items():
            better = report.metrics[key]["value"] - row["value"]
            gain = better if row["better"] == "higher" else -better
            assert gain >= 0 or key.startswith("tae"), (rival, key)
    assert [w["world"] for w in report.by_world] == ["ball-0", "ball-1"]


@pytest.mark.parametrize("name", NAMES)
def test_another_unit_and_other_axes_cost_nothing_where_the_protocol_aligns(name, truth, tmp_path):
    mine = stored(tmp_path / "mine", [in_own_axes(as_prediction(world), 1.5) for world in WORLDS])
    found = values(name, videos=mine, benchmark=truth)
    for key, perfect in {
        "abs_rel": 0, "delta1": 1, "point_rel": 0, "point_inlier_shift": 1, "depth_rel_shift": 0,
        "scene_flow_epe": 0,
    }.items():  # fmt: skip
        if key in found:
            assert found[key] == pytest.approx(perfect, abs=2e-3), key
    if name == "scene-flow":
        assert found["epe3d"] > 20 * found["scene_flow_epe"]  # In metres as they are.
    if name == "tapvid3d":
        # Chained tracks lose silhouettes, and a fifth of a pixel counts; without scaling half again is far off.
        assert found["tapvid3d_apd"] > 0.65 > 0.3 > found["tapvid3d_apd_none"]


def test_faults_are_seen_by_the_suite_that_should(tmp_path):
    frozen = np.repeat(fall()[:1], FRAMES, 0)
    truth = stored(tmp_path / "truth", WORLDS[:1])
    mine = stored(tmp_path / "mine", [as_prediction(ball_world(frozen, eyes=EYES))])
    clean = stored(tmp_path / "clean", [as_prediction(WORLDS[0])])
    for name, key in (
        ("tapvid3d", "tapvid3d_aj"), ("video-depth", "abs_rel"), ("point-maps", "point_rel"),
        ("scene-flow", "epe3d"), ("scene-flow", "scene_flow_epe"),
    ):  # fmt: skip
        bad, good = (values(name, videos=place, benchmark=truth)[key] for place in (mine, clean))
        assert (bad < 0.9 * good) if key == "tapvid3d_aj" else (bad > 2 * good), (name, key)


def tapvid_arrays(world, **changes):
    """A world as a file of TAPVid-3D, its pictures stretched twofold in JPEG alone: thresholds are by 256 px."""
    video = video_of_world(world)
    buffer = io.BytesIO()
    Image.fromarray(world.rgb[0]).save(buffer, "JPEG")
    k = world.camera.intrinsics[0]
    arrays = {
        "tracks_XYZ": video.truth.points.transpose(1, 0, 2),
        "visibility": video.truth.visible.T,
        "queries_xyt": np.stack([0 * video.query, 0 * video.query, video.query], -1).astype(float),
        "fx_fy_cx_cy": np.array([k[0, 0], k[1, 1], k[0, 2], k[1, 2]]),
        "images_jpeg_bytes": np.array([buffer.getvalue()]),
    }
    return {name: array for name, array in {**arrays, **changes}.items() if array is not None}


def test_files_of_tapvid3d_give_what_the_worlds_give(truth, tmp_path):
    (tmp_path / "bench" / "adt").mkdir(parents=True)
    (tmp_path / "made" / "adt").mkdir(parents=True)
    mine = [as_prediction(world) for world in WORLDS]
    for i, (world, guess) in enumerate(zip(WORLDS, mine)):
        np.savez(tmp_path / "bench" / "adt" / f"v{i}.npz", **tapvid_arrays(world))
        tracks = answer(guess, world, video_of_world(world).query)
        arrays = {"tracks_XYZ": tracks.points.transpose(1, 0, 2), "visibility": tracks.visible.T}
        np.savez(tmp_path / "made" / "adt" / f"v{i}.npz", **arrays)
    by_file = values("tapvid3d", videos=tmp_path / "made", benchmark=tmp_path / "bench", subset=("adt",))
    by_world = values("tapvid3d", videos=stored(tmp_path / "mine", mine), benchmark=truth)
    assert by_file == pytest.approx(by_world, abs=2e-3)
    with pytest.raises(InputError, match="has no waymo; it has adt"):
        values("tapvid3d", videos=tmp_path / "made", benchmark=tmp_path / "bench", subset=("waymo",))


BAD_TRACKS = {
    "has no visibility, which TAPVid-3D's files have": {"visibility": None},
    r"needs tracks_XYZ \(T, N, 3\) and visibility \(T, N\)": {"visibility": np.ones((3, 4), bool)},
    "holds NaN or infinity where it is visible": {"tracks_XYZ": np.full((FRAMES, 48, 3), np.nan)},
    "t below 12": {"queries_xyt": np.full((48, 3), 40.0)},
    "holds no pictures": {"images_jpeg_bytes": np.array([b"no picture"])},
    "no positive focal lengths": {"fx_fy_cx_cy": np.zeros(4)},
}


@pytest.mark.parametrize("message", BAD_TRACKS)
def test_bad_files_of_tapvid3d_are_refused(message, tmp_path):
    np.savez(tmp_path / "v.npz", **tapvid_arrays(WORLDS[0], **BAD_TRACKS[message]))
    with pytest.raises(InputError, match=message):
        values("tapvid3d", videos=tmp_path, benchmark=tmp_path)


def test_bad_predicted_tracks_are_refused(tmp_path):
    bench, made = tmp_path / "bench", tmp_path / "made"
    for folder in (bench, made):
        folder.mkdir()
    arrays = tapvid_arrays(WORLDS[0])
    np.savez(bench / "v.npz", **arrays)
    with pytest.raises(InputError, match=r"v\.npz: no such file; every video"):
        values("tapvid3d", videos=made, benchmark=bench)
    half = {"tracks_XYZ": arrays["tracks_XYZ"][:6], "visibility": arrays["visibility"][:6]}
    np.savez(made / "v.npz", **half)
    with pytest.raises(InputError, match="48 tracks of 6 frames, the truth 48 tracks of 12 frames"):
        values("tapvid3d", videos=made, benchmark=bench)
    np.savez(made / "v.npz", **{**arrays, "tracks_XYZ": np.full_like(arrays["tracks_XYZ"], np.inf)})
    with pytest.raises(InputError, match="holds NaN or infinity"):
        values("tapvid3d", videos=made, benchmark=bench)
    hidden = {**arrays, "visibility": np.zeros_like(arrays["visibility"])}
    np.savez(made / "v.npz", **hidden)
    report = suite_of("tapvid3d")(SuiteRequest(videos=made, benchmark=bench))
    assert "nothing to scale by" in report.missing["tapvid3d_aj"]
    np.savez(bench / "v.npz", **hidden)
    report = suite_of("tapvid3d")(SuiteRequest(videos=made, benchmark=bench))
    assert report.metrics.keys() <= {"tapvid3d_oa"}  # That nothing is seen can be right; all else is unknown.


def video_depth_layout(folder, world, *, factor=1000.0):
    """A world as scannet in the benchmark's public layout, with pictures around what its crop leaves."""
    frames = []
    (folder / "scannet").mkdir(parents=True)
    for t in range(world.frames):
        depth = np.pad(np.rint(world.depth[t] * factor), ((8, 8), (11, 11)))
        Image.fromarray(depth.astype(np.uint16)).save(folder / "scannet" / f"{t}.png")
        k = world.camera.intrinsics[t].astype(float)
        k[:2, 2] -= 0.5
        pose = world.camera.world_from_camera[t].astype(float)
        frames.append(
            {
                "image": f"a/{t}.jpg",
                "gt_depth": f"{t}.png",
                "factor": factor,
                "K": k.tolist(),
                "pose": pose.tolist(),
            }
        )
    (folder / "scannet" / "scannet_video.json").write_text(json.dumps({"scannet": [{"a": frames}]}))
    return folder


def disparities(folder, world):
    (folder / "scannet" / "a").mkdir(parents=True)
    for t in range(world.frames):
        np.save(folder / "scannet" / "a" / f"{t}.npy", 2.0 / world.depth[t] + 0.1)
    return folder


def test_the_layout_of_video_depth_anything_gives_what_the_worlds_give(tmp_path):
    world = ball_world(eyes=EYES)
    still = dataclasses.replace(world, segmentation=None, meta={"dataset": "scannet"})
    guess = dataclasses.replace(as_prediction(world), depth=world.depth * (1 + 0.1 * np.sin(world.depth * 9)))
    bench, made = video_depth_layout(tmp_path / "bench", world), disparities(tmp_path / "made", guess)
    by_file = values("video-depth", videos=made, benchmark=bench)
    by_world = values(
        "video-depth",
        videos=stored(tmp_path / "guess", [guess]),
        benchmark=stored(tmp_path / "truth", [still]),
    )
    assert by_file == pytest.approx(by_world, rel=5e-3)
    assert 0.01 < by_file["abs_rel"] < 0.2
    (made / "scannet" / "a" / "3.npy").unlink()
    with pytest.raises(InputError, match=r"3\.npy: no array is there .* every frame needs its own"):
        values("video-depth", videos=made, benchmark=bench)
    np.save(made / "scannet" / "a" / "3.npy", np.full((48, 64), np.nan))
    with pytest.raises(InputError, match="of finite disparity"):
        values("video-depth", videos=made, benchmark=bench)
    (bench / "scannet" / "scannet_video.json").write_text("{}")
    with pytest.raises(InputError, match="not a list of the benchmark's videos"):
        values("video-depth", videos=made, benchmark=bench)


def test_depth_beyond_the_cap_of_a_data_set_is_not_judged(tmp_path):
    """A cap of 10 m on a wall that is moved to 30 m."""
    world = dataclasses.replace(WORLDS[0], segmentation=None, scene_flow=None, meta={"dataset": "bonn"})
    depth = np.where(world.depth > 3.5, 30, world.depth).astype(np.float32)
    guess = as_prediction(world, depth=np.where(depth == 30, 3.0, depth).astype(np.float32), scene_flow=None)
    truth = stored(tmp_path / "truth", [dataclasses.replace(world, depth=depth)])
    mine = stored(tmp_path / "mine", [guess])
    capped = suite_of("video-depth")(SuiteRequest(videos=mine, benchmark=truth)).metrics["abs_rel"]
    assert capped["value"] < 1e-3
    assert capped["coverage"] == pytest.approx((depth < 10).mean())
    stored(tmp_path / "free", [dataclasses.replace(world, depth=depth, meta={})])
    assert values("video-depth", videos=mine, benchmark=tmp_path / "free")["abs_rel"] > 0.05


def test_files_of_point_maps_give_what_the_worlds_give(truth, tmp_path):
    for name in ("bench", "world", "camera"):
        (tmp_path / name).mkdir()
    mine = [in_own_axes(as_prediction(w, depth=w.depth * (1 + 0.05 * np.sin(w.depth * 9))), 0.5) for w in WORLDS]
    for i, (world, guess) in enumerate(zip(WORLDS, mine)):
        clip = clip_of_world(world, "camera")
        np.savez(
            tmp_path / "bench" / f"v{i}.npz",
            point_map=clip.points,
            valid_mask=clip.valid,
            camera_pose=clip.pose,
            scene_flow=clip.scene_flow,
            deform_mask=clip.flow_valid,
        )
        inside, outside = clip_of_world(guess, "camera"), clip_of_world(guess, "world")
        np.savez(tmp_path / "camera" / f"v{i}.npz", point_map=inside.points, mask=inside.valid)
        arrays = {"point_map": outside.points, "valid_mask": outside.valid, "scene_flow": outside.scene_flow}
        np.savez(tmp_path / "world" / f"v{i}.npz", **arrays)
    stored(tmp_path / "mine", mine)
    by_world = values("point-maps", videos=tmp_path / "mine", benchmark=truth)
    in_camera = values("point-maps", videos=tmp_path / "camera", benchmark=tmp_path / "bench")
    in_world = values("point-maps", videos=tmp_path / "world", benchmark=tmp_path / "bench")
    plain = {key: value for key, value in by_world.items() if not key.endswith("_shift")}
    shift = {key: value for key, value in by_world.items() if key.endswith("_shift")}
    assert {key: in_camera[key] for key in plain} == pytest.approx(plain, abs=2e-4)
    assert in_world == pytest.approx(shift, abs=2e-4)
    assert 0.01 < plain["point_rel"] < 0.1
    flow_world = values("scene-flow", videos=tmp_path / "mine", benchmark=truth)
    report = suite_of("scene-flow")(SuiteRequest(videos=tmp_path / "world", benchmark=tmp_path / "bench"))
    assert report.metrics["scene_flow_epe"]["value"] == pytest.approx(flow_world["scene_flow_epe"], abs=2e-4)
    assert report.missing["epe3d"] == "the prediction is not in metres"
    report = suite_of("scene-flow")(SuiteRequest(videos=tmp_path / "camera", benchmark=tmp_path / "bench"))
    assert report.metrics == {}
    assert report.missing["epe3d"] == "the prediction has no scene flow"


def test_worlds_that_do_not_fit_are_refused(truth, tmp_path):
    world = as_prediction(WORLDS[0])
    other = as_prediction(WORLDS[1])
    wrongs = {
        "differ in frames: 3 and 12": as_prediction(ball_world(fall()[:3])),
        "runs at 12 fps, its reference at 24": dataclasses.replace(world, fps=12.0),
        "has no depth": dataclasses.replace(world, depth=None),
        "differ in size: 24x32 and 48x64": World4D(depth=world.depth[:, ::2, ::2].copy(), fps=world.fps, meta={}),
    }
    for number, (message, wrong) in enumerate(wrongs.items()):
        mine = stored(tmp_path / str(number), [wrong, other])
        with pytest.raises(InputError, match=message):
            values("video-depth", videos=mine, benchmark=truth)
    one = stored(tmp_path / "one", [world])
    with pytest.raises(InputError, match="holds 1 worlds and"):
        values("video-depth", videos=one, benchmark=truth)
    relative = [dataclasses.replace(w, meta={**w.meta, "units": "relative"}) for w in WORLDS]
    odd = stored(tmp_path / "odd", relative)
    with pytest.raises(InputError, match="in relative units; a reference has to be in metres"):
        values("video-depth", videos=truth, benchmark=odd)


def test_requests_that_make_no_sense_are_refused(truth):
    for message, request in {
        "needs --benchmark": {"videos": truth},
        "needs --videos .* or --model": {"benchmark": truth},
        "one of them": {"benchmark": truth, "videos": truth, "model": "nano"},
        "generates nothing": {"benchmark": truth, "videos": truth, "runs": 2},
        "cannot use --workers": {"benchmark": truth, "videos": truth, "workers": 2},
        "has no soft; it has ball, rigid": {"benchmark": truth, "videos": truth, "subset": ("soft",)},
        "no such file": {"benchmark": truth / "nowhere", "videos": truth},
    }.items():
        with pytest.raises(InputError, match=message):
            values("video-depth", **request)
    with pytest.raises(InputError, match="cannot use --exact"):
        values("tapvid3d", benchmark=truth, videos=truth, exact=True)


def test_millimetres_are_noticed(truth, tmp_path):
    mine = stored(tmp_path / "mine", [in_own_axes(as_prediction(world), 1000) for world in WORLDS])
    report = suite_of("video-depth")(SuiteRequest(videos=mine, benchmark=truth))
    assert "is the prediction in millimetres?" in report.notes[0]


def test_one_frame_and_no_truth_are_missing_with_a_reason(tmp_path):
    one = [ball_world(fall()[:1])]
    place = stored(tmp_path / "one", one)
    report = suite_of("video-depth")(SuiteRequest(videos=place, benchmark=place))
    assert report.missing["tae"] == "one frame has nothing to be aligned with"
    assert suite_of("scene-flow")(SuiteRequest(videos=place, benchmark=place)).metrics == {}
    sky = dataclasses.replace(WORLDS[0], depth=np.zeros_like(WORLDS[0].depth))
    place = stored(tmp_path / "sky", [sky])
    for name in ("video-depth", "point-maps", "scene-flow"):
        report = suite_of(name)(SuiteRequest(videos=place, benchmark=place))
        assert report.metrics == {}
        assert all(report.missing.values())
