"""Small data sets of simulated clips, made once, and copies of them with members that nobody can read."""

import io
import shutil
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from brightness import colour_stage  # noqa: F401  (a fixture)
from small_runs import place  # noqa: F401  (a fixture)

from phys4d.data.shards import INDEX, INDEX_SCHEMA
from phys4d.recipes import recipes
from phys4d.sim.dataset import simulate_dataset
from phys4d.teachers.labelling import label_videos

TRUTH = ("depth.mkv", "flow.npz", "scene_flow.npz", "visible.npz", "segmentation.mkv", "tracks.npz", "camera.npz")
"""Members of a simulated world beside its colours and its meta."""


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """Six simulated clips of two scenes, 17x64x64, with every label."""
    out = tmp_path_factory.mktemp("data") / "clips"
    simulate_dataset(out, ["ball_drop", "ball_ramp"], clips=6, size=(64, 64), frames=17, progress=False)
    return out


@pytest.fixture(scope="session")
def labelled_clips(clips) -> Path:
    """What teachers see in the colours of the same clips."""
    out = clips.parent / "labelled"
    label_videos([clips], out, progress=False)
    return out


@pytest.fixture(scope="session")
def blinded_clips(clips) -> Path:
    """The same clips with garbage in place of every label, which the index still promises."""
    return _blinded(clips, clips.parent / "blinded" / "clips")


@pytest.fixture(scope="session")
def rgb_clips(clips) -> Path:
    """The same clips with colours alone; their other members are garbage that the index does not know."""
    out = _blinded(clips, clips.parent / "colours" / "clips")
    index = pq.read_table(out / INDEX)
    fields = pa.array([["rgb"]] * len(index), INDEX_SCHEMA.field("fields").type)
    pq.write_table(index.set_column(index.column_names.index("fields"), "fields", fields), out / INDEX)
    return out


@pytest.fixture
def debug():
    """The debug recipe."""
    return recipes["debug"]()


@pytest.fixture(autouse=True, scope="module")
def _on_the_cpu():
    """Weights are compared bit for bit with those of models on the CPU, also where there is a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield


@pytest.fixture(autouse=True)
def _own_randomness():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _blinded(source: Path, out: Path) -> Path:
    """A copy of a data set in which members hold garbage of the same length, so that its index still fits."""
    shutil.copytree(source, out)
    for shard in out.glob("*.tar"):
        content = io.BytesIO(shard.read_bytes())
        with tarfile.open(fileobj=content) as tar, shard.open("r+b") as file:
            hidden = [info for info in tar if info.name.partition(".")[2] in TRUTH]
            for info in hidden:
                file.seek(info.offset_data)
                file.write(b"\xde" * info.size)
        assert {info.name.partition(".")[2] for info in hidden} == set(TRUTH)
    return out
