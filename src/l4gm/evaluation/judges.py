"""The trained networks that judge pictures, as far as their weights are on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from l4gm.perceptual.clip import ClipImageEncoder, load_clip
from l4gm.perceptual.i3d import CONSISTENT4D, I3D, VIDEOGPT, load_i3d
from l4gm.perceptual.lpips import Lpips, load_lpips
from l4gm.perceptual.published import WEIGHT_FILES, MissingWeightsError, find, sha256_of
from l4gm.perceptual.st_lpips import StLpips, load_st_lpips

# Pictures of one forward pass: VGG at 512 px takes about 0.4 GB each.
_PICTURES_PER_BATCH = 4

NetworkT = TypeVar("NetworkT")


@dataclass
class Judges:
    """Networks by metric; a metric without its weights is in `skipped`, with the reason.

    Args:
        device: where they are.
        st_lpips, lpips_vgg, lpips_alex, clip, fvd, fvd_consistent4d: the networks; None where
            skipped.
        skipped: metric name to "weights missing: ..." with where to get and put them.
    """

    device: torch.device
    st_lpips: StLpips | None = None
    lpips_vgg: Lpips | None = None
    lpips_alex: Lpips | None = None
    clip: ClipImageEncoder | None = None
    fvd: I3D | None = None
    fvd_consistent4d: I3D | None = None
    skipped: dict[str, str] = field(default_factory=dict)

    def picture_metrics(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """LPIPS and CLIP similarity of each pair, those that are there.

        Args:
            prediction, target: [N, 3, S, S] in [0, 1].

        Returns:
            by metric [N], on the CPU: "lpips_vgg", "lpips_alex" (0 is equal), "clip" (1 is equal).
        """
        measures: dict[str, Callable[[Tensor, Tensor], Tensor]] = {}
        if self.lpips_vgg is not None:
            measures["lpips_vgg"] = self.lpips_vgg
        if self.lpips_alex is not None:
            measures["lpips_alex"] = self.lpips_alex
        if self.clip is not None:
            measures["clip"] = self._clip_similarity
        found: dict[str, list[Tensor]] = {name: [] for name in measures}
        with torch.inference_mode():
            for begin in range(0, len(prediction), _PICTURES_PER_BATCH):
                part = slice(begin, begin + _PICTURES_PER_BATCH)
                pair = prediction[part].to(self.device), target[part].to(self.device)
                for name, measure in measures.items():
                    found[name].append(measure(*pair).cpu())
        return {name: torch.cat(values) for name, values in found.items()}

    def _clip_similarity(self, prediction: Tensor, target: Tensor) -> Tensor:
        assert self.clip is not None
        return F.cosine_similarity(self.clip(prediction), self.clip(target), dim=-1)


def load_judges(device: str | torch.device = "cpu") -> Judges:
    """All networks whose weights are on this machine.

    Raises:
        InputError: weights that are there but damaged or other ones.
    """
    judges = Judges(torch.device(device))

    def load(metric: str, loader: Callable[[], NetworkT]) -> NetworkT | None:
        try:
            return loader()
        except MissingWeightsError as missing:
            judges.skipped[metric] = str(missing)
            return None

    judges.st_lpips = load("st_lpips", lambda: load_st_lpips(device))
    judges.lpips_vgg = load("lpips_vgg", lambda: load_lpips("vgg", device))
    judges.lpips_alex = load("lpips_alex", lambda: load_lpips("alex", device))
    judges.clip = load("clip", lambda: load_clip(device))
    judges.fvd = load("fvd", lambda: load_i3d(VIDEOGPT, device))
    judges.fvd_consistent4d = load("fvd_consistent4d", lambda: load_i3d(CONSISTENT4D, device))
    return judges


def weight_sums() -> dict[str, str]:
    """SHA-256 of the judging weights that are on this machine, by file name."""
    sums = {}
    for file in WEIGHT_FILES:
        try:
            sums[file.filename] = sha256_of(find(file))
        except MissingWeightsError:
            continue
    return sums
