"""Commands that label, train, generate, lift and evaluate: what they make, and how they refuse."""

import numpy as np
import pytest
import torch
from PIL import Image

from phys4d.cli import main
from phys4d.data import open_dataset
from phys4d.evaluation import Report
from phys4d.model import WorldModel
from phys4d.world import World4D


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A tiny model, one without heads, a picture, films and two worlds to judge by; nobody writes to them."""
    place = tmp_path_factory.mktemp("home")
    torch.manual_seed(0)
    model = WorldModel.tiny()
    model.save_pretrained(place / "tiny")
    WorldModel(model.backbone).save_pretrained(place / "bare")
    rows, columns = np.mgrid[:64, :80] / 64
    frames = [
        np.stack([127 + 100 * np.sin(5 * rows + 3 * columns + 0.3 * t + c) for c in range(3)], -1)
        for t in range(9)
    ]
    clip = np.stack(frames).astype(np.uint8)
    for name, length in (("film", 9), ("short", 3)):
        world = World4D(rgb=clip[:length], fps=12.0, meta={}).save(place / "worlds" / name)
        (world / "rgb.mp4").rename(place / f"{name}.mp4")
    for i in range(2):
        Image.fromarray(clip[i]).save(place / f"{i}.png")
    (place / "letter.txt").write_text("dear me")
    made = main(["simulate", "--scene", "ball_drop", "--clips", "2", "--seed", "3", "--out", str(place / "DATA")])
    assert made == 0
    return place


def test_generate(run, home, tmp_path):
    words = ("generate", "--model", home / "tiny", "--frames", 5, "--steps", 1, "--prompt", "a ball falls")
    code, out, err = run(*words, "--image", home / "0.png", "--seed", 3, "--out", tmp_path / "a")
    assert (code, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'a'}: World4D(0.png: 5x64x64 at 12 fps; rgb, depth,")
    world = World4D.load(tmp_path / "a")
    assert (world.meta["prompt"], world.meta["seed"], world.meta["context_frames"]) == ("a ball falls", 3, 1)
    run(*words, "--image", home / "0.png", home / "1.png", "--seed", 4, "--out", tmp_path / "b")
    other = World4D.load(tmp_path / "b")
    assert other.meta["context_frames"] == 2
    assert np.array_equal(world.rgb[0], other.rgb[0])
    # The same command again replaces the world by the same.
    assert run(*words, "--image", home / "0.png", "--seed", 3, "--out", tmp_path / "a")[0] == 0
    assert np.array_equal(World4D.load(tmp_path / "a").rgb, world.rgb)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--image {home}/0.png --frames 14", "nano cannot make 14 frames in one window; the nearest is 13"),
        ("--image {home}/0.png --frames 30", "nano makes 17 frames, and 12 more with every further window; 30 is"),
        ("--image {home}/0.png --frames 0", "nano cannot make 0 frames in one window; the nearest is 5"),
        ("--image {home}/0.png --steps 0", "a generation needs at least one step, not 0"),
        ("--image {home}/0.png --seed -3", "seed must lie between 0 and 2^63, not -3"),
        ("--image nowhere.png", "nowhere.png: no such file"),
        ("--image {home}/letter.txt", "{home}/letter.txt: not a picture that can be read"),
        ("--image {home}/film.mp4", "{home}/film.mp4: not a picture that can be read"),
        ("--image {home}/0.png --model nanoo", "unknown model 'nanoo'."),
        (
            "--image {home}/0.png --model {home}/DATA",
            "{home}/DATA: holds no config.json; give the folder of a model",
        ),
        ("--image {home}/0.png --out {home}/DATA", "{home}/DATA: exists and is not a world folder"),
    ],
)
def test_generate_refuses(refused, home, tmp_path, words, message):
    given = words.format(home=home).split()
    for option, value in (("--model", home / "tiny"), ("--out", tmp_path / "world")):
        given += [] if option in given else [option, value]
    assert refused("generate", *given).startswith(message.format(home=home))
    assert not (tmp_path / "world").exists()


def test_lift(run, home, tmp_path):
    code, out, err = run("lift", home / "film.mp4", "--model", home / "tiny", "--out", tmp_path / "w")
    assert (code, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'w'}: World4D(film.mp4: 9x64x64 at 12 fps; rgb, depth, flow,")
    assert run("verify", tmp_path / "w")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("{home}/short.mp4", "short.mp4: 3 frames are too few for nano: it reads 5 at least"),
        ("{home}/nowhere.mp4", "{home}/nowhere.mp4: no such"),
        ("{home}/letter.txt", "{home}/letter.txt: "),
        ("{home}/film.mp4 --model {home}/bare", "bare has no heads, it makes RGB alone"),
        ("{home}/film.mp4 --out {home}/DATA", "{home}/DATA: exists and is not a world folder"),
    ],
)
def test_lift_refuses(refused, home, tmp_path, words, message):
    given = words.format(home=home).split()
    for option, value in (("--model", home / "tiny"), ("--out", tmp_path / "world")):
        given += [] if option in given else [option, value]
    assert refused("lift", *given).startswith(message.format(home=home))
    assert not (tmp_path / "world").exists()


def test_label(run, refused, home, tmp_path):
    words = (
        "label",
        home / "film.mp4",
        home / "short.mp4",
        "--size",
        32,
        32,
        "--frames",
        4,
        "--keep",
        "unsure",
        "--out",
        tmp_path / "L",
    )
    code, out, _ = run(*words)
    assert code == 0
    assert "1 video too short for a clip" in out
    assert out.strip().endswith(str(tmp_path / "L" / "samples" / "index.html"))
    labelled = open_dataset(tmp_path / "L")
    assert [(w.frames, w.size) for w in labelled] == [(4, (32, 32))] * 2
    labelled[0].require("depth", "flow", "visible", "confidence")
    assert run(*words)[0] == 0
    assert "frames" in refused(*words[:7], 3, *words[8:])
    assert "left out: " not in out
    (tmp_path / "empty.mp4").write_bytes(b"")
    code, out, err = run(*words[:3], tmp_path / "empty.mp4", *words[3:-1], tmp_path / "N")
    assert code == 1
    assert "empty.mp4: not a readable video" in out
    assert "1 video skipped" in err
    assert len(open_dataset(tmp_path / "N")) == 2
    assert refused(*words[:9], "unshure", *words[10:]).startswith("unknown gate 'unshure'. Did you mean 'unsure'?")
    assert "2 clips: unsure" in refused(*words[:8], *words[10:-1], tmp_path / "M")
    assert refused("label", home / "film.mp4", "--depth", "embeded", "--out", tmp_path / "M").startswith(
        "unknown depth teacher 'embeded'. Did you mean 'embedded'?"
    )


def test_train_dry_run(run, refused, home, tmp_path):
    words = ("--recipe", "debug", "--data", home / "DATA", "--out", tmp_path / "RUN")
    code, out, err = run("train", "base", *words, "--dry-run", "--set", "batch_size=1")
    assert code == 0, err
    assert "the first loss is" in out + err
    assert not (tmp_path / "RUN" / "final").exists()
    refusals = {
        ("bace",): "unknown stage 'bace'. Did you mean 'base'?",
        ("base", "--recipe", "debugg"): "unknown recipe 'debugg'. Did you mean 'debug'?",
        ("base", "--set", "stepps=3"): "unknown setting of BaseConfig 'stepps'. Did you mean 'steps'?",
        ("base", "--set", "steps=few"): "--set steps=few: not a value of type int",
        ("base", "--init", "nowhere"): "unknown model 'nowhere'.",
        ("base", "--data", tmp_path / "nowhere"): f"{tmp_path / 'nowhere'}: ",
    }
    for given, message in refusals.items():
        rest = [w for i in range(0, len(words), 2) if words[i] not in given for w in words[i : i + 2]]
        assert refused("train", *given, *rest).startswith(message), given


def test_evaluate_a_model(run, refused, home, tmp_path):
    words = ("evaluate", "--model", home / "tiny", "--data", home / "DATA", "--steps", 1, "--limit", 1)
    code, out, _ = run(*words, "--out", tmp_path / "R")
    assert code == 0
    assert "depth_warp_l1" in out or "abs_rel" in out
    report = Report.load(tmp_path / "R")
    assert len(report.by_world) == 1
    assert report.protocol["asked"]["mode"] == "generate"
    written = (tmp_path / "R" / "report.json").stat().st_mtime_ns
    assert run(*words, "--out", tmp_path / "R")[:2] == (0, out)
    assert (tmp_path / "R" / "report.json").stat().st_mtime_ns == written
    said = refused(*words, "--seed", 1, "--out", tmp_path / "R")
    assert said.startswith(f"{tmp_path / 'R'}: a report with other seed is there; choose another --out")
    run(*words, "--mode", "lift", "--out", tmp_path / "S")
    lifted = Report.load(tmp_path / "S")
    assert lifted.protocol["judged_from"] == 0
    assert "psnr" in lifted.metrics
    code, out, _ = run("evaluate", "--compare", tmp_path / "R", tmp_path / "S")
    assert code == 0
    assert "judged_from differs" in out
    assert run("verify", tmp_path / "R")[0] == 0


def test_evaluate_stored_worlds(run, refused, home, tmp_path):
    truth, made, other = tmp_path / "truth", tmp_path / "made", tmp_path / "other"
    for i, world in enumerate(open_dataset(home / "DATA")):
        world.save(truth / f"w{i}")
        for folder, name in ((made, f"w{1 - i}"), (other, f"v{i}")):
            World4D(rgb=world.rgb, fps=world.fps, meta=world.meta).save(folder / name)
    # The predictions are the truth under the names of each other: pairs are made by names.
    assert run("evaluate", "--prediction", made, "--reference", truth, "--out", tmp_path / "R")[0] == 0
    assert Report.load(tmp_path / "R").metrics["psnr"]["value"] < 60
    data = home / "DATA"
    code, _, _ = run("evaluate", "--prediction", truth, "--reference", data, "--limit", 1, "--out", tmp_path / "S")
    assert code == 0
    assert Report.load(tmp_path / "S").metrics["abs_rel"]["value"] < 1e-4
    said = refused("evaluate", "--prediction", other, "--reference", truth, "--out", tmp_path / "T")
    assert said == f"{truth}: has no world v0; folders of worlds pair up by their names\n"
    one = refused("evaluate", "--prediction", truth / "w0", "--reference", data, "--out", tmp_path / "T")
    assert one.startswith(f"{truth / 'w0'} holds 1 worlds and {data} 2; they must pair up")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--out {out}", "say what to evaluate: --model M --data DATA, or"),
        ("--suite fysics --out {out}", "unknown suite 'fysics'"),
        (
            "--suite physics-iq --data {home}/DATA --out {out}",
            "--suite physics-iq takes --model or --videos, and --benchmark, not --data",
        ),
        (
            "--model {home}/tiny --data {home}/DATA --exact --out {out}",
            "--videos, --benchmark, --subset and --exact belong to --suite NAME",
        ),
        ("--prediction {home}/DATA --runs 3 --out {out}", "--runs belongs to --model or --suite"),
        (
            "--model {home}/tiny --data {home}/DATA --mode lift --runs 3 --out {out}",
            "--runs wants seeds to differ",
        ),
        ("--model {home}/tiny --data {home}/DATA --runs 0 --out {out}", "--runs must be at least 1, not 0"),
        ("--prediction {home}/DATA --workers 0 --out {out}", "--workers must be at least 1, not 0"),
        ("--model {home}/tiny --prediction {home}/DATA --out {out}", "say what to evaluate"),
        ("--model {home}/tiny --data {home}/DATA --reference {home}/DATA --out {out}", "say what to evaluate"),
        ("--prediction {home}/DATA", "say where the report goes: --out REPORT"),
        ("--model {home}/tiny --out {out}", "--model needs --data"),
        ("--model {home}/tiny --data nowhere --out {out}", "nowhere: no such"),
        ("--model nanoo --data {home}/DATA --out {out}", "unknown model 'nanoo'."),
        (
            "--model {home}/tiny --data {home}/DATA --mode lit --out {out}",
            "unknown mode 'lit'. Did you mean 'lift'?",
        ),
        ("--model {home}/bare --data {home}/DATA --mode lift --out {out}", "bare has no heads"),
        ("--model {home}/tiny --data {home}/DATA --lifter {home}/bare --out {out}", "bare has no heads"),
        (
            "--model {home}/tiny --data {home}/DATA --mode lift --lifter {home}/tiny --out {out}",
            "a lifter reads what was generated",
        ),
        ("--model {home}/tiny --data {home}/DATA --limit 0 --out {out}", "--limit must be at least 1, not 0"),
        ("--model {home}/tiny --data {home}/DATA --out {home}/DATA", "{home}/DATA: exists and is no whole report"),
        ("--prediction nowhere --out {out}", "nowhere: no such file or folder"),
        ("--compare {home}/DATA {home}/DATA", "{home}/DATA/report.json: no report there"),
        ("--compare a", "--compare wants two reports and nothing else"),
        ("--compare a b --model x", "--compare wants two reports and nothing else"),
    ],
)
def test_evaluate_refuses(refused, home, tmp_path, words, message):
    said = refused("evaluate", *words.format(home=home, out=tmp_path / "R").split())
    assert said.startswith(message.format(home=home))
    assert not (tmp_path / "R").exists()


def test_evaluate_a_folder_of_videos(run, refused, home, tmp_path):
    """The true films, called generated: nothing is lost but what the lifter itself loses, as its own row says."""
    films = tmp_path / "films"
    films.mkdir()
    for i, world in enumerate(open_dataset(home / "DATA")):
        folder = World4D(rgb=world.rgb, fps=world.fps, meta={}).save(tmp_path / f"w{i}")
        (folder / "rgb.mp4").rename(films / f"{i}.mp4")
    words = ("evaluate", "--prediction", films, "--lifter", home / "tiny", "--reference", home / "DATA")
    assert run(*words, "--out", tmp_path / "R")[0] == 0
    report = Report.load(tmp_path / "R")
    assert report.protocol["judged_from"] == 1
    own = report.baselines["lifter"]
    assert set(own) == set(report.metrics)
    for name in ("abs_rel", "chamfer_background"):
        # The films went through a lossy codec, hence not equal.
        assert report.metrics[name]["value"] == pytest.approx(own[name]["value"], rel=0.1), name
    assert own["psnr"]["value"] == 100 > report.metrics["psnr"]["value"]
    assert all(set(world["baselines"]["lifter"]) >= {"abs_rel"} for world in report.by_world)
    # Without a lifter a film has colours alone.
    run("evaluate", "--prediction", films, "--reference", home / "DATA", "--limit", 1, "--out", tmp_path / "S")
    assert Report.load(tmp_path / "S").missing["abs_rel"] == "the prediction has no depth"
    assert "lifter" not in Report.load(tmp_path / "S").baselines
    (films / "1.mp4").write_bytes((films / "1.mp4").read_bytes()[:500])
    assert run(*words, "--out", tmp_path / "T")[0] == 1
    assert "1.mp4" in Report.load(tmp_path / "T").skipped[0][1]
    (films / "1.mp4").write_bytes((home / "film.mp4").read_bytes())
    assert run(*words, "--out", tmp_path / "T")[0] == 1
    [(name, why)] = Report.load(tmp_path / "T").skipped
    assert (name, why) == ("1", "tiny reads pictures of 64x64, these worlds are 64x80; resize them first")
    for film in films.iterdir():
        film.write_bytes((home / "film.mp4").read_bytes())
    assert "resize them first" in refused(*words, "--out", tmp_path / "U")
    assert not (tmp_path / "U").exists()


def test_suites_lift_worlds_with_a_model(run, refused, home, tmp_path):
    words = ("evaluate", "--suite", "video-depth", "--benchmark", home / "DATA")
    code, out, _ = run(*words, "--model", home / "tiny", "--limit", 1, "--out", tmp_path / "R")
    assert code == 0
    assert "tae_original" in out
    report = Report.load(tmp_path / "R")
    assert len(report.by_world) == 1
    assert report.protocol["asked"]["suite"] == "video-depth"
    assert run("verify", tmp_path / "R")[0] == 0
    code, _, _ = run(*words, "--videos", home / "DATA", "--out", tmp_path / "S")
    assert code == 0
    assert Report.load(tmp_path / "S").metrics["abs_rel"]["value"] < 1e-4
    assert refused(*words, "--model", home / "bare", "--out", tmp_path / "T").startswith("bare has no heads")
    assert refused(*words, "--out", tmp_path / "T").startswith("--suite video-depth needs --videos")
    assert not (tmp_path / "T").exists()


def test_worlds_that_the_model_does_not_make(run, refused, home, made, tmp_path):
    words = ("evaluate", "--model", home / "tiny", "--data", made, "--out", tmp_path / "R")
    assert refused(*words).startswith("this data set holds worlds of 16x16, the model makes 64x64")
    quick = tmp_path / "quick"
    assert run("simulate", "--scene", "ball_drop", "--fps", 24, "--frames", 5, "--out", quick)[0] == 0
    said = refused("evaluate", "--model", home / "tiny", "--data", quick, "--out", tmp_path / "R")
    assert said.startswith("this data set runs at 24 fps, what the model makes at 12")
