"""High dynamic range and wide gamut brought to what the rest takes: BT.709 colours, SDR.

Display-referred, as in FFmpeg's zscale: diffuse white (203 cd/m2, ITU-R BT.2408) becomes white,
brighter highlights are clipped, and so are colours outside BT.709. Numbers of primaries and
transfer functions are those of ITU-T H.273.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

PQ, HLG = 16, 18
BT709, BT2020, DCI_P3, DISPLAY_P3 = 1, 9, 11, 12
DIFFUSE_WHITE_NITS = 203.0
HLG_PEAK_NITS = 1000.0
HLG_SYSTEM_GAMMA = 1.2  # of a display with that peak, applied to each channel
SDR_GAMMA = 2.4  # ITU-R BT.1886

# Red, green, blue: chromaticity x, y; white is D65 (that of DCI P3 is taken for it as well).
_CHROMATICITIES = {
    BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    DCI_P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    DISPLAY_P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_D65 = (0.3127, 0.3290)
_NAMES = {PQ: "PQ", HLG: "HLG", BT2020: "BT.2020", DCI_P3: "P3", DISPLAY_P3: "P3"}
_OUT_STEPS = 4096
_ROWS = 128  # at a time, to bound memory


@dataclass(frozen=True)
class ColourConversion:
    """From a clip's primaries and transfer function to BT.709 SDR.

    Args:
        primaries, transfer: by their numbers.
    """

    primaries: int
    transfer: int

    @classmethod
    def needed(cls, primaries: int, transfer: int) -> ColourConversion | None:
        """The conversion for a clip; None where it is BT.709 or its like already."""
        wide = primaries if primaries in _CHROMATICITIES else BT709
        if transfer in (PQ, HLG):
            # Both are defined with BT.2020 and often tagged with nothing else.
            return cls(BT2020 if primaries in (0, 2) else wide, transfer)
        return None if wide == BT709 else cls(wide, BT709)

    @property
    def note(self) -> str:
        """For reports: "HLG, BT.2020 converted to SDR, BT.709"."""
        names = [_NAMES[code] for code in (self.transfer, self.primaries) if code in _NAMES]
        return f"{', '.join(names)} converted to SDR, BT.709"

    def __call__(self, image: NDArray[np.uint16]) -> NDArray[np.uint8]:
        """Convert an image [H, W, 3 or 4] of 16 bits a channel; alpha is kept."""
        out = np.empty(image.shape, np.uint8)
        to_light, matrix, to_levels = _tables(self.primaries, self.transfer)
        for start in range(0, len(image), _ROWS):
            rows = slice(start, start + _ROWS)
            light = to_light[image[rows, :, :3]] @ matrix.T
            places = light.clip(0, 1)
            # Finer steps where it is dark: the tables are of the square root of light.
            np.sqrt(places, out=places)
            out[rows, :, :3] = to_levels[(places * (_OUT_STEPS - 1) + 0.5).astype(np.uint16)]
        if image.shape[2] == 4:
            out[..., 3] = image[..., 3] >> 8
        return out


@lru_cache(maxsize=4)
def _tables(
    primaries: int, transfer: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
    """[65536] light of each value, 1 for diffuse white; [3, 3] to BT.709; [4096] levels."""
    signal = np.arange(65536) / 65535
    light = {PQ: _pq_light, HLG: _hlg_light}.get(transfer, lambda value: value**SDR_GAMMA)(signal)
    matrix = np.linalg.inv(_to_xyz(BT709)) @ _to_xyz(primaries)
    levels = 255 * (np.arange(_OUT_STEPS) / (_OUT_STEPS - 1)) ** (2 / SDR_GAMMA)
    return light.astype(np.float32), matrix.astype(np.float32), levels.round().astype(np.uint8)


def _pq_light(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084, relative to diffuse white."""
    m1, m2 = 2610 / 16384, 2523 / 32
    c1, c2, c3 = 3424 / 4096, 2413 / 128, 2392 / 128
    power = signal ** (1 / m2)
    return (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1) * 10000 / DIFFUSE_WHITE_NITS


def _hlg_light(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """ARIB STD-B67, relative to diffuse white."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return scene**HLG_SYSTEM_GAMMA * HLG_PEAK_NITS / DIFFUSE_WHITE_NITS


def _to_xyz(primaries: int) -> NDArray[np.float64]:
    """[3, 3] from linear RGB to CIE XYZ."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in _CHROMATICITIES[primaries]]).T
    x, y = _D65
    return columns * np.linalg.solve(columns, np.array([x / y, 1, (1 - x - y) / y]))
