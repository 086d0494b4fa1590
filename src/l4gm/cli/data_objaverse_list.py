"""`l4gm data objaverse list`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from l4gm.cli.usage import CommonOptions, positive

EXAMPLES = """
l4gm data objaverse list -o objects.parquet
l4gm data objaverse list -o free.parquet --licences by cc0 --max-faces 200000
l4gm data objaverse list -o objects.parquet --annotations ~/.objaverse/hf-objaverse-v1/metadata
"""


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """Which objects to list."""

    out: Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="FILE")]
    """Parquet table to write: one row for each object."""
    annotations: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of annotation files (000-000.json.gz ...), if you have them already."""
    to: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("objaverse")
    """Folder for downloaded annotations."""
    licences: tuple[str, ...] = ()
    """Only objects under these (by, by-sa, by-nc, by-nc-sa, by-nd, by-nc-nd, cc0)."""
    max_faces: int = 0
    """Only objects with at most so many faces; 0: all."""
    exclude: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Text file of further uids to leave out, one a line."""
    with_benchmark: tyro.conf.FlagCreatePairsOff[bool] = False
    """Do not leave out the test objects of the Consistent4D benchmark."""


def run(options: Options) -> None:
    """List, and say what was left out."""
    positive("--max-faces", options.max_faces + 1)

    from l4gm.datagen import objaverse
    from l4gm.errors import InputError

    exclude = frozenset() if options.with_benchmark else objaverse.benchmark_uids()
    if options.exclude is not None:
        if not options.exclude.is_file():
            raise InputError(f"{options.exclude}: no such file; expected uids, one a line")
        exclude |= objaverse.read_uids(options.exclude.read_text("utf-8", errors="replace"))
    if options.annotations is not None:
        paths = objaverse.annotation_files(options.annotations)
    else:
        paths = objaverse.fetch_annotations(options.to)
    selection = objaverse.Selection(
        licences=options.licences, max_faces=options.max_faces, exclude=exclude
    )
    items, left_out = objaverse.list_animated(paths, selection)
    if not items:
        raise InputError(
            f"no object is left: {_counts(left_out.items())}; ask for less with --licences and "
            "--max-faces"
        )
    objaverse.write_manifest(options.out, items)
    animations = sum(item.animations for item in items)
    print(f"{options.out}: {len(items)} objects with {animations} animations")
    print(f"  licences: {_counts(objaverse.licences(items))}")
    if left_out:
        print(f"  left out: {_counts(left_out.most_common())}")


def _counts(pairs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count} x {name}" for name, count in pairs)
