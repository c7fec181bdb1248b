"""The demo: the whole story in pages that open from a disk and ask no network for anything."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from phys4d import World4D, demo
from phys4d.cli import main
from phys4d.data import open_dataset
from phys4d.demo import page, story
from phys4d.errors import InputError
from phys4d.evaluation import Report
from phys4d.storage import shipped_models

SCENES = ("ball_drop", "ball_ramp")
ARGUMENTS = ["--scene", *SCENES, "--clips", "1", "--workers", "1"]


class References(HTMLParser):
    """Everything that a page refers to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("href", "src", "srcset", "poster", "data")]


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> Path:
    """The demo on two scenes, with fewer steps than people see."""
    out = tmp_path_factory.mktemp("demo") / "out"
    fewer = {
        name: (init, (*settings, "steps=2", *(("updates=2", "batch_size=3") if name == "reinforce" else ())))
        for name, (init, settings) in story.STAGES.items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(story, "STAGES", fewer)
        assert main(["demo", "--out", str(out), *ARGUMENTS]) == 0
    return out


def pages(out: Path) -> list[Path]:
    return [*out.glob("*.html"), *out.glob("gallery/**/*.html"), *out.glob("reports/**/*.html")]


def test_the_models_it_needs_are_shipped():
    needed = {*story.MODELS.values(), story.LIFTER, *(init for init, _ in story.STAGES.values())}
    assert needed <= set(shipped_models())


def test_every_reference_is_a_file_in_the_folder(told):
    assert len(pages(told)) >= 8
    for path in pages(told):
        for name in References(path.read_text(encoding="utf-8")).found:
            if not name.startswith(("data:", "#")):
                assert (path.parent / name).resolve().is_relative_to(told.resolve())
                assert (path.parent / name).is_file(), name


def test_no_page_asks_a_network(told):
    for path in pages(told):
        text = path.read_text(encoding="utf-8")
        assert not [name for name in References(text).found if re.match(r"(\w+:)?//", name)]
        assert not re.search(r"""url\(["']?(https?:)?//|@import|fetch\(|XMLHttpRequest|WebSocket""", text)


def test_the_tables_say_what_the_reports_say(told):
    columns = (*story.MODELS, "static", "constant velocity", "truth")
    reports = {name: Report.load(told / page.report_folder(name)) for name in columns}
    text = (told / "table.txt").read_text(encoding="utf-8")
    assert page.text_of(page.model_table(reports)) in text
    assert page.verdicts(reports) in text
    assert "chamfer_dynamic" in text
    assert "static" in text


def test_every_stage_was_run_and_measured(told):
    text = (told / "table.txt").read_text(encoding="utf-8")
    for stage in story.STAGES:
        history = json.loads((told / "stages" / stage / "history.json").read_text(encoding="utf-8"))
        assert [entry["step"] for entry in history] == [0, 2]
        for name in page.STAGE_MEASURES[stage]:
            assert re.search(rf"^{stage} +{name} +{re.escape(format(history[-1][name], '.4g'))}", text, re.M) or (
                f"{history[-1][name]:.4g}" in text
            )


def test_the_worlds_have_every_field(told):
    for name in ("generated", "lifted"):
        World4D.load(told / "worlds" / name).require("rgb", "depth", "flow", "scene_flow", "camera", "visible")


def test_the_animation_plays(told):
    with Image.open(told / "worlds.webp") as picture:
        assert picture.n_frames > 1
        assert picture.size == (page.CELL * len(SCENES), page.CELL * 5)


def test_held_out_scenes_are_not_trained_on(told):
    seeds = {part: set(open_dataset(told / "data" / part).index.column("scene_id").to_pylist()) for part in
             ("held-out", "train")}  # fmt: skip
    assert not seeds["held-out"] & seeds["train"]


def test_foreign_folders_and_missing_films_are_refused(tmp_path):
    (tmp_path / "index.html").write_text("my own page")
    with pytest.raises(InputError, match="holds something that is not a demo of ours; choose another --out"):
        demo.run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    with pytest.raises(InputError, match=r"no\.mp4: not found; --video wants a video file"):
        demo.run(tmp_path / "new", video=tmp_path / "no.mp4")
    assert not (tmp_path / "new").exists()
