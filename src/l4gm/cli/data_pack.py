"""`l4gm data pack`: clips into shards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from l4gm.cli.usage import CommonOptions, UsageError, positive

if TYPE_CHECKING:
    from l4gm.data.pack import PackReport

EXAMPLES = """
l4gm data pack out/farm -o sets/mine
l4gm data pack out/farm sets/objects -o sets/both --heldout-share 0.05
l4gm data pack sets/filtered -o sets/lively      # leaves out what `filter` dropped
"""


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """What to pack, and how."""

    clips: tyro.conf.Positional[tuple[str, ...]]
    """Folders of `l4gm data render`, or other sets (folders or URLs)."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="DIR")]
    """Folder of the set. The same command again goes on where an earlier one stopped."""
    shard_mb: float = 1000.0
    """Megabytes of a shard."""
    heldout_share: float = 0.02
    """Share of the objects that training never sees."""
    seed: int = 0
    """Of the order of the clips and of the split."""


def run(options: Options) -> None:
    """Pack, and say what could not be."""
    if not options.clips:
        raise UsageError("expected at least one folder of clips")
    positive("--shard-mb", options.shard_mb)
    if not 0 <= options.heldout_share < 1:
        raise UsageError(f"--heldout-share {options.heldout_share}: expected 0 to 1")

    from l4gm.cli.progress import Progress
    from l4gm.data.gather import find_clips
    from l4gm.data.pack import PackOptions, pack_clips

    found = find_clips(options.clips, options.seed)
    how = PackOptions(
        shard_bytes=int(options.shard_mb * 1e6),
        heldout_share=options.heldout_share,
        split_seed=options.seed,
    )
    with Progress() as progress:
        report = pack_clips(
            [clip.key for clip in found],
            lambda index: found[index].load(),
            options.out,
            how,
            lambda done, total: progress("pack", done, total),
        )
    print(summary(options.out, report))


def summary(folder: Path, report: PackReport) -> str:
    """One line on a finished set."""
    text = f"{folder}: {report.clips} clips, {report.num_bytes / 1e6:.1f} MB"
    if report.skipped:
        text += f"; {len(report.skipped)} left out, see {folder / 'report.json'}"
    return text
