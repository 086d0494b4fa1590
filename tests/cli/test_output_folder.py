"""A folder appears whole or not at all, and never takes the place of something precious."""

from __future__ import annotations

from pathlib import Path

import pytest

from l4gm.cli.output_folder import REPORT_NAME, output_folder, write_report
from l4gm.errors import InputError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_result(path: Path, text: str, *, overwrite: bool = False) -> None:
    with output_folder(path, overwrite=overwrite) as folder:
        (folder / "data.txt").write_text(text)
        write_report(folder, {})


def test_appears_at_the_end_with_usual_permissions(tmp_path: Path) -> None:
    target = tmp_path / "missing" / "out"
    with output_folder(target) as folder:
        (folder / "data.txt").write_text("new")
        assert not target.exists()
    assert names(target) == ["data.txt"]
    assert names(target.parent) == ["out"]
    assert target.stat().st_mode & 0o077 == tmp_path.joinpath("missing").stat().st_mode & 0o077


def test_failure_leaves_nothing(tmp_path: Path) -> None:
    def half() -> None:
        with output_folder(tmp_path / "new" / "parents" / "out") as folder:
            (folder / "data.txt").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert names(tmp_path) == []


def test_failure_keeps_the_earlier_result(tmp_path: Path) -> None:
    write_result(tmp_path / "out", "old")
    with pytest.raises(RuntimeError), output_folder(tmp_path / "out", overwrite=True):
        raise RuntimeError
    assert (tmp_path / "out" / "data.txt").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_replaces_only_when_told(tmp_path: Path) -> None:
    write_result(tmp_path / "out", "old")
    with pytest.raises(InputError, match="--overwrite"):
        write_result(tmp_path / "out", "new")
    write_result(tmp_path / "out", "new", overwrite=True)
    assert (tmp_path / "out" / "data.txt").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_result(tmp_path / "out", "new")
    assert (tmp_path / "out" / "data.txt").read_text() == "new"


@pytest.mark.parametrize("report", ["{}", '{"format": "theirs"}', "[]", "no JSON", "[" * 100_000])
def test_never_replaces_what_has_a_report_of_another_program(tmp_path: Path, report: str) -> None:
    precious = tmp_path / "home"
    precious.mkdir()
    (precious / REPORT_NAME).write_text(report)
    with pytest.raises(InputError, match="no result of l4gm"):
        write_result(precious, "new", overwrite=True)
    assert (precious / REPORT_NAME).read_text() == report


def test_never_replaces_what_is_no_result(tmp_path: Path) -> None:
    precious = tmp_path / "home"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years")
    with pytest.raises(InputError, match="no result of l4gm"):
        write_result(precious, "new", overwrite=True)
    file = tmp_path / "file"
    file.write_text("text")
    with pytest.raises(InputError, match="not a folder"):
        write_result(file, "new", overwrite=True)
    link = tmp_path / "link"
    link.symlink_to(precious)
    with pytest.raises(InputError, match="not a folder"):
        write_result(link, "new", overwrite=True)
    assert names(precious) == ["thesis.txt"]


def test_what_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    def overtaken() -> None:
        with output_folder(tmp_path / "out"):
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "other.txt").write_text("theirs")

    with pytest.raises(InputError, match="exists"):
        overtaken()
    assert names(tmp_path / "out") == ["other.txt"]
    assert names(tmp_path) == ["out"]
