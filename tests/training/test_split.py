"""What is held out: whole scenes, always the same ones, and only worlds that stage and backbone can use."""

import pyarrow as pa
import pytest

from phys4d.data.shards import INDEX_SCHEMA, WorldDataset
from phys4d.errors import InputError, MissingFieldError, Phys4DWarning
from phys4d.model import WorldModel
from phys4d.training.split import check, split

FIELDS = ["rgb", "depth"]


def row(scene="drop", seed=0, view=0, perturb=0, size=(17, 64, 64), fields=FIELDS):
    scene_id = f"{scene}-{seed}" + (f"-p{perturb}" if perturb else "")
    return {
        "key": f"{scene}-{seed}-{perturb}-{view}", "shard": "000.tar", "offset": 0, "length": 1, "frames": size[0],
        "height": size[1], "width": size[2], "scene": scene, "scene_id": scene_id, "seed": seed, "view": view,
        "perturb": perturb, "fields": fields, "path": "/data/000.tar",
    }  # fmt: skip


def dataset(*rows):
    schema = INDEX_SCHEMA.append(pa.field("path", pa.string()))
    return WorldDataset(pa.Table.from_pylist(list(rows), schema))


def scenes(worlds):
    return {tuple(r.values()) for r in worlds.index.select(["scene", "seed"]).to_pylist()}


def keys(worlds):
    return worlds.index["key"].to_pylist()


def test_views_and_repetitions_of_a_scene_stay_on_one_side():
    rows = [row(n, s, v, p) for n in ("drop", "roll") for s in range(20) for v in range(3) for p in range(3)]
    trained, held = split([dataset(*rows[:200]), dataset(*rows[200:])], [], 100)
    assert len(trained) + len(held) == len(rows)
    assert not scenes(trained) & scenes(held)
    assert len(scenes(held)) == 4  # a tenth of 40
    assert len(held) == 4 * 9


def test_the_choice_depends_on_the_scenes_alone():
    rows = [row(seed=s) for s in range(30)]
    first = set(keys(split([dataset(*rows)], [], 10)[1]))
    assert set(keys(split([dataset(*reversed(rows))], [], 10)[1])) == first
    assert set(keys(split([dataset(*rows[:10]), dataset(*rows[10:])], [], 10)[1])) == first


def test_at_most_so_many_worlds_are_held_out():
    rows = [row(seed=s, view=v) for s in range(40) for v in range(3)]
    assert len(split([dataset(*rows)], [], 2)[1]) == 2
    given = [row("other", s) for s in range(9)]
    trained, held = split([dataset(*rows)], [dataset(*given)], 3)
    assert len(trained) == len(rows)
    assert keys(held) == ["other-0-0-0", "other-3-0-0", "other-6-0-0"]


def test_held_out_scenes_that_are_trained_on_are_told():
    with pytest.warns(Phys4DWarning, match="2 of the held-out scenes are also trained on \\(such as drop-3\\)"):
        split([dataset(*(row(seed=s) for s in range(5)))], [dataset(row(seed=3), row(seed=4), row(seed=9))], 9)


def test_too_little_data_is_refused():
    with pytest.raises(InputError, match="no data"):
        split([], [], 4)
    with pytest.raises(InputError, match="one scene is not enough"):
        split([dataset(row(view=0), row(view=1), row(perturb=1))], [], 4)


def test_missing_fields_are_named_with_the_first_world_that_lacks_them():
    backbone = WorldModel.tiny("nano").backbone
    worlds = dataset(row(seed=0), row(seed=1, fields=["rgb"]), row(seed=2, fields=["rgb"]))
    check(backbone, "base", ("rgb",), worlds)
    with pytest.raises(
        MissingFieldError, match=r"2 of 3 worlds lack .*finetune.*: drop-1-0-0 in /data/000\.tar has no depth"
    ):
        check(backbone, "finetune", ("rgb", "depth"), worlds)


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ((16, 64, 64), "16 frames in one window; the nearest is 17"),
        ((33, 64, 64), "33 frames in one window; the nearest is 17"),
        ((17, 60, 64), "multiples of 8, not 60x64; the nearest is 64x64"),
        ((17, 128, 128), "made for 64x64, not 128x128"),
    ],
)
def test_worlds_that_the_backbone_cannot_make_name_the_nearest(size, told):
    with pytest.raises(InputError, match=told):
        check(WorldModel.tiny("nano").backbone, "base", ("rgb",), dataset(row(size=size)))


def test_worlds_of_several_sizes_are_refused():
    with pytest.raises(InputError, match=r"several sizes.*9x64x64, 17x64x64"):
        check(WorldModel.tiny("nano").backbone, "base", ("rgb",), dataset(row(), row(size=(9, 64, 64))))


def test_a_bare_shard_is_measured(clips):
    from phys4d.data.shards import open_dataset

    shard = open_dataset(next(clips.glob("*.tar")))
    assert shard.row(0)["frames"] is None
    check(WorldModel.tiny("nano").backbone, "base", ("rgb",), shard)
