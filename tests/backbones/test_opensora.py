"""Open-Sora 1.2: the names of the public checkpoints, and what its blocks and its VAE must keep."""

import cmath
import json

import pytest
import torch

from phys4d.backbones.opensora import OpenSora, OpenSoraVAE, STDiT3
from phys4d.backbones.opensora.stdit import Block, rotated
from phys4d.backbones.tiny_parts import tiny_opensora
from phys4d.errors import InputError
from phys4d.model import WorldModel

BLOCK = (
    "scale_shift_table", "attn.qkv.weight", "attn.qkv.bias", "attn.q_norm.weight", "attn.k_norm.weight",
    "attn.proj.weight", "attn.proj.bias", "cross_attn.q_linear.weight", "cross_attn.q_linear.bias",
    "cross_attn.kv_linear.weight", "cross_attn.kv_linear.bias", "cross_attn.proj.weight", "cross_attn.proj.bias",
    "mlp.fc1.weight", "mlp.fc1.bias", "mlp.fc2.weight", "mlp.fc2.bias",
)  # fmt: skip
REST = {
    "rope.freqs", "x_embedder.proj.weight", "x_embedder.proj.bias", "t_block.1.weight", "t_block.1.bias",
    "y_embedder.y_embedding", "final_layer.scale_shift_table", "final_layer.linear.weight",
    "final_layer.linear.bias",
    *(f"{part}.mlp.{layer}.{kind}" for part in ("t_embedder", "fps_embedder") for layer in (0, 2)
      for kind in ("weight", "bias")),
    *(f"y_embedder.y_proj.{layer}.{kind}" for layer in ("fc1", "fc2") for kind in ("weight", "bias")),
}  # fmt: skip
"""Parameters of the public transformer (hpcaitech/Open-Sora, v1.2.0, opensora/models/stdit/stdit3.py)."""


def test_the_transformer_has_the_names_and_the_size_of_the_public_one():
    with torch.device("meta"):
        model = STDiT3()
    blocks = {f"{k}_blocks.{i}.{n}" for k in ("spatial", "temporal") for i in range(28) for n in BLOCK}
    assert set(model.state_dict()) == REST | blocks
    # 1.1 B say its makers, and 1.2 B it is.
    assert 1.1e9 < sum(p.numel() for p in model.parameters()) < 1.3e9


def test_the_vae_has_the_names_of_the_public_one():
    with torch.device("meta"):
        names = set(OpenSoraVAE().state_dict())
    temporal = {n.removeprefix("temporal_vae.") for n in names if n.startswith("temporal_vae.")}
    # hpcaitech/Open-Sora, v1.2.0, opensora/models/vae/vae_temporal.py: levels of 1, 2, 2, 4 times 128 channels.
    grown = {(0, 0): False, (1, 0): True, (2, 0): False, (3, 0): True}
    expected = {f"{part}.conv.{kind}" for part in ("quant_conv", "post_quant_conv") for kind in ("weight", "bias")}
    for part, changes in (("encoder", grown), ("decoder", {(2, 0): True, (0, 0): True})):
        for level in range(4):
            for depth in range(4):
                expected |= res_block(
                    f"{part}.block_res_blocks.{level}.{depth}", changes.get((level, depth), False)
                )
        for depth in range(4):
            expected |= res_block(f"{part}.res_blocks.{depth}", False)
        expected |= {f"{part}.norm1.weight", f"{part}.norm1.bias"}
        expected |= {f"{part}.conv_blocks.{i}.conv.{kind}" for i in (1, 2) for kind in ("weight", "bias")}
    expected |= {"encoder.conv_in.conv.weight", "encoder.conv2.conv.weight", "encoder.conv2.conv.bias"}
    expected |= {f"decoder.{name}.conv.{kind}" for name in ("conv1", "conv_out") for kind in ("weight", "bias")}
    assert temporal == expected
    assert {"shift", "scale", "spatial_vae.module.encoder.conv_in.weight"} <= names


