"""A folder of the form of ImageDream's on the hub, with small random parts."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from l4gm.multiview.unet import MultiViewUNet

UNET_CONFIG = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "attention_resolutions": [2],
    "num_res_blocks": 1,
    "channel_mult": [1, 2],
    "num_head_channels": 16,
    "transformer_depth": 1,
    "context_dim": 64,
    "camera_dim": 16,
    "ip_dim": 4,
    "ip_weight": 1.0,
}
START, END = "<|startoftext|>", "<|endoftext|>"


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_weights(path: Path, module: torch.nn.Module, prefix: str = "") -> None:
    """In half precision, as released; with the prefix that older transformers gave the names."""
    tensors = {
        prefix + name.removeprefix(prefix): tensor.half().contiguous()
        for name, tensor in module.state_dict().items()
        if tensor.is_floating_point()
    }
    save_file(tensors, path, metadata={"format": "pt"})


def write_tokenizer(folder: Path) -> None:
    """Letters, "he" as the one merge, and the padding by "!" that Stable Diffusion 2.1 has."""
    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(letter + "</w>" for letter in letters), "he", START, END]
    write_json(folder / "vocab.json", {token: index for index, token in enumerate(tokens)})
    (folder / "merges.txt").write_text("#version: 0.2\nh e\n")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": "!"}
    write_json(folder / "special_tokens_map.json", special)
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": END}
    write_json(folder / "tokenizer_config.json", settings)


def write_unet(folder: Path) -> None:
    write_json(
        folder / "config.json",
        {"_class_name": "MultiViewUNetModel", "_diffusers_version": "0.25.0", **UNET_CONFIG},
    )
    write_weights(folder / "diffusion_pytorch_model.safetensors", MultiViewUNet(**UNET_CONFIG))


def write_image_encoder(folder: Path) -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(
        hidden_size=1280,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=16,
        image_size=28,
        patch_size=14,
        architectures=["CLIPVisionModel"],
    )
    write_json(folder / "config.json", config.to_dict())
    write_weights(folder / "model.safetensors", CLIPVisionModel(config), "vision_model.")


def write_text_encoder(folder: Path) -> None:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=191,
        bos_token_id=189,
        eos_token_id=190,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        architectures=["CLIPTextModel"],
    )
    write_json(folder / "config.json", config.to_dict())
    write_weights(folder / "model.safetensors", CLIPTextModel(config), "text_model.")


def write_vae(folder: Path) -> None:
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        sample_size=256,
    )
    # Random decoders give nearly grey pictures; this spreads them over the range.
    vae.decoder.conv_out.weight.data.mul_(4)
    write_json(folder / "config.json", {"_class_name": "AutoencoderKL", **vae.config})
    write_weights(folder / "diffusion_pytorch_model.safetensors", vae)


@pytest.fixture(scope="session")
def imagedream_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder; do not change it, take `copy_of_imagedream` for that."""
    pytest.importorskip("diffusers")
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("imagedream")
    write_tokenizer(folder / "tokenizer")
    write_json(
        folder / "feature_extractor" / "preprocessor_config.json",
        {
            "feature_extractor_type": "CLIPFeatureExtractor",
            "size": {"shortest_edge": 28},
            "crop_size": {"height": 28, "width": 28},
            "do_center_crop": True,
            "do_normalize": True,
            "do_resize": True,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "resample": 3,
        },
    )
    write_json(
        folder / "scheduler" / "scheduler_config.json",
        {
            "_class_name": "DDIMScheduler",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "set_alpha_to_one": False,
            "steps_offset": 1,
            "clip_sample": False,
        },
    )
    write_json(folder / "model_index.json", {"_class_name": "MVDreamPipeline"})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        write_unet(folder / "unet")
        write_image_encoder(folder / "image_encoder")
        write_text_encoder(folder / "text_encoder")
        write_vae(folder / "vae")
    return folder


@pytest.fixture
def copy_of_imagedream(imagedream_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """Makes a copy in which the named files are gone, to be written anew or missed."""

    def copy(*without: str) -> Path:
        target = tmp_path / "copy"
        # Links cost nothing; a file that is to change is unlinked first.
        shutil.copytree(imagedream_folder, target, copy_function=os.link)
        for name in without:
            (target / name).unlink()
        return target

    return copy
