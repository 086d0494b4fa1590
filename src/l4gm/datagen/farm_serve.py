"""The worker's side of the farm: requests in, clips out.

Requests come as lines of JSON on stdin; one line of JSON goes back for each on a file descriptor of
its own, because renderers write their logs to stdout. Also runs inside Blender's Python: only the
standard library, NumPy and `data.layout` are there.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from l4gm.data.layout import ClipFacts, StoredCameras, StoredClip, write_clip

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


class RefusalError(Exception):
    """This object or clip cannot be rendered, and trying again would not help.

    Args:
        kind: a few words to count by.
        detail: what exactly, in one line.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


class Renderer(Protocol):
    """What `serve` drives."""

    def open(self, path: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
        """Load an object; returns its animations as {"name", "seconds"}."""
        ...

    def render(
        self,
        animation: int,
        start_seconds: float,
        cameras: StoredCameras,
        facts: ClipFacts,
    ) -> StoredClip:
        """The clip whose frame k shows the time start_seconds + k / facts.fps."""
        ...


def serve(renderer: Renderer, reply_fd: int) -> None:
    """Answer requests from stdin until it ends.

    {"do": "open", "path", "settings"} gives {"animations": [{"name", "seconds"}], "notes": [what
    the renderer's own `notes` say of the file, if it has any]};
    {"do": "render", "path", "animation", "start_seconds", "cameras", "facts"} writes a clip file
    and gives {"bytes": its size}. Where that does not succeed, the answer is {"problem": {"kind",
    "detail", "final"}}; a final one would come again. Every answer also has "cpu_seconds", the
    processor time it took.
    """
    die_with_parent()
    for line in sys.stdin:
        began = time.process_time()
        request = json.loads(line)
        try:
            answer = _answer(renderer, request)
        except RefusalError as problem:
            answer = _problem(problem.kind, problem.detail, final=True)
        except MemoryError:
            answer = _problem("out of memory", "memory could not be had", final=False)
        except Exception as error:
            traceback.print_exc()  # to the log, whose end the farm keeps
            full = isinstance(error, OSError) and error.errno in FULL_DISK
            full = full or os.strerror(errno.ENOSPC) in str(error)
            kind = "disk full" if full else "error"
            answer = _problem(kind, f"{type(error).__name__}: {error}", final=False)
        answer["cpu_seconds"] = round(time.process_time() - began, 4)
        os.write(reply_fd, json.dumps(answer).encode() + b"\n")


def die_with_parent() -> None:
    """Have Linux kill this process when the farm's process dies, so that none is left behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _problem(kind: str, detail: str, *, final: bool) -> dict[str, Any]:
    return {"problem": {"kind": kind, "detail": " ".join(detail.split())[:300], "final": final}}


def _answer(renderer: Renderer, request: dict[str, Any]) -> dict[str, Any]:
    if request["do"] == "open":
        animations = renderer.open(Path(request["path"]), request["settings"])
        return {"animations": animations, "notes": list(getattr(renderer, "notes", ()))}
    lenses = request["cameras"]
    cameras = StoredCameras(
        **lenses
        | {name: np.array(lenses[name], np.float32) for name in ("world_from_camera", "intrinsics")}
    )
    facts = ClipFacts(**request["facts"])
    clip = renderer.render(request["animation"], request["start_seconds"], cameras, facts)
    path = Path(request["path"])
    write_clip(path, clip)
    return {"bytes": path.stat().st_size}