def res_block(name, grows):
    kept = {f"{name}.{part}" for part in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias")}
    return kept | {f"{name}.conv{i}.conv.weight" for i in ((1, 2, 3) if grows else (1, 2))}


def test_positions_turn_pairs_of_channels():
    x, angles = torch.randn(1, 1, 3, 4), torch.randn(3, 2)
    made = rotated(x, angles)[0, 0]
    for place in range(3):
        for pair in range(2):
            before = complex(*x[0, 0, place, 2 * pair : 2 * pair + 2].tolist())
            after = before * cmath.exp(1j * float(angles[place, pair]))
            assert made[place, 2 * pair : 2 * pair + 2].tolist() == pytest.approx(
                [after.real, after.imag], abs=1e-5
            )


@pytest.mark.parametrize("temporal", [False, True])
def test_blocks_mix_places_or_frames_but_not_both(temporal):
    torch.manual_seed(0)
    block = Block(16, 2, 2.0, normalised=True, temporal=temporal)
    x, text, words = torch.randn(1, 3 * 4, 16), torch.randn(1, 5, 16), torch.ones(1, 5, dtype=torch.bool)
    time, angles = torch.randn(1, 3, 6, 16), torch.randn(3, 4)
    changed = x.clone()
    changed[:, 0] = torch.randn(16)
    with torch.no_grad():
        difference = [block(v, text, words, time, angles).view(3, 4, 16) for v in (x, changed)]
    differs = (difference[0] - difference[1]).abs().amax(-1) > 1e-6
    assert differs[0, 0]
    assert bool(differs[0, 1:].all()) == (not temporal)
    assert bool(differs[1:, 0].all()) == temporal
    assert not differs[1:, 1:].any()


def test_words_that_do_not_count_do_not_matter():
    torch.manual_seed(0)
    model = STDiT3(**tiny_opensora()["specs"]["transformer"]["config"]).eval()
    x, t, text = torch.randn(1, 4, 5, 4, 4), torch.tensor([500.0]), torch.randn(1, 64, 32)
    words, clean = torch.arange(64)[None] < 9, torch.zeros(1, 5, dtype=torch.bool)
    other = torch.where(words[..., None], text, torch.randn(1, 64, 32))
    with torch.no_grad():
        made = [model(x, t, v, words, clean, 12.0, (32, 32)) for v in (text, other)]
    torch.testing.assert_close(*made)


def test_clean_frames_are_told_time_nought():
    torch.manual_seed(0)
    model = STDiT3(**tiny_opensora()["specs"]["transformer"]["config"]).eval()
    x, text, words = torch.randn(1, 4, 5, 4, 4), torch.randn(1, 64, 32), torch.ones(1, 64, dtype=torch.bool)
    all_clean, none = torch.ones(1, 5, dtype=torch.bool), torch.zeros(1, 5, dtype=torch.bool)
    with torch.no_grad():
        clean = model(x, torch.tensor([700.0]), text, words, all_clean, 12.0, (32, 32))
        nought = model(x, torch.tensor([0.0]), text, words, none, 12.0, (32, 32))
    torch.testing.assert_close(clean, nought)


def test_the_vae_keeps_the_number_of_frames():
    torch.manual_seed(0)
    vae = OpenSoraVAE(**tiny_opensora()["specs"]["vae"]["config"]).eval()
    for frames in (1, 5, 17, 21, 33):
        video = 2 * torch.rand(1, 3, frames, 16, 16) - 1
        with torch.no_grad():
            latents = vae.encode(video)
            assert latents.shape == (1, 4, 1 + (frames - 1) // 4, 2, 2)
            assert vae.decode(latents, frames).shape == video.shape


def test_windows_that_its_vae_would_divide_unevenly_are_refused():
    with pytest.raises(InputError, match="cannot make 51 frames in one window; the nearest is 33"):
        OpenSora.tiny().work_at((64, 64), 51, 24.0)


def test_a_folder_with_more_in_its_configuration_is_read(tmp_path):
    torch.manual_seed(0)
    model = WorldModel(OpenSora.tiny())
    saved = model.save_pretrained(tmp_path / "model") / "backbone"
    path = saved / "transformer" / "config.json"
    public = {"model_type": "STDiT3", "enable_flash_attn": True, "class_dropout_prob": 0.1, "drop_path": 0.0}
    path.write_text(json.dumps(json.loads(path.read_text()) | public))
    loaded = WorldModel.from_pretrained(saved)
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, loaded.backbone.state_dict()[name])
