"""Finding and loading the parts of ImageDream: a local folder or a snapshot of the hub.

The only module that imports diffusers and transformers.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from l4gm.errors import InputError
from l4gm.io.json_file import read_json
from l4gm.multiview.clip_image import ClipPreprocessing
from l4gm.multiview.hub import find_snapshot, offline_folder
from l4gm.multiview.unet import IMAGE_EMBED_CHANNELS, MultiViewUNet, MultiViewUNetConfig
from l4gm.plain import kind_fault

HUB_NAME = "ashawkey/imagedream-ipmv-diffusers"

_WEIGHTS_STEM = {
    "image_encoder": "model",
    "text_encoder": "model",
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
}
# Any one of each tuple has to be there.
_NEEDED_FILES: tuple[tuple[str, ...], ...] = (
    ("model_index.json",),
    ("feature_extractor/preprocessor_config.json",),
    ("image_encoder/config.json",),
    ("scheduler/scheduler_config.json",),
    ("text_encoder/config.json",),
    ("tokenizer/vocab.json", "tokenizer/tokenizer.json"),
    ("tokenizer/merges.txt", "tokenizer/tokenizer.json"),
    ("unet/config.json",),
    ("vae/config.json",),
    *(
        (f"{part}/{stem}.safetensors", f"{part}/{stem}.fp16.safetensors")
        for part, stem in _WEIGHTS_STEM.items()
    ),
)
# No Python files: the hub folder holds the released network's code, and ours takes its place.
_HUB_PATTERNS = ["model_index.json", "*/*.json", "*/merges.txt", "*/*.safetensors"]
_NAMES_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class ImageDreamParts:
    """Everything ImageDream is made of, on the CPU, in evaluation mode, without gradients.

    Args:
        tokenizer, text_encoder: transformers' CLIPTokenizer and CLIPTextModel.
        preprocessing, image_encoder: ours, and transformers' CLIPVisionModel.
        scheduler: diffusers' DDIMScheduler.
        unet: ours.
        vae: diffusers' AutoencoderKL.
    """

    tokenizer: Any
    text_encoder: Any
    preprocessing: ClipPreprocessing
    image_encoder: Any
    scheduler: Any
    unet: MultiViewUNet
    vae: Any


def load_imagedream_parts(
    source: str | os.PathLike[str] = HUB_NAME, *, dtype: torch.dtype = torch.float32
) -> ImageDreamParts:
    """Load the parts from a folder, or by hub name (see `hub.find_snapshot`).

    No code of the folder is run and no pickle is read.

    Args:
        source: a folder of the form of `ashawkey/imagedream-ipmv-diffusers`, or a hub name.
        dtype: of all weights.

    Raises:
        InputError: diffusers or transformers is absent; the hub cannot be reached; a part is
            missing, damaged, or of another architecture.
    """
    folder = _resolve(source)
    _check_files(folder)
    with _quiet_libraries() as (diffusers, transformers):
        parts = ImageDreamParts(
            tokenizer=_read_part(transformers.CLIPTokenizer, folder / "tokenizer"),
            text_encoder=_read_model(transformers.CLIPTextModel, folder / "text_encoder", dtype),
            preprocessing=ClipPreprocessing.read(
                folder / "feature_extractor" / "preprocessor_config.json"
            ),
            image_encoder=_read_model(
                transformers.CLIPVisionModel, folder / "image_encoder", dtype
            ),
            # As the released pipeline sets them, whatever the file says.
            scheduler=_read_part(
                diffusers.DDIMScheduler,
                folder / "scheduler",
                steps_offset=1,
                clip_sample=False,
            ),
            unet=_frozen(_read_unet(folder / "unet"), dtype),
            vae=_read_model(
                diffusers.AutoencoderKL, folder / "vae", dtype, low_cpu_mem_usage=False
            ),
        )
    _check_fit(parts, folder)
    return parts


def _resolve(source: str | os.PathLike[str]) -> Path:
    folder = Path(source)
    if folder.is_dir():
        return folder
    name = os.fspath(source)
    if folder.exists() or not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise InputError(
            f"{name}: expected a folder of the form of {HUB_NAME}, or a hub name; {_download(name)}"
        )
    try:
        return find_snapshot(name, _HUB_PATTERNS, lambda found: not _missing_files(found))
    except ConnectionError as error:
        raise InputError(
            f"{name}: cannot be had ({error}); where there is a network, "
            f"{_download(offline_folder(name), name)}, and it will be found there"
        ) from error


def _download(folder: object, name: str = HUB_NAME) -> str:
    return f"download it with `hf download {name} --local-dir {folder}`"


def _missing_files(folder: Path) -> list[str]:
    missing = [
        choices[0]
        for choices in _NEEDED_FILES
        if not any((folder / choice).is_file() for choice in choices)
    ]
    return list(dict.fromkeys(missing))


def _check_files(folder: Path) -> None:
    if missing := _missing_files(folder):
        raise InputError(
            f"{folder}: parts of ImageDream are missing: {', '.join(missing)}; "
            f"expected a folder of the form of {HUB_NAME}; {_download(folder)}"
        )


@contextlib.contextmanager
def _quiet_libraries() -> Iterator[tuple[Any, Any]]:
    """diffusers and transformers, without their progress bars and reports while in use."""
    try:
        import diffusers
        import transformers

        # Both import these at first use only, and so fail only then.
        _ = diffusers.AutoencoderKL, transformers.CLIPVisionModel
    except (ImportError, RuntimeError) as error:
        raise InputError(
            f"ImageDream needs diffusers and transformers ({_first_line(error)}); "
            "`pip install l4gm[multiview]`"
        ) from error
    settings = [module.utils.logging for module in (diffusers, transformers)]
    before = [(each.get_verbosity(), each.is_progress_bar_enabled()) for each in settings]
    for each in settings:
        each.set_verbosity_error()
        each.disable_progress_bar()
    try:
        yield diffusers, transformers
    finally:
        for each, (verbosity, had_bar) in zip(settings, before, strict=True):
            each.set_verbosity(verbosity)
            if had_bar:
                each.enable_progress_bar()


def _read_part(kind: Any, folder: Path, **options: Any) -> Any:
    try:
        return kind.from_pretrained(str(folder), local_files_only=True, **options)
    # What the libraries raise for a damaged file is their own affair, down to a plain Exception.
    except Exception as error:
        raise InputError(
            f"{folder}: cannot be read as {kind.__name__} ({_first_line(error)}); "
            f"{_download(folder.parent)}"
        ) from error


def _read_model(kind: Any, folder: Path, dtype: torch.dtype, **options: Any) -> Any:
    model, report = _read_part(
        kind,
        folder,
        use_safetensors=True,
        variant=_variant(folder),
        output_loading_info=True,
        **options,
    )
    # Left-over names are let be: the folder may hold a projection that is not needed here.
    if missing := sorted(report["missing_keys"]):
        raise InputError(f"{folder}: the weights lack {_some(missing)}; {_download(folder.parent)}")
    return _frozen(model, dtype)


# Far beyond any network that exists; a folder from elsewhere could ask for anything.
_LIMITS = {"model_channels": 65_536, "num_res_blocks": 64, "transformer_depth": 64}


def _read_unet(folder: Path) -> MultiViewUNet:
    config_file = folder / "config.json"
    weights_file = _weights_file(folder)
    try:
        config = read_json(config_file)
        config = {key: value for key, value in config.items() if not key.startswith("_")}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{config_file}: expected a JSON object ({error})") from error
    known = fields(MultiViewUNetConfig)
    unknown = sorted(config.keys() - {field.name for field in known})
    lacking = sorted({f.name for f in known if f.default is MISSING} - config.keys())
    if unknown or lacking:
        raise InputError(
            f"{config_file}: not the settings of ImageDream's U-Net: unknown {_some(unknown)}, "
            f"missing {_some(lacking)}"
        )
    if fault := kind_fault(MultiViewUNetConfig, config):
        raise InputError(f"{config_file}: {fault}")
    for name, most in _LIMITS.items():
        if not 1 <= config[name] <= most:
            raise InputError(f"{config_file}: {name} must be 1 to {most}, got {config[name]}")
    try:
        # Without memory for weights that the file will bring.
        with torch.device("meta"):
            unet = MultiViewUNet(**config)
        tensors = load_file(weights_file)
    except (OSError, ValueError, TypeError, ZeroDivisionError, SafetensorError) as error:
        raise InputError(
            f"{folder}: the U-Net cannot be read ({_first_line(error)}); {_download(folder.parent)}"
        ) from error
    _check_names(unet.state_dict(), tensors, weights_file)
    unet.load_state_dict(tensors, assign=True)
    return unet


def _check_names(expected: dict[str, Tensor], given: dict[str, Tensor], path: Path) -> None:
    missing = sorted(expected.keys() - given.keys())
    left_over = sorted(given.keys() - expected.keys())
    reshaped = [
        f"{name} {list(given[name].shape)} for {list(expected[name].shape)}"
        for name in expected.keys() & given.keys()
        if given[name].shape != expected[name].shape
    ]
    if missing or left_over or reshaped:
        raise InputError(
            f"{path}: not the weights of this U-Net: missing {_some(missing)}; "
            f"left over {_some(left_over)}; of another shape {_some(sorted(reshaped))}"
        )


def _check_fit(parts: ImageDreamParts, folder: Path) -> None:
    unet = parts.unet.config
    for what, given, expected in (
        ("text_encoder width", parts.text_encoder.config.hidden_size, unet.context_dim),
        ("image_encoder width", parts.image_encoder.config.hidden_size, IMAGE_EMBED_CHANNELS),
        ("image_encoder size", parts.image_encoder.config.image_size, parts.preprocessing.crop_px),
        ("vae latent channels", parts.vae.config.latent_channels, unet.in_channels),
    ):
        if given != expected:
            raise InputError(
                f"{folder}: the parts do not belong together: {what} is {given}, the others "
                f"need {expected}; {_download(folder)}"
            )


def _weights_file(folder: Path) -> Path:
    plain = folder / f"{_WEIGHTS_STEM[folder.name]}.safetensors"
    return plain if plain.is_file() else plain.with_suffix(".fp16.safetensors")


def _variant(folder: Path) -> str | None:
    return "fp16" if _weights_file(folder).name.endswith(".fp16.safetensors") else None


def _frozen(model: Any, dtype: torch.dtype) -> Any:
    assert isinstance(model, nn.Module)
    return model.to(dtype).eval().requires_grad_(False)


def _some(names: list[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
