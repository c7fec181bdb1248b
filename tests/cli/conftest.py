"""Running commands in this process, and what they run on."""

import shutil
from pathlib import Path

import pytest
from kit import SIMULATE

from phys4d.cli import main
from phys4d.data import open_dataset


@pytest.fixture
def run(capsys):
    """Run a command; returns exit code, stdout and stderr. Errors are one or two lines and no traceback."""

    def run(*words) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        if code:
            assert "Traceback" not in said.err
            assert "fault of phys4d" not in said.err
        return code, said.out, said.err

    return run


@pytest.fixture
def refused(run):
    """Run a command that must be refused as bad input; returns its message."""

    def refused(*words) -> str:
        code, out, err = run(*words)
        assert (code, out) == (2, "")
        assert err.startswith("phys4d: ")
        assert 1 <= len(err.strip().splitlines()) <= 2
        return err.removeprefix("phys4d: ")

    return refused


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A finished data set of three worlds; nobody writes to it."""
    out = tmp_path_factory.mktemp("made") / "DATA"
    assert main([*SIMULATE, "--out", str(out)]) == 0
    return out


@pytest.fixture
def data(made, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(made, tmp_path / "DATA"))


@pytest.fixture
def world(made, tmp_path) -> Path:
    return open_dataset(made)[0].save(tmp_path / "world")
