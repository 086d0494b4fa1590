"""Sequences whose rows mean nothing from frame to frame: every form keeps every frame, and stays
small."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from l4gm.evaluation.metrics import psnr
from l4gm.files import load, save
from l4gm.gaussians.compact_file import read_compact_info, write_compact
from l4gm.gaussians.order import rows_correspond, spatially_ordered
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.gaussians.visible import visible
from l4gm.geometry.cameras import orbit_cameras
from l4gm.splat.render import render


def reordered(sequence: GaussianSequence) -> GaussianSequence:
    """Every frame in an order of its own."""
    generator = torch.Generator().manual_seed(1)
    sets = []
    for index in range(len(sequence)):
        order = torch.randperm(sequence.gaussians.num_gaussians, generator=generator)
        sets.append(sequence.gaussians[index].map(lambda tensor, order=order: tensor[order]))
    return GaussianSequence(Gaussians.stack(sets), sequence.fps)


def test_which_rows_correspond(clip: GaussianSequence, surface_clip: GaussianSequence) -> None:
    for sequence, expected in (
        (clip, True),
        (reordered(clip), False),
        (surface_clip, False),
        (GaussianSequence(surface_clip.gaussians[:1], 1.0), True),
    ):
        frames = sequence.gaussians
        assert rows_correspond(len(sequence), frames.__getitem__) == expected


def test_order_along_a_curve(surface_clip: GaussianSequence) -> None:
    frame = surface_clip.gaussians[9]
    ordered = spatially_ordered(frame)
    count = int(visible(frame).sum())
    assert count < frame.num_gaussians
    assert visible(ordered)[:count].all()
    assert not visible(ordered)[count:].any()
    rows = torch.cat([ordered.means, ordered.colors, ordered.quats], -1)
    before = torch.cat([frame.means, frame.colors, frame.quats], -1)
    assert torch.equal(rows.unique(dim=0), before.unique(dim=0))  # whole rows, none lost
    steps = ordered.means[:count].diff(dim=0).norm(dim=-1)
    assert steps.median() < 0.1 * frame.means[:count].diff(dim=0).norm(dim=-1).median()


@pytest.mark.parametrize("name", ["a.l4gm", "frames", "a.usdc", "a.safetensors"])
def test_every_frame_is_kept(tmp_path: Path, surface_clip: GaussianSequence, name: str) -> None:
    if name == "a.usdc":
        pytest.importorskip("pxr")
    save(surface_clip, tmp_path / name)
    back = load(tmp_path / name)
    assert isinstance(back, GaussianSequence)
    assert (len(back), back.fps) == (10, 24.0)
    cameras = orbit_cameras([0, 120], 20, size=96)
    for index in (0, 4, 9):
        one, other = (s.gaussians[index : index + 1] for s in (surface_clip, back))
        assert int(visible(one).sum()) == int(visible(other).sum())
        images = [render(g, cameras).image[0] for g in (one, other)]
        assert psnr(*images).min() > 40


def test_compact_files_stay_small(tmp_path: Path, surface_clip: GaussianSequence) -> None:
    """Without sorted rows they were twice as large."""
    write_compact(tmp_path / "a.l4gm", surface_clip)
    assert read_compact_info(tmp_path / "a.l4gm").key_every == 1
    gaussians = int(visible(surface_clip.gaussians).sum())
    assert (tmp_path / "a.l4gm").stat().st_size < 5.5 * gaussians


def test_pages_stay_small_and_tell_the_player(
    tmp_path: Path, surface_clip: GaussianSequence, clip: GaussianSequence
) -> None:
    groups = []
    for sequence, name in ((surface_clip, "a.html"), (clip, "b.html")):
        save(sequence, tmp_path / name)
        page = (tmp_path / name).read_text()
        groups.append(int(re.search(r'"groupFrames":(\d+)', page)[1]))  # type: ignore[index]
        frames = re.findall(r'<script type="text/plain" id="frame-\d+">([^<]*)', page)
        assert len(frames) == len(sequence)
    assert groups == [1, 8]
    save(surface_clip, tmp_path / "a.html")
    size = sum(
        len(text)
        for text in re.findall(r'id="frame-\d+">([^<]*)', (tmp_path / "a.html").read_text())
    )
    assert size < 11 * int(visible(surface_clip.gaussians).sum())
