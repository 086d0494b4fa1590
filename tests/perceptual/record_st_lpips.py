"""Adds ST-LPIPS to recorded.json from the authors' code; not a test, and run by hand alone.

    python tests/perceptual/record_st_lpips.py

Needs stlpips-pytorch 0.0.2; what it imports without need (torchvision and others) has stand-ins.
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import random_weights
import torch


def main() -> None:
    for name in ("torchvision", "torchvision.models", "torchsummary", "IPython"):
        stand_in = types.ModuleType(name)
        stand_in.models = stand_in.summary = stand_in.embed = None  # type: ignore[attr-defined]
        sys.modules[name] = stand_in
    from stlpips_pytorch.stlpips import LPIPS

    network = LPIPS(net="alex", variant="shift_tolerant", verbose=False)
    a, b = random_weights.pictures(1, 2, 3, 64, 80), random_weights.pictures(2, 2, 3, 64, 80)
    odd = random_weights.pictures(4, 2, 3, 33, 21)
    path = Path(__file__).with_name("recorded.json")
    recorded = json.loads(path.read_text())
    with torch.no_grad():
        recorded["st_lpips_published"] = [
            *network(a, b, normalize=True).flatten().tolist(),
            network(odd[:1], odd[1:], normalize=True).item(),
        ]
        network.load_state_dict(random_weights.st_lpips(), strict=False)
        recorded["st_lpips"] = [
            *network(a, b, normalize=True).flatten().tolist(),
            network(odd[:1], odd[1:], normalize=True).item(),
        ]
    path.write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
