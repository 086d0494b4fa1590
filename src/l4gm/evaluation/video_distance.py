"""Distances of videos by I3D features: FVD, the Consistent4D benchmark's "FVD", and FV4D."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from l4gm.perceptual.i3d import I3D, INPUT_PX

# Videos of one forward pass; 32 frames of 224 px take about 0.6 GB of activations each.
_VIDEOS_PER_BATCH = 2


def video_features(network: I3D, videos: list[NDArray[np.uint8]]) -> Tensor:
    """I3D's features, [N, 400] float64, on the CPU.

    Args:
        network: from `load_i3d`.
        videos: each [T, H, W, 3] uint8 RGB, at least `network.reading.min_frames` frames.
    """
    device = next(network.parameters()).device
    features = []
    for begin in range(0, len(videos), _VIDEOS_PER_BATCH):
        batch = [_prepared(video) for video in videos[begin : begin + _VIDEOS_PER_BATCH]]
        # Of one length they go together, else one by one.
        groups = (
            [torch.stack(batch)] if len({b.shape for b in batch}) == 1 else [b[None] for b in batch]
        )
        with torch.inference_mode():
            features += [network(group.to(device)).double().cpu() for group in groups]
    return torch.cat(features)


def _prepared(video: NDArray[np.uint8]) -> Tensor:
    """[3, T, 224, 224] in [-1, 1]: each channel resized by Pillow's bicubic filter, in floats."""
    frames = np.empty((3, len(video), INPUT_PX, INPUT_PX), np.float32)
    for time, frame in enumerate(video):
        for channel in range(3):
            picture = Image.fromarray(np.ascontiguousarray(frame[..., channel], np.float32))
            small = picture.resize((INPUT_PX, INPUT_PX), Image.Resampling.BICUBIC)
            frames[channel, time] = np.asarray(small)
    return torch.from_numpy(frames) / 127.5 - 1


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Squared Fréchet distance of two sets of features, each taken as a normal distribution.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), with the covariances S of n - 1. The trace of the
    root is that of (S1^(1/2) S2 S1^(1/2))^(1/2), which is symmetric, so that no complex numbers
    arise and sets smaller than the number of features will do.

    Args:
        first, second: [N, D] and [M, D], at least two of each.

    Raises:
        ValueError: fewer than two features in a set.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError("a Fréchet distance needs at least two videos in each set")
    first, second = first.double(), second.double()
    shift = (first.mean(0) - second.mean(0)).square().sum()
    # With centred A, B: tr (S1 S2)^(1/2) is the sum of the singular values of A B^T / sqrt(..).
    a = (first - first.mean(0)) / (len(first) - 1) ** 0.5
    b = (second - second.mean(0)) / (len(second) - 1) ** 0.5
    root_trace = torch.linalg.matrix_norm(a @ b.T, ord="nuc")
    return float(shift + a.square().sum() + b.square().sum() - 2 * root_trace)


def fvd_consistent4d(prediction: Tensor, target: Tensor) -> Tensor:
    """What the Consistent4D benchmark reports as FVD, for each pair of videos.

    Its script makes a covariance of the one feature vector of each video, which NumPy before 2.2
    took as 400 observations of one variable: the score is the squared distance of the vectors plus
    the squared difference of the standard deviations over their entries.

    Args:
        prediction, target: [N, D].

    Returns:
        [N].
    """
    deviation = prediction.std(-1) - target.std(-1)
    return (prediction - target).square().sum(-1) + deviation.square()


def video_rasters(videos: NDArray[np.uint8]) -> dict[str, list[NDArray[np.uint8]]]:
    """The ways through an object's views and frames that SV4D's metrics take.

    Args:
        videos: [V, T, H, W, 3].

    Returns:
        "frames": V videos over time; "views": T videos around the object; "diagonal": V videos that
        go on by one view at every frame; "4d": one video through all, row by row, back and forth.
    """
    num_views, num_frames = videos.shape[:2]
    steps = np.arange(num_frames)
    rows = [video if view % 2 == 0 else video[::-1] for view, video in enumerate(videos)]
    return {
        "frames": list(videos),
        "views": list(videos.swapaxes(0, 1)),
        "diagonal": [videos[(begin + steps) % num_views, steps] for begin in range(num_views)],
        "4d": [np.concatenate(rows)],
    }
