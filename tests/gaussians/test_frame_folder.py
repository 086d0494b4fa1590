"""Folders of frames: order, gaps, counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from l4gm.errors import InputError
from l4gm.gaussians.frame_folder import frame_name, read_frame_folder, write_frame_folder
from l4gm.gaussians.ply import write_ply
from l4gm.gaussians.types import Gaussians, GaussianSequence


def sequence(frames: int = 4, count: int = 6) -> GaussianSequence:
    torch.manual_seed(3)
    return GaussianSequence(
        Gaussians(
            torch.randn(frames, count, 3),
            torch.nn.functional.normalize(torch.randn(frames, count, 4), dim=-1),
            torch.rand(frames, count, 3) + 1e-3,
            torch.rand(frames, count) * 0.01,  # half of them would be pruned
            torch.rand(frames, count, 3),
        ),
        7.5,
    )


@pytest.mark.parametrize("up", ["y", "-y"])
def test_round_trip_keeps_count_and_order(tmp_path: Path, up: str) -> None:
    original = sequence()
    write_frame_folder(tmp_path / "out", original, up=up)
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == [*(f"frame_000{i}.ply" for i in range(4)), "sequence.json"]
    back = read_frame_folder(tmp_path / "out")
    assert back.fps == 7.5
    for name in ("means", "quats", "scales", "opacities", "colors"):
        torch.testing.assert_close(
            getattr(back.gaussians, name),
            getattr(original.gaussians, name),
            atol=1e-6,
            rtol=1e-5,
        )


def test_order_is_by_number_beyond_four_digits(tmp_path: Path) -> None:
    assert frame_name(12345) == "frame_12345.ply"
    frames = sequence(3).gaussians
    for number, index in [(9999, 0), (10000, 1), (10001, 2)]:
        write_ply(tmp_path / frame_name(number), frames[index], prune=False)
    back = read_frame_folder(tmp_path, fps=5)
    torch.testing.assert_close(back.gaussians.means, frames.means)
    assert back.fps == 5


def test_shorter_sequence_replaces_a_longer_one_and_spares_other_files(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    write_frame_folder(tmp_path, sequence(6))
    write_frame_folder(tmp_path, sequence(2))
    assert len(read_frame_folder(tmp_path)) == 2
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_killed_write_is_not_taken_for_a_sequence(tmp_path: Path) -> None:
    write_frame_folder(tmp_path, sequence(3))
    broken = sequence(3)
    broken.gaussians.means[2] = float("nan")
    with pytest.raises(ValueError, match="means"):
        write_frame_folder(tmp_path, broken)
    with pytest.raises(InputError, match=r"no sequence\.json"):
        read_frame_folder(tmp_path)


def test_gap_is_named(tmp_path: Path) -> None:
    write_frame_folder(tmp_path, sequence(5))
    (tmp_path / "frame_0002.ply").unlink()
    with pytest.raises(InputError, match=r"frame_0002\.ply is missing"):
        read_frame_folder(tmp_path)


def test_missing_end_is_noticed(tmp_path: Path) -> None:
    write_frame_folder(tmp_path, sequence(5))
    (tmp_path / "frame_0004.ply").unlink()
    with pytest.raises(InputError, match="expected 5 frames, but there are 4"):
        read_frame_folder(tmp_path)


def test_different_counts_are_named(tmp_path: Path) -> None:
    write_frame_folder(tmp_path, sequence(3))
    write_ply(tmp_path / "frame_0001.ply", sequence(1, 4).gaussians[0], prune=False)
    with pytest.raises(InputError, match=r"frame_0001\.ply: 4 Gaussians.* 6"):
        read_frame_folder(tmp_path)


def test_two_names_of_one_frame(tmp_path: Path) -> None:
    write_frame_folder(tmp_path, sequence(2))
    write_ply(tmp_path / "frame_00001.ply", sequence(1).gaussians[0], prune=False)
    with pytest.raises(InputError, match="are one frame"):
        read_frame_folder(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"format": "l4gm-ply-sequence", "fps": "fast"}',
        '{"format": "l4gm-ply-sequence", "fps": true}',
        '{"format": "l4gm-ply-sequence", "fps": NaN}',
        '{"format": "l4gm-ply-sequence", "fps": 24, "up": "x"}',
        '{"format": "l4gm-ply-sequence", "fps": 24, "num_frames": 99}',
        "[" * 100_000,
    ],
)
def test_bad_index(tmp_path: Path, text: str) -> None:
    write_frame_folder(tmp_path, sequence(2))
    (tmp_path / "sequence.json").write_text(text)
    with pytest.raises(InputError, match=r"sequence\.json|fps|frames"):
        read_frame_folder(tmp_path)


def test_index_says_what_it_holds(tmp_path: Path) -> None:
    write_frame_folder(tmp_path, sequence(2))
    document = json.loads((tmp_path / "sequence.json").read_text())
    assert document == {
        "format": "l4gm-ply-sequence",
        "version": 1,
        "fps": 7.5,
        "num_frames": 2,
        "num_gaussians": 6,
        "up": "y",
        "scale": 1.0,
    }


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frames"):
        read_frame_folder(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_frame_folder(tmp_path / "none")
