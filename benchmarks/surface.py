"""What the solid surface makes of a perfect network: quality and seconds, over procedural objects.

    python benchmarks/surface.py                # 8 objects, a minute on one core
    python benchmarks/surface.py --num-clips 2 --num-gaussians 65536

The volume is the carved occupancy that the network is trained on, at half its resolution; so what
is missing here is lost by the surface, not by the network. `covered` is the share of the visible
surface within 0.02 of a splat, IoU that of the outlines from azimuth 90, 180 and 270 at 128 px;
PSNR and `sharp` (root of the ratio of gradient energies) compare the frame with its rendering.
"""

from __future__ import annotations

import argparse
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from l4gm.datagen.solid_clips import FAR, NEAR, SIDE_PX, SolidClip, SolidClips
from l4gm.geometry.cameras import orbit_cameras
from l4gm.solid.surface import surface_gaussians
from l4gm.solid.volume import Frustum, Volume
from l4gm.splat.render import render

CAMERA = orbit_cameras([0.0], size=256)
SIDES = orbit_cameras([90.0, 180.0, 270.0], size=SIDE_PX)
FRUSTUM = Frustum(CAMERA[0], NEAR, FAR)
NEAR_ENOUGH = 0.02
LINE = "{:7.3f} {:7.3f} {:7.2f} {:7.3f} {:8.3f}"
CERTAIN = 8.0  # logit


def carved_volume(clip: SolidClip) -> Volume:
    """What a perfect network would say of the first moment."""
    share = F.avg_pool3d(torch.from_numpy(clip.inside[:1]).float(), 2)
    nothing = torch.zeros(1, 3, 2, 2, 2)
    return Volume((share * 2 - 1) * CERTAIN, nothing + 0.5, nothing)


def gradient_energy(image: Tensor) -> Tensor:
    return image.diff(dim=-1).square().sum() + image.diff(dim=-2).square().sum()


def measure(clip: SolidClip, num_gaussians: int) -> list[float]:
    """Covered share, IoU, PSNR, sharpness, seconds."""
    frame = torch.from_numpy(clip.front[:1]).permute(0, 3, 1, 2).float() / 255
    volume = carved_volume(clip)
    start = time.perf_counter()
    found = surface_gaussians(volume, FRUSTUM, frame, None, num_gaussians)[0]
    seconds = time.perf_counter() - start
    truth = torch.from_numpy(clip.points[0]).float()
    covered = (torch.cdist(truth, found.means).amin(1) < NEAR_ENOUGH).float().mean()
    drawn = render(found, SIDES).alpha[:, 0] > 0.5
    shown = torch.from_numpy(clip.sides[..., 3]) > 127
    image = render(found, CAMERA).image
    target = frame[:, :3] * frame[:, 3:] + 1 - frame[:, 3:]
    return [
        float(covered),
        float((drawn & shown).sum() / (drawn | shown).sum()),
        float(-10 * (image - target).square().mean().log10()),
        float((gradient_energy(image) / gradient_energy(target)).sqrt()),
        seconds,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-clips", type=int, default=8)
    parser.add_argument("--num-gaussians", type=int, default=32768)
    options = parser.parse_args()
    clips = SolidClips(seed=1)
    measure(clips.clip(0), options.num_gaussians)  # compiles
    print("object covered     IoU    PSNR   sharp  seconds")
    rows = []
    for index in range(options.num_clips):
        rows.append(measure(clips.clip(index), options.num_gaussians))
        print(f"{index:6d} {LINE.format(*rows[-1])}", flush=True)
    means = torch.tensor(rows).mean(0).tolist()
    print(f"  mean {LINE.format(*means)}")


if __name__ == "__main__":
    main()
