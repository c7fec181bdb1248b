"""Trackers: what they are told, that nothing leaves the machine unasked, and what is said where one is missing.

Stand-ins write down how the packages are called; where the real ones are installed they are used, too.
"""

import importlib.util
import json
import socket
import sys
import types

import pytest

from phys4d.errors import InputError
from phys4d.training.config import TrainConfig, override
from phys4d.training.log import RunLog
from phys4d.training.run import train
from phys4d.training.trackers import check_tracker, tracker_of, trackers

ASKING = {"wandb": {"WANDB_MODE": "online"}, "trackio": {"TRACKIO_SPACE_ID": "me/space"}}
"""What makes each of them send what it is told."""


@pytest.fixture(autouse=True)
def unasked(monkeypatch):
    for variables in ASKING.values():
        for name in variables:
            monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=sorted(trackers))
def package(request, monkeypatch):
    """A stand-in for a tracker's package: (its name, calls made)."""
    calls = []

    class Run:
        def log(self, numbers, step):
            calls.append(("log", numbers, step))

        def finish(self):
            calls.append(("finish",))

    def init(**options):
        calls.append(("init", options))
        return Run()

    module = types.ModuleType(request.param)
    module.init = init
    monkeypatch.setitem(sys.modules, request.param, module)
    return request.param, calls


def test_a_run_tells_its_tracker_what_it_logs(package, tmp_path):
    name, calls = package
    log = RunLog(tmp_path / "runs" / "base", 0, tracker=name, settings={"lr": 0.1})
    log.write(3, {"loss": 0.5, "lr": 0.1}, "train")
    log.write(4, {"psnr": 20.0}, "validation")
    log.close()
    (_, options), *rest = calls
    assert options["project"] == "phys4d"
    assert options["name"] == "runs/base"
    assert options["config"] == {"lr": 0.1}
    assert rest == [
        ("log", {"train/loss": 0.5, "train/lr": 0.1}, 3),
        ("log", {"validation/psnr": 20.0}, 4),
        ("finish",),
    ]
    lines = [json.loads(line) for line in (tmp_path / "runs/base/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 4]


def test_nothing_leaves_the_machine_unasked(package, tmp_path):
    name, calls = package
    tracker_of(name, tmp_path, {})
    (_, options), *_ = calls
    if name == "wandb":
        assert options["mode"] == "offline"
        assert options["dir"] == str(tmp_path)
        assert options["resume"] is None
    else:
        # It sends only to a Space or a server, and shows a page only in notebooks.
        assert not {"space_id", "server_url", "bucket_id", "dataset_id"} & options.keys()
        assert options["embed"] is False
        assert options["resume"] == "allow"


def test_it_sends_where_it_is_asked_to(package, tmp_path, monkeypatch):
    name, calls = package
    for variable, value in ASKING[name].items():
        monkeypatch.setenv(variable, value)
    tracker_of(name, tmp_path, {})
    tracker_of(name, tmp_path, {})
    first, second = (options for _, options in calls)
    # A run that goes on is the same run there.
    assert first == second
    if name == "wandb":
        assert first["mode"] == "online"
        assert first["resume"] == "allow"


def test_none_is_none(tmp_path):
    check_tracker("none")
    assert tracker_of("none", tmp_path, {}) is None
    assert TrainConfig().tracker == "none"


@pytest.mark.parametrize("name", sorted(trackers))
def test_a_missing_package_is_named_before_anything_is_written(name, debug, rgb_clips, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    config = override(debug.base, [f"tracker={name}", "steps=0"])
    with pytest.raises(InputError, match=rf"pip install 'phys4d\[{name}\]'"):
        train("base", config, debug.model("base", None), [rgb_clips], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_tracker_names_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'wandb'"):
        TrainConfig(tracker="wanbd")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(trackers))
def test_the_real_package_without_a_network(name, tmp_path, monkeypatch):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    reached = []
    usual = socket.socket.connect

    def connect(self, address):
        if self.family != socket.AF_UNIX:
            reached.append(address)
        return usual(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    for start in (0, 2):
        tracker = tracker_of(name, tmp_path / "run", {"lr": 0.1})
        for step in (1, 2):
            tracker.log({"train/loss": 1 / step}, start + step)
        tracker.close()
    assert reached == []
    written = list((tmp_path / "run" / "wandb").glob("*/*.wandb") if name == "wandb" else tmp_path.rglob("*.db"))
    assert written
