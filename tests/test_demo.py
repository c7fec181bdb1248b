"""The demo: a gallery that opens from a disk and asks no network for anything."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from phys4d import demo
from phys4d.cli import main
from phys4d.data import open_dataset
from phys4d.errors import InputError
from phys4d.sim.catalog import SCENES


class References(HTMLParser):
    """Everything that a page refers to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("href", "src", "srcset", "poster", "data")]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "gallery"
    assert main(["demo", "--out", str(out), "--size", "16", "16", "--workers", "1"]) == 0
    return out


def test_every_reference_is_a_file_in_the_gallery(gallery):
    found = References((gallery / "index.html").read_text(encoding="utf-8")).found
    assert len(found) >= 2 * len(SCENES)
    for name in found:
        assert (gallery / name).resolve().is_relative_to(gallery.resolve())
        assert (gallery / name).is_file(), name
    assert {path.name for path in (gallery / "worlds").iterdir()} == {
        Path(f).name for f in found if "worlds/" in f
    }


def test_no_page_asks_a_network(gallery):
    pages = [gallery / "index.html", *sorted((gallery / "worlds").iterdir())]
    assert len(pages) == 1 + len(SCENES)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not [name for name in References(text).found if re.match(r"(\w+:)?//", name)]
        assert not re.search(r"""url\(["']?(https?:)?//|@import|fetch\(|XMLHttpRequest|WebSocket""", text)


def test_pictures_play(gallery):
    for path in (gallery / "gallery.webp", *(gallery / "pictures").iterdir()):
        with Image.open(path) as picture:
            assert picture.format == "WEBP"
            assert picture.n_frames > 1
            assert picture.info["loop"] == 0
            picture.seek(picture.n_frames - 1)
            picture.load()


def test_every_scene_is_there(gallery):
    assert open_dataset(gallery / "data").index.column("scene").to_pylist() == list(SCENES)


def test_a_second_run_simulates_nothing(gallery, monkeypatch, capsys):
    monkeypatch.setattr("phys4d.sim.dataset.make_clip", None)
    before = (gallery / "index.html").read_bytes()
    assert main(["demo", "--out", str(gallery), "--size", "16", "16"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == f"open {(gallery / 'index.html').resolve().as_uri()}"
    assert f"data set, whole ({len(SCENES)} worlds" in said.out
    assert (gallery / "index.html").read_bytes() == before


def test_other_arguments_and_foreign_folders_are_refused(gallery, tmp_path):
    with pytest.raises(InputError, match="was made with size="):
        demo.run(gallery, size=(24, 24))
    (tmp_path / "index.html").write_text("my own page")
    with pytest.raises(InputError, match="holds something that is not a demo of ours; choose another --out"):
        demo.run(tmp_path, size=(16, 16))
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    assert (tmp_path / "index.html").read_text() == "my own page"
    with pytest.raises(InputError, match="a file stands where a folder is needed"):
        demo.run(tmp_path / "index.html", size=(16, 16))


def test_a_damaged_gallery_is_said_to_be(gallery, capsys):
    shard = gallery / "data" / "shard-000000.tar"
    whole = shard.read_bytes()
    try:
        shard.write_bytes(whole[:5000])
        assert main(["demo", "--out", str(gallery), "--size", "16", "16"]) == 1
        assert "the data set is damaged; remove the folder and run the demo again" in capsys.readouterr().err
    finally:
        shard.write_bytes(whole)
