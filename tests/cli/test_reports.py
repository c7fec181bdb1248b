"""`phys4d evaluate`: what its exit code and its words say of the report that it wrote."""

import dataclasses

import pytest

from phys4d import judge
from phys4d.data import open_dataset
from phys4d.evaluation import Report, evaluate

SKIPPED = (("clip-3", "clip-3/rgb.mp4 is damaged"),)


@pytest.fixture
def asked(monkeypatch, made):
    """A suite that skips one of its videos, as often as it is asked."""
    worlds = list(open_dataset(made))
    report = dataclasses.replace(evaluate(worlds, worlds, metrics=["psnr"], baselines=False), skipped=SKIPPED)
    asked: list[str] = []
    monkeypatch.setattr(judge, "suite_of", lambda name: lambda request: asked.append(name) or report)
    return asked


def test_a_report_that_skipped_something_is_written_and_the_exit_code_says_so(run, asked, tmp_path):
    words = ("evaluate", "--suite", "some", "--out", tmp_path / "R")
    code, out, _ = run(*words)
    assert code == 1
    assert "clip-3/rgb.mp4 is damaged" in out
    assert Report.load(tmp_path / "R").skipped == SKIPPED
    # The same command tries again: the video may have been mended.
    assert run(*words)[0] == 1
    assert asked == ["some", "some"]
