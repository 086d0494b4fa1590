"""Dense optical flow, and images between two images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

# Below this, the search sees nothing.
MIN_FLOW_PX = 32
# Where both warped images differ by more than this, they show different things.
_SAME_COLOR = 0.12


def dense_flow(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Where the pixels of an image have gone in another, by dense inverse search.

    Kroeger et al. 2016 (OpenCV's).

    Args:
        first, second: [H, W] grey images, at least 32 pixels wide and high.

    Returns:
        [H, W, 2] displacement (x right, y down) in pixels.
    """
    import cv2

    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
    return search.calc(first, second, None)


def images_between(first: Tensor, second: Tensor, shares: Sequence[float]) -> Tensor:
    """Images at moments between two, each thing shown once.

    Both images are warped along the optical flow to the moment and blended; where they then still
    disagree, the nearer in time is taken, so that fast things do not appear twice.

    Args:
        first, second: [C, H, W] in [0, 1], C >= 3, colour first and alpha, if any, as a fourth.
        shares: 0 is the first image's moment, 1 the second's.

    Returns:
        [len(shares), C, H, W].
    """
    if min(first.shape[-2:]) < MIN_FLOW_PX or torch.equal(first, second):
        nearer = [first if share < 0.5 else second for share in shares]
        return torch.stack(nearer)
    forth, back = _flows(first, second)
    results: list[Tensor] = []
    for share in shares:
        # The flow from the moment to each end (Jiang et al. 2018, Super SloMo, equation 4).
        rest = 1 - share
        from_first = _warped(first, share * share * back - rest * share * forth)
        from_second = _warped(second, rest * rest * forth - share * rest * back)
        blended = torch.lerp(from_first, from_second, share)
        closer = from_first if share < 0.5 else from_second
        differs = (from_first - from_second).abs().amax(0) > _SAME_COLOR
        results.append(torch.where(differs, closer, blended))
    return torch.stack(results)


def _flows(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """[2, H, W] from the first image to the second, and back."""
    gray = [
        np.ascontiguousarray(image[:3].mean(0).mul(255).round().byte().cpu().numpy())
        for image in (first, second)
    ]
    forth, back = dense_flow(*gray), dense_flow(*reversed(gray))
    return tuple(torch.from_numpy(f).permute(2, 0, 1).to(first) for f in (forth, back))  # type: ignore[return-value]


def _warped(image: Tensor, flow: Tensor) -> Tensor:
    """The image [C, H, W] seen where its pixels are displaced by flow [2, H, W]."""
    height, width = image.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=image.device),
        torch.arange(width, device=image.device),
        indexing="ij",
    )
    place = torch.stack(
        [(x + flow[0] + 0.5) * (2 / width) - 1, (y + flow[1] + 0.5) * (2 / height) - 1], -1
    )
    return F.grid_sample(image[None], place[None], align_corners=False, padding_mode="border")[
        0
    ].clamp(0, 1)
