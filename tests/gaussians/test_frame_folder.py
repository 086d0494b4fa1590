"""Folders of frames: order, gaps, counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from l4gm.errors import InputError
from l4gm.gaussians.frame_folder import (
    frame_name,
    index_path,
    read_frame_folder,
    write_frame_folder,
)
from l4gm.gaussians.ply import write_ply
from l4gm.gaussians.sog import read_sog
from l4gm.gaussians.types import Gaussians, GaussianSequence


def sequence(frames: int = 4, count: int = 6) -> GaussianSequence:
    torch.manual_seed(3)
    return GaussianSequence(
        Gaussians(
            torch.randn(frames, count, 3),
            torch.nn.functional.normalize(torch.randn(frames, count, 4), dim=-1),
            torch.rand(frames, count, 3) + 1e-3,
            torch.rand(frames, count) * 0.5 + 0.1,
            torch.rand(frames, count, 3),
        ),
        7.5,
    )


@pytest.mark.parametrize("up", ["y", "-y"])
def test_round_trip_keeps_count_and_order(tmp_path: Path, up: str) -> None:
    original = sequence()
    write_frame_folder(tmp_path / "out", original, up=up)
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == [f"frame_000{i}.ply" for i in range(4)]  # nothing else: players want that
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "out.json"]
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
    with pytest.raises(InputError, match=rf"no {tmp_path.name}\.json beside it"):
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


def test_frames_of_differing_counts_are_filled_up(tmp_path: Path) -> None:
    write_frame_folder(tmp_path, sequence(3))
    small = sequence(1, 4).gaussians[0]
    write_ply(tmp_path / "frame_0001.ply", small, prune=False)
    back = read_frame_folder(tmp_path).gaussians
    assert back.num_gaussians == 6
    torch.testing.assert_close(back.means[1, :4], small.means)
    assert (back.opacities[1] > 0).tolist() == [True] * 4 + [False] * 2
    assert (back.opacities[[0, 2]] > 0).all()


@pytest.mark.parametrize("prune", [True, False])
def test_invisible_gaussians_are_left_out(tmp_path: Path, prune: bool) -> None:
    original = sequence(3)
    original.gaussians.opacities[0, :2] = 0.003
    original.gaussians.opacities[1] = 0.0  # nothing to see; an empty file no program wants
    total = write_frame_folder(tmp_path, original, "sog", prune=prune)
    counts = [len(read_sog(tmp_path / frame_name(i, "sog")).means) for i in range(3)]
    assert counts == ([4, 1, 6] if prune else [6, 6, 6])
    assert total == sum(counts)
    assert len(read_frame_folder(tmp_path)) == 3


@pytest.mark.parametrize(
    "names",
    [
        ["frame0000.ply", "frame0001.ply", "frame0002.ply"],
        ["time_00000.ply", "time_00001.ply", "time_00002.ply"],
        ["9.ply", "10.ply", "11.ply"],
        ["cat 1.PLY", "cat 2.PLY", "cat 3.PLY"],
        ["v2_0.ply", "v2_5.ply", "v2_10.ply"],
    ],
)
def test_names_of_other_programs(tmp_path: Path, names: list[str]) -> None:
    frames = sequence(3).gaussians
    for index, name in enumerate(names):
        write_ply(tmp_path / name, frames[index], prune=False)
    (tmp_path / "notes2.txt").write_text("no frame")
    (tmp_path / "cameras.json").write_text("{}")
    torch.testing.assert_close(read_frame_folder(tmp_path, fps=5).gaussians.means, frames.means)


def test_two_sequences_are_not_mixed(tmp_path: Path) -> None:
    one = sequence(1).gaussians[0]
    for name in ("a_0.ply", "a_1.ply", "b_0.ply"):
        write_ply(tmp_path / name, one, prune=False)
    with pytest.raises(InputError, match=r"two kinds, a_0\.ply and b_0\.ply"):
        read_frame_folder(tmp_path, fps=5)
    write_ply(tmp_path / "frame_0000.ply", one, prune=False)
    assert len(read_frame_folder(tmp_path)) == 1  # ours go first; one frame needs no rate


def test_gap_in_names_of_others(tmp_path: Path) -> None:
    for number in (0, 1, 3):
        write_ply(tmp_path / f"t{number:03d}.ply", sequence(1).gaussians[0], prune=False)
    with pytest.raises(InputError, match=r"expected 4 frames, but t002\.ply is missing"):
        read_frame_folder(tmp_path, fps=5)


def test_a_file_of_somebody_else_is_no_index_and_stays(tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text('{"mine": 1}')
    write_ply(tmp_path / "out" / "frame_0000.ply", sequence(1).gaussians[0])
    write_ply(tmp_path / "out" / "frame_0001.ply", sequence(1).gaussians[0])
    with pytest.raises(InputError, match="give fps"):
        read_frame_folder(tmp_path / "out")
    with pytest.raises(InputError, match=r"out\.json: is not an index"):
        write_frame_folder(tmp_path / "out", sequence(2))
    assert (tmp_path / "out.json").read_text() == '{"mine": 1}'


def test_folders_of_earlier_versions(tmp_path: Path) -> None:
    """Their index lies inside."""
    write_frame_folder(tmp_path / "out", sequence(2))
    document = json.loads((tmp_path / "out.json").read_text()) | {"fps": 3.0}
    (tmp_path / "out.json").unlink()
    (tmp_path / "out" / "sequence.json").write_text(json.dumps(document))
    assert read_frame_folder(tmp_path / "out").fps == 3.0
    write_frame_folder(tmp_path / "out", sequence(2))
    assert not (tmp_path / "out" / "sequence.json").exists()


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
    index_path(tmp_path).write_text(text)
    with pytest.raises(InputError, match=r"\.json|fps|frames|up must be"):
        read_frame_folder(tmp_path)


def test_index_says_what_it_holds(tmp_path: Path) -> None:
    write_frame_folder(tmp_path, sequence(2))
    document = json.loads(index_path(tmp_path).read_text())
    assert document == {
        "format": "l4gm-ply-sequence",
        "version": 2,
        "fps": 7.5,
        "num_frames": 2,
        "up": "y",
        "scale": 1.0,
    }


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """A folder of its own, so that the index beside it belongs to the test too."""
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frames"):
        read_frame_folder(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_frame_folder(tmp_path / "none")


def test_a_folder_whose_index_would_have_too_long_a_name(tmp_path: Path) -> None:
    """As of another program it is read; written it is not, before anything is made."""
    one = sequence(1)
    folder = tmp_path / ("x" * 252)
    with pytest.raises(InputError, match="more than 255 bytes"):
        write_frame_folder(folder, one)
    assert not list(tmp_path.iterdir())
    folder.mkdir()
    write_ply(folder / "frame_0000.ply", one.gaussians[0])
    assert len(read_frame_folder(folder, fps=12.0)) == 1
