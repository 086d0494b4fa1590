"""`l4gm view`: play an asset in the browser, from a server on this machine alone."""

from __future__ import annotations

import tempfile
import webbrowser
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

import tyro

from l4gm.cli.usage import CommonOptions
from l4gm.errors import InputError
from l4gm.io.local_server import LocalHandler, LocalServer
from l4gm.io.names import printable

EXAMPLES = """
l4gm view out/cat
l4gm view out/cat --no-browser --port 8000      # print the address only
"""

ADDRESS = "127.0.0.1"  # never reachable from other machines
PAGE_NAME = "index.html"

_GENERATOR = b'<meta name="generator" content="l4gm '  # in the pages of `viewer.player`
_HEAD_BYTES = 2000


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
    with serve_page(page, options.port) as server, suppress(KeyboardInterrupt):  # Ctrl-C ends it
        print(f"{printable(str(options.asset))} plays at {server.url} (Ctrl-C ends)", flush=True)
        if options.browser:
            webbrowser.open(server.url)
        server.serve_forever()


def player_page(asset: Path, fps: float | None) -> bytes:
    """The page of an asset: the one in its result folder, or a new one.

    Raises:
        InputError: a page that is none of ours, or as `open_asset`.
    """
    ready = asset / PAGE_NAME if asset.is_dir() else asset
    if ready.suffix.lower() == ".html" and ready.is_file():
        content = ready.read_bytes()
        if _GENERATOR in content[:_HEAD_BYTES]:
            return content
        if ready == asset:
            raise InputError(f"{ready}: not a page that l4gm made; open it in a browser yourself")

    from l4gm.cli.assets import open_asset
    from l4gm.files import save

    opened = open_asset(asset, fps=fps)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / PAGE_NAME
        save(opened.whole(), page, title=asset.stem or str(asset))
        return page.read_bytes()


def serve_page(page: bytes, port: int = 0) -> LocalServer:
    """A server of one page, which knows no files; a context manager.

    Raises:
        InputError: the port cannot be used.
    """

    class Handler(LocalHandler):
        def do_GET(self) -> None:  # noqa: N802
            if self.path.split("?")[0] in ("/", f"/{PAGE_NAME}"):
                self.reply(page, "text/html; charset=utf-8")
            else:
                self.send_error(HTTPStatus.NOT_FOUND)

        do_HEAD = do_GET  # noqa: N815  (http.server's name)

    return LocalServer(ADDRESS, port, Handler)
