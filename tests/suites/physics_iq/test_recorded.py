"""The suite `physics-iq` on small recordings in the public layout: numbers, baselines, bad files."""

import csv
import dataclasses
import shutil

import cv2
import numpy as np
import pytest
from recordings import FPS, SECONDS, VIEWS, film, make_benchmark, rolling, write_video

from phys4d.cli import main
from phys4d.errors import InputError
from phys4d.evaluation import Report
from phys4d.evaluation.physics_iq import MEASURES, glimpses
from phys4d.evaluation.physics_iq.likeness import OTHER_TAKE, STATIC
from phys4d.model import WorldModel
from phys4d.suites import SuiteRequest, suite_of
from phys4d.suites.physics_iq.recorded import frames_of, switch_frame
from phys4d.suites.physics_iq.videos import probe, read_planes, read_video

# What the public code makes of `make_benchmark`'s files (google-deepmind/physics-IQ-benchmark, commit
# 023e069e2311163d7b3670d7d6d530d27b5458df; generate_binary_masks on both folders, process_videos, then
# IQTable.get_output_dict; with OpenCV 5.0.0). Its means over views, in the order of MEASURES; then its scores.
OFFICIAL = {
    "run": (0.4388791666666667, 0.6971657329917816, 0.6072143271849039, 0.006949583333333333),
    OTHER_TAKE: (0.7901812500000001, 0.9224979540842534, 0.8696501804175467, 0.0015991666666666667),
}
OFFICIAL_SCORES = {"physics_iq": 66.44432372688815, "physics_iq_verified": 56.40297485843441}
OFFICIAL_VIEWS = {
    "ball-and-block-fall/perspective-left": (0.555785, 0.7295597484276729, 0.5912162162162162, 0.0024625),
    "ball-and-block-fall/perspective-center": (0.646125, 0.844559585492228, 0.7493206521739132, 0.00301),
    "ball-and-block-fall/perspective-right": (0.712525, 0.8786610878661087, 0.812568306010929, 0.0033025),
    "water-in-juice/perspective-left": (0.226515, 0.5048076923076923, 0.44791142425767494, 0.0068),
    "water-in-juice/perspective-center": (0.2484575, 0.6423076923076924, 0.49629051151893794, 0.010695),
    "water-in-juice/perspective-right": (0.2438675, 0.5830985915492958, 0.5459788529317525, 0.0154275),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A benchmark and its generated videos; read only."""
    return make_benchmark(tmp_path_factory.mktemp("small"))


@pytest.fixture
def one(small, tmp_path):
    """One scenario of it, to be damaged."""
    benchmark, videos = small
    shutil.copytree(benchmark.folder, tmp_path / "truth")
    shutil.copytree(videos, tmp_path / "model")
    return SuiteRequest(videos=tmp_path / "model", benchmark=tmp_path / "truth", subset=("ball-and-block-fall",))


def judged(small, **changes):
    benchmark, videos = small
    return suite_of("physics-iq")(SuiteRequest(**{"videos": videos, "benchmark": benchmark.folder, **changes}))


def values(rows):
    return [rows[name]["value"] for name in MEASURES]


def generated(request):
    return sorted(request.videos.glob("*.mp4"))


def test_exact_mode_gives_the_numbers_of_the_public_code(small):
    report = judged(small, exact=True)
    assert values(report.metrics) == pytest.approx(OFFICIAL["run"], abs=1e-6)
    assert values(report.baselines[OTHER_TAKE]) == pytest.approx(OFFICIAL[OTHER_TAKE], abs=1e-6)
    for name, value in OFFICIAL_SCORES.items():
        assert report.metrics[name]["value"] == pytest.approx(value, abs=1e-4)
    for world in report.by_world:
        assert [world["metrics"][name] for name in MEASURES] == pytest.approx(
            OFFICIAL_VIEWS[world["world"]], abs=1e-6
        )
    assert report.protocol["mode"].startswith("exact")


def test_in_memory_masks_give_nearly_the_same(tmp_path):
    """At a size at which a pixel of the codec's error is no large part of what moves."""
    made = make_benchmark(tmp_path, size=(288, 512))
    fast, exact = judged(made), judged(made, exact=True)
    for rows, others in ((fast.metrics, exact.metrics), *zip(fast.baselines.values(), exact.baselines.values())):
        np.testing.assert_allclose(values(rows), values(others), atol=0.01)
        for score in OFFICIAL_SCORES:
            assert rows[score]["value"] == pytest.approx(others[score]["value"], abs=0.5)


def test_planes_are_seen_as_the_public_code_sees_colours(small):
    """Colours to the rounding of two conversions, and but for pixels at a threshold the same motion."""
    benchmark, _ = small
    path, size = benchmark.takes(benchmark.views[0], FPS)[0], (24, 40)
    assert probe(path).planes == "yuv"
    frames = SECONDS * FPS
    fast = list(glimpses(read_planes(path, frames), size, order="yuv"))
    public = list(glimpses(read_video(path, frames), size, order="bgr"))
    for mine, theirs in zip(fast, public, strict=True):
        apart = np.abs(mine.picture.astype(int) - theirs.picture)
        assert apart.mean() <= 1
        assert apart.max() <= 12
    disagree = np.mean([mine.mask != theirs.mask for mine, theirs in zip(fast, public)])
    assert disagree < 0.02 * np.mean([glimpse.mask for glimpse in public])


def test_a_perfect_copy_and_the_static_world(small, tmp_path):
    benchmark, _ = small
    for view in benchmark.views:
        shutil.copy(benchmark.takes(view, FPS)[0], tmp_path / view.generated_name)
    report = judged((benchmark, tmp_path))
    assert report.metrics["physics_iq_verified"]["value"] == 100
    assert report.metrics["physics_iq"]["value"] == 100, (
        "the original score is clipped: a copy beats the other take"
    )
    assert values(report.metrics) == pytest.approx([1, 1, 1, 0])
    variance = values(report.baselines[OTHER_TAKE])
    raw = 100 * (np.mean([1 / v for v in variance[:3]]) + variance[3])
    assert np.mean([world["metrics"]["physics_iq"] for world in report.by_world]) == pytest.approx(raw)
    assert report.baselines[OTHER_TAKE]["physics_iq"]["value"] == pytest.approx(100)


def test_static_never_wins(small, tmp_path):
    """Neither as the baseline nor as videos that stand still: those score as the baseline does."""
    benchmark, _ = small
    for view in benchmark.views:
        reader = cv2.VideoCapture(str(benchmark.takes(view, FPS)[0]))
        frame = reader.read()[1][..., ::-1]
        write_video(tmp_path / view.generated_name, np.repeat(frame[None], SECONDS * FPS, axis=0))
    still = judged((benchmark, tmp_path))
    report = judged(small)
    for name in OFFICIAL_SCORES:
        baseline = report.baselines[STATIC][name]["value"]
        assert still.metrics[name]["value"] == pytest.approx(baseline, abs=0.2)
        assert baseline < 10 < report.metrics[name]["value"] < report.baselines[OTHER_TAKE][name]["value"]


def test_the_report_states_protocol_categories_and_views(small):
    report = judged(small)
    assert set(report.by_category) == {"Solid Mechanics", "Fluid Dynamics", *VIEWS}
    told = report.protocol
    assert (told["fps"], told["frames"], told["size"], told["truth_size"]) == (FPS, 40, [24, 40], [96, 160])
    assert (told["truth_masks"], report.skipped, told["scenes"]) == ("made", (), 2)
    assert len(report.by_world) == 6
    assert all(len(world["curves"]["mse"]) == 40 for world in report.by_world)


def test_workers_runs_subset_and_limit(small, tmp_path):
    benchmark, videos = small
    for run in ("model-bpp-run_01", "model-bpp-run_02"):
        shutil.copytree(videos, tmp_path / run)
    several = judged((benchmark, tmp_path), workers=2, runs=2, limit=1)
    assert several.metrics["physics_iq"]["value"] == judged(small, limit=1).metrics["physics_iq"]["value"]
    assert several.metrics["physics_iq_verified"]["std"] == pytest.approx(0)
    assert len(several.by_world) == 6
    assert len(judged(small, limit=1).by_world) == 3
    assert {w["scene"] for w in judged(small, subset=("Fluid Dynamics",)).by_world} == {"water-in-juice"}
    with pytest.raises(InputError, match="holds 2 runs, not 3"):
        judged((benchmark, tmp_path), runs=3)
    with pytest.raises(InputError, match="unknown scenario, category or view 'Optic'"):
        judged(small, subset=("Optic",))


def test_masks_that_come_with_the_benchmark_are_used(one):
    def white(frames):
        return np.full((frames, 96, 160, 3), 255, np.uint8)

    for path in sorted((one.benchmark / "split-videos" / "testing" / "8FPS").glob("*.mp4")):
        name = path.name.replace("testing-videos", "video-masks")
        write_video(one.benchmark / "video-masks" / "real" / "8FPS" / name, white(40))
    report = suite_of("physics-iq")(one)
    assert report.protocol["truth_masks"] == "given"
    assert values(report.baselines[OTHER_TAKE])[:3] == [1, 1, 1]
    assert report.metrics["spatial_iou"]["value"] < 0.5


def test_recordings_at_30_fps_serve_other_rates(one):
    """At the ends of time frames are the recording's own; between them neighbours are blended."""
    old = one.benchmark / "split-videos" / "testing" / "8FPS"
    new = old.with_name("30FPS")
    for path in sorted(old.glob("*ball-and-block*.mp4")):
        take = 0.16 if "take-1" in path.name else 0.15
        write_video(new / path.name.replace("8FPS", "30FPS"), film(rolling(take, 0.5), radius=0.1, fps=30), 30)
    shutil.rmtree(old)
    for path in generated(one):
        write_video(path, film(rolling(0.16, 0.5), radius=0.1))
    report = suite_of("physics-iq")(one)
    assert (report.protocol["truth_fps"], report.protocol["fps"]) == (30, 8)
    assert report.metrics["physics_iq"]["value"] > 90
    with pytest.raises(InputError, match="has no 8FPS, and --exact cannot make it"):
        suite_of("physics-iq")(dataclasses.replace(one, exact=True))


def test_a_model_generates_from_the_switch_frames(tmp_path):
    model = WorldModel.tiny("nano")
    fps = round(model.backbone.fps)
    assert (fps, frames_of(model, 5 * fps)) == (12, 65), "17 frames, and 12 with every further window"
    model.save_pretrained(tmp_path / "tiny")
    benchmark, _ = make_benchmark(tmp_path, fps=fps, scenarios=(0,))
    picture = switch_frame(benchmark.switch_frame(benchmark.views[0]), model.backbone.size)
    assert picture.shape == (*model.backbone.size, 3)
    request = SuiteRequest(
        model=str(tmp_path / "tiny"), benchmark=benchmark.folder, subset=(VIEWS[0],), steps=1, runs=2, seed=3
    )
    report = suite_of("physics-iq")(request)
    assert report.protocol["generated_size"] == list(model.backbone.size)
    assert (report.protocol["fps"], report.protocol["frames"]) == (fps, 5 * fps)
    assert report.protocol["runs"] == 2
    assert [world["world"].split("/", 2)[2] for world in report.by_world] == ["run 1", "run 2"]
    with pytest.raises(InputError, match="--workers is for --videos"):
        suite_of("physics-iq")(dataclasses.replace(request, workers=2))
    benchmark.switch_frame(benchmark.views[0]).write_bytes(b"no picture")
    assert "not a picture" in suite_of("physics-iq")(request).missing["physics_iq"]
    benchmark.switch_frame(benchmark.views[0]).unlink()
    assert "no such switch frame" in refused(request)


def test_a_corrupt_file_is_named_and_skipped_and_the_command_fails(one, tmp_path, capsys):
    lost, cut = generated(one)[:2]
    lost.write_bytes(b"no video at all")
    cut.write_bytes(cut.read_bytes()[:-3000])
    words = [
        "--videos",
        one.videos,
        "--benchmark",
        one.benchmark,
        "--subset",
        *one.subset,
        "--out",
        tmp_path / "R",
    ]
    for _ in range(2):
        assert main(["evaluate", "--suite", "physics-iq", *map(str, words)]) == 1
        out, said = capsys.readouterr()
        assert "2 could not be judged" in said
        assert lost.name in out
        assert "breaks off after" in out
        assert "Traceback" not in said
    report = Report.load(tmp_path / "R")
    assert report.metrics["physics_iq"]["coverage"] == pytest.approx(1 / 3)
    assert [name.split("/")[1] for name, _ in report.skipped] == list(VIEWS[:2])


def refused(request, **changes):
    with pytest.raises(InputError) as caught:
        suite_of("physics-iq")(dataclasses.replace(request, **changes))
    assert len(str(caught.value).splitlines()) <= 2
    return str(caught.value)


def test_videos_of_other_rates_lengths_and_sizes_are_refused(one):
    path = generated(one)[1]
    still = np.full((40, 96, 160, 3), 90, np.uint8)
    write_video(path, still, 16)
    assert "runs at 16 fps" in refused(one)
    write_video(path, still[:30])
    assert "is 3.75 s long (30 frames); trim every video to the 5 s" in refused(one)
    write_video(path, still[:, :80])
    assert "is 80x160" in refused(one)
    for other in generated(one):
        write_video(other, np.full((50, 96, 160, 3), 90, np.uint8), 10)
    assert "has neither 10FPS nor 30FPS, only 8FPS" in refused(one)


def test_takes_of_different_sizes_are_refused(one):
    second = sorted((one.benchmark / "split-videos" / "testing" / "8FPS").glob("*take-2*ball-and-block*"))[0]
    write_video(second, np.full((40, 80, 160, 3), 90, np.uint8))
    assert "is 80x160, the first take 96x160" in refused(one)


def test_missing_and_unknown_files_are_refused(one, tmp_path):
    assert refused(one, videos=None) == (
        "--suite physics-iq needs either --videos (what was generated) or --model (to generate)"
    )
    assert refused(one, benchmark=None) == "--suite physics-iq needs --benchmark"
    assert "no such folder" in refused(one, benchmark=tmp_path / "nowhere")
    assert "holds no split-videos" in refused(one, benchmark=one.videos)
    assert "--limit must be at least 1" in refused(one, limit=0)
    first, second, third = (p for p in generated(one) if "ball-and-block" in p.name)
    twin = shutil.copy(first, first.with_name("0001_again.mp4"))
    assert "two videos of one view" in refused(one)
    twin.rename(first.with_name("0999_x.mp4"))
    assert "belongs to no scenario" in refused(one)
    first.with_name("0999_x.mp4").unlink()
    second.unlink()
    third.unlink()
    assert "2 of 3 videos are missing, first 0002_perspective-center" in refused(one)


def test_descriptions_are_found_and_checked(one, tmp_path):
    table = one.benchmark / "descriptions.csv"
    rows = list(csv.reader(table.open(encoding="utf-8")))
    best = one.benchmark / "descriptions" / "best_practice" / "descriptions_base.csv"
    best.parent.mkdir(parents=True)
    best.write_text(table.read_text(encoding="utf-8"), encoding="utf-8")
    assert suite_of("physics-iq")(one).protocol["descriptions"] == "descriptions_base.csv"
    best.unlink()
    for content, message in (
        ("a,b\n1,2\n", "no column scenario, description, category"),
        (",".join(rows[0]) + "\nx.mp4,a,b,c\n", "row 2: 'x.mp4' is no scenario"),
        ("\n".join(",".join(row) for row in rows[:2]) + "\n", "it needs take-1 and take-2"),
    ):
        table.write_text(content, encoding="utf-8")
        assert message in refused(one)
    table.unlink()
    assert "no descriptions.csv there" in refused(one)
