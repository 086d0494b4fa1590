"""`l4gm data stats`: what a packed set holds, and whether it is whole."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated

import tyro

from l4gm.cli.usage import CommandError, CommonOptions

EXAMPLES = """
l4gm data stats sets/mine
l4gm data stats sets/mine --verify            # reads every byte
l4gm data stats s3://bucket/sets/mine --json
"""


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """Which set."""

    folder: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SET")]
    """Folder or URL of a packed set."""
    verify: tyro.conf.FlagCreatePairsOff[bool] = False
    """Read all clips and compare their checksums; names the damaged ones."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON instead of lines."""


def run(options: Options) -> None:
    """Print counts; with --verify fail if a clip is damaged."""
    from l4gm.cli.progress import Progress
    from l4gm.data.statistics import set_statistics, verify_set

    statistics = set_statistics(options.folder)
    damaged: dict[str, str] = {}
    if options.verify:
        with Progress() as progress:
            damaged = verify_set(
                options.folder, lambda done, total: progress("verify", done, total)
            )
    if options.json:
        found = {"damaged": damaged} if options.verify else {}
        print(json.dumps(asdict(statistics) | found, indent=1))
    else:
        print("\n".join(statistics.lines()))
        for key, reason in damaged.items():
            print(f"damaged   {key}: {reason}")
    if damaged:
        raise CommandError(
            f"{options.folder}: {len(damaged)} of {statistics.clips} clips are damaged; pack the "
            "set again"
        )
