"""A worker for the farm's tests that starts in no time and does what its model files say.

A model is a JSON file: {"animations": seconds of each, "open" or "render": a fault, "once": a file;
a fault with "once" happens only until that file is there}.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import signal
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from l4gm.data.layout import ClipFacts, StoredCameras, StoredClip, StoredView
from l4gm.datagen.farm_serve import RefusalError, serve


def png(pixels: np.ndarray) -> bytes:
    """[H, W, 4] uint8 as a PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">2I5B", width, height, 8, 6, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*parts) for parts in chunks)


class StandIn:
    def __init__(self) -> None:
        self.model: dict[str, Any] = {}

    def open(self, path: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
        self.model = json.loads(path.read_text())
        self.fault("open")
        seconds = self.model["animations"]
        return [{"name": f"move/../{k}", "seconds": value} for k, value in enumerate(seconds)]

    def render(
        self, animation: int, start_seconds: float, cameras: StoredCameras, facts: ClipFacts
    ) -> StoredClip:
        self.fault("render")
        time.sleep(self.model.get("takes", 0.0))
        random = np.random.default_rng(list(facts.key.encode()))
        size = (cameras.height, cameras.width, 4)
        views = []
        for _ in cameras.world_from_camera:
            frames = random.integers(0, 256, (facts.num_frames, *size), np.uint8)
            views.append(StoredView(pictures=tuple(map(png, frames)), suffix="png"))
        return StoredClip(facts=facts, cameras=cameras, views=tuple(views))

    def fault(self, when: str) -> None:
        fault = self.model.get(when)
        if fault is None:
            return
        if "once" in self.model:
            mark = Path(self.model["once"])
            if mark.exists():
                return
            mark.touch()
        if fault == "refuse":
            raise RefusalError("no animation", "as the test asks")
        if fault == "error":
            raise RuntimeError("as the test asks")
        if fault == "disk full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if fault == "crash":
            print("these are my last words", flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
        if fault == "hang":
            time.sleep(600)
        if fault == "memory":
            kept = []
            while True:
                kept.append(np.ones(1 << 20))
                time.sleep(0.001)
        raise AssertionError(fault)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--reply-fd", type=int, required=True)
    serve(StandIn(), parser.parse_args().reply_fd)
