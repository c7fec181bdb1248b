"""The command line as people type it: clumsy, sometimes hostile, and always answered in a line or two."""

import errno
import importlib.metadata
import os
import re
import subprocess
import sys

import pytest
import torch
from kit import SIMULATE

from phys4d.cli import COMMANDS, main


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(run, capsys, name):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert not stop.value.code
    words = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert words.startswith(f"usage: phys4d {name} ")
    assert "None" not in words
    assert not re.search(r"\b(INT|FLOAT|STR|PATH)\b(?!\S* what)", words.replace(" PATH ", " "))


def test_help_shows_defaults_and_units(capsys):
    with pytest.raises(SystemExit):
        main(["simulate", "--help"])
    words = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for part in (
        "--size H W height and width [px]. (default: 64 64)",
        "--frames N frames in a clip. (default: 17)",
        "--fps RATE frames per second. (default: 12.0)",
        "(default: one of each name)",
        "--out DATA folder of the data set. (required)",
    ):
        assert part in words


def test_help_lists_the_commands_and_exit_codes(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)
    assert "Exit codes: 0 done, 1 the work failed, 2 bad input" in " ".join(out.split())


WORDS = [
    ("", "say what to do: phys4d simulate|label|train|encode|generate|lift|evaluate|view|export|verify|info|demo"),
    ("simulat", "unknown command 'simulat'. Did you mean 'simulate'?\nKnown: demo, encode, evaluate, export,"),
    ("--verbose", "--verbose comes before the command; say phys4d simulate|"),
    ("--seed 3 simulate", "--seed comes before the command"),
    ("simulate", "missing: --out DATA"),
    ("export", "missing: WORLD, --to html|rrd|glb|ply|npz|world, --out FILE"),
    ("verify", "missing: PATH"),
    ("verify a b", "'b' is one word too many"),
    ("info now", "'now' is one word too many"),
    ("simulate --out x --clip 2", "no option --clip. Did you mean --clips?"),
    ("simulate --ouut x", "no option --ouut. Did you mean --out?"),
    ("simulate -n 3 --out x", "no option -n."),
    ("simulate --out", "--out takes DATA, not nothing"),
    ("simulate --out x --scene", "--scene takes NAME ..., not nothing"),
    ("simulate --out x --scene a --scene b", "--scene is given twice; name several after one: --scene A B"),
    ("simulate --out x --seed 1 --seed=2", "--seed is given twice\n"),
    ("simulate --out x --all=3", "--all takes no value, not 3"),
    ("simulate --out x --size 64", "--size takes H W, not 64"),
    ("simulate --out x --size 64 64 64", "'64' is one word too many"),
    ("simulate --out x --size a b", "--size takes H W: 'a' is no whole number"),
    ("simulate --out x --clips two", "--clips takes N: 'two' is no whole number"),
    ("simulate --out x --clips 2.5", "--clips takes N: '2.5' is no whole number"),
    ("simulate --out x --fps fast", "--fps takes RATE: 'fast' is no number"),
    ("view x --intrinsics 1 2", "--intrinsics takes FX FY CX CY, not 1 2"),
    ("label --out x", "missing: VIDEOS"),
    ("train --data a --out x", "missing: base|pretrain|finetune|reinforce"),
    ("train base pretrain --out x --data a", "'pretrain' is one word too many"),
    ("train base --out x", "missing: --data PATH ..."),
    ("train base --out x --data", "--data takes PATH ..., not nothing"),
    ("train base --out x --data a --set", "--set takes KEY=VALUE ..., not nothing"),
    ("generate --out x", "missing: --image FILE ..."),
    ("generate --out x --image a --frames many", "--frames takes N: 'many' is no whole number"),
    ("lift --out x", "missing: VIDEO"),
    ("lift a b --out x", "'b' is one word too many"),
    ("evaluate --modell nano", "no option --modell. Did you mean --model?"),
    ("demo --seed big", "--seed takes N: 'big' is no whole number"),
]


@pytest.mark.parametrize(("words", "message"), WORDS)
def test_wrong_words(refused, words, message):
    said = refused(*words.split())
    assert said.startswith(message)
    assert re.search(r"`phys4d( [a-z]+)? --help` shows|Known: |say phys4d", said)


PARAMETERS = [
    ("--size -64 64", "size must lie between 8 and 4096, not -64"),
    ("--size 0 0", "size must lie between 8 and 4096, not 0"),
    ("--size 64 5000", "size must lie between 8 and 4096, not 5000"),
    (
        "--size 4096 4096",
        "17 frames of 4096x4096 are 1.1 times what a world holds; ask for fewer frames or a smaller",
    ),
    ("--frames 0", "frames must lie between 1 and 4096, not 0"),
    ("--frames -3", "frames must lie between 1 and 4096, not -3"),
    ("--fps 0", "fps must lie between 1 and 1000, not 0.0"),
    ("--fps nan", "fps must lie between 1 and 1000, not nan"),
    ("--fps inf", "fps must lie between 1 and 1000, not inf"),
    ("--clips 0", "clips must be at least 1, not 0"),
    ("--clips 1000000000", "clips x (1 + perturb) x views makes 1000000000 worlds; a data set holds 10000000"),
    ("--views 0", "views must lie between 1 and 64, not 0"),
    ("--perturb -1", "perturb must be at least 0, not -1"),
    ("--workers 0", "workers must be at least 1, not 0"),
    ("--shard-size 0", "shard_size must be at least 1, not 0"),
    ("--seed -1", "seed must be at least 0, not -1"),
    ("--seed 99999999999999999999", "seed must stay below 2^63, not 99999999999999999999"),
    (
        "--camera orbti",
        "unknown camera 'orbti'. Did you mean 'orbit'?\nKnown: dolly, free, handheld, orbit, static.",
    ),
    ("--device gpu", "unknown device 'gpu'. Did you mean 'cpu'?"),
    ("--device cuda:99", "unknown device 'cuda:99'."),
]


