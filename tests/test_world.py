"""`World4D`: what it refuses, and what it keeps."""

import dataclasses
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from phys4d import codecs
from phys4d.errors import InputError, MissingFieldError, WorkError
from phys4d.members import MEMBERS
from phys4d.world import Camera, World4D

T, H, W, N = 3, 21, 26, 4


def full_world(seed: int = 0) -> World4D:
    """Every field, of random but valid content."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    k = np.array([[30, 0, W / 2], [0, 30, H / 2], [0, 0, 1]], np.float32)
    pose = np.repeat(np.eye(4, dtype=np.float32)[None], T, axis=0)
    pose[:, :3, 3] = normal(T, 3)
    return World4D(
        rgb=rng.integers(0, 256, (T, H, W, 3), dtype=np.uint8),
        depth=np.abs(normal(T, H, W)) * (rng.random((T, H, W)) < 0.9),
        flow=normal(T - 1, H, W, 2) * 5,
        scene_flow=normal(T - 1, H, W, 3),
        visible=rng.random((T - 1, H, W)) < 0.7,
        segmentation=rng.integers(0, 9, (T, H, W)).astype(np.int32),
        camera=Camera(np.repeat(k[None], T, axis=0), pose),
        tracks=normal(N, T, 3),
        track_visibility=rng.random((N, T)) < 0.7,
        confidence=rng.random((T, H, W), dtype=np.float32),
        fps=12.5,
        meta={"prompt": "a ball, dropped: ø", "seed": 3, "physics": {"gravity": [0, 0, -9.81], "on": None}},
    )


def subset(world: World4D, *fields: str) -> World4D:
    return dataclasses.replace(world, **{name: None for name in World4D.FIELDS if name not in fields})


def assert_same(a: World4D, b: World4D) -> None:
    """Equal up to the bounds that the codecs state."""
    assert a.fields == b.fields
    assert (a.fps, a.meta) == (b.fps, b.meta)
    for name in ("rgb", "visible", "segmentation", "track_visibility"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for name, bound in (("flow", 2.0**-11), ("scene_flow", 2.0**-17), ("tracks", 2.0**-17)):
        if getattr(a, name) is not None:
            assert np.abs(getattr(a, name) - getattr(b, name)).max(initial=0) <= bound * 1.001
    for name in ("depth", "confidence"):
        if getattr(a, name) is not None:
            np.testing.assert_allclose(
                getattr(b, name), getattr(a, name), rtol=codecs.log16_bound(getattr(a, name))
            )
    if a.camera is not None:
        np.testing.assert_array_equal(a.camera.intrinsics, b.camera.intrinsics)
        np.testing.assert_array_equal(a.camera.world_from_camera, b.camera.world_from_camera)


# Saving and loading.


def test_a_whole_world_comes_back(tmp_path):
    world = full_world()
    assert world.save(tmp_path / "world") == tmp_path / "world"
    assert_same(world, World4D.load(tmp_path / "world"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["world"]
    assert {p.name for p in (tmp_path / "world").iterdir()} == {*MEMBERS, "meta.json", "rgb.mp4"}


@pytest.mark.parametrize(
    "fields",
    [
        *((member.fields,) for member in MEMBERS.values()),
        (("rgb",), ("depth", "camera")),
        (("flow",), ("visible",)),
    ],
)
def test_any_subset_of_fields_comes_back(tmp_path, fields):
    names = [name for group in fields for name in (group if isinstance(group, tuple) else (group,))]
    world = subset(full_world(), *names)
    world.save(tmp_path / "world")
    assert_same(world, World4D.load(tmp_path / "world"))


@pytest.mark.parametrize("fields", [("rgb",), ("camera",), ("tracks",), ("depth", "camera", "flow")])
def test_loading_some_fields_reads_only_those(tmp_path, fields):
    full_world().save(tmp_path / "world")
    for name, held in ((name, member.fields) for name, member in MEMBERS.items()):
        if not set(held) & set(fields):
            (tmp_path / "world" / name).write_bytes(b"damaged, but nobody looks")
    loaded = World4D.load(tmp_path / "world", fields=fields)
    expected = (*fields, "track_visibility") if "tracks" in fields else fields
    assert set(loaded.fields) == set(expected)
    assert loaded.frames == T


def test_one_frame_no_tracks_and_one_pixel_come_back(tmp_path):
    world = World4D(
        rgb=np.full((1, 1, 1, 3), 7, np.uint8),
        depth=np.zeros((1, 1, 1), np.float32),
        flow=np.zeros((0, 1, 1, 2), np.float32),
        visible=np.zeros((0, 1, 1), bool),
        tracks=np.zeros((0, 1, 3), np.float32),
        track_visibility=np.zeros((0, 1), bool),
    )
    world.save(tmp_path / "world")
    assert_same(world, World4D.load(tmp_path / "world"))


def test_same_world_is_saved_as_the_same_bytes():
    assert full_world().to_members() == full_world().to_members()


def test_saving_replaces_a_world_and_leaves_none_of_it(tmp_path):
    full_world().save(tmp_path / "world")
    second = subset(full_world(1), "rgb")
    second.save(tmp_path / "world")
    assert_same(second, World4D.load(tmp_path / "world"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["world"]


def test_saving_refuses_what_is_not_a_world(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("text")
    for name in ("folder", "file"):
        with pytest.raises(InputError, match="not a world folder"):
            full_world().save(tmp_path / name)
    with pytest.raises(InputError, match="a file stands where a folder is needed"):
        full_world().save(tmp_path / "file" / "world")
    assert (tmp_path / "folder" / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [(errno.ENOSPC, WorkError, "disk is full"), (errno.EACCES, InputError, "no permission")],
)
def test_failed_save_keeps_the_old_world_and_leaves_no_half(tmp_path, monkeypatch, number, error, message):
    old = full_world()
    old.save(tmp_path / "world")
    write, calls = Path.write_bytes, []

    def fail_at_the_fourth(path: Path, data: bytes) -> int:
        calls.append(path)
        if len(calls) == 4:
            raise OSError(number, os.strerror(number), str(path))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", fail_at_the_fourth)
    with pytest.raises(error, match=message):
        full_world(1).save(tmp_path / "world")
    assert len(calls) == 4
    calls.clear()
    with pytest.raises(error, match=message):
        full_world(1).save(tmp_path / "another")
    monkeypatch.undo()
    assert_same(old, World4D.load(tmp_path / "world"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["world"]


def test_unwritable_parent_is_the_users_to_mend(tmp_path, monkeypatch):
    def refuse(path: Path, *args, **kwargs) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InputError, match="no permission"):
        full_world().save(tmp_path / "world")


# Damage.


@pytest.mark.parametrize("member", [*MEMBERS, "meta.json"])
@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "foreign"])
def test_damaged_member_is_named(tmp_path, member, damage):
    full_world().save(tmp_path / "world")
    path = tmp_path / "world" / member
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle] ^= 4
    changed = {
        "empty": b"",
        "truncated": bytes(data[:middle]),
        "flipped": bytes(data),
        "foreign": b"nonsense " * 99,
    }
    path.write_bytes(changed[damage])
    with pytest.raises(InputError) as caught:
        World4D.load(tmp_path / "world")
    assert member in str(caught.value)
    assert str(tmp_path / "world") in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2


def test_any_flipped_letter_of_the_meta_is_noticed():
    members = subset(full_world(), "camera").to_members()
    text = members["meta.json"]
    for position in range(len(text)):
        damaged = bytearray(text)
        damaged[position] ^= 1
        try:
            world = World4D.from_members({**members, "meta.json": bytes(damaged)})
        except InputError:
            continue
        assert (world.meta, world.fps) == (full_world().meta, full_world().fps), "only white space may change"


def test_members_in_each_others_place_are_noticed(tmp_path):
    members = full_world().to_members()
    for member, other in (("flow.npz", "camera.npz"), ("depth.mkv", "segmentation.mkv"), ("rgb.mkv", "depth.mkv")):
        with pytest.raises(InputError, match=member):
            World4D.from_members({**members, member: members[other]})


def test_members_of_another_world_are_noticed(tmp_path):
    short = full_world()
    short.save(tmp_path / "world")
    longer = World4D(rgb=np.zeros((T + 1, H, W, 3), np.uint8))
    (tmp_path / "world" / "rgb.mkv").write_bytes(longer.to_members()["rgb.mkv"])
    with pytest.raises(InputError, match=r"depth should be float32 \(4, 21, 26\)"):
        World4D.load(tmp_path / "world")


def rewrite_meta(folder: Path, **changes) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, **changes}))


@pytest.mark.parametrize("changes", [{"format": 99}, {"format": None}, {"seed": 4}, {"fps": 30}, {"crc32": None}])
def test_other_formats_and_edited_meta_are_refused(tmp_path, changes):
    subset(full_world(), "rgb").save(tmp_path / "world")
    rewrite_meta(tmp_path / "world", **changes)
    with pytest.raises(InputError, match="format 1" if "format" in changes else "checksum"):
        World4D.load(tmp_path / "world")


def test_reformatted_meta_is_still_the_same_meta(tmp_path):
    world = subset(full_world(), "rgb")
    world.save(tmp_path / "world")
    rewrite_meta(tmp_path / "world")
    assert_same(world, World4D.load(tmp_path / "world"))


def test_what_is_no_world_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such world folder"):
        World4D.load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("text")
    (tmp_path / "empty").mkdir()
    for name in ("file", "empty"):
        with pytest.raises(InputError, match=r"no meta\.json"):
            World4D.load(tmp_path / name)
    with pytest.raises(InputError, match=r"no meta\.json"):
        World4D.from_members({})
    full_world().save(tmp_path / "world")
    with pytest.raises(InputError, match="no field dpeth; its fields: rgb, depth"):
        World4D.load(tmp_path / "world", fields=["dpeth"])


# Validation.


def spoil(world: World4D, name: str, index, value) -> World4D:
    array = getattr(world, name).copy()
    array[index] = value
    setattr(world, name, array)
    return world


def spoil_camera(world: World4D, name: str, index, value) -> World4D:
    array = getattr(world.camera, name).copy()
    array[index] = value
    world.camera = dataclasses.replace(world.camera, **{name: array})
    return world


def replaced(world: World4D, name: str, value) -> World4D:
    return dataclasses.replace(world, **{name: value})


FAULTS = {
    "rgb": lambda w: replaced(w, "rgb", w.rgb.astype(np.float32)),
    "rgb should be uint8 (T, H, W, 3), is uint8 (3, 21, 26)": lambda w: replaced(w, "rgb", w.rgb[..., 0]),
    "rgb should be uint8 (T, H, W, 3), is list": lambda w: replaced(w, "rgb", w.rgb.tolist()),
    "depth should be float32 (3, 21, 26), is float64": lambda w: replaced(w, "depth", w.depth.astype(float)),
    "depth should be float32 (3, 21, 26), is float32 (3, 26, 21)": lambda w: replaced(
        w, "depth", w.depth.transpose(0, 2, 1)
    ),
    "depth holds NaN": lambda w: spoil(w, "depth", (0, 0, 0), np.nan),
    "depth is negative (down to -2)": lambda w: spoil(w, "depth", (0, 0, 0), -2),
    "flow should be float32 (2, 21, 26, 2)": lambda w: replaced(w, "flow", np.zeros((T, H, W, 2), np.float32)),
    "flow holds NaN": lambda w: spoil(w, "flow", (0, 0, 0, 0), np.inf),
    "scene_flow holds NaN": lambda w: spoil(w, "scene_flow", (1, 2, 3, 0), np.nan),
    "visible should be bool": lambda w: replaced(w, "visible", w.visible.astype(np.uint8)),
    "segmentation is negative": lambda w: spoil(w, "segmentation", (0, 0, 0), -1),
    "segmentation holds the id 70000": lambda w: spoil(w, "segmentation", (0, 0, 0), 70000),
    "segmentation should be int32": lambda w: replaced(w, "segmentation", w.segmentation.astype(np.int64)),
    "confidence is negative": lambda w: spoil(w, "confidence", (0, 0, 0), -0.1),
    "tracks should be float32 (N, 3, 3)": lambda w: replaced(w, "tracks", w.tracks[:, :2]),
    "tracks holds NaN": lambda w: spoil(w, "tracks", (0, 0, 0), np.nan),
    "track_visibility should be bool (4, 3), is bool (3, 3)": lambda w: replaced(
        w, "track_visibility", w.track_visibility[:3]
    ),
    "tracks and track_visibility come together": lambda w: replaced(w, "tracks", None),
    "track_visibility come together": lambda w: replaced(w, "track_visibility", None),
    "camera should be a Camera, is tuple": lambda w: replaced(w, "camera", (1, 2)),
    "camera.intrinsics should be float32 (3, 3, 3)": lambda w: replaced(
        w, "camera", dataclasses.replace(w.camera, intrinsics=w.camera.intrinsics[:2])
    ),
    "camera.intrinsics needs positive focal": lambda w: spoil_camera(w, "intrinsics", (0, 0, 0), -5),
    "camera.intrinsics holds NaN": lambda w: spoil_camera(w, "intrinsics", (0, 0, 0), np.nan),
    "is not a rigid motion": lambda w: spoil_camera(w, "world_from_camera", (1, 0, 0), 1.1),
    "camera.world_from_camera is not a rigid": lambda w: spoil_camera(w, "world_from_camera", (1, 0, 0), -1),
    "last row 0 0 0 1": lambda w: spoil_camera(w, "world_from_camera", (1, 3, 3), 2),
    "fps should be a number between 0 and 1000": lambda w: replaced(w, "fps", 0.0),
    "is nan": lambda w: replaced(w, "fps", float("nan")),
    "is '12'": lambda w: replaced(w, "fps", "12"),
    "meta is not JSON": lambda w: replaced(w, "meta", {"a": np.zeros(3)}),
    "meta is not JSON (Out of range": lambda w: replaced(w, "meta", {"a": float("nan")}),
    "every key must be a str": lambda w: replaced(w, "meta", {"a": [{1: 2}]}),
    "meta should be a dict, is list": lambda w: replaced(w, "meta", []),
    "meta holds format": lambda w: replaced(w, "meta", {"format": "mp4"}),
}


@pytest.mark.parametrize("named", FAULTS)
def test_every_fault_is_named(named, tmp_path):
    world = FAULTS[named](full_world())
    with pytest.raises(InputError) as caught:
        world.validate()
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError):
        world.save(tmp_path / "world")
    assert not list(tmp_path.iterdir())


def test_all_faults_are_named_at_once():
    world = spoil(spoil(full_world(), "depth", 0, -1), "flow", 0, np.nan)
    world.fps = -1.0
    with pytest.raises(InputError, match=r"depth is negative.*flow holds NaN.*fps should be"):
        world.validate()


def test_empty_pictures_and_empty_worlds_are_refused():
    with pytest.raises(InputError, match="rgb is empty"):
        World4D(rgb=np.zeros((0, 4, 4, 3), np.uint8)).validate()
    with pytest.raises(InputError, match="at least one field"):
        World4D().validate()
    with pytest.raises(InputError, match="no picture"):
        _ = subset(full_world(), "camera").size


def test_valid_worlds_pass_and_return_themselves():
    world = full_world()
    assert world.validate() is world
    assert (world.frames, world.size) == (T, (H, W))
    assert repr(world) == f"World4D(world: 3x21x26 at 12.5 fps; {', '.join(World4D.FIELDS)})"
    assert repr(World4D()) == "World4D(world: no picture at 12 fps; )"


def test_require_names_everything_that_is_missing():
    world = subset(full_world(), "rgb", "flow")
    assert world.require("rgb", "flow") is world
    with pytest.raises(MissingFieldError, match="has no depth, camera; it has rgb, flow") as caught:
        world.require("rgb", "depth", "camera")
    assert len(str(caught.value).splitlines()) == 2
    with pytest.raises(InputError, match="no field colour"):
        world.require("colour")
