"""Depth models of transformers: tiny ones of the real classes, from a folder."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    GLPNConfig,
    GLPNForDepthEstimation,
)

from phys4d import simulate
from phys4d.errors import InputError
from phys4d.teachers.depth_models import TransformersDepth, agreement
from phys4d.teachers.labelling import label


@pytest.fixture(scope="module", params=["relative", "metric", "glpn"])
def folder(request, tmp_path_factory):
    place = tmp_path_factory.mktemp("model") / request.param
    torch.manual_seed(0)
    if request.param == "glpn":
        few = {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 1, 1]}
        model = GLPNForDepthEstimation(GLPNConfig(**few, decoder_hidden_size=8, max_depth=10))
    else:
        stages = ["stage1", "stage2", "stage3", "stage4"]
        vision = Dinov2Config(
            hidden_size=24, num_hidden_layers=4, num_attention_heads=2, image_size=70, out_features=stages,
            reshape_hidden_states=False,
        )  # fmt: skip
        config = DepthAnythingConfig(
            backbone_config=vision, reassemble_hidden_size=24, neck_hidden_sizes=[8] * 4, fusion_hidden_size=8,
            head_hidden_size=4, depth_estimation_type=request.param, max_depth=20,
        )  # fmt: skip
        model = DepthAnythingForDepthEstimation(config)
        prepared = {"size": {"height": 70, "width": 70}, "ensure_multiple_of": 14, "image_mean": [0.5] * 3}
        place.mkdir()
        (place / "preprocessor_config.json").write_text(json.dumps(prepared))
    model.save_pretrained(place)
    return place


def test_a_clip_is_labelled_by_a_model_in_a_folder(folder):
    world = simulate("ball_drop", seed=1, size=(48, 64), frames=3)
    seen = label(world, depth=f"hf:{folder}")
    assert seen.meta["depth_scale"] == ("relative" if folder.name == "relative" else "metric")
    kind = "glpn" if folder.name == "glpn" else "depth_anything"
    assert seen.meta["labels"]["depth"]["version"].split()[0] == kind
    assert (seen.depth > 0).all()
    assert ((seen.confidence > 0) & (seen.confidence <= 1)).all()
    assert "torchvision" not in sys.modules


@pytest.mark.parametrize("folder", ["metric"], indirect=True)
def test_the_model_sees_what_its_own_settings_say(folder):
    """Metres are the network's own, at the size and with the colours that its folder asks for."""
    teacher = TransformersDepth(str(folder))
    rgb = np.random.default_rng(0).integers(0, 255, (2, 70, 98, 3), dtype=np.uint8)
    pixels = torch.from_numpy((rgb / 255 - 0.5).astype(np.float32) / np.array([0.229, 0.224, 0.225], np.float32))
    own = teacher.net(pixel_values=pixels.permute(0, 3, 1, 2)).predicted_depth
    np.testing.assert_allclose(teacher(rgb).values, own.numpy(), rtol=1e-4)


def test_confidence_falls_where_a_pixel_flickers():
    still = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
    clip = np.stack([still] * 5)
    clip[2, 3, 4] += 1
    found = agreement(clip)
    assert found[2, 3, 4] < 0.1
    found[2, 3, 4] = 1
    assert (found == 1).all()


def test_what_is_no_model_is_explained(tmp_path):
    with pytest.raises(InputError, match=r"no depth model here.*use the teacher 'embedded'"):
        TransformersDepth(str(tmp_path / "nowhere"))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InputError, match="models of the kind 'bert'"):
        TransformersDepth(str(tmp_path))
