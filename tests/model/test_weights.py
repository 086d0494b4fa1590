"""Weight files: round trips, and every way in which one can be bad."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from l4gm.errors import InputError
from l4gm.model.config import L4GMConfig
from l4gm.model.l4gm import L4GM
from l4gm.model.weights import (
    CONFIG_KEY,
    check_names,
    file_sha256,
    inferred_config,
    initialize_from_lgm,
    load_model,
    model_shapes,
    read_header,
    save_weights,
)


@pytest.fixture
def saved(tmp_path, released_config) -> Path:
    path = tmp_path / "recon.safetensors"
    save_weights(L4GM(released_config), path)
    return path


def rewrite(path: Path, change) -> Path:
    """The same file with its tensors changed by a function, metadata kept."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata=metadata)
    return path


def assert_one_clear_line(error: pytest.ExceptionInfo[InputError], path: Path) -> str:
    message = str(error.value)
    assert "\n" not in message
    assert path.name in message
    return message


def test_half_precision_round_trip(any_config, tmp_path):
    model = L4GM(any_config)
    path = tmp_path / "deep" / "recon.safetensors"
    save_weights(model, path, metadata={"licence": "Apache-2.0"})
    again = load_model(path)
    assert again.config == any_config
    assert not again.training
    for (name, before), (other, after) in zip(
        model.state_dict().items(), again.state_dict().items(), strict=True
    ):
        assert name == other
        assert after.dtype == torch.float32
        assert torch.equal(after, before.half().float())
    assert read_header(path).metadata["licence"] == "Apache-2.0"
    assert path.stat().st_size < 2.2 * sum(p.numel() for p in model.parameters()) + 40_000


def test_full_precision_round_trip_is_exact_and_gives_the_same_output(
    any_config, tmp_path, pictures, ring
):
    model = L4GM(any_config).to(memory_format=torch.channels_last).eval()
    save_weights(model, tmp_path / "a.safetensors", half=False)
    again = load_model(tmp_path / "a.safetensors")
    images = pictures()
    with torch.inference_mode():
        assert torch.equal(model(images, ring()).means, again(images, ring()).means)


def test_a_loaded_network_can_be_trained(saved, pictures, ring):
    model = load_model(saved).train()
    model(pictures(), ring()).colors.sum().backward()
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_loading_leaves_the_random_state_alone(saved):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    load_model(saved)
    assert torch.equal(before, torch.get_rng_state())


def test_bfloat16_files_load_as_float32(saved, released_config):
    tensors = {name: t.bfloat16() for name, t in load_file(saved).items()}
    save_file(tensors, saved)
    model = load_model(saved, config=released_config)
    assert {t.dtype for t in model.state_dict().values()} == {torch.float32}


def test_a_given_config_serves_files_without_one_and_yields_to_those_with(saved, released_config):
    other = replace(released_config, input_size=32)
    assert load_model(saved, config=other).config == released_config
    save_file(load_file(saved), saved)
    assert load_model(saved, config=other).config == other


def test_names_decide_between_the_released_networks():
    assert inferred_config(["unet.mid_block.t_attns.0.norm.weight"]) == L4GMConfig.big()
    assert inferred_config(["conv.weight"]) == L4GMConfig.big(temporal_attention=False)


def test_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc" * 1000)
    assert file_sha256(tmp_path / "x") == hashlib.sha256(b"abc" * 1000).hexdigest()


# ---- bad files --------------------------------------------------------------------------------


def test_missing_names_are_listed(saved):
    def remove(tensors):
        for name in list(tensors):
            if ".mid_block." in name:
                del tensors[name]

    with pytest.raises(InputError) as error:
        load_model(rewrite(saved, remove))
    message = assert_one_clear_line(error, saved)
    assert re.search(r"\d+ missing: unet\.mid_block\.\S+, .* and \d+ more", message)
    assert "left over" not in message


def test_left_over_names_are_listed(saved):
    def add(tensors):
        tensors["lpips.weight"] = torch.zeros(3)

    with pytest.raises(InputError) as error:
        load_model(rewrite(saved, add))
    assert "1 left over: lpips.weight" in assert_one_clear_line(error, saved)


def test_shapes_are_compared(saved):
    def widen(tensors):
        tensors["conv.weight"] = torch.zeros(15, 14, 1, 1)

    with pytest.raises(InputError) as error:
        load_model(rewrite(saved, widen))
    message = assert_one_clear_line(error, saved)
    assert "1 of another shape: conv.weight is [15, 14, 1, 1], expected [14, 14, 1, 1]" in message


def test_weights_of_another_network_do_not_load(tmp_path, saved):
    save_file({"encoder.weight": torch.zeros(3, 3)}, saved)
    with pytest.raises(InputError, match=r"missing: .*; 1 left over: encoder\.weight"):
        load_model(saved)


