"""Weight files of the generator of views: what is written comes back, what is wrong is named."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from l4gm.errors import InputError
from l4gm.model.l4gm import L4GM
from l4gm.model.sources import resolve_weights
from l4gm.model.view_weights import VIEWS_NAME, load_view_network, save_view_network
from l4gm.model.weights import load_model, save_weights
from l4gm.multiview.side_views import SideViewConfig, SideViewNet
from l4gm.train.presets import debug_preset

CONFIG = SideViewConfig(
    size_px=32,
    model_channels=8,
    channel_mult=(1, 2),
    attention_resolutions=(2,),
    num_head_channels=8,
    norm_groups=4,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that holds the weights; not to be changed."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("views")
    save_view_network(SideViewNet(CONFIG), folder / VIEWS_NAME, {"steps": "3"})
    return folder


def with_config(folder, path, text):
    """A copy of the weights that says another config."""
    metadata = {} if text is None else {"multiview_config": text}
    save_file(load_file(folder / VIEWS_NAME), path, metadata={"format": "pt", **metadata})
    return path


def test_a_network_comes_back_as_its_float16_self(folder):
    torch.manual_seed(0)
    network = SideViewNet(CONFIG)
    picture = torch.rand(1, 3, 32, 32)
    for source in (folder, folder / VIEWS_NAME):
        loaded = load_view_network(source)
        assert loaded.config == CONFIG
        assert not loaded.training
        for name, value in network.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], value.half().float()), name
        torch.testing.assert_close(loaded(picture), network(picture), atol=2e-3, rtol=0)


def test_what_is_not_such_a_file_is_named(folder, tmp_path):
    with pytest.raises(InputError, match=r"no weight file .*multiview\.safetensors"):
        load_view_network(tmp_path)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes((folder / VIEWS_NAME).read_bytes()[:5000])
    with pytest.raises(InputError, match="cut off"):
        load_view_network(damaged)
    with pytest.raises(InputError, match="pickle"):
        load_view_network(tmp_path / "weights.pt")
    torch.manual_seed(0)
    save_weights(L4GM(debug_preset().model), tmp_path / "recon.safetensors")
    with pytest.raises(InputError, match="not those of a generator of views"):
        load_view_network(tmp_path / "recon.safetensors")
    with pytest.raises(InputError, match="do not fit the network"):
        load_model(folder / VIEWS_NAME)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (None, "no multiview_config"),
        ("{", "is not JSON"),
        ("[]", "must be a JSON object"),
        (json.dumps(CONFIG.to_dict() | {"wheels": 4}), "wheels"),
        (json.dumps(CONFIG.to_dict() | {"size_px": 30}), "multiple of 8"),
        (json.dumps(CONFIG.to_dict() | {"model_channels": 16}), "of another shape"),
    ],
)
def test_a_config_that_does_not_fit_is_named(folder, tmp_path, text, match):
    path = with_config(folder, tmp_path / "odd.safetensors", text)
    with pytest.raises(InputError, match=match) as caught:
        load_view_network(path)
    assert "\n" not in str(caught.value)
    assert "odd.safetensors" in str(caught.value)


def test_a_model_folder_may_hold_one(folder, tmp_path):
    torch.manual_seed(0)
    save_weights(L4GM(debug_preset().model), tmp_path / "recon.safetensors")
    assert resolve_weights(tmp_path).multiview is None
    assert resolve_weights(tmp_path).paths == [tmp_path / "recon.safetensors"]
    (tmp_path / VIEWS_NAME).write_bytes((folder / VIEWS_NAME).read_bytes())
    found = resolve_weights(tmp_path)
    assert found.paths == [tmp_path / "recon.safetensors", tmp_path / VIEWS_NAME]
