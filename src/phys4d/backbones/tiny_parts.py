"""Configurations of tiny pipelines: the real classes with few weights."""

from __future__ import annotations

from typing import Any

from phys4d.backbones.byte_tokenizer import VOCABULARY

TEXT = {
    "vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4,
    "feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu_new", "is_gated_act": True,
}  # fmt: skip
TOKENIZER = {"library": "transformers", "class": "PreTrainedTokenizerFast", "config": {}}
WAN_VARIANTS = ("ti2v-2.2", "t2v-2.1", "i2v-2.1", "t2v-a14b", "i2v-a14b")
COGVIDEOX_VARIANTS = ("i2v-1.5", "i2v-1.0", "t2v-1.5", "t2v-1.0")


def part(library: str, kind: str, **config: Any) -> dict[str, Any]:
    """A part as `Parts` wants it."""
    return {"library": library, "class": kind, "config": config}


def tiny_wan(variant: str) -> dict[str, Any]:
    """What `Wan` is built from: ti2v-2.2, t2v-2.1, i2v-2.1, t2v-a14b or i2v-a14b."""
    ti2v, picture, experts = variant == "ti2v-2.2", variant == "i2v-2.1", variant.endswith("a14b")
    channels = 48 if ti2v else 16
    by_channels = variant.startswith("i2v")
    transformer = part(
        "diffusers", "WanTransformer3DModel",
        patch_size=[1, 2, 2], num_attention_heads=2, attention_head_dim=24,
        in_channels=36 if by_channels else channels, out_channels=channels, text_dim=32, freq_dim=64, ffn_dim=64,
        num_layers=4, rope_max_seq_len=64,
        **({"image_dim": 32, "added_kv_proj_dim": 48} if picture else {}),
    )  # fmt: skip
    shape: dict[str, Any] = {"num_res_blocks": 1, "temperal_downsample": [False, True, True], "base_dim": 8}
    if ti2v:
        shape |= {
            "decoder_base_dim": 8, "z_dim": 48, "dim_mult": [1, 2, 4, 4], "is_residual": True, "in_channels": 12,
            "out_channels": 12, "patch_size": 2, "scale_factor_spatial": 16, "scale_factor_temporal": 4,
            "latents_mean": [0.0] * 48, "latents_std": [1.0] * 48,
        }  # fmt: skip
    else:
        shape |= {
            "z_dim": 16, "dim_mult": [1, 1, 1, 1], "latents_mean": [0.1] * 16, "latents_std": [0.5] * 16,
            "scale_factor_spatial": 8, "scale_factor_temporal": 4,
        }  # fmt: skip
    specs = {
        "tokenizer": TOKENIZER,
        "text_encoder": part("transformers", "UMT5EncoderModel", **TEXT),
        "vae": part("diffusers", "AutoencoderKLWan", **shape),
        "transformer": transformer,
        "scheduler": part(
            "diffusers", "UniPCMultistepScheduler",
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0, num_train_timesteps=1000,
        ),
    }  # fmt: skip
    if experts:
        specs["transformer_2"] = transformer
    if picture:
        specs["image_encoder"] = part(
            "transformers", "CLIPVisionModel",
            hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2, image_size=32,
            patch_size=16, projection_dim=32,
        )  # fmt: skip
    pipeline = "WanPipeline" if variant.startswith("t2v") else "WanImageToVideoPipeline"
    options = {"boundary_ratio": 0.9 if experts else None, "expand_timesteps": ti2v}
    return {"pipeline": pipeline, "specs": specs, "options": options}


def tiny_opensora() -> dict[str, Any]:
    """What `OpenSora` is built from."""
    own = "phys4d.backbones.opensora"
    image = {
        "block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "latent_channels": 4, "norm_num_groups": 4,
        "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
    }  # fmt: skip
    specs = {
        "tokenizer": TOKENIZER,
        "text_encoder": part("transformers", "T5EncoderModel", **TEXT),
        "vae": part(
            own, "OpenSoraVAE", spatial=image, filters=8, num_res_blocks=1, channel_multipliers=[1, 1, 1, 1],
            num_groups=4,
        ),
        "transformer": part(
            own, "STDiT3", hidden_size=48, depth=2, num_heads=2, caption_channels=32, model_max_length=64,
        ),
    }  # fmt: skip
    return {"pipeline": "OpenSoraPipeline", "specs": specs}


def tiny_ltx() -> dict[str, Any]:
    """What `LTX` is built from."""
    specs = {
        "tokenizer": TOKENIZER,
        "text_encoder": part("transformers", "T5EncoderModel", **TEXT),
        "vae": part(
            "diffusers", "AutoencoderKLLTXVideo",
            latent_channels=8, block_out_channels=[8] * 4, decoder_block_out_channels=[8] * 4,
            layers_per_block=[1] * 5, decoder_layers_per_block=[1] * 5,
            spatio_temporal_scaling=[True, True, True, False],
            decoder_spatio_temporal_scaling=[True, True, True, False],
        ),
        "transformer": part(
            "diffusers", "LTXVideoTransformer3DModel",
            in_channels=8, out_channels=8, num_attention_heads=2, attention_head_dim=16, cross_attention_dim=32,
            num_layers=4, caption_channels=32,
        ),
        "scheduler": part(
            "diffusers", "FlowMatchEulerDiscreteScheduler",
            use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05, base_image_seq_len=1024,
            max_image_seq_len=4096, shift_terminal=0.1,
        ),
    }  # fmt: skip
    return {"pipeline": "LTXImageToVideoPipeline", "specs": specs}


def tiny_cogvideox(variant: str) -> dict[str, Any]:
    """What `CogVideoX` is built from: t2v-1.0, i2v-1.0, t2v-1.5 or i2v-1.5."""
    pictures, newer = variant.startswith("i2v"), variant.endswith("1.5")
    transformer = part(
        "diffusers", "CogVideoXTransformer3DModel",
        num_attention_heads=2, attention_head_dim=16, in_channels=32 if pictures else 16, out_channels=16,
        time_embed_dim=16, text_embed_dim=32, num_layers=4, sample_width=8, sample_height=8, sample_frames=17,
        patch_size=2, max_text_seq_length=64, use_rotary_positional_embeddings=pictures or newer,
        use_learned_positional_embeddings=pictures and not newer,
        **({"patch_size_t": 2, "patch_bias": False} if newer else {}),
        **({"ofs_embed_dim": 16} if pictures and newer else {}),
    )  # fmt: skip
    specs = {
        "tokenizer": TOKENIZER,
        "text_encoder": part("transformers", "T5EncoderModel", **TEXT),
        "vae": part(
            "diffusers", "AutoencoderKLCogVideoX",
            block_out_channels=[8, 8, 8, 8], latent_channels=16, layers_per_block=1, norm_num_groups=2,
            sample_height=64, sample_width=64, temporal_compression_ratio=4, scaling_factor=0.7,
            invert_scale_latents=pictures and newer,
        ),
        "transformer": transformer,
        "scheduler": part(
            "diffusers", "CogVideoXDDIMScheduler",
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
            rescale_betas_zero_snr=True, snr_shift_scale=1.0 if pictures else 3.0, timestep_spacing="trailing",
            clip_sample=False, set_alpha_to_one=True, num_train_timesteps=1000,
        ),
    }  # fmt: skip
    return {"pipeline": "CogVideoXImageToVideoPipeline" if pictures else "CogVideoXPipeline", "specs": specs}
