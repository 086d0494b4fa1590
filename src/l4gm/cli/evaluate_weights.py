"""`l4gm evaluate weights`: the published weights that metrics need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from l4gm.cli.usage import CommandError, CommonOptions

if TYPE_CHECKING:
    from l4gm.perceptual.published import WeightFile

EXAMPLES = """
l4gm evaluate weights                          # what is here, what is missing, under which terms
l4gm evaluate weights --fetch vgg16 i3d
"""


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """Which to download."""

    fetch: tuple[Literal["vgg16", "alexnet", "clip", "i3d"], ...] = ()
    """Download these and verify them; without this, only tell."""


def run(options: Options) -> None:
    """Download what is asked for, then list all."""
    from l4gm.cli.progress import Progress
    from l4gm.perceptual.published import WEIGHT_FILES, fetch, weight_folder

    known = {file.name: file for file in WEIGHT_FILES}
    with Progress() as progress:
        for name in options.fetch:
            stage = f"download {name}"
            try:
                fetch(known[name], lambda done, total, stage=stage: progress(stage, done, total))  # type: ignore[misc]
            except ConnectionError as error:
                raise CommandError(str(error)) from error
    print(f"looked for in {weight_folder()}, in torch's own download cache, and in packages")
    for file in WEIGHT_FILES:
        print(_line(file))


def _line(file: WeightFile) -> str:
    from l4gm.perceptual.published import MissingWeightsError, find, sha256_of

    try:
        path = find(file)
    except MissingWeightsError:
        where = f"missing, {file.num_bytes / 1e6:.0f} MB; {file.how_to_get}"
    else:
        where = f"{path} (SHA-256 {sha256_of(path)[:12]}...)"
    return f"{file.name:<8} {file.network}; {file.licence}\n         {where}"
