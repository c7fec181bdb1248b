"""Encodings on disk: with them, training reads neither VAE nor text encoder; without them it comes to the same."""

import json

import pytest
import torch

from phys4d.data.shards import open_dataset
from phys4d.errors import InputError
from phys4d.model import WorldModel
from phys4d.training.encode import contexts, encode_data
from phys4d.training.finetune import FinetuneConfig, FinetuneStage
from phys4d.training.loop import seed_step


def model():
    torch.manual_seed(0)
    return WorldModel.tiny("wan")


@pytest.fixture(scope="module")
def store(clips, tmp_path_factory):
    out = tmp_path_factory.mktemp("encodings") / "STORE"
    assert encode_data(model(), [clips], out, progress=False) == 6
    return out


class Absent:
    """Stands for encoders that are not on this machine."""

    def to(self, _):
        raise AssertionError("an encoder was asked for")


def without_encoders(made):
    for name in ("vae", "text_encoder"):
        made.backbone.parts._made[name] = Absent()
    return made


def loss_of(made, clips):
    config = FinetuneConfig(batch_size=2, rank=2, alpha=4.0, text_drop=0.5, more_context=0.5, moving_weight=0.0)
    torch.manual_seed(1)
    stage = FinetuneStage(made, config, [open_dataset(clips)], [])
    batch = next(stage.batches(0))
    losses = []
    for step in range(3):
        seed_step(0, step)
        losses.append(float(stage.loss(batch, step)[0]))
    return losses


def test_training_needs_no_encoder_where_all_is_encoded(store, clips):
    made = without_encoders(model())
    made.backbone.use_encodings(store)
    assert loss_of(made, clips) == loss_of(model(), clips)
    with pytest.raises(AssertionError, match="an encoder was asked for"):
        made.backbone.encode_text(["what nobody wrote"])


def test_what_is_there_is_not_encoded_again(store, clips):
    before = {path.name: path.stat().st_mtime_ns for path in store.glob("*.safetensors")}
    encode_data(without_encoders(model()), [clips], store, progress=False)
    assert {path.name: path.stat().st_mtime_ns for path in store.glob("*.safetensors")} == before
    index = json.loads((store / "encodings.json").read_text())
    clip = open_dataset(clips)[0]
    given = list(contexts(model(), 1, clip.frames))
    assert given == [1, 5, 9]
    # A whole clip and each beginning of it; prompts, and the empty one.
    kinds = [key.partition("-")[0] for key in index["parts"]]
    prompts = {world.meta["prompt"] for world in open_dataset(clips)}
    assert kinds.count("video") == 6 * (1 + len(given))
    assert kinds.count("text") == len(prompts) + 1


def test_encodings_of_another_model_are_refused(store, clips, tmp_path):
    other = WorldModel.tiny("cogvideox")
    with pytest.raises(InputError, match="encodings of another model"):
        other.backbone.use_encodings(store)
    with pytest.raises(InputError, match="encodings of another model"):
        encode_data(other, [clips], store, progress=False)
    with pytest.raises(InputError, match="nano has no VAE"):
        encode_data(WorldModel.tiny("nano"), [clips], tmp_path / "S", progress=False)
    with pytest.raises(InputError, match=r"encodings\.json: not found"):
        model().backbone.use_encodings(tmp_path / "nowhere")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "one").write_text("dear")
    with pytest.raises(InputError, match="exists and holds no encodings"):
        encode_data(model(), [clips], tmp_path / "letters", progress=False)
