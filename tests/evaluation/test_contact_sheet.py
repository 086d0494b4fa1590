"""The contact sheet shows the right moment from the right sides."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from l4gm.data.clip import ClipRequest
from l4gm.datagen.clips import ProceduralClips
from l4gm.evaluation.contact_sheet import (
    COLUMNS,
    LABEL_PX,
    Subject,
    contact_sheet,
    heldout_subjects,
)
from l4gm.gaussians.types import Gaussians

TILE_PX = 64
NUM_FRAMES = 3


def reconstruct(frames: torch.Tensor, views: torch.Tensor | None) -> Gaussians:
    """A red splat on the right, a blue one above; both red and blue only at the middle frame."""
    colors = torch.tensor([[1.0, 0, 0], [0, 0, 1.0]]).repeat(len(frames), 1, 1)
    colors[: len(frames) // 2] = colors[len(frames) // 2 + 1 :] = 0
    return Gaussians(
        means=torch.tensor([[0.35, 0.0, 0.0], [0.0, 0.35, 0.0]]).repeat(len(frames), 1, 1),
        quats=torch.tensor([1.0, 0, 0, 0]).expand(len(frames), 2, 4),
        scales=torch.full((len(frames), 2, 3), 0.03),
        opacities=torch.ones(len(frames), 2),
        colors=colors,
    )


def subject(label: str = "thing") -> Subject:
    """Frames of one colour each, half transparent."""
    frames = torch.zeros(NUM_FRAMES, 4, 32, 32)
    frames[:, 3] = 0.5
    frames[:, 1] = torch.tensor([0.0, 1.0, 0.5])[:, None, None]
    return Subject(label, frames)


def place_of(tile: np.ndarray, channel: int) -> tuple[float, float]:
    """Row and column, as shares, of what has this colour and no other."""
    other = [c for c in range(3) if c != channel]
    share = tile[..., channel].astype(float) - tile[..., other].max(-1)
    rows, columns = np.nonzero(share > 100)
    assert len(rows), "nothing of this colour"
    return (rows.mean() + 0.5) / TILE_PX, (columns.mean() + 0.5) / TILE_PX


def test_every_column_is_the_middle_frame_from_its_side() -> None:
    seen = []
    sheet = contact_sheet([subject()], reconstruct, tile_px=TILE_PX, on_row=seen.append)
    assert sheet.shape == (LABEL_PX + TILE_PX, len(COLUMNS) * TILE_PX, 3)
    assert [s.label for s in seen] == ["thing"]
    tiles = dict(zip(COLUMNS, np.split(sheet[LABEL_PX:], len(COLUMNS), 1), strict=True))
    # The second frame, half green on white.
    np.testing.assert_allclose(
        tiles["input"], np.broadcast_to([127.5, 255, 127.5], (64, 64, 3)), atol=1
    )
    red = {name: place_of(tile, 0) for name, tile in tiles.items() if name not in ("input", "90°")}
    blue = {name: place_of(tile, 2) for name, tile in tiles.items() if name != "input"}
    assert red["front"][1] > 0.7
    assert 0.6 < red["45°"][1] < red["front"][1]
    assert red["180°"][1] < 0.3
    assert all(blue[name][0] < 0.35 for name in ("front", "45°", "90°", "180°"))
    assert blue["from above"][0] > blue["front"][0] + 0.05  # it comes towards the camera


def test_long_labels_stay_in_their_column() -> None:
    sheet = contact_sheet([subject("a_very_long_name_" * 9)], reconstruct, tile_px=TILE_PX)
    short = contact_sheet([subject("")], reconstruct, tile_px=TILE_PX)
    differs = (sheet != short).any((0, 2))
    assert differs[:TILE_PX].any()
    assert not differs[TILE_PX:].any()


def test_heldout_objects_come_from_the_sources_in_turn() -> None:
    sources = {"one": ProceduralClips(0, "heldout"), "two": ProceduralClips(1, "heldout")}
    request = ClipRequest(size_px=16, num_frames=2)
    subjects = heldout_subjects(sources, request, 3)
    clips = [sources[name].clip(k, request) for name, k in (("one", 0), ("two", 0), ("one", 1))]
    assert [s.label for s in subjects] == [clip.name for clip in clips]
    assert len({s.label for s in subjects}) == 3
    assert all(s.frames.shape == (2, 4, 16, 16) and s.views is None for s in subjects)
    (given,) = heldout_subjects(sources, request, 1, views_given=True)
    assert given.views is not None
    assert torch.equal(given.views[0], given.frames[0])


def test_nothing_to_show_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one subject"):
        contact_sheet([], reconstruct)
