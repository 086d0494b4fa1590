"""Weight files of our own helpers: what is written comes back, what is wrong is named."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from l4gm.errors import InputError
from l4gm.model.l4gm import L4GM
from l4gm.model.own_weights import MOTION, VIEWS
from l4gm.model.sources import resolve_weights
from l4gm.model.weights import load_model, save_weights
from l4gm.train.presets import debug_motion_preset, debug_multiview_preset, debug_preset

VIEW_CONFIG = debug_multiview_preset().view_model
MOTION_CONFIG = debug_motion_preset().motion_model
KINDS = {VIEWS: VIEW_CONFIG, MOTION: MOTION_CONFIG}


def new_network(kind):
    torch.manual_seed(0)
    network = kind.build(KINDS[kind])
    if kind is MOTION:
        torch.nn.init.normal_(network.unet.conv_out.weight, std=0.1)  # else nothing moves
    return network


@pytest.fixture(scope="module", params=list(KINDS), ids=lambda kind: kind.name)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(tmp_path_factory, kind):
    """A folder that holds the weights; not to be changed."""
    folder = tmp_path_factory.mktemp("own")
    kind.save(new_network(kind), folder / kind.file_name, {"steps": "3"})
    return folder


def with_config(kind, folder, path, text):
    """A copy of the weights that says another config."""
    metadata = {} if text is None else {kind.config_key: text}
    save_file(load_file(folder / kind.file_name), path, metadata={"format": "pt", **metadata})
    return path


def test_a_network_comes_back_as_its_float16_self(kind, folder):
    network = new_network(kind)
    pictures = [torch.rand(1, 3, 32, 32)] if kind is VIEWS else list(torch.rand(2, 1, 4, 32, 32))
    for source in (folder, folder / kind.file_name):
        loaded = kind.load(source)
        assert loaded.config == KINDS[kind]
        assert not loaded.training
        for name, value in network.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], value.half().float()), name
        torch.testing.assert_close(loaded(*pictures), network(*pictures), atol=5e-3, rtol=0)


def test_what_is_not_such_a_file_is_named(kind, folder, tmp_path):
    with pytest.raises(InputError, match=rf"no weight file .*{kind.name}\.safetensors"):
        kind.load(tmp_path)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes((folder / kind.file_name).read_bytes()[:5000])
    with pytest.raises(InputError, match="cut off"):
        kind.load(damaged)
    with pytest.raises(InputError, match="pickle"):
        kind.load(tmp_path / "weights.pt")
    torch.manual_seed(0)
    save_weights(L4GM(debug_preset().model), tmp_path / "recon.safetensors")
    with pytest.raises(InputError, match=f"not those of a {kind.title}"):
        kind.load(tmp_path / "recon.safetensors")
    with pytest.raises(InputError, match="do not fit the network"):
        load_model(folder / kind.file_name)


VIEW_FAULTS = [
    (None, "no multiview_config"),
    ("{", "is not JSON"),
    ("[]", "must be a JSON object"),
    (json.dumps(VIEW_CONFIG.to_dict() | {"wheels": 4}), "wheels"),
    (json.dumps(VIEW_CONFIG.to_dict() | {"size_px": 30}), "multiple of 8"),
    (json.dumps(VIEW_CONFIG.to_dict() | {"model_channels": 16}), "of another shape"),
]
MOTION_FAULTS = [
    (None, "no motion_config"),
    (json.dumps(MOTION_CONFIG.to_dict() | {"wheels": 4}), "wheels"),
    (json.dumps(MOTION_CONFIG.to_dict() | {"input_size": 30}), "multiple of 4"),
    (json.dumps(MOTION_CONFIG.to_dict() | {"attention": [True]}), "one entry per level"),
    (json.dumps(MOTION_CONFIG.to_dict() | {"attention": [True, True]}), "missing"),
]


@pytest.mark.parametrize(
    ("faulty", "text", "match"),
    [(VIEWS, *fault) for fault in VIEW_FAULTS] + [(MOTION, *fault) for fault in MOTION_FAULTS],
)
def test_a_config_that_does_not_fit_is_named(tmp_path, faulty, text, match):
    faulty.save(new_network(faulty), tmp_path / faulty.file_name)
    path = with_config(faulty, tmp_path, tmp_path / "odd.safetensors", text)
    with pytest.raises(InputError, match=match) as caught:
        faulty.load(path)
    assert "\n" not in str(caught.value)
    assert "odd.safetensors" in str(caught.value)


def test_a_model_folder_may_hold_one(kind, folder, tmp_path):
    torch.manual_seed(0)
    save_weights(L4GM(debug_preset().model), tmp_path / "recon.safetensors")
    assert resolve_weights(tmp_path).paths == [tmp_path / "recon.safetensors"]
    (tmp_path / kind.file_name).write_bytes((folder / kind.file_name).read_bytes())
    found = resolve_weights(tmp_path)
    assert getattr(found, kind.name) == tmp_path / kind.file_name
    assert found.paths == [tmp_path / "recon.safetensors", tmp_path / kind.file_name]
