"""Loading ImageDream's parts: what is read, and what is said when it cannot be."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from l4gm.errors import InputError
from l4gm.multiview.imagedream_parts import HUB_NAME, load_imagedream_parts

UNET_WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def load_fails(folder: Path | str, *needed: str) -> None:
    """Loading fails with one line that has all of `needed`."""
    with pytest.raises(InputError) as error:
        load_imagedream_parts(folder)
    message = str(error.value)
    assert "\n" not in message
    for text in (str(folder), *needed):
        assert text in message


def test_every_weight_is_the_file_s(imagedream_folder: Path) -> None:
    """Also under the names of older transformers (text_model., vision_model.)."""
    parts = load_imagedream_parts(imagedream_folder)
    for part, prefix in (("unet", ""), ("vae", ""), ("text_encoder", "text_model."),
                         ("image_encoder", "vision_model.")):  # fmt: skip
        (path,) = (imagedream_folder / part).glob("*.safetensors")
        expected = {k.removeprefix(prefix): v for k, v in load_file(path).items()}
        module = getattr(parts, part)
        given = {name.removeprefix(prefix): value for name, value in module.named_parameters()}
        assert given.keys() == expected.keys()
        assert all(torch.equal(given[name], expected[name].float()) for name in given)
        assert not any(value.requires_grad for value in given.values())
        assert not module.training


def test_padding_is_that_of_stable_diffusion_2(imagedream_folder: Path) -> None:
    """By "!", number 0, from special_tokens_map.json, against what tokenizer_config.json says."""
    tokenizer = load_imagedream_parts(imagedream_folder).tokenizer
    ids = tokenizer(["", "he"], padding="max_length", max_length=5, truncation=True).input_ids
    assert ids == [[189, 190, 0, 0, 0], [189, ids[1][1], ids[1][2], 190, 0]]


def test_scheduler_is_set_as_the_released_pipeline_does(
    copy_of_imagedream: Callable[..., Path],
) -> None:
    folder = copy_of_imagedream("scheduler/scheduler_config.json")
    settings = {"_class_name": "DDIMScheduler", "steps_offset": 0, "clip_sample": True}
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps(settings))
    scheduler = load_imagedream_parts(folder).scheduler
    assert (scheduler.config.steps_offset, scheduler.config.clip_sample) == (1, False)


def test_needs_no_network(imagedream_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    load_imagedream_parts(imagedream_folder)


def test_half_precision_files_by_their_other_name(copy_of_imagedream: Callable[..., Path]) -> None:
    folder = copy_of_imagedream()
    for path in folder.glob("*/*.safetensors"):
        path.rename(path.with_suffix(".fp16.safetensors"))
    parts = load_imagedream_parts(folder, dtype=torch.float16)
    for module in (parts.unet, parts.vae, parts.text_encoder, parts.image_encoder):
        assert {value.dtype for value in module.parameters()} == {torch.float16}


@pytest.mark.parametrize(
    "missing",
    [
        "model_index.json",
        "feature_extractor/preprocessor_config.json",
        "image_encoder/config.json",
        "image_encoder/model.safetensors",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "unet/config.json",
        UNET_WEIGHTS,
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ],
)
def test_missing_part(copy_of_imagedream: Callable[..., Path], missing: str) -> None:
    load_fails(copy_of_imagedream(missing), missing, f"hf download {HUB_NAME}")


@pytest.mark.parametrize(
    "damaged",
    [
        "feature_extractor/preprocessor_config.json",
        "image_encoder/config.json",
        "image_encoder/model.safetensors",
        "scheduler/scheduler_config.json",
        "text_encoder/model.safetensors",
        "tokenizer/vocab.json",
        "unet/config.json",
        UNET_WEIGHTS,
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ],
)
@pytest.mark.parametrize("keep", [0, 0.5])
def test_cut_off_part(
    copy_of_imagedream: Callable[..., Path], imagedream_folder: Path, damaged: str, keep: float
) -> None:
    folder = copy_of_imagedream(damaged)
    content = (imagedream_folder / damaged).read_bytes()
    (folder / damaged).write_bytes(content[: int(len(content) * keep)])
    load_fails(folder, damaged.split("/")[0])


def test_weights_of_another_network(copy_of_imagedream: Callable[..., Path]) -> None:
    folder = copy_of_imagedream(UNET_WEIGHTS)
    tensors = {"conv_in.weight": torch.zeros(1), "out.2.bias": torch.zeros(7)}
    save_file(tensors, folder / UNET_WEIGHTS)
    load_fails(folder, "missing camera_embed.0.bias", " more; left over conv_in.weight;",
               "out.2.bias [7] for [4]")  # fmt: skip


def test_weights_that_lack_some(
    copy_of_imagedream: Callable[..., Path], imagedream_folder: Path
) -> None:
    name = "vae/diffusion_pytorch_model.safetensors"
    folder = copy_of_imagedream(name)
    tensors = load_file(imagedream_folder / name)
    del tensors["decoder.conv_out.bias"]
    save_file(tensors, folder / name, metadata={"format": "pt"})
    load_fails(folder, "vae", "lack decoder.conv_out.bias")


@pytest.mark.parametrize(
    ("file", "key", "value", "needed"),
    [
        ("unet/config.json", "num_wheels", 4, "unknown num_wheels"),
        ("unet/config.json", "ip_dim", None, "missing ip_dim"),
        ("unet/config.json", "channel_mult", 3, "unet"),
        ("unet/config.json", "context_dim", 32, "image_embed"),
        ("image_encoder/config.json", "image_size", 42, "image_encoder"),
        ("feature_extractor/preprocessor_config.json", "crop_size", 14, "image_encoder size is 28"),
        ("feature_extractor/preprocessor_config.json", "size", {}, "preprocessor_config"),
    ],
)
def test_settings_that_do_not_fit(
    copy_of_imagedream: Callable[..., Path],
    imagedream_folder: Path,
    file: str,
    key: str,
    value: Any,
    needed: str,
) -> None:
    config = json.loads((imagedream_folder / file).read_text())
    config = {k: v for k, v in {**config, key: value}.items() if v is not None}
    folder = copy_of_imagedream(file)
    (folder / file).write_text(json.dumps(config))
    load_fails(folder, needed)


@pytest.mark.parametrize("package", ["diffusers", "transformers"])
def test_absent_package(
    imagedream_folder: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r"pip install l4gm\[multiview\]"):
        load_imagedream_parts(imagedream_folder)


def test_neither_folder_nor_name(tmp_path: Path) -> None:
    load_fails(str(tmp_path / "nothing" / "here"), "expected a folder")


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.touch()
    load_fails(path, "expected a folder")


OFFLINE_SCRIPT = """
import sys
sys.modules["accelerate"] = None  # as if it were not installed
from l4gm.errors import InputError
from l4gm.multiview.imagedream import ImageDream, ImageDreamConfig
import torch
try:
    imagedream = ImageDream.from_pretrained(config=ImageDreamConfig(num_steps=1))
    print(list(imagedream(torch.ones(3, 64, 64)).shape))
except InputError as error:
    sys.exit(str(error))
forbidden = {"torchvision", "xformers"} & set(sys.modules)
assert not forbidden, forbidden
"""


def run_offline(home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", OFFLINE_SCRIPT],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home / "hf"),
             "L4GM_WEIGHTS": str(home / "placed")},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_by_hub_name_from_the_cache_without_network(
    imagedream_folder: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "hf" / "hub" / f"models--{HUB_NAME.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / ("0" * 40)).symlink_to(imagedream_folder)
    done = run_offline(tmp_path)
    assert (done.returncode, done.stdout) == (0, "[4, 3, 256, 256]\n"), done.stderr


@pytest.mark.slow
def test_by_hub_name_without_network_or_cache(tmp_path: Path) -> None:
    done = run_offline(tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    placed = tmp_path / "placed" / HUB_NAME.replace("/", "--")
    assert f"hf download {HUB_NAME} --local-dir {placed}" in done.stderr
