"""Where weights come from. The hub is replaced: no test needs or uses a network."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from l4gm.errors import InputError
from l4gm.model import sources
from l4gm.model.l4gm import L4GM
from l4gm.model.sources import OFFICIAL, offline_folder, resolve_weights
from l4gm.model.weights import save_weights


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """An empty hub cache and nobody who answers."""

    def refuse(*args, **kwargs):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args: None)
    monkeypatch.setattr(sources, "_hub_answers", lambda: False)
    monkeypatch.setenv("L4GM_WEIGHTS", str(tmp_path / "by_hand"))


@pytest.fixture
def folder(tmp_path, released_config) -> Path:
    torch.manual_seed(1)
    path = tmp_path / "model"
    save_weights(L4GM(released_config), path / "recon.safetensors")
    return path


def test_a_folder_with_reconstruction_alone(folder, released_config):
    files = resolve_weights(folder)
    assert files.recon == folder / "recon.safetensors"
    assert files.interp is None
    model = L4GM.from_pretrained(str(folder))
    assert model.config == released_config
    with pytest.raises(InputError, match=r"interp\.safetensors"):
        L4GM.from_pretrained(folder, kind="interp")


def test_a_folder_with_both(folder, released_config):
    torch.manual_seed(2)
    save_weights(L4GM(released_config), folder / "interp.safetensors")
    first = L4GM.from_pretrained(folder).conv.weight
    second = L4GM.from_pretrained(folder, kind="interp").conv.weight
    assert not torch.equal(first, second)


def test_config_json_serves_files_that_do_not_carry_their_config(folder, released_config):
    recon = folder / "recon.safetensors"
    save_file(load_file(recon), recon)
    with pytest.raises(InputError, match=r"config\.json"):
        L4GM.from_pretrained(folder)  # taken for the released network, which it is not
    (folder / "config.json").write_text(json.dumps(released_config.to_dict()))
    assert L4GM.from_pretrained(folder).config == released_config
    (folder / "config.json").write_text("not json")
    with pytest.raises(InputError, match=r"config\.json is not JSON"):
        L4GM.from_pretrained(folder)


def test_one_file(folder, released_config):
    assert L4GM.from_pretrained(folder / "recon.safetensors").config == released_config


def test_weights_of_the_solid_network_are_loaded_by_its_own_class(tmp_path, monkeypatch):
    """From a file, a folder, and the bundled folder."""
    path = tmp_path / "solid.safetensors"
    save_file({"weight": torch.zeros(1)}, path, metadata={"network": "solid"})
    asked = []

    class SolidModel:
        @staticmethod
        def load(path, device):
            asked.append((path, device))

    module = SimpleNamespace(SolidModel=SolidModel)
    monkeypatch.setitem(sys.modules, "l4gm.solid.model", module)
    monkeypatch.setattr(sources, "bundled_folder", lambda name: tmp_path)
    for name in (path, tmp_path, "mini"):
        sources.load_pretrained(name, device="cpu")
    assert asked == [(path, "cpu")] * 3
    with pytest.raises(InputError, match=r"interp\.safetensors"):
        sources.load_pretrained(tmp_path, kind="interp")


@pytest.mark.parametrize("content", [[], ["model.ckpt"], ["notes.txt"]])
def test_a_folder_without_weights(tmp_path, content):
    for name in content:
        (tmp_path / name).write_bytes(b"x")
    expected = "pickle" if content == ["model.ckpt"] else r"no recon\.safetensors"
    with pytest.raises(InputError, match=expected):
        resolve_weights(tmp_path)


@pytest.mark.parametrize("name", ["nothing", "", "a/b/c", "../nowhere"])
def test_a_name_that_is_nothing_says_what_could_be_given(name):
    with pytest.raises(InputError, match=r"mini.*official.*safetensors") as error:
        resolve_weights(name)
    assert repr(name) in str(error.value)


def test_missing_files_and_pickles_are_named():
    with pytest.raises(InputError, match=r"no weight file gone\.safetensors"):
        resolve_weights("gone.safetensors")
    with pytest.raises(InputError, match="pickle"):
        resolve_weights("gone.ckpt")


def test_mini_is_bundled_with_the_package(folder, monkeypatch):
    monkeypatch.setattr(sources, "bundled_folder", lambda name: folder)
    assert resolve_weights("mini").recon == folder / "recon.safetensors"
    (folder / "recon.safetensors").unlink()
    with pytest.raises(InputError, match="reinstall"):
        resolve_weights("mini")


def test_the_bundled_folder_is_inside_the_package():
    import l4gm

    expected = Path(l4gm.__file__).parent / "weights" / "mini"
    assert sources.bundled_folder("mini") == expected


@pytest.mark.parametrize("download", [True, False])
def test_official_offline_says_what_to_download_and_where_to_put_it(download):
    with pytest.raises(InputError) as error:
        resolve_weights("official", download=download)
    message = str(error.value)
    assert "\n" not in message
    for part in (
        OFFICIAL,
        "recon.safetensors",
        "interp.safetensors",
        str(offline_folder(OFFICIAL)),
        "https://huggingface.co/jiawei011/L4GM",
    ):
        assert part in message


def test_official_files_put_there_by_hand_are_found(released_config):
    place = offline_folder(OFFICIAL)
    save_weights(L4GM(released_config), place / "recon.safetensors")
    assert resolve_weights("official").recon.parent == place
    assert L4GM.from_pretrained("official").config == released_config


def test_the_hubs_cache_is_used_without_a_network(folder, monkeypatch):
    cached = {"recon.safetensors": str(folder / "recon.safetensors")}
    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda repository, name: cached.get(name)
    )
    files = resolve_weights("somebody/something")
    assert files.recon == folder / "recon.safetensors"
    assert files.interp is None
    assert files.config is None


def test_downloads_what_the_repository_has(folder, monkeypatch):
    asked = []

    def download(repository, name):
        asked.append((repository, name))
        if name == "recon.safetensors":
            return str(folder / name)
        raise huggingface_hub.errors.LocalEntryNotFoundError("not there")

    monkeypatch.setattr(sources, "_hub_answers", lambda: True)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    files = resolve_weights("somebody/something")
    assert files.recon == folder / "recon.safetensors"
    assert files.interp is None
    assert ("somebody/something", "recon.safetensors") in asked
    with pytest.raises(InputError, match=r"interp\.safetensors of jiawei011/L4GM .*not there"):
        resolve_weights("official")


def test_lgm_takes_the_files_with_the_right_rotations(folder, monkeypatch):
    monkeypatch.setattr(sources, "_hub_answers", lambda: True)
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda repository, name: f"/cache/{name}"
    )
    files = resolve_weights("ashawkey/LGM")
    assert files.recon.name == "model_fp16_fixrot.safetensors"
    assert files.interp is None


def test_the_licence_of_the_released_weights_is_stated_once(released_config, monkeypatch, caplog):
    monkeypatch.setattr(sources, "_stated", set())
    save_weights(L4GM(released_config), offline_folder(OFFICIAL) / "recon.safetensors")
    with caplog.at_level(logging.INFO, "l4gm"):
        resolve_weights("official")
        resolve_weights(OFFICIAL)
    assert sum("CC-BY-NC-SA-4.0" in record.message for record in caplog.records) == 1


def test_hub_is_not_tried_when_nobody_listens(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    assert not sources._hub_answers()
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"http": "http://proxy:1"})
    assert sources._hub_answers()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert not sources._hub_answers()
