"""`l4gm app`: a page in the browser that takes videos and shows the objects made of them."""

from __future__ import annotations

import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from l4gm.cli.usage import CommonOptions, positive
from l4gm.errors import InputError

EXAMPLES = """
l4gm app                                  # then open the printed address, on this machine
l4gm app --port 8000 --no-browser
l4gm app --model my_weights --folder out/app
l4gm app --host 0.0.0.0                   # whoever reaches this machine may use it
"""


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """Where to serve it, and what it reconstructs with."""

    host: str = "127.0.0.1"
    """Address to serve on; by default this machine alone reaches it."""
    port: int = 0
    """Port to serve on; 0 takes a free one."""
    browser: bool = True
    """Open the browser."""
    folder: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Keep results here; by default they are deleted when the app ends, as videos always are."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME")] = "mini"
    """As of `l4gm reconstruct`."""
    max_frames: int = 300
    """Leave out what comes after this many frames."""
    max_upload_mb: float = 500.0
    """Take no larger videos."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda or mps."""


def run(options: Options) -> None:
    """Serve the app until interrupted."""
    positive("--max-frames", options.max_frames)
    positive("--max-upload-mb", options.max_upload_mb)
    if not 0 <= options.port < 65536:
        raise InputError(f"--port {options.port}: expected 0 to 65535")
    from l4gm.cli.app_page import serve
    from l4gm.cli.app_server import AppServer

    def on_ready(server: AppServer) -> None:
        print(f"open {server.url} (Ctrl-C ends)", flush=True)
        if options.browser:
            webbrowser.open(server.url)

    serve(options, on_ready)
