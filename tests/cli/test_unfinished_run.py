"""An unfinished run lies in a folder of its own: nobody else's is emptied, nothing is followed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from l4gm.cli.unfinished_run import MARKER_NAME, unfinished_run
from l4gm.errors import InputError


def foreign_folder(tmp_path: Path, place: Path) -> Path:
    """Somebody's own folder at the place."""
    place.mkdir()
    return place


def foreign_link(tmp_path: Path, place: Path) -> Path:
    """A link to somebody's own folder at the place."""
    target = tmp_path / "elsewhere"
    target.mkdir()
    place.symlink_to(target)
    return target


def foreign_marked_by_a_link(tmp_path: Path, place: Path) -> Path:
    """Somebody's own folder, in which a link has the name of the marker."""
    place.mkdir()
    (place / MARKER_NAME).symlink_to(tmp_path)
    return place


@pytest.mark.parametrize(
    "options", [{}, {"resume": True}, {"overwrite": True}], ids=["new", "resume", "overwrite"]
)
@pytest.mark.parametrize("make", [foreign_folder, foreign_link, foreign_marked_by_a_link])
def test_what_is_not_ours_is_left_alone(
    tmp_path: Path, make: Callable[[Path, Path], Path], options: dict[str, bool]
) -> None:
    precious = make(tmp_path, tmp_path / ".out.unfinished") / "thesis.txt"
    precious.write_text("years")
    with (
        pytest.raises(InputError, match="l4gm did not make it"),
        unfinished_run(tmp_path / "out", **options),
    ):
        pass
    assert precious.read_text() == "years"
    assert not (tmp_path / "out").exists()


def test_a_link_to_an_empty_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".out.unfinished").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="did not make it"), unfinished_run(tmp_path / "out"):
        pass
    assert not any((tmp_path / "elsewhere").iterdir())


def test_links_inside_an_unfinished_run_are_removed_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "elsewhere" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("years")
    folder = tmp_path / ".out.unfinished"
    folder.mkdir()
    (folder / MARKER_NAME).touch()
    (folder / "folder").symlink_to(precious.parent)
    (folder / "frame_0000.ply").symlink_to(precious)
    with unfinished_run(tmp_path / "out") as run:
        assert [path.name for path in run.folder.iterdir()] == [MARKER_NAME]
    assert precious.read_text() == "years"
    assert not any((tmp_path / "out").iterdir())


def test_folders_of_other_users_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".out.unfinished"
    folder.mkdir()
    monkeypatch.setattr("os.getuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(InputError, match="did not make it"), unfinished_run(tmp_path / "out"):
        pass