def test_all_faults_are_told_at_once():
    with pytest.raises(InputError, match="1 missing: b; 1 left over: c; 1 of another shape: a is"):
        check_names({"a": (1,), "b": (2,)}, {"a": (3,), "c": (1,)}, Path("w.safetensors"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused_with_the_tensors_name(saved, value):
    def spoil(tensors):
        tensors["unet.conv_in.weight"][0, 0, 0, 0] = value

    with pytest.raises(InputError) as error:
        load_model(rewrite(saved, spoil))
    message = assert_one_clear_line(error, saved)
    assert "unet.conv_in.weight holds 1 values that are NaN or infinite" in message


@pytest.mark.parametrize("kept", [0, 5, 100, 0.5, -1])
def test_a_file_that_is_cut_off_is_refused(saved, kept):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(kept * len(content)) if 0 < kept < 1 else kept])
    with pytest.raises(InputError, match="cut off") as error:
        load_model(saved)
    assert_one_clear_line(error, saved)


def test_other_bytes_are_refused(saved):
    saved.write_bytes(b"<html>not found</html>" * 100)
    with pytest.raises(InputError, match="not in the safetensors format") as error:
        load_model(saved)
    assert_one_clear_line(error, saved)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".PT"])
def test_pickles_are_refused_before_they_are_opened(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    torch.save({"conv.weight": torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"pickle.*safetensors\.torch") as error:
        load_model(path)
    assert_one_clear_line(error, path)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_pickles_under_another_name_are_recognised(tmp_path, writer):
    path = tmp_path / "model.safetensors"
    if writer == "torch":
        torch.save({"conv.weight": torch.zeros(1)}, path)
    else:
        path.write_bytes(pickle.dumps({"conv.weight": [0.0] * 100}))
    with pytest.raises(InputError, match="pickle") as error:
        load_model(path)
    assert_one_clear_line(error, path)


def test_integers_are_refused(saved):
    def quantise(tensors):
        tensors["conv.bias"] = torch.zeros(14, dtype=torch.int8)

    with pytest.raises(InputError, match=r"conv\.bias of type I8; expected float"):
        load_model(rewrite(saved, quantise))


def test_missing_files_and_folders_are_named(tmp_path):
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(InputError, match="no weight file") as error:
            load_model(path)
        assert_one_clear_line(error, path)


@pytest.mark.parametrize("text", ["{", "[1]", '{"input_size": 16}', '{"what": 1}'])
def test_a_bad_config_in_the_file_is_refused(saved, text):
    save_file(load_file(saved), saved, metadata={CONFIG_KEY: text})
    with pytest.raises(InputError, match="config") as error:
        load_model(saved)
    assert_one_clear_line(error, saved)


# ---- writing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), 1e6], ids=["nan", "beyond half"])
def test_weights_that_do_not_fit_are_not_written(released_config, saved, value):
    before = saved.read_bytes()
    model = L4GM(released_config)
    with torch.no_grad():
        model.conv.weight[0, 0] = value
    with pytest.raises(ValueError, match=r"conv\.weight"):
        save_weights(model, saved)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_weights_are_written_whole_or_not_at_all(released_config, saved, monkeypatch):
    before = saved.read_bytes()

    def fail(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("l4gm.model.weights.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_weights(L4GM(released_config), saved)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_other_suffixes_are_not_written(released_config, tmp_path):
    with pytest.raises(InputError, match="safetensors"):
        save_weights(L4GM(released_config), tmp_path / "model.pt")


# ---- LGM as a start ---------------------------------------------------------------------------


def test_lgm_initialises_all_but_the_temporal_layers(released_config, tmp_path):
    lgm = L4GM(replace(released_config, temporal_attention=False))
    save_weights(lgm, tmp_path / "lgm.safetensors", half=False)
    model = L4GM(released_config)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    untouched = initialize_from_lgm(model, tmp_path / "lgm.safetensors")
    assert untouched
    assert all(".t_attns." in name for name in untouched)
    given = lgm.state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name] if name in untouched else given[name])


def test_lgm_initialisation_is_strict_otherwise(released_config, tmp_path):
    smaller = replace(released_config, layers_per_block=1)
    save_weights(L4GM(smaller), tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="missing"):
        initialize_from_lgm(L4GM(released_config), tmp_path / "other.safetensors")


def test_big_lgm_fills_all_of_big_l4gm_but_temporal_layers(parity_dir: Path):
    shapes = json.loads((parity_dir / "lgm_big_state_dict.json").read_text())
    with torch.device("meta"):
        big = model_shapes(L4GM(L4GMConfig.big()))
    assert {n: list(s) for n, s in big.items() if ".t_attns." not in n} == shapes
