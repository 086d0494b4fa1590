"""One process at a time in a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from l4gm.errors import InputError
from l4gm.io.lock import locked

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")

_HOLD = """
import sys
from pathlib import Path
from l4gm.io.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_kept_out_until_it_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(InputError, match="another run is writing there"), locked(folder):
        pass
    holder.kill()
    holder.communicate()
    with locked(folder):
        (folder / "result").touch()
    assert (folder / "result").exists()


def test_folders_made_for_nothing_go_again(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write there"), locked(tmp_path / "file" / "run"):
        pass
