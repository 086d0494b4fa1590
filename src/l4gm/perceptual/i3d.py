"""I3D, the video network behind FVD (Carreira and Zisserman, 2017), trained on Kinetics-400.

Named as the published `i3d_pretrained_400.pt`. Padding is TensorFlow's "same": it depends on the
size and is larger behind. Two codes in use read the same file differently, and their numbers do not
compare: VideoGPT's, which most FVD figures come from, and that of DisCo and the Consistent4D
benchmark.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l4gm.perceptual.published import I3D_K400, load_frozen, read_tensors

NUM_CLASSES = 400
INPUT_PX = 224

Triple = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the published file is read.

    Args:
        norm_epsilon: of the batch norms.
        pool_frames: time steps (of 8 frames each) over which features are averaged before the
            classifier.
    """

    norm_epsilon: float
    pool_frames: int

    @property
    def min_frames(self) -> int:
        """Fewer leave too few time steps for the pooling."""
        return 8 * (self.pool_frames - 1) + 1


VIDEOGPT = Reading(norm_epsilon=1e-5, pool_frames=2)
CONSISTENT4D = Reading(norm_epsilon=1e-3, pool_frames=1)


def _pad_same(values: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """Zeros around [B, C, T, H, W], so that a step of `stride` gives ceil(size / stride)."""
    padding: list[int] = []
    for size, width, step in reversed(list(zip(values.shape[2:], kernel, stride, strict=True))):
        total = max(width - (size % step or step), 0)
        padding += [total // 2, total - total // 2]
    return F.pad(values, padding)


class _Convolution(nn.Module):
    """Convolution, batch norm, ReLU; the classifier has neither of the last two."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        classifier: bool = False,
    ) -> None:
        super().__init__()
        self.kernel, self.stride = (kernel,) * 3, (stride,) * 3
        self.conv3d = nn.Conv3d(
            channels_in, channels_out, self.kernel, self.stride, bias=classifier
        )
        self.bn = None if classifier else nn.BatchNorm3d(channels_out)

    def forward(self, values: Tensor) -> Tensor:
        values = self.conv3d(_pad_same(values, self.kernel, self.stride))
        return values if self.bn is None else F.relu(self.bn(values))


class _Pool(nn.Module):
    def __init__(self, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, values: Tensor) -> Tensor:
        padded = _pad_same(values, self.kernel, self.stride)
        return F.max_pool3d(padded, self.kernel, self.stride)


class _Mixed(nn.Module):
    """Inception block: four branches side by side."""

    def __init__(self, channels: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        self.b0 = _Convolution(channels, widths[0])
        self.b1a = _Convolution(channels, widths[1])
        self.b1b = _Convolution(widths[1], widths[2], 3)
        self.b2a = _Convolution(channels, widths[3])
        self.b2b = _Convolution(widths[3], widths[4], 3)
        self.b3a = _Pool((3, 3, 3), (1, 1, 1))
        self.b3b = _Convolution(channels, widths[5])

    def forward(self, values: Tensor) -> Tensor:
        branches = [
            self.b0(values),
            self.b1b(self.b1a(values)),
            self.b2b(self.b2a(values)),
            self.b3b(self.b3a(values)),
        ]
        return torch.cat(branches, dim=1)


_MIXED = {
    "3b": (192, (64, 96, 128, 16, 32, 32)),
    "3c": (256, (128, 128, 192, 32, 96, 64)),
    "4b": (480, (192, 96, 208, 16, 48, 64)),
    "4c": (512, (160, 112, 224, 24, 64, 64)),
    "4d": (512, (128, 128, 256, 24, 64, 64)),
    "4e": (512, (112, 144, 288, 32, 64, 64)),
    "4f": (528, (256, 160, 320, 32, 128, 128)),
    "5b": (832, (256, 160, 320, 32, 128, 128)),
    "5c": (832, (384, 192, 384, 48, 128, 128)),
}


class I3D(nn.Module):
    """I3D's class scores, averaged over time: the features of FVD. Build it with `load_i3d`."""

    def __init__(self, reading: Reading = VIDEOGPT) -> None:
        super().__init__()
        self.reading = reading
        flat, cube, half = ((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2))
        self.Conv3d_1a_7x7 = _Convolution(3, 64, 7, stride=2)
        self.MaxPool3d_2a_3x3 = _Pool(*flat)
        self.Conv3d_2b_1x1 = _Convolution(64, 64)
        self.Conv3d_2c_3x3 = _Convolution(64, 192, 3)
        self.MaxPool3d_3a_3x3 = _Pool(*flat)
        before = {"4b": ("MaxPool3d_4a_3x3", cube), "5b": ("MaxPool3d_5a_2x2", half)}
        for name, (channels, widths) in _MIXED.items():
            if name in before:
                pool, sizes = before[name]
                self.add_module(pool, _Pool(*sizes))
            self.add_module(f"Mixed_{name}", _Mixed(channels, widths))
        self.logits = _Convolution(1024, NUM_CLASSES, classifier=True)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm3d):
                part.eps = reading.norm_epsilon

    def forward(self, videos: Tensor) -> Tensor:
        """Features [B, 400].

        Args:
            videos: [B, 3, T, 224, 224] in [-1, 1], at least `reading.min_frames` frames.

        Raises:
            ValueError: another shape.
        """
        shape, least = tuple(videos.shape), self.reading.min_frames
        fits = len(shape) == 5 and shape[1] == 3 and shape[3:] == (INPUT_PX, INPUT_PX)
        if not fits or shape[2] < least:
            raise ValueError(
                f"expected [B, 3, T >= {least}, {INPUT_PX}, {INPUT_PX}], got {list(shape)}"
            )
        values = videos
        for name, part in self.named_children():
            if name != "logits":
                values = part(values)
        pooled = F.avg_pool3d(values, (self.reading.pool_frames, 7, 7), stride=1)
        return self.logits(pooled).mean((2, 3, 4))


def load_i3d(reading: Reading = VIDEOGPT, device: str | torch.device = "cpu") -> I3D:
    """I3D with the published weights, frozen.

    Raises:
        MissingWeightsError: the file is not on this machine.
        InputError: the file is damaged or another one.
    """
    model = I3D(reading)
    parts = ("Conv3d_", "Mixed_", "logits.")
    # Counters of training steps, which older files lack; no weights.
    counters = {
        name: value
        for name, value in model.state_dict().items()
        if name.endswith("num_batches_tracked")
    }
    load_frozen(model, read_tensors(I3D_K400, wanted=parts) | counters, I3D_K400)
    return model.to(device)
