"""`l4gm view`: play an asset in the browser, from a server on this machine alone."""

from __future__ import annotations

import tempfile
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated

import tyro

from l4gm.cli.usage import CommonOptions
from l4gm.errors import InputError

EXAMPLES = """
l4gm view out/cat
l4gm view out/cat --no-browser --port 8000      # print the address only
"""

ADDRESS = "127.0.0.1"  # never reachable from other machines
PAGE_NAME = "index.html"


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """What to show."""

    asset: tyro.conf.Positional[Path]
    """Result folder, .ply, folder of PLY frames, .safetensors sequence, or .html page."""
    port: int = 0
    """Port to serve on; 0 takes a free one."""
    browser: bool = True
    """Open the browser."""
    fps: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Frames per second of a PLY folder that does not say."""


def run(options: Options) -> None:
    """Serve the player until interrupted."""
    if not 0 <= options.port < 65536:
        raise InputError(f"--port {options.port}: expected 0 to 65535")
    page = player_page(options.asset, options.fps)
    try:
        server = ThreadingHTTPServer((ADDRESS, options.port), page_handler(page))
    except OSError as error:
        raise InputError(
            f"--port {options.port}: cannot be used ({error.strerror}); leave it out to take a "
            "free one"
        ) from error
    with server, suppress(KeyboardInterrupt):  # Ctrl-C is how it is meant to end
        address = f"http://{ADDRESS}:{server.server_address[1]}/"
        print(f"{options.asset} plays at {address} (Ctrl-C ends)", flush=True)
        if options.browser:
            webbrowser.open(address)
        server.serve_forever()


def player_page(asset: Path, fps: float | None) -> bytes:
    """The page of an asset: the one that lies in a result folder, or a new one."""
    ready = asset / PAGE_NAME if asset.is_dir() else asset
    if ready.suffix.lower() == ".html" and ready.is_file():
        return ready.read_bytes()

    from l4gm.cli.assets import open_asset
    from l4gm.files import save

    opened = open_asset(asset, fps=fps)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / PAGE_NAME
        save(opened.whole(), page, title=asset.stem or str(asset))
        return page.read_bytes()


def page_handler(page: bytes) -> Callable[..., BaseHTTPRequestHandler]:
    """A handler for `http.server` that answers with one page, and knows no files."""
    return partial(_PageHandler, page)


class _PageHandler(BaseHTTPRequestHandler):
    """Answers every request for / with one page."""

    def __init__(self, page: bytes, *args: object) -> None:
        self._page = page
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self.path.split("?")[0] not in ("/", f"/{PAGE_NAME}"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(self._page)))
        self.end_headers()
        self.wfile.write(self._page)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: requests are no news."""
