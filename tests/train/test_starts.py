import dataclasses

import pytest
import torch
from safetensors.torch import save_file

from l4gm.errors import InputError
from l4gm.model.l4gm import L4GM
from l4gm.model.weights import save_weights
from l4gm.train.config import without_stages
from l4gm.train.presets import PRESETS, debug_preset
from l4gm.train.starts import as_resumed, starting_weights, with_network_of


def test_weights_of_single_frames_start_all_but_the_temporal_layers(tmp_path):
    config = debug_preset()
    static = L4GM(dataclasses.replace(config.model, temporal_attention=False))
    save_weights(static, tmp_path / "lgm.safetensors", half=False)
    weights = starting_weights(config, tmp_path / "lgm.safetensors")
    model = L4GM(config.model)
    model.load_state_dict(weights)
    taken = static.state_dict()
    assert all(torch.equal(weights[name], taken[name]) for name in taken)
    left = weights.keys() - taken.keys()
    assert left
    assert all(".t_attns." in name for name in left)
    again = starting_weights(config, tmp_path / "lgm.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in left)


def test_the_network_is_that_of_the_weights(tmp_path):
    config = debug_preset()
    other = dataclasses.replace(config.model, down_channels=(8, 24))
    save_weights(L4GM(other), tmp_path / "w.safetensors")
    assert with_network_of(config, tmp_path / "w.safetensors").model == other
    static = dataclasses.replace(other, temporal_attention=False)
    save_weights(L4GM(static), tmp_path / "lgm.safetensors")
    assert with_network_of(config, tmp_path / "lgm.safetensors").model == other
    save_file(L4GM(other).state_dict(), tmp_path / "silent.safetensors")
    assert with_network_of(config, tmp_path / "silent.safetensors") == config
    with pytest.raises(InputError, match="silent"):
        starting_weights(config, tmp_path / "silent.safetensors")


def test_a_resumed_run_keeps_its_network(start, tmp_path):
    model = dataclasses.replace(debug_preset().model, down_channels=(8, 24))
    start(tmp_path, config=dataclasses.replace(debug_preset(), model=model), max_minutes=0).run()
    assert as_resumed(debug_preset(), tmp_path).model == model


def test_stages_can_be_left_out():
    config = debug_preset()
    assert without_stages(config, 1).stages == config.stages[1:]
    with pytest.raises(ValueError, match="0 to 1"):
        without_stages(config, 2)


@pytest.mark.parametrize(
    ("network", "name"), [(network, name) for network in PRESETS for name in PRESETS[network]]
)
def test_presets_survive_a_checkpoint_and_fit_together(network, name):
    config = PRESETS[network][name]()
    assert type(config).from_dict(config.to_dict()) == config
    assert config.network == network
    if network == "interpolation":
        assert config.model == PRESETS["reconstruction"][name]().model
