"""What is known of a video before its frames are read."""

from __future__ import annotations

from dataclasses import dataclass

MIN_SIDE_PX = 16
"""Smaller images hold no object that could be reconstructed."""


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What is known of a video before its frames are read.

    Args:
        width, height: size in pixels of the frames as they are shown: turned by the rotation flag,
            with square pixels.
        fps: frames per second of the even lattice that frames are put on, by their timestamps.
        num_frames: on that lattice, held frames repeated; None where the source does not say. A
            damaged file may give fewer.
        num_pictures: frames stored in the file; None where the source does not say.
        duration_seconds: num_frames / fps, or what the container declares; None where the source
            does not say.
        codec: name of the codec ("h264", "vp9", "png", ...).
        has_alpha: frames have 4 channels.
        rotation_degrees: how far frames are turned counterclockwise before they are shown: 0, 90,
            180 or 270.
        notes: what was decided on the way to these frames, one phrase each ("HLG converted to
            SDR", ...).
    """

    width: int
    height: int
    fps: float
    num_frames: int | None
    num_pictures: int | None
    duration_seconds: float | None
    codec: str
    has_alpha: bool
    rotation_degrees: int = 0
    notes: tuple[str, ...] = ()
