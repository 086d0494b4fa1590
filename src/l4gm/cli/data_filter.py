"""`l4gm data filter`: marks the clips of a set in which enough moves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from l4gm.cli.usage import CommonOptions, UsageError

EXAMPLES = """
l4gm data filter sets/mine                    # keeps the livelier half, as in the paper
l4gm data filter sets/mine --keep 0.7
l4gm data filter sets/mine --threshold 0.2    # picture widths a second
l4gm data filter sets/mine --keep 1           # keeps all again
"""


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """Which set, and what to keep. Nothing is deleted: training leaves out what is not kept."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SET")]
    """Folder of a packed set."""
    keep: float = 0.5
    """Share of the clips to keep; counted apart where motion was measured in different ways."""
    threshold: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Keep clips with at least this motion, in picture widths a second, instead of a share."""


def run(options: Options) -> None:
    """Measure what is not measured yet, and write the manifest anew."""
    if not 0 <= options.keep <= 1:
        raise UsageError(f"--keep {options.keep}: expected a share from 0 to 1")

    from l4gm.cli.progress import Progress
    from l4gm.datagen.motion_filter import filter_set

    with Progress() as progress:
        outcome = filter_set(
            options.folder,
            keep=options.keep,
            threshold=options.threshold,
            on_clip=lambda done, total: progress("measure", done, total),
        )
    for method, threshold in sorted(outcome.thresholds.items()):
        print(f"{method}: motion of at least {threshold:.4f} widths a second is kept")
    print(
        f"{options.folder}: {outcome.kept} of {outcome.clips} clips kept"
        + (f"; {outcome.unmeasured} could not be measured" if outcome.unmeasured else "")
    )
