"""Configurations of public checkpoints, for estimates before anything is fetched.

From the checkpoints' own config.json files on the hub, and the released code of Open-Sora 1.2.
"""

from __future__ import annotations

from typing import Any

from phys4d.backbones.tiny_parts import TOKENIZER, part

T5_XXL = {
    "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64,
    "feed_forward_proj": "gated-gelu", "vocab_size": 32128,
}  # fmt: skip
WAN_2_2_TI2V_5B: dict[str, Any] = {
    "pipeline": "WanImageToVideoPipeline",
    "options": {"boundary_ratio": None, "expand_timesteps": True},
    "specs": {
        "tokenizer": TOKENIZER,
        "text_encoder": part("transformers", "UMT5EncoderModel", **(T5_XXL | {"vocab_size": 256384})),
        "vae": part(
            "diffusers", "AutoencoderKLWan",
            base_dim=160, decoder_base_dim=256, z_dim=48, dim_mult=[1, 2, 4, 4], num_res_blocks=2,
            temperal_downsample=[False, True, True], is_residual=True, in_channels=12, out_channels=12,
            patch_size=2, scale_factor_spatial=16, scale_factor_temporal=4,
            latents_mean=[0.0] * 48, latents_std=[1.0] * 48,
        ),
        "transformer": part(
            "diffusers", "WanTransformer3DModel",
            patch_size=[1, 2, 2], num_attention_heads=24, attention_head_dim=128, in_channels=48, out_channels=48,
            text_dim=4096, freq_dim=256, ffn_dim=14336, num_layers=30, cross_attn_norm=True, rope_max_seq_len=1024,
        ),
        "scheduler": part(
            "diffusers", "UniPCMultistepScheduler",
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0,
        ),
    },
}  # fmt: skip
"""Wan-AI/Wan2.2-TI2V-5B-Diffusers. The statistics of its latents are left out: only shapes matter here."""
OPENSORA_1_2: dict[str, Any] = {
    "pipeline": "OpenSoraPipeline",
    "specs": {
        "tokenizer": TOKENIZER,
        "text_encoder": part("transformers", "T5EncoderModel", **T5_XXL),
        "vae": part("phys4d.backbones.opensora", "OpenSoraVAE"),
        "transformer": part(
            "phys4d.backbones.opensora", "STDiT3",
            hidden_size=1152, depth=28, num_heads=16, caption_channels=4096, model_max_length=300,
        ),
    },
}  # fmt: skip
"""hpcai-tech/OpenSora-STDiT-v3 and hpcai-tech/OpenSora-VAE-v1.2."""
COGVIDEOX_1_5_5B_I2V: dict[str, Any] = {
    "pipeline": "CogVideoXImageToVideoPipeline",
    "specs": {
        "tokenizer": TOKENIZER,
        "text_encoder": part("transformers", "T5EncoderModel", **T5_XXL),
        "vae": part(
            "diffusers", "AutoencoderKLCogVideoX",
            block_out_channels=[128, 256, 256, 512], latent_channels=16, layers_per_block=3, scaling_factor=0.7,
            sample_height=480, sample_width=720, temporal_compression_ratio=4, invert_scale_latents=True,
        ),
        "transformer": part(
            "diffusers", "CogVideoXTransformer3DModel",
            num_attention_heads=48, attention_head_dim=64, in_channels=32, out_channels=16, time_embed_dim=512,
            ofs_embed_dim=512, text_embed_dim=4096, num_layers=42, sample_width=300, sample_height=300,
            sample_frames=81, patch_size=2, patch_size_t=2, patch_bias=False, max_text_seq_length=226,
            use_rotary_positional_embeddings=True,
        ),
        "scheduler": part(
            "diffusers", "CogVideoXDDIMScheduler",
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
            rescale_betas_zero_snr=True, snr_shift_scale=1.0, timestep_spacing="trailing", clip_sample=False,
        ),
    },
}  # fmt: skip
"""zai-org/CogVideoX1.5-5B-I2V."""
