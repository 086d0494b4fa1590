"""One set of Gaussians as an SPZ file, version 3 or 4: Niantic's format, about 20 bytes a Gaussian.

Streams of all Gaussians, one after the other: the means (24-bit fixed point), the opacities, the
colours, the scales (logarithms in 1/16), the quaternions (x y z w, smallest three, nine bits and a
sign each), and harmonics. Up to version 3 they are one gzip stream after a header of 16 bytes; in
version 4 a header of 32 bytes, extensions, a table of the streams' sizes, and each stream as a zstd
frame. SPZ's own axes are right, up, back: ours.
https://github.com/nianticlabs/spz
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l4gm.errors import InputError
from l4gm.gaussians.atomic import atomic_file
from l4gm.gaussians.identify import what_it_is
from l4gm.gaussians.still import (
    HARMONIC_DEGREE_0,
    checked,
    existing_file,
    join_smallest_three,
    prepared,
    split_smallest_three,
    to_bytes,
    unit_quats,
)
from l4gm.gaussians.types import Gaussians
from l4gm.io.budget import BUDGET, READ_BYTES_PER_GAUSSIAN, check_in_memory

# Magic, version, count, degree, fractional bits, flags; from version 4 on the number of streams.
_HEADER = struct.Struct("<4sIIBBBB")
_TABLE_OFFSET = struct.Struct("<I12x")  # version 4: behind the header, where the table begins
_TABLE_ENTRY = struct.Struct("<QQ")  # compressed and uncompressed bytes of a stream
_MAGIC = b"NGSP"
_GZIP = b"\x1f\x8b"
_FRACTIONAL_BITS = 12  # the usual: steps of 1/4096 up to +-2048 units
_MOST_FRACTIONAL_BITS = 22  # objects within +-2 units
_COLOR_SCALE = 0.15  # byte = 255 (0.15 f_dc + 0.5)
_SQRT_HALF = 0.5**0.5
_STREAMS = (9, 1, 3, 3, 4)  # bytes a Gaussian: means, opacities, colours, scales, quaternions
_HARMONICS = (0, 9, 24, 45, 72)  # bytes a Gaussian, by degree
_MAX_GAUSSIANS = 50_000_000


def write_spz(
    path: str | os.PathLike[str], gaussians: Gaussians, *, version: Literal[3, 4] = 3
) -> None:
    """Write one set [N], in order, whole or not at all.

    Means get as many fractional bits as the object's size leaves room for.

    Args:
        path: the file to write; replaced if it exists.
        gaussians: [N].
        version: 3, which every reader of SPZ knows, or 4, the newest.

    Raises:
        ValueError: leading dimensions, or values that are not finite.
        InputError: the file cannot be made there, or the object is larger than the format can say.
    """
    gaussians = prepared(gaussians, path)
    count = gaussians.num_gaussians
    bits = _fractional_bits(gaussians.means, path)
    streams = _pack(gaussians, bits)
    if version == 3:
        header = _HEADER.pack(_MAGIC, 3, count, 0, bits, 0, 0)
        content = gzip.compress(header + b"".join(streams), 6, mtime=0)
    else:
        import zstandard

        frames = [zstandard.ZstdCompressor(level=12).compress(stream) for stream in streams]
        content = b"".join(
            [
                _HEADER.pack(_MAGIC, 4, count, 0, bits, 0, len(streams)),
                _TABLE_OFFSET.pack(_HEADER.size + _TABLE_OFFSET.size),
                *(
                    _TABLE_ENTRY.pack(len(frame), len(stream))
                    for frame, stream in zip(frames, streams, strict=True)
                ),
                *frames,
            ]
        )
    with atomic_file(path) as partial:
        partial.write_bytes(content)


def read_spz(path: str | os.PathLike[str]) -> Gaussians:
    """Read one set [N], float32, from an SPZ file of version 2 to 4; harmonics are left out.

    Raises:
        InputError: no file, not SPZ, of another version, or cut off.
    """
    path = existing_file(path, "an SPZ file")
    with path.open("rb") as stream:
        head = stream.read(_HEADER.size)
    if head.startswith(_MAGIC):
        return checked(_unpack(*_read_zstd(path)), path)
    if not head.startswith(_GZIP):
        raise InputError(f"{path}: not an SPZ file, {what_it_is(path)}")
    return checked(_unpack(*_read_gzip(path)), path)


def _read_gzip(path: Path) -> tuple[list[NDArray[np.uint8]], int]:
    """The streams but for the harmonics, [N, bytes], of version 2 or 3, and the fractional bits."""
    try:
        with gzip.open(path) as stream:
            head = stream.read(_HEADER.size)
            version, count, degree, bits = _parse_header(head, path)
            widths = (*_STREAMS[:4], 4 if version == 3 else 3)
            size = count * (sum(widths) + _HARMONICS[degree])
            body = stream.read(size)
            stream.read(1)  # at the end gzip compares its checksum
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: damaged or cut off ({error}); get it anew") from None
    if len(body) < size:
        raise InputError(f"{path}: cut off: it should hold {count} Gaussians; get it anew")
    ends = [0, *np.cumsum(widths) * count]
    table = np.frombuffer(body, np.uint8)
    return [
        table[start:end].reshape(count, width)
        for start, end, width in zip(ends[:-1], ends[1:], widths, strict=True)
    ], bits


def _read_zstd(path: Path) -> tuple[list[NDArray[np.uint8]], int]:
    """As `_read_gzip`, of version 4."""
    import zstandard

    check_in_memory(path, path.stat().st_size)
    content = path.read_bytes()
    _, count, degree, bits = _parse_header(content, path)
    cut_off = InputError(f"{path}: damaged or cut off; get it anew")
    if len(content) < _HEADER.size + _TABLE_OFFSET.size:
        raise cut_off
    (offset,) = _TABLE_OFFSET.unpack_from(content, _HEADER.size)
    widths = (*_STREAMS, _HARMONICS[degree])[: 6 if degree else 5]
    start = offset + len(widths) * _TABLE_ENTRY.size
    if content[_HEADER.size - 1] != len(widths) or start > len(content):
        raise cut_off
    streams = []
    for index, width in enumerate(widths):
        size, unpacked = _TABLE_ENTRY.unpack_from(content, offset + index * _TABLE_ENTRY.size)
        frame = content[start : start + size]
        if len(frame) < size or unpacked != count * width:
            raise cut_off
        try:
            # A stream that goes on beyond its size is not unpacked any further.
            reader = zstandard.ZstdDecompressor().stream_reader(frame)
            stream = reader.read(unpacked)
        except zstandard.ZstdError as error:
            raise InputError(f"{path}: damaged ({error}); get it anew") from None
        if len(stream) != unpacked:
            raise cut_off
        streams.append(np.frombuffer(stream, np.uint8).reshape(count, width))
        start += size
    return streams[:5], bits


def _pack(gaussians: Gaussians, bits: int) -> list[bytes]:
    """The streams of a set [N], prepared."""
    fixed = (gaussians.means.double() * 2**bits).round().numpy().astype("<i4")
    dc = (gaussians.colors - 0.5) / HARMONIC_DEGREE_0
    logs = gaussians.scales.clamp(min=1e-30).log()
    return [
        fixed.view(np.uint8).reshape(-1, 4)[:, :3].tobytes(),
        to_bytes(gaussians.opacities).tobytes(),
        to_bytes(dc, 255 * _COLOR_SCALE, 127.5).tobytes(),
        to_bytes(logs, 16.0, 160.0).tobytes(),
        _pack_quats(gaussians.quats).tobytes(),
    ]


def _unpack(streams: list[NDArray[np.uint8]], bits: int) -> Gaussians:
    """The set [N] of streams [N, bytes]."""
    means, alphas, colors, scales, quats = streams
    fixed = np.zeros((len(means), 3, 4), np.uint8)
    fixed[..., 1:] = means.reshape(-1, 3, 3)  # at the top, so that the sign is the sign
    places = fixed.view("<i4")[..., 0] >> 8
    dc = (torch.from_numpy(colors.astype(np.float32)) / 255 - 0.5) / _COLOR_SCALE
    return Gaussians(
        means=torch.from_numpy((places / 2.0**bits).astype(np.float32)),
        quats=_unpack_quats(quats),
        scales=(torch.from_numpy(scales.astype(np.float32)) / 16 - 10).exp(),
        opacities=torch.from_numpy(alphas[:, 0].astype(np.float32) / 255),
        colors=(dc * HARMONIC_DEGREE_0 + 0.5).clamp(0, 1),
    )


def _fractional_bits(means: Tensor, path: str | os.PathLike[str]) -> int:
    """As many as leave the sign and the whole part room in 24 bits."""
    extent = float(means.abs().max()) if len(means) else 0.0
    for bits in range(_MOST_FRACTIONAL_BITS, -1, -1):
        if extent * 2**bits < 2**23 - 1:
            return bits
    raise InputError(f"{path}: SPZ holds places up to 8 million units, this object {extent:g}")


def _parse_header(head: bytes, path: os.PathLike[str]) -> tuple[int, int, int, int]:
    """Version, count, degree of the harmonics, fractional bits."""
    if len(head) < _HEADER.size or not head.startswith(_MAGIC):
        raise InputError(f"{path}: not an SPZ file (it does not start with {_MAGIC.decode()})")
    _, version, count, degree, bits, _, _ = _HEADER.unpack_from(head)
    if version not in (2, 3, 4):
        raise InputError(
            f"{path}: SPZ version {version}, but 2 to 4 can be read; convert it with "
            "splat-transform"
        )
    if degree >= len(_HARMONICS) or bits > 23 or count > _MAX_GAUSSIANS:
        raise InputError(f"{path}: {count} Gaussians of degree {degree}: the SPZ header is damaged")
    BUDGET.check(path, count * READ_BYTES_PER_GAUSSIAN)
    return version, count, degree, bits


def _pack_quats(quats: Tensor) -> NDArray[np.uint32]:
    largest, three = split_smallest_three(quats[:, [1, 2, 3, 0]])
    sizes = np.rint(np.minimum(np.abs(three) / _SQRT_HALF, 1) * 511).astype(np.uint32)
    fields = sizes | ((three < 0).astype(np.uint32) << 9)
    first, second, third = fields.T
    return ((largest.astype(np.uint32) << 30) | (first << 20) | (second << 10) | third).astype(
        "<u4"
    )


def _unpack_quats(packed: NDArray[np.uint8]) -> Tensor:
    """w x y z of version 3's four bytes, or of version 2's x, y, z in a byte each with w >= 0."""
    if packed.shape[1] == 3:
        xyz = torch.from_numpy(packed.astype(np.float32)) / 127.5 - 1
        w = (1 - xyz.square().sum(-1, keepdim=True)).clamp(min=0).sqrt()
        return unit_quats(torch.cat([w, xyz], -1))
    word = packed.reshape(-1).view("<u4") if packed.size else np.zeros(0, np.uint32)
    fields = np.stack([word >> 20, word >> 10, word], -1) & 1023
    three = (fields & 511) / 511 * _SQRT_HALF * np.where(fields & 512, -1.0, 1.0)
    return join_smallest_three((word >> 30).astype(np.int64), three)[:, [3, 0, 1, 2]]
