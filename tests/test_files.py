"""`save` and `load`: the path alone decides."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from l4gm import Gaussians, GaussianSequence, load, save
from l4gm.errors import InputError


def sequence(frames: int = 3, count: int = 5) -> GaussianSequence:
    torch.manual_seed(1)
    return GaussianSequence(
        Gaussians(
            torch.rand(frames, count, 3) - 0.5,
            torch.nn.functional.normalize(torch.randn(frames, count, 4), dim=-1),
            torch.rand(frames, count, 3) * 0.1 + 1e-3,
            torch.rand(frames, count),
            torch.rand(frames, count, 3),
        ),
        24.0,
    )


@pytest.mark.parametrize("name", ["a.safetensors", "A.SAFETENSORS", "deep/er/a.safetensors"])
def test_safetensors(tmp_path: Path, name: str) -> None:
    save(sequence(), tmp_path / name)
    back = load(tmp_path / name)
    assert isinstance(back, GaussianSequence)
    assert torch.equal(back.gaussians.means, sequence().gaussians.means)


def test_compact(tmp_path: Path) -> None:
    save(sequence(), tmp_path / "a.l4gm")
    back = load(tmp_path / "a.l4gm")
    assert isinstance(back, GaussianSequence)
    assert back.fps == 24.0
    torch.testing.assert_close(
        back.gaussians.opacities, sequence().gaussians.opacities, atol=0.5 / 255, rtol=0
    )


@pytest.mark.parametrize("name", ["out", "v1.2/"])
def test_folder(tmp_path: Path, name: str) -> None:
    save(sequence(), os.path.join(tmp_path, name))  # noqa: PTH118  (a Path would lose the slash)
    assert (tmp_path / name / "frame_0002.ply").is_file()
    back = load(tmp_path / name)
    assert isinstance(back, GaussianSequence)
    torch.testing.assert_close(back.gaussians.scales, sequence().gaussians.scales)


def test_existing_folder_with_a_dot(tmp_path: Path) -> None:
    (tmp_path / "run.1").mkdir()
    save(sequence(), tmp_path / "run.1")
    assert len(load(tmp_path / "run.1")) == 3


def test_folder_of_a_run_falls_back_to_its_sequence(tmp_path: Path) -> None:
    save(sequence(), tmp_path / "sequence.safetensors")
    back = load(tmp_path)
    assert torch.equal(back.gaussians.means, sequence().gaussians.means)
    save(sequence(2), tmp_path)
    assert len(load(tmp_path)) == 2


def test_single_ply(tmp_path: Path) -> None:
    one = sequence().gaussians[1]
    save(one, tmp_path / "a.ply", prune=False)
    torch.testing.assert_close(load(tmp_path / "a.ply").means, one.means)
    save(sequence(1), tmp_path / "b.ply", up="-y", prune=False)
    flipped = sequence(1).gaussians.means[0] * torch.tensor([1.0, -1, -1])
    torch.testing.assert_close(load(tmp_path / "b.ply").means, flipped)


@pytest.mark.parametrize("name", ["a.compressed.ply", "a.splat", "a.spz", "a.sog", "a.glb"])
def test_formats_of_one_set(tmp_path: Path, name: str) -> None:
    one = sequence().gaussians[1]
    save(one, tmp_path / name)
    back = load(tmp_path / name)
    assert isinstance(back, Gaussians)
    torch.testing.assert_close(back.means, one.means, atol=1e-3, rtol=0)
    with pytest.raises(InputError, match="this sequence has 3; give a folder"):
        save(sequence(), tmp_path / name)


@pytest.mark.parametrize("kind", ["ply", "compressed-ply", "splat", "spz", "sog", "glb"])
def test_folders_of_every_kind(tmp_path: Path, kind: str) -> None:
    scale = 1.0 if kind == "glb" else 2.0
    up = "y" if kind == "glb" else "-z"
    save(sequence(), tmp_path / "out", frame_format=kind, up=up, scale=scale)
    back = load(tmp_path / "out")
    assert isinstance(back, GaussianSequence)
    assert (len(back), back.fps) == (3, 24.0)
    torch.testing.assert_close(back.gaussians.means, sequence().gaussians.means, atol=1e-3, rtol=0)
    other = "spz" if kind == "ply" else "ply"
    with pytest.raises(InputError, match="frames of another kind"):
        save(sequence(), tmp_path / "out", frame_format=other)


def test_axes_and_sizes_of_files_that_do_not_say(tmp_path: Path) -> None:
    one = sequence().gaussians[1]
    save(one, tmp_path / "a.spz", up="z", scale=10.0)
    as_it_is = load(tmp_path / "a.spz")
    x, y, z = one.means.unbind(-1)
    torch.testing.assert_close(as_it_is.means, 10 * torch.stack([x, -z, y], -1), atol=1e-4, rtol=0)
    back = load(tmp_path / "a.spz", up="z", scale=10.0)
    torch.testing.assert_close(back.means, one.means, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["a.glb", "a.safetensors", "a.l4gm", "a.html"])
def test_files_whose_axes_are_fixed(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="y up by definition"):
        save(sequence(1), tmp_path / name, up="z")
    if name != "a.glb":
        with pytest.raises(InputError, match="own size"):
            save(sequence(1), tmp_path / name, scale=2.0)
    with pytest.raises(ValueError, match="frame_format must be one of ply"):
        save(sequence(1), tmp_path / "out", frame_format="obj")
    assert not list(tmp_path.iterdir())


def test_one_set_as_a_sequence(tmp_path: Path) -> None:
    save(sequence().gaussians[0], tmp_path / "a.safetensors")
    assert len(load(tmp_path / "a.safetensors")) == 1


def test_sequence_does_not_fit_one_ply(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this sequence has 3; give a folder"):
        save(sequence(), tmp_path / "a.ply")


@pytest.mark.parametrize("name", ["a.obj", "a.pt", "a.safetensors.bak"])
def test_unknown_suffix_lists_the_known(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"\.ply, .*\.glb.*folder.*\.safetensors.*\.l4gm.*\.html"):
        save(sequence(), tmp_path / name)
    with pytest.raises(InputError, match=r"\.ply, .*\.glb.*folder.*\.safetensors.*\.l4gm.*\.html"):
        load(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_load_of_what_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "none.ply")
    with pytest.raises(InputError, match="no frames"):
        load(tmp_path)
    (tmp_path / "plain").write_text("x")
    with pytest.raises(InputError, match="without suffix"):
        load(tmp_path / "plain")
    (tmp_path / "page.html").write_text("x")
    with pytest.raises(InputError, match="for looking"):
        load(tmp_path / "page.html")


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name in ("file/a.ply", "file/a.safetensors", "file/sub/"):
        result = sequence(1)
        with pytest.raises(InputError, match="cannot"):
            save(result, os.path.join(tmp_path, name))  # noqa: PTH118
