"""Makes recorded.json from the original code; not a test, and run by hand alone.

    python tests/perceptual/record.py LPIPS_FOLDER PYTORCH_I3D_FOLDER

The folders hold the unpacked wheel of lpips 0.1.4 and `pytorch_i3d.py`, as in cd-fvd 0.1.1.
lpips asks torchvision for its networks; a stand-in with the same layers takes its place.
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import random_weights
import torch
from torch import nn


def vgg16_layers() -> nn.Sequential:
    layers: list[nn.Module] = []
    inputs = 3
    for width in [
        64,
        64,
        "M",
        128,
        128,
        "M",
        256,
        256,
        256,
        "M",
        512,
        512,
        512,
        "M",
        512,
        512,
        512,
    ]:
        if width == "M":
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(inputs, int(width), 3, padding=1), nn.ReLU(inplace=True)]
            inputs = int(width)
    return nn.Sequential(*layers)


def alexnet_layers() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True)),
    )


def stand_in(layers: nn.Sequential, tensors: dict[str, torch.Tensor]) -> types.SimpleNamespace:
    begin = len("features.")
    layers.load_state_dict({k[begin:]: v for k, v in tensors.items() if k.startswith("features.")})
    return types.SimpleNamespace(features=layers)


def main() -> None:
    sys.path[:0] = sys.argv[1:3]
    models = types.SimpleNamespace(
        vgg16=lambda pretrained: stand_in(vgg16_layers(), random_weights.vgg16()),
        alexnet=lambda pretrained: stand_in(alexnet_layers(), random_weights.alexnet()),
    )
    sys.modules["torchvision"] = types.SimpleNamespace(models=models)  # type: ignore[assignment]
    import lpips
    import pytorch_i3d

    recorded = {}
    a, b = random_weights.pictures(1, 2, 3, 64, 80), random_weights.pictures(2, 2, 3, 64, 80)
    with torch.no_grad():
        for net in ("vgg", "alex"):
            distance = lpips.LPIPS(net=net, verbose=False)(a, b, normalize=True)
            recorded[f"lpips_{net}"] = distance.flatten().tolist()
        network = pytorch_i3d.InceptionI3d(400, in_channels=3).eval()
        missing = network.load_state_dict(random_weights.i3d(), strict=False)
        assert all(name.endswith("num_batches_tracked") for name in missing.missing_keys)
        video = 2 * random_weights.pictures(3, 1, 3, 17, 224, 224) - 1
        recorded["i3d_videogpt"] = network(video)[0, :12].tolist()
        # The same file as DisCo and Consistent4D read it (tool/metrics/inception3d.py).
        network.avg_pool = nn.AvgPool3d([1, 7, 7], stride=1)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.eps = 1e-3
        recorded["i3d_consistent4d"] = network(video)[0, :12].tolist()
    text = json.dumps(recorded, indent=1) + "\n"
    (Path(__file__).parent / "recorded.json").write_text(text)


if __name__ == "__main__":
    main()
