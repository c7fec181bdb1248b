"""The sampler makes the latents that the diffusers pipelines make, from folders that diffusers wrote."""

import numpy as np
import pytest
import torch
from PIL import Image
from pipelines import pipeline, pipeline_folder

from phys4d.backbones import backbones
from phys4d.backbones.wan import CLIP_MEAN, CLIP_STD, clip_pixels
from phys4d.sampling import Guidance, sample

FRAMES, SIZE, STEPS, SEED, PROMPT = 17, (64, 64), 4, 7, "A ball &amp; a  ramp, é"


def first_frame() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def ours(folder, name, *, picture, scale):
    backbone = backbones[name].from_pretrained(folder, size=SIZE, frames=FRAMES, fps=12).eval()
    context = torch.from_numpy(first_frame())[None, None] / 255
    condition = backbone.condition(context[:, : int(picture)], [PROMPT], FRAMES)
    guidance = Guidance(scale, backbone.unprompted(condition))
    with torch.no_grad():
        return sample(backbone, condition, steps=STEPS, seed=[SEED], guidance=guidance), backbone, condition


def theirs(made, *, picture, scale, **options):
    if picture:
        options["image"] = Image.fromarray(first_frame())
    generator = torch.Generator().manual_seed(SEED)
    return made(
        prompt=PROMPT, height=SIZE[0], width=SIZE[1], num_frames=FRAMES, num_inference_steps=STEPS,
        guidance_scale=scale, generator=generator, output_type="latent", **options,
    ).frames  # fmt: skip


def assert_same(mine, other):
    assert mine.shape == other.shape
    assert float(other.std()) > 0.1
    torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", ["ti2v-2.2", "t2v-2.1", "i2v-2.1", "t2v-a14b", "i2v-a14b"])
def test_wan_makes_what_its_pipeline_makes(variant, tmp_path):
    made, _ = pipeline("wan", variant, euler=True)
    folder = pipeline_folder(tmp_path / "model", "wan", variant, euler=True)
    picture = not variant.startswith("t2v")
    mine, backbone, condition = ours(folder, "wan", picture=picture, scale=3.0)
    if variant == "i2v-2.1":
        # CLIP's own processor resamples 8-bit pictures; what follows from the embedding is compared.
        made.encode_image = lambda image, device: condition.extra["picture"]
    assert_same(mine, theirs(made, picture=picture, scale=3.0))
    if backbone.boundary is not None:
        times = backbone.schedule(STEPS)[:-1]
        assert len({id(backbone.expert(t[None])[0][0]) for t in times}) == 2, "both experts had steps"


def test_wan_of_a_text_alone(tmp_path):
    """TI2V-5B makes videos of a text, too, through the other pipeline."""
    from diffusers import WanPipeline

    made, _ = pipeline("wan", "ti2v-2.2", euler=True)
    parts = {k: v for k, v in made.components.items() if k not in ("image_encoder", "image_processor")}
    text_only = WanPipeline(**parts, expand_timesteps=True)
    text_only.set_progress_bar_config(disable=True)
    folder = pipeline_folder(tmp_path / "model", "wan", "ti2v-2.2", euler=True)
    mine, _, _ = ours(folder, "wan", picture=False, scale=3.0)
    assert_same(mine, theirs(text_only, picture=False, scale=3.0))


@pytest.mark.parametrize("variant", ["t2v-1.0", "t2v-1.5", "i2v-1.0", "i2v-1.5"])
def test_cogvideox_makes_what_its_pipeline_makes(variant, tmp_path, monkeypatch):
    from diffusers.pipelines.cogvideo import pipeline_cogvideox_image2video as module

    made, _ = pipeline("cogvideox", variant)
    folder = pipeline_folder(tmp_path / "model", "cogvideox", variant)
    # The pipeline draws the picture's latents from the posterior, before the noise; ours takes the mode.
    monkeypatch.setattr(module, "retrieve_latents", lambda output, generator: output.latent_dist.mode())
    picture = variant.startswith("i2v")
    mine, _, _ = ours(folder, "cogvideox", picture=picture, scale=3.0)
    length = made.transformer.config.max_text_seq_length
    other = theirs(made, picture=picture, scale=3.0, max_sequence_length=length)
    assert_same(mine, other.transpose(1, 2))


def test_ltx_makes_what_its_pipeline_makes(tmp_path, monkeypatch):
    from diffusers.pipelines.ltx import pipeline_ltx_image2video as module

    made, _ = pipeline("ltx", "0.9")
    folder = pipeline_folder(tmp_path / "model", "ltx", "0.9")
    monkeypatch.setattr(module, "retrieve_latents", lambda output, generator: output.latent_dist.mode())
    mine, _, _ = ours(folder, "ltx", picture=True, scale=3.0)
    other = theirs(made, picture=True, scale=3.0, frame_rate=12)
    assert_same(mine, other.transpose(1, 2).unflatten(2, mine.shape[2:]))


@pytest.mark.parametrize(("name", "variant"), [("wan", "ti2v-2.2"), ("wan", "t2v-2.1"), ("cogvideox", "i2v-1.5")])
def test_latents_are_decoded_as_the_pipelines_do(name, variant, tmp_path):
    made, backbone = pipeline(name, variant)
    latents = torch.randn(1, *backbone.encode(torch.rand(1, FRAMES, *SIZE, 3)).shape[1:])
    decoded = backbone.decode(latents)
    assert decoded.shape == (1, FRAMES, *SIZE, 3)
    if name == "cogvideox":
        pixels = made.decode_latents(latents.transpose(1, 2)[:, 1:])
    else:
        statistics = (
            torch.tensor(made.vae.config[k]).view(1, -1, 1, 1, 1) for k in ("latents_mean", "latents_std")
        )
        mean, std = statistics
        pixels = made.vae.decode(latents * std + mean).sample
    video = made.video_processor.postprocess_video(pixels, output_type="pt").permute(0, 1, 3, 4, 2)
    torch.testing.assert_close(decoded, video, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(64, 96), (40, 33)])
def test_pictures_reach_clip_as_its_own_processor_makes_them(size):
    from transformers import CLIPImageProcessorPil

    # Smooth, so that rounding to 8 bits before and after resampling is all that differs.
    rows, columns = np.meshgrid(*(np.linspace(0, 3, n) for n in size), indexing="ij")
    waves = np.stack([np.sin(rows + k) * np.cos(columns - k) for k in range(3)], axis=-1)
    picture = (127 + 120 * waves).astype(np.uint8)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    theirs = processor(images=Image.fromarray(picture), return_tensors="pt").pixel_values
    mine = clip_pixels(torch.from_numpy(picture)[None] / 255, 32, CLIP_MEAN, CLIP_STD)
    assert mine.shape == theirs.shape
    assert float((mine - theirs).abs().max()) < 2.5 / 255 / min(CLIP_STD)
