"""A sequence as a `.4dgs` file (https://4dgs.dev): key frames, and differences between frames.

Every Gaussian has a number by which it is known from frame to frame: its row, where rows of
consecutive frames are the same part of the object. Where they are not, every frame has numbers of
its own and is a key frame. Needs fourdgs: `pip install "l4gm[fourdgs]"`.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import numpy as np

from l4gm.errors import InputError
from l4gm.gaussians.atomic import atomic_file
from l4gm.gaussians.order import rows_correspond, spatially_ordered
from l4gm.gaussians.orientation import Up, to_file_axes
from l4gm.gaussians.still import prepared
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.gaussians.visible import visible

_LASTING = 1000.0  # clip lengths in which a Gaussian fades; the library wants it to fade at all


def write_4dgs(
    path: str | os.PathLike[str],
    sequence: GaussianSequence,
    *,
    up: Up = "y",
    scale: float = 1.0,
) -> None:
    """Write the visible Gaussians of a sequence, whole or not at all; frame k begins at k / fps.

    Args:
        path: the file to write; replaced if it exists.
        sequence: [T, N].
        up, scale: the file's up axis and units in one of ours, as in `to_file_axes`.

    Raises:
        ValueError: values that are not finite.
        InputError: fourdgs is not installed, a frame in which nothing is visible, or the file
            cannot be made there.
    """
    if find_spec("fourdgs") is None:
        raise InputError(
            f'{path}: .4dgs needs fourdgs; install it with pip install "l4gm[fourdgs]"'
        )
    from fourdgs import keyframe_delta_file, keyframe_delta_writer

    frames = sequence.gaussians.detach().to("cpu")
    in_step = rows_correspond(len(sequence), frames.__getitem__)
    duration = len(sequence) / sequence.fps
    samples, first = [], 0
    for index in range(len(sequence)):
        frame = prepared(to_file_axes(frames[index], up, scale), path)
        if not in_step:
            frame = spatially_ordered(frame)
        rows = visible(frame).nonzero()[:, 0]
        if not len(rows):
            raise InputError(f"{path}: nothing is visible in frame {index}; .4dgs needs something")
        ids = rows.numpy().astype(np.int64) + first
        first += 0 if in_step else frame.num_gaussians
        seen = frame.map(lambda tensor, rows=rows: tensor[rows])  # type: ignore[misc]
        samples.append(
            keyframe_delta_writer.Sample(index / sequence.fps, ids, _gaussian_set(seen, duration))
        )
    options = keyframe_delta_writer.KeyframeDeltaOptions(keyframe_every=8 if in_step else 1)
    content = keyframe_delta_file.write_sequence(
        samples, duration, kd=options, profile="fine", library="l4gm"
    )
    with atomic_file(path) as partial:
        partial.write_bytes(content)


def _gaussian_set(gaussians: Gaussians, duration: float) -> Any:
    """One set [N] in fourdgs's own type: still, all but never fading, valid all the time."""
    from fourdgs import GaussianSet

    count = gaussians.num_gaussians
    zeros = np.zeros(count, np.float32)
    opacities = gaussians.opacities.numpy()[:, None]
    return GaussianSet(
        positions=gaussians.means.numpy(),
        scales=gaussians.scales.clamp(min=1e-8).numpy(),
        rotations=gaussians.quats[:, [1, 2, 3, 0]].numpy(),
        colors=np.concatenate([gaussians.colors.numpy(), opacities], 1),
        motions=np.zeros((count, 3), np.float32),
        mu_t=zeros,
        sigma_t=np.full(count, _LASTING * duration, np.float32),
        win_lo=np.zeros(count),
        win_hi=np.full(count, duration),
    )
