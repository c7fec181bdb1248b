"""Files and folders that appear whole or not at all, whatever goes wrong in between."""

import contextlib
import errno
import os
from pathlib import Path

import pytest

from phys4d.atomic import new_file, new_folder, write_text
from phys4d.errors import InputError, WorkError

EXPLAINED = [
    (errno.ENOSPC, WorkError, "disk is full; free some space"),
    (errno.EDQUOT, WorkError, "disk is full"),
    (errno.EACCES, InputError, "no permission"),
    (errno.EROFS, InputError, "no permission"),
    (errno.ENOTDIR, InputError, "a file stands where a folder is needed"),
    (errno.ENAMETOOLONG, InputError, "cannot be a file"),
]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_at_the_end_and_not_before(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with new_file(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.parent == path.parent, "a rename is atomic only within one file system"
    assert path.read_text() == "new"
    assert names(path.parent) == ["file.txt"]


def test_written_text_replaces_the_old(tmp_path):
    write_text(tmp_path / "file.txt", "old, and longer")
    write_text(tmp_path / "file.txt", "new: ø")
    assert (tmp_path / "file.txt").read_text(encoding="utf-8") == "new: ø"
    assert names(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()])
def test_failed_file_leaves_the_old_one(tmp_path, error):
    write_text(tmp_path / "file.txt", "old")
    with contextlib.suppress(type(error)), new_file(tmp_path / "file.txt") as temporary:
        temporary.write_text("half")
        raise error
    assert (tmp_path / "file.txt").read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_folder_appears_at_the_end_and_replaces_all_of_the_old(tmp_path):
    path = tmp_path / "folder"
    with new_folder(path) as temporary:
        (temporary / "a").write_text("1")
        assert not path.exists()
    with new_folder(path) as temporary:
        (temporary / "b").write_text("2")
        assert names(path) == ["a"]
    assert names(path) == ["b"]
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()])
def test_failed_folder_leaves_the_old_one(tmp_path, error):
    path = tmp_path / "folder"
    with new_folder(path) as temporary:
        (temporary / "a").write_text("1")
    with contextlib.suppress(type(error)), new_folder(path) as temporary:
        (temporary / "half").write_text("2")
        raise error
    assert names(path) == ["a"]
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize("stop", [OSError(errno.EIO, "input/output error"), KeyboardInterrupt()])
def test_old_folder_comes_back_when_the_last_step_fails(tmp_path, monkeypatch, stop):
    """The old folder has been moved aside, and then the new one cannot take its place."""
    path = tmp_path / "folder"
    with new_folder(path) as temporary:
        (temporary / "a").write_text("1")
    rename = Path.rename

    def fail_for_the_new_one(source: Path, target: Path) -> Path:
        if source.name.endswith(".partial"):
            raise stop
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_new_one)
    with pytest.raises(type(stop)), new_folder(path) as temporary:
        (temporary / "b").write_text("2")
    assert names(path) == ["a"]
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize(("number", "kind", "message"), EXPLAINED)
@pytest.mark.parametrize("make", [new_file, new_folder])
def test_failures_of_the_disk_are_explained(tmp_path, make, number, kind, message):
    with pytest.raises(kind, match=message) as caught, make(tmp_path / "out"):
        raise OSError(number, os.strerror(number))
    assert str(tmp_path / "out") in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert names(tmp_path) == []


def test_other_failures_keep_their_own_words(tmp_path):
    with pytest.raises(FileNotFoundError), new_file(tmp_path / "out"):
        (tmp_path / "elsewhere").read_text()


def test_files_and_folders_in_each_others_place_are_explained(tmp_path):
    (tmp_path / "file").write_text("text")
    (tmp_path / "folder").mkdir()
    for make in (new_file, new_folder):
        with (
            pytest.raises(InputError, match="a file stands where a folder is needed"),
            make(tmp_path / "file" / "x"),
        ):
            pass
    with pytest.raises(InputError, match="cannot be a file"):
        write_text(tmp_path / "folder", "text")
    with pytest.raises(InputError, match="cannot be a file"):
        write_text(tmp_path / ("long" * 100), "text")
    assert names(tmp_path) == ["file", "folder"]
