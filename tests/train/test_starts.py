import dataclasses

import pytest
import torch

from l4gm.errors import InputError
from l4gm.model.l4gm import L4GM
from l4gm.model.weights import save_weights
from l4gm.train.presets import PRESETS, debug_preset, without_stages
from l4gm.train.starts import starting_weights


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


def test_weights_of_another_network_are_refused(tmp_path):
    save_weights(L4GM(debug_preset().model), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="another network"):
        starting_weights(PRESETS["reconstruction"]["tiny"](), tmp_path / "w.safetensors")


def test_stages_can_be_left_out():
    config = debug_preset()
    assert without_stages(config, 1).stages == config.stages[1:]
    with pytest.raises(ValueError, match="0 to 1"):
        without_stages(config, 2)


@pytest.mark.parametrize("network", PRESETS)
@pytest.mark.parametrize("name", ["tiny", "mini", "big", "debug"])
def test_presets_survive_a_checkpoint_and_fit_together(network, name):
    config = PRESETS[network][name]()
    assert type(config).from_dict(config.to_dict()) == config
    assert config.network == network
    assert config.model == PRESETS["reconstruction"][name]().model
