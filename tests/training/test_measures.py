"""Measures of generated clips: exact where the clip is the truth, and where nothing moves."""

import math

import numpy as np
import pytest

from phys4d.data.shards import open_dataset
from phys4d.model import WorldModel
from phys4d.training import measures
from phys4d.world import World4D


@pytest.fixture
def worlds(clips):
    return [open_dataset(clips).read(i, ("rgb",)) for i in (0, 1, 3)]


def measured(monkeypatch, worlds, made):
    monkeypatch.setattr(measures, "generate_from", lambda *given, **options: made)
    return measures.generation_measures(WorldModel.tiny("nano"), worlds)


def test_the_truth_scores_best(monkeypatch, worlds):
    found = measured(monkeypatch, worlds, worlds)
    assert found == {"psnr": 100.0, "change_iou_half": 1.0, "change_iou_end": 1.0}


def test_a_still_world_overlaps_with_nothing(monkeypatch, worlds):
    still = [World4D(rgb=np.repeat(w.rgb[:1], 17, axis=0)) for w in worlds]
    found = measured(monkeypatch, worlds, still)
    assert found["change_iou_half"] == found["change_iou_end"] == 0
    assert all(math.isnan(v) for k, v in measured(monkeypatch, still, still).items() if k != "psnr")


def test_psnr_leaves_out_what_was_given(monkeypatch, worlds):
    made = [World4D(rgb=np.where(w.rgb > 127, w.rgb - 10, w.rgb + 10)) for w in worlds]
    assert measured(monkeypatch, worlds, made)["psnr"] == pytest.approx(20 * math.log10(25.5), abs=1e-4)
    for world in made:
        world.rgb[0] = 0
    assert measured(monkeypatch, worlds, made)["psnr"] == pytest.approx(20 * math.log10(25.5), abs=1e-4)


def test_generations_begin_with_what_was_given(worlds):
    (made,) = measures.generate_from(WorldModel.tiny("nano"), worlds[:1], 2)
    assert np.array_equal(made.rgb[0], worlds[0].rgb[0])
    assert made.meta["prompt"] == worlds[0].meta["prompt"]
    assert made.meta["scene_id"] == worlds[0].meta["scene_id"]


def test_worlds_are_lifted_from_their_colours(worlds):
    model = WorldModel.tiny("nano").eval()
    alone = measures.relift(model, worlds[1:2])[0]
    together = measures.relift(model, worlds)[1]
    assert np.allclose(alone.depth, together.depth, rtol=1e-4)
    assert alone.depth.shape == (17, 64, 64)


def test_captions_are_told_where_they_are_wanted_alone(worlds, monkeypatch):
    told = []
    model = WorldModel.tiny("nano")
    monkeypatch.setattr(model, "read_worlds", lambda rgb, prompts, fps, metas: told.append(prompts) or [])
    measures.relift(model, worlds)
    measures.relift(model, worlds, captions=True)
    assert told == [["", "", ""], [world.meta["prompt"] for world in worlds]]


def test_disparity_is_judged_after_a_scale_and_a_shift():
    generator = np.random.default_rng(0)
    disparity = generator.uniform(0.2, 1.0, (2, 3, 32, 32)).astype(np.float32)
    true = [World4D(depth=1 / clip) for clip in disparity]
    same = [World4D(depth=1 / (3 * clip + 0.1)) for clip in disparity]
    other = [World4D(depth=1 / clip[:, ::-1].copy()) for clip in disparity]
    assert measures.disparity_error(same, true) == pytest.approx(0, abs=1e-4)
    assert measures.disparity_error(other, true) > 0.5


def test_clips_without_surfaces_have_no_error_of_disparity():
    depth = np.random.default_rng(0).uniform(1, 5, (3, 32, 32)).astype(np.float32)
    empty = World4D(depth=np.zeros((3, 32, 32), np.float32))
    assert math.isnan(measures.disparity_error([World4D(depth=depth)], [empty]))
    both = measures.disparity_error([World4D(depth=depth)] * 2, [World4D(depth=depth), empty])
    assert both == pytest.approx(0, abs=1e-4)
