"""The network's config: released values, derived sizes, validation, plain values."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from l4gm.errors import InputError
from l4gm.model.config import L4GMConfig


def test_the_released_network_gives_65536_gaussians():
    config = L4GMConfig.big()
    assert config.input_size == 256
    assert config.splat_size == 128
    assert 4 * config.splat_size**2 == 65_536
    assert config.attention_head_count == 16


def test_missing_up_levels_make_the_output_coarser(released_config):
    assert released_config.pixels_per_splat == 2  # three levels down and two up
    assert released_config.splat_size == 8


def test_configs_survive_json_and_are_frozen(any_config):
    again = L4GMConfig.from_dict(json.loads(json.dumps(any_config.to_dict())))
    assert again == any_config
    assert hash(again) == hash(any_config)
    with pytest.raises(FrozenInstanceError):
        again.input_size = 8  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"input_size": 18}, "input_size"),
        ({"input_size": 0}, "input_size"),
        ({"down_attention": (True,)}, "down_attention"),
        ({"up_channels": (16, 16, 16, 16), "up_attention": (False,) * 4}, "levels up"),
        ({"down_channels": (8, 18, 16)}, "norm_groups"),
        ({"attention_head_count": 3}, "attention_head_count"),
        ({"layers_per_block": 0}, "layers_per_block"),
    ],
)
def test_values_that_do_not_fit_are_named(released_config, change, named):
    with pytest.raises(ValueError, match=named):
        replace(released_config, **change)


def test_levels_that_do_not_attend_may_have_any_number_of_heads(released_config):
    quiet = replace(
        released_config,
        attention_head_count=5,
        down_attention=(False,) * 3,
        mid_attention=False,
        up_attention=(False,) * 2,
    )
    assert quiet.attention_head_count == 5


def test_unknown_and_missing_keys_are_bad_input(released_config):
    values = released_config.to_dict()
    with pytest.raises(InputError, match="colour"):
        L4GMConfig.from_dict({**values, "colour": 1})
    del values["input_size"]
    with pytest.raises(InputError, match="input_size"):
        L4GMConfig.from_dict(values)


@pytest.mark.parametrize("name", ["l4gm_tiny", "lgm_tiny", "pipeline_tiny"])
def test_configs_of_the_released_code_are_understood(parity_dir: Path, name):
    values = json.loads((parity_dir / f"{name}_config.json").read_text())
    config = L4GMConfig.from_released(values)
    assert config.splat_size == values["splat_size"]
    assert config.temporal_attention == values.get("use_temp_attn", True)


def test_a_released_config_must_agree_with_itself(released_config):
    values = {
        "input_size": 16,
        "down_channels": [32, 32],
        "down_attention": [False, True],
        "up_channels": [32],
        "up_attention": [True],
    }
    assert L4GMConfig.from_released({**values, "splat_size": 8, "fovy": 49.1}).splat_size == 8
    with pytest.raises(InputError, match="splat_size"):
        L4GMConfig.from_released({**values, "splat_size": 16})
    with pytest.raises(InputError, match="gaussian_perpixel"):
        L4GMConfig.from_released({**values, "gaussian_perpixel": 2})
