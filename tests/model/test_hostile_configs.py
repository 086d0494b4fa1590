"""Configs of others: values of the wrong kind, and networks that nobody could build."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from l4gm.errors import InputError
from l4gm.model.config import L4GMConfig
from l4gm.model.weights import CONFIG_KEY, load_model
from l4gm.solid.config import SolidConfig

FAULTS = [
    ("layers_per_block", 10**9, "at most 64"),
    ("layers_per_block", 2.0, "must be int"),
    ("layers_per_block", "2", "must be int"),
    ("layers_per_block", True, "must be int"),
    ("layers_per_block", 10**400, "must be int"),
    ("input_size", 2**30, "at most"),
    ("input_size", None, "must be int"),
    ("mid_attention", "yes", "must be bool"),
    ("mid_attention", 1, "must be bool"),
    ("down_channels", [2**40] * 6, "down_channels"),
    ("down_channels", "64", "down_channels"),
    ("down_channels", [64.0] * 6, "down_channels"),
    ("down_channels", [[64]] * 6, "down_channels"),
    ("down_channels", {}, "down_channels"),
    ("down_attention", [0] * 6, "down_attention"),
    ("attention_head_count", float("nan"), "attention_head_count"),
]


@pytest.mark.parametrize(("name", "value", "message"), FAULTS)
def test_faults_are_named_at_once(tmp_path: Path, name: str, value: Any, message: str) -> None:
    values = L4GMConfig.big().to_dict() | {name: value}
    path = tmp_path / "a.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata={CONFIG_KEY: json.dumps(values)})
    began = time.process_time()
    with pytest.raises(InputError, match=message) as caught:
        load_model(path)
    assert "a.safetensors" in str(caught.value)
    assert len(str(caught.value)) < 500
    assert time.process_time() - began < 2


@pytest.mark.parametrize("name", ["down_channels", "up_channels"])
def test_levels_are_bounded(name: str) -> None:
    attention = name.replace("channels", "attention")
    values = L4GMConfig.big().to_dict() | {name: [64] * 40, attention: [False] * 40}
    with pytest.raises(InputError, match="at most 12 levels"):
        L4GMConfig.from_dict(values)


SOLID_FAULTS = [
    ("heads", 0, "heads must be 1 to"),
    ("blocks", 10**9, "blocks must be 1 to"),
    ("image_size", -32, "image_size must be 1 to"),
    ("image_size", 33, "multiple of 32"),
    ("depth_cells", 2**30, "depth_cells must be 1 to"),
    ("num_gaussians", 2**31, "num_gaussians must be 1 to"),
    ("channels", [2**30] * 3, "channels must be at most"),
    ("channels", [], "three multiples"),
    ("reach", float("nan"), "reach must be float"),
    ("reach", 0.0, "reach must be positive"),
]


@pytest.mark.parametrize(("name", "value", "message"), SOLID_FAULTS)
def test_faults_of_the_solid_network_are_named(name: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SolidConfig.from_dict(SolidConfig().to_dict() | {name: value})


@pytest.mark.parametrize("config", [L4GMConfig.big(), SolidConfig()])
def test_what_is_written_is_read(config: L4GMConfig | SolidConfig) -> None:
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config
