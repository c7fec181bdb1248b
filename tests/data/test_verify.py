import dataclasses
import json

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import tiny_worlds

from phys4d.data import open_dataset, write_dataset
from phys4d.data.verify import Verifier, verifiers, verify, world_problems
from phys4d.errors import InputError, WorkError


def write(out, make=tiny_worlds.make):
    write_dataset(out, tiny_worlds.plan(5), make, arguments={}, shard_size=3, progress=False)
    return out


@pytest.fixture
def dataset(tmp_path):
    return write(tmp_path / "DATA")


def plant(path, after: bytes, data: bytes):
    """Overwrite `data` into the content of the tar member named `after`."""
    content = path.read_bytes()
    at = content.index(after) + 512
    path.write_bytes(content[:at] + data + content[at + len(data) :])


def test_whole_things_are_whole(dataset, tmp_path):
    report = verify(dataset)
    assert report.ok
    assert (report.kind, report.worlds, report.frames, report.shards) == ("data set", 5, 20, 2)
    assert report.size == sum(shard.stat().st_size for shard in dataset.glob("*.tar"))
    assert report.flow_error is not None
    assert report.flow_error < 1e-3
    assert "data set, whole (5 worlds, 20 frames, 2 shards" in str(report)
    shard = verify(dataset / "shard-000001.tar")
    assert shard.ok
    assert (shard.kind, shard.worlds, shard.shards) == ("shard", 2, 1)
    world = verify(open_dataset(dataset)[0].save(tmp_path / "world"))
    assert world.ok
    assert (world.kind, world.worlds, world.frames) == ("world folder", 1, 4)


def test_a_set_by_others_is_checked_without_an_index(dataset):
    for name in ("index.parquet", "dataset.json", "shard-000000.json", "shard-000001.json"):
        (dataset / name).unlink()
    assert verify(dataset).ok
    assert verify(dataset).worlds == 5


def test_unknown_paths_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        verify(tmp_path / "nowhere")
    (tmp_path / "letter.txt").write_text("dear me")
    with pytest.raises(InputError, match=r"letter\.txt: nothing that can be verified; known: world folder, shard"):
        verify(tmp_path / "letter.txt")


def test_damaged_members_are_found(dataset):
    plant(dataset / "shard-000000.tar", b"000001.rgb.mkv", bytes(100))
    plant(dataset / "shard-000001.tar", b"000004.flow.npz", bytes(100))
    problems = verify(dataset).problems
    assert len(problems) == 4
    assert "shard-000000.tar: is not as it was written" in problems[0]
    assert "shard-000000.tar: 000001: rgb.mkv is damaged" in problems[1]
    assert "shard-000001.tar: 000004: flow.npz is damaged" in problems[3]
    assert verify(dataset).worlds == 3


def test_a_lost_or_short_shard_is_found(dataset):
    shard = dataset / "shard-000001.tar"
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    assert any("shard-000001.tar" in problem for problem in verify(dataset).problems)
    assert any("000004 is in the index and not in the shard" in problem for problem in verify(dataset).problems)
    shard.unlink()
    assert any("shard-000001.tar of its index is missing" in problem for problem in verify(dataset).problems)


def test_an_index_that_lies_is_found(dataset):
    index = pq.read_table(dataset / "index.parquet")
    shifted = pc.add(index.column("offset"), 512).cast("int64")
    pq.write_table(
        index.set_column(index.column_names.index("offset"), "offset", shifted).slice(0, 4),
        dataset / "index.parquet",
    )
    problems = verify(dataset).problems
    assert "shard-000000.tar: 000000 has offset 0, the index says 512" in problems[0]
    assert "000004 is not in the index" in problems[-1]
    assert len(problems) == 5


def test_an_unfinished_set_is_said_to_be(tmp_path):
    with pytest.raises(WorkError):
        write_dataset(
            tmp_path / "DATA",
            tiny_worlds.plan(7),
            tiny_worlds.fail_at_five,
            arguments={},
            shard_size=3,
            progress=False,
        )
    report = verify(tmp_path / "DATA")
    assert len(report.problems) == 1
    assert "is not finished" in report.problems[0]
    assert report.worlds == 3


def test_damaged_world_folders_are_found(tmp_path):
    world = tiny_worlds.make({"seed": 1})
    (world.save(tmp_path / "a") / "depth.mkv").write_bytes(b"?")
    assert "depth.mkv is damaged" in verify(tmp_path / "a").problems[0]
    meta = json.loads((world.save(tmp_path / "b") / "meta.json").read_text())
    (tmp_path / "b" / "meta.json").write_text(json.dumps({**meta, "format": 99}))
    assert "format" in verify(tmp_path / "b").problems[0]


def test_motion_must_agree_with_geometry():
    world = tiny_worlds.make({"seed": 1})
    assert world_problems(world)[0] == []
    for seed in range(6):
        assert world_problems(tiny_worlds.make({"seed": seed}))[0] == []
    drifting = dataclasses.replace(world, flow=world.flow + np.float32(0.1))
    problems, error = world_problems(drifting)
    assert (
        "flow contradicts depth, camera and scene_flow by more than 0.1 px at 100.0% of the pixels" in problems[0]
    )
    assert error == pytest.approx(0.1 * 2**0.5, abs=0.01)
    reversed_axes = dataclasses.replace(world, scene_flow=world.scene_flow[..., ::-1].copy())
    assert "flow contradicts" in world_problems(reversed_axes)[0][0]
    flow = world.flow.copy()
    flow[:, 4, 3:6] += 2  # a small object that moves the wrong way
    assert "2.83 px at the worst" in world_problems(dataclasses.replace(world, flow=flow))[0][0]


def test_predictions_and_volumes_need_not_agree():
    world = tiny_worlds.make({"seed": 1})
    wrong = dataclasses.replace(world, flow=world.flow + np.float32(1))
    prediction = dataclasses.replace(wrong, confidence=np.ones_like(wrong.depth))
    assert world_problems(prediction) == ([], None)
    assert world_problems(dataclasses.replace(wrong, meta={**wrong.meta, "volumetric": True})) == ([], None)
    assert world_problems(dataclasses.replace(wrong, camera=None)) == ([], None)


def test_nothing_is_visible_in_the_sky():
    world = tiny_worlds.make({"seed": 1})
    everywhere = dataclasses.replace(world, visible=np.ones_like(world.visible))
    assert world_problems(everywhere)[0] == [f"visible is True at {3 * 2 * 24} pixels without a surface"]


def test_rooms_above_add_their_kinds(tmp_path):
    name = "letter"
    verifiers.register(name)(
        Verifier(lambda path: path.suffix == ".letter", lambda path, report: report.problems.append("no stamp"))
    )
    (tmp_path / "to.letter").write_text("dear me")
    try:
        report = verify(tmp_path / "to.letter")
        assert (report.kind, report.problems) == ("letter", ["no stamp"])
    finally:
        verifiers._entries.pop(name)
