"""Damaged checkpoints: one flipped bit is either noticed or changes nothing."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from l4gm.errors import InputError
from l4gm.train.checkpoints import Checkpoint, load_checkpoint, save_checkpoint


def checkpoint() -> Checkpoint:
    generator = torch.Generator().manual_seed(0)
    weights = {f"layer.{k}.weight": torch.randn(8, 8, generator=generator) for k in range(3)}
    return Checkpoint(
        step=12,
        config={"name": "test", "stages": [{"steps": 3}]},
        weights=weights,
        ema={name: tensor * 0.5 for name, tensor in weights.items()},
        optimizer={"state": {name: {"step": torch.tensor(3.0)} for name in weights}},
        losses=[0.5, 0.25],
        random={"cpu": torch.arange(16, dtype=torch.uint8)},
        seconds=1.5,
    )


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[name], other[name]) for name in one)
    return bool(one == other)


@pytest.mark.parametrize("mmap", [False, True])
def test_one_flipped_bit_does_not_go_unnoticed(tmp_path: Path, mmap: bool) -> None:
    path = tmp_path / "checkpoint_00000012.pt"
    save_checkpoint(path, checkpoint())
    assert equal(vars(load_checkpoint(path, mmap=mmap)), vars(checkpoint()))
    content = path.read_bytes()
    choose = random.Random(0)
    noticed = 0
    for _ in range(300):
        damaged = bytearray(content)
        damaged[choose.randrange(len(damaged))] ^= 1 << choose.randrange(8)
        path.write_bytes(damaged)
        try:
            found = load_checkpoint(path, mmap=mmap)
        except InputError:
            noticed += 1
        else:
            assert equal(vars(found), vars(checkpoint()))
    assert noticed > 100  # the rest are bits that nothing depends on


def test_a_damaged_tensor_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint_00000012.pt"
    save_checkpoint(path, checkpoint())
    content = path.read_bytes()
    tensor = checkpoint().weights["layer.1.weight"].numpy().tobytes()
    position = content.index(tensor) + 5
    path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
    with pytest.raises(InputError, match=r"damaged.*checksum of .*data"):
        load_checkpoint(path)
