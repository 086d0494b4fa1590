"""Where Blender is, and how to start a worker in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from l4gm.errors import InputError

WORKER = Path(__file__).with_name("blender_worker.py")
VARIABLE = "L4GM_BLENDER"
ENVIRONMENT = Path(".venv-blender/bin/python")  # what `make blender` makes
LIBRARIES = "libx11-6 libxrender1 libxfixes3 libxi6 libxkbcommon0 libsm6 libgl1"
START_SECONDS = 180


@dataclass(frozen=True, kw_only=True)
class Blender:
    """A Blender that starts.

    Args:
        executable: Blender itself, or a Python that has the package bpy.
        is_python: which of the two.
        version: as it names itself.
    """

    executable: Path
    is_python: bool
    version: str

    def worker_command(self) -> tuple[str, ...]:
        """What starts a worker, but for the worker's own options."""
        if self.is_python:
            return (str(self.executable), str(WORKER))
        options = ("--background", "--factory-startup", "--python-exit-code", "1")
        return (str(self.executable), *options, "--python", str(WORKER), "--")


def find_blender(executable: str | Path | None = None) -> Blender:
    """The Blender to use, started once to see that it works.

    Args:
        executable: by default that of the variable L4GM_BLENDER, else the one that `make blender`
            made in this folder or in the checkout, else `blender` on the PATH.

    Raises:
        InputError: there is none, or it does not start.
    """
    named = executable or os.environ.get(VARIABLE)
    if named:
        found = shutil.which(named)
        if found is None:
            raise InputError(f"{named}: no such program; name a Blender, or a Python that has bpy")
        return _started(Path(found))
    for place in (Path.cwd(), Path(__file__).resolve().parents[3]):
        if (place / ENVIRONMENT).exists():
            return _started(place / ENVIRONMENT)
    found = shutil.which("blender")
    if found is None:
        raise InputError(
            "no Blender: run `make blender`, install one, or name one with --blender or in "
            f"{VARIABLE}; --renderer software needs none"
        )
    return _started(Path(found))


def _started(executable: Path) -> Blender:
    executable = executable.absolute()  # a virtual environment's Python is a link: not resolved
    is_python = "python" in executable.name
    question = ["-c", "import bpy; print('Blender', bpy.app.version_string)"]
    try:
        answer = subprocess.run(
            [str(executable), *(question if is_python else ["--version"])],
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"{executable}: does not start ({error})") from error
    versions = [line for line in answer.stdout.splitlines() if line.startswith("Blender ")]
    if answer.returncode or not versions:
        last = (answer.stderr.strip() or "it says nothing").splitlines()[-1]
        raise InputError(
            f"{executable}: is no Blender that works ({last}); on Debian it needs the packages "
            f"{LIBRARIES}"
        )
    return Blender(executable=executable, is_python=is_python, version=versions[0].split()[1])
