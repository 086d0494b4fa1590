"""What a script in its own process may do: nothing that reaches this one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from l4gm.errors import InputError
from l4gm.io.sandbox import isolated

LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="address space limits are Linux's")


def run(tmp_path: Path, code: str, *arguments: str, seconds: int = 20) -> str:
    """The file "out" that a script writes."""
    script = tmp_path / "script.py"
    script.write_text(f"import os, sys\nfolder = sys.argv[-1]\n{code}")
    with isolated(
        script,
        arguments,
        subject="cat.usd",
        memory_bytes=2**30,
        seconds=seconds,
        file_bytes=2**20,
    ) as folder:
        assert folder.stat().st_mode & 0o077 == 0
        return (folder / "out").read_text()


def test_arguments_go_in_and_files_come_out(tmp_path: Path) -> None:
    assert run(tmp_path, "open(folder + '/out', 'w').write(sys.argv[1])", "hello") == "hello"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("os.abort()", "damaged"),
        ("raise ValueError('no')", "damaged"),
        ("import ctypes; ctypes.string_at(0)", "damaged"),
        ("open(folder + '/error.txt', 'w').write('not\\na stage')", "not a stage"),
        pytest.param("data = bytearray(2**31)", "larger than can be read", marks=LINUX_ONLY),
        pytest.param("open(folder + '/out', 'wb').write(bytes(2**21))", "larger", marks=LINUX_ONLY),
    ],
)
def test_faults_become_one_line(tmp_path: Path, code: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"^cat\.usd: .*{message}") as caught:
        run(tmp_path, code)
    assert "\n" not in str(caught.value)


def test_time_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did not end in 1 s"):
        run(tmp_path, "import time; time.sleep(60)", seconds=1)


def test_the_package_and_the_environment_stay_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    found = run(
        tmp_path,
        "open(folder + '/out', 'w').write(f'{os.environ.get(\"SECRET_TOKEN\")} {os.getcwd()}')",
    )
    assert found.startswith("None ")
    assert Path.cwd().as_posix() not in found
