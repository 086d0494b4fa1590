"""`l4gm data objaverse download`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from l4gm.cli.usage import CommandError, CommonOptions, positive

EXAMPLES = """
l4gm data objaverse download objects.parquet --to objaverse/
l4gm data objaverse download objects.parquet --to objaverse/ --limit 100 --connections 8
"""


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """What to download, and where to."""

    manifest: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE")]
    """A table of `l4gm data objaverse list`; the files' paths are filled in."""
    to: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("objaverse")
    """Folder of the files. What is there already is not downloaded again."""
    limit: int = 0
    """Only the first so many objects; 0: all."""
    connections: int = 4
    """Downloads at a time."""


def run(options: Options) -> None:
    """Download, and say what could not be had."""
    positive("--limit", options.limit + 1)
    positive("--connections", options.connections)

    from l4gm.cli.progress import Progress
    from l4gm.datagen import objaverse

    items = objaverse.read_manifest(options.manifest)
    count = min(options.limit, len(items)) if options.limit else len(items)
    with Progress() as progress:
        rows = objaverse.download(
            items[:count],
            options.to,
            connections=options.connections,
            on_item=lambda done, total: progress("download", done, total),
        )
    objaverse.write_manifest(options.manifest, [*rows, *items[count:]])
    lost = Counter(row.problem for row in rows if row.problem)
    print(f"{options.manifest}: {count - lost.total()} of {count} objects are there")
    for problem, number in lost.most_common(5):
        print(f"  {number} x {problem}")
    if lost.total() == count:
        raise CommandError(f"not one object could be downloaded; the first: {rows[0].problem}")