@pytest.mark.parametrize(("words", "message"), PARAMETERS)
def test_impossible_parameters(refused, tmp_path, words, message):
    said = refused("simulate", "--scene", "ball_drop", "--out", tmp_path / "DATA", *words.split())
    assert said.startswith(message)
    assert not (tmp_path / "DATA").exists()


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_cuda_where_there_is_none(refused, tmp_path, device):
    from phys4d.sim.device import wp

    if wp.is_cuda_available():
        pytest.skip("there is a CUDA device here")
    said = refused(*SIMULATE, "--device", device, "--out", tmp_path / "DATA")
    assert said == "unknown device 'cuda:0'.\nKnown: cpu.\n"


def test_more_than_memory_holds(refused, tmp_path, monkeypatch):
    monkeypatch.setattr("phys4d.sim.simulate.os.sysconf", lambda name: 2**15)
    words = (
        "simulate",
        "--scene",
        "ball_drop",
        "--size",
        "512",
        "512",
        "--workers",
        "4",
        "--out",
        tmp_path / "DATA",
    )
    said = refused(*words)
    assert said.startswith("4 x 17 frames of 512x512 need about 1.4 GB of memory, this machine has 1.1;")
    assert "fewer frames, a smaller size or fewer workers" in said


NAMES = [
    ("--scene bal_drop", "unknown scene 'bal_drop'. Did you mean 'ball_drop'?\nKnown: ball_and_block,"),
    ("--scene bäll", "unknown scene 'bäll'."),
    ("--category rigidd", "unknown category 'rigidd'. Did you mean 'rigid'?\nKnown: "),
    ("", "say which scenes: --scene NAME, --category NAME or --all (`phys4d info` lists them)"),
    ("--scene ball_drop --all", "--scene, --category and --all exclude each other; keep one of them"),
    ("--category rigid --all", "--scene, --category and --all exclude each other"),
]


@pytest.mark.parametrize(("words", "message"), NAMES)
def test_which_scenes(refused, tmp_path, words, message):
    assert refused("simulate", *words.split(), "--out", tmp_path / "DATA").startswith(message)
    assert not (tmp_path / "DATA").exists()


def test_info(run):
    code, out, err = run("info")
    assert (code, err) == (0, "")
    assert out.startswith(f"phys4d {importlib.metadata.version('phys4d')} ")
    for part in (
        "torch ", "peft ", "safetensors ", "opencv-python-headless ", "mujoco ", "cpu ", "ball_drop",
        "A row of {count} {stuff} dominoes",
    ):  # fmt: skip
        assert part in out
    assert run("--version")[:2] == (0, f"phys4d {importlib.metadata.version('phys4d')}\n")


def test_info_says_what_is_known_by_name(run, monkeypatch, tmp_path):
    from phys4d.backbones import backbones
    from phys4d.teachers import depth_teachers, flow_teachers

    monkeypatch.setattr("phys4d.storage.SHIPPED", tmp_path)
    assert "models     none shipped; train one" in run("info")[1]
    for name in ("nano", "nano-base"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    lines = run("info")[1].splitlines()
    assert "models     nano, nano-base" in lines
    assert f"backbones  {', '.join(backbones)}" in lines
    for kind, teachers in (("depth", depth_teachers), ("flow ", flow_teachers)):
        for name in teachers:
            line = next(line for line in lines if line.startswith(f"{kind} by   {name}: "))
            assert teachers[name].licence in line


def test_unforeseen_errors_are_owned_up_to(capsys, monkeypatch):
    def surprise() -> str:
        raise RuntimeError("what now")

    monkeypatch.setattr("phys4d.about.about", surprise)
    assert main(["info"]) == 1
    said = capsys.readouterr().err
    assert said == "phys4d: RuntimeError: what now\nThis is a fault of phys4d; --debug shows where.\n"
    with pytest.raises(RuntimeError, match="what now"):
        main(["info", "--debug"])


SYSTEM = [
    (OSError(errno.ENOSPC, "No space left on device", "/a"), 1, "/a: the disk is full; free some space"),
    (PermissionError(errno.EACCES, "Permission denied", "/a"), 2, "/a: Permission denied"),
    (OSError(errno.EIO, "Input/output error", "/a"), 1, "/a: Input/output error"),
    (MemoryError(), 1, "memory ran out; ask for fewer frames"),
    (torch.OutOfMemoryError("CUDA out of memory"), 1, "the GPU's memory ran out; lower batch_size"),
    (KeyboardInterrupt(), 130, "interrupted; what was finished stays, the same command continues"),
    (BrokenPipeError(errno.EPIPE, "Broken pipe"), 0, ""),
]


@pytest.mark.parametrize(("error", "code", "message"), SYSTEM)
def test_what_the_system_says(run, monkeypatch, error, code, message):
    def fail() -> str:
        raise error

    monkeypatch.setattr("phys4d.about.about", fail)
    found, _, err = run("info")
    assert found == code
    assert message in err


def test_a_poor_terminal_is_no_error():
    """An ASCII terminal gets codes for the letters that it lacks, and python -m phys4d is phys4d."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for words, code in ((["--help"], 0), (["verify", "bäll"], 2)):
        done = subprocess.run([sys.executable, "-m", "phys4d", *words], env=environment, capture_output=True)
        assert done.returncode == code, done.stderr
        assert b"Traceback" not in done.stderr
