from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from l4gm.errors import InputError
from l4gm.perceptual.published import (
    ALEXNET,
    I3D_K400,
    VGG16,
    WEIGHT_FILES,
    MissingWeightsError,
    WeightFile,
    fetch,
    find,
    read_tensors,
)

TENSORS = {"features.0.weight": torch.ones(2, 2), "classifier.0.bias": torch.ones(3)}


def test_missing_weights_say_what_where_and_how(weight_home: Path) -> None:
    for file in WEIGHT_FILES:
        with pytest.raises(MissingWeightsError) as caught:
            find(file)
        text = str(caught.value)
        assert "\n" not in text
        for part in (file.filename, file.url, file.licence, str(weight_home)):
            assert part in text


def test_another_file_of_the_name_is_refused(weight_home: Path) -> None:
    weight_home.mkdir(parents=True)
    (weight_home / VGG16.filename).write_bytes(b"cut off")
    with pytest.raises(InputError, match="SHA-256 is not that of the published file"):
        read_tensors(VGG16, wanted=("features.",))


def test_torch_downloads_are_found_too(weight_home: Path, place) -> None:
    path = place(VGG16, TENSORS)
    cache = weight_home.parent / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    os.replace(path, cache / path.name)
    assert find(VGG16) == cache / path.name


def test_only_wanted_tensors_are_kept_and_unknown_names_refused(place) -> None:
    place(ALEXNET, TENSORS)
    kept = read_tensors(ALEXNET, wanted=("features.",), ignored=("classifier.",))
    assert list(kept) == ["features.0.weight"]
    with pytest.raises(InputError, match="not the tensors of AlexNet"):
        read_tensors(ALEXNET, wanted=("features.",))


def test_a_pickled_program_is_not_run(weight_home: Path, tmp_path: Path) -> None:
    """The one file without a published SHA-256 still gives tensors or nothing."""

    class Program:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    weight_home.mkdir(parents=True)
    torch.save({"logits.x": Program()}, weight_home / I3D_K400.filename)
    with pytest.raises(InputError, match="not a readable file of tensors"):
        read_tensors(I3D_K400, wanted=("logits.",))
    assert not (tmp_path / "ran").exists()


def test_fetch_writes_the_verified_file_or_nothing(weight_home: Path, place, tmp_path) -> None:
    source = place(VGG16, TENSORS)
    moved = tmp_path / "published.pth"
    os.replace(source, moved)
    here = replace(VGG16, url=moved.as_uri())
    seen: list[tuple[int, int]] = []
    assert fetch(here, lambda done, total: seen.append((done, total))) == source
    assert source.read_bytes() == moved.read_bytes()
    assert seen[-1] == (moved.stat().st_size, moved.stat().st_size)

    source.unlink()
    with pytest.raises(InputError, match="SHA-256"):
        fetch(replace(here, sha256="0" * 64))
    with pytest.raises(ConnectionError, match="cannot download"):
        fetch(replace(here, url=(tmp_path / "nothing").as_uri()))
    assert list(weight_home.iterdir()) == []


def test_names_are_unique() -> None:
    assert len({file.name for file in WEIGHT_FILES}) == len(WEIGHT_FILES)
    assert all(isinstance(file, WeightFile) for file in WEIGHT_FILES)
