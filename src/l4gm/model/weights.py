"""Reading and writing weight files: strict, safetensors only, and whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from l4gm.errors import InputError
from l4gm.gaussians.atomic import atomic_file
from l4gm.io.json_file import parse_json
from l4gm.io.tensor_file import sort_header
from l4gm.model.config import L4GMConfig
from l4gm.model.l4gm import L4GM

# The key under which a weight file carries its network's config.
T = TypeVar("T")

CONFIG_KEY = "l4gm_config"

PICKLE_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_READABLE_TYPES = ("F16", "BF16", "F32", "F64")
_NAMES_IN_MESSAGES = 3


@dataclass(frozen=True)
class WeightHeader:
    """What a weight file says about itself.

    Args:
        path: the file.
        shapes: of every tensor, by name.
        metadata: free text by key.
    """

    path: Path
    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


def load_model(
    path: str | os.PathLike[str],
    *,
    config: L4GMConfig | None = None,
    device: str | torch.device = "cpu",
) -> L4GM:
    """The network of a weight file, in float32, ready for inference (`eval`, channels_last).

    Args:
        path: a `.safetensors` file.
        config: the network, for files that do not say; the file's own word (metadata key
            "l4gm_config") counts more. With neither, the names decide between the released L4GM
            and LGM.
        device: where to put it.

    Raises:
        InputError: the file is missing, damaged, a pickle, of another network, or holds values
            that are not finite.
    """
    header = read_header(path)
    config = config_of(header) or config or inferred_config(header.shapes)
    with torch.device("meta"):
        model = L4GM(config)
    check_names(model_shapes(model), header.shapes, header.path)
    model.load_state_dict(read_tensors(header.path, device), assign=True)
    return model.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def initialize_from_lgm(model: L4GM, path: str | os.PathLike[str]) -> list[str]:
    """Start an L4GM from LGM's weights; its temporal layers stay as they are (paper section 4.2).

    Returns:
        the names that LGM does not have, all of temporal layers.

    Raises:
        InputError: as `load_model`; the file must hold exactly the model's other layers.
    """
    header = read_header(path)
    shapes = model_shapes(model)
    untouched = [name for name in shapes if ".t_attns." in name]
    wanted = {name: shape for name, shape in shapes.items() if name not in untouched}
    check_names(wanted, header.shapes, header.path)
    state = model.state_dict()
    model.load_state_dict({**state, **read_tensors(header.path)})
    return untouched


def save_weights(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    half: bool = True,
    metadata: Mapping[str, str] | None = None,
    config_key: str = CONFIG_KEY,
) -> None:
    """Write a network's weights with its config, whole or not at all.

    Args:
        path: the `.safetensors` file.
        half: as float16, which loads as float32 again; else as they are.
        metadata: further text by key to keep in the file.
        config_key: under which the file carries the network's config.

    Raises:
        InputError: the file cannot be written.
        ValueError: a weight is not finite, or too large for float16.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"cannot write weights to {path}: the name must end in .safetensors")
    tensors = {}
    for name, tensor in model.state_dict().items():
        kept = tensor.detach().to("cpu", torch.float16 if half else tensor.dtype).contiguous()
        if not kept.isfinite().all():
            raise ValueError(
                f"weight {name} holds NaN, infinity or values beyond float16; nothing was written"
            )
        tensors[name] = kept
    config: Any = model.config
    described = {config_key: json.dumps(config.to_dict()), **(metadata or {})}
    with atomic_file(path) as partial:
        save_file(tensors, partial, metadata={"format": "pt", **described})
        sort_header(partial)


def read_header(path: str | os.PathLike[str]) -> WeightHeader:
    """Names, shapes and metadata of a weight file, without its tensors.

    Raises:
        InputError: missing, not a safetensors file, a pickle, cut off, or not of floats.
    """
    path = Path(path)
    refuse_pickle(path)
    if not path.is_file():
        raise InputError(f"no weight file {path}: expected an existing .safetensors file")
    try:
        with safe_open(path, "pt") as file:
            parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {name: tuple(part.get_shape()) for name, part in parts.items()}
            types = {name: part.get_dtype() for name, part in parts.items()}
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(_damaged(path, error)) from error
    strange = [name for name, kind in types.items() if kind not in _READABLE_TYPES]
    if strange:
        raise InputError(
            f"weights {path}: {_listed(strange)} of type {types[strange[0]]}; expected float "
            "tensors (float16, bfloat16, float32 or float64)"
        )
    return WeightHeader(path, shapes, metadata)


def refuse_pickle(path: Path) -> None:
    """Raise an InputError that says how to convert, if the name is that of a pickled checkpoint."""
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise InputError(
            f"weights {path} are a pickle, which can run any program when opened; convert them "
            'once, from a source you trust: python -c "import torch, safetensors.torch as s; '
            f"s.save_file(torch.load('{path.name}', weights_only=True), "
            f"'{path.stem}.safetensors')\""
        )


def _damaged(path: Path, error: Exception) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError:
        return f"cannot read weights {path}: {error}"
    if start.startswith(_PICKLE_STARTS):
        return (
            f"weights {path} are a pickle under another name; expected the safetensors format "
            "(safetensors.torch.save_file writes it)"
        )
    return (
        f"weights {path} ({path.stat().st_size} bytes) are cut off or not in the safetensors "
        f"format ({error}); copy or download them again"
    )


def read_tensors(path: Path, device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """All tensors of a weight file as float32.

    Raises:
        InputError: names the first tensor that holds NaN or infinity.
    """
    tensors = {}
    try:
        with safe_open(path, "pt", device=str(device)) as file:
            for name in file.keys():  # noqa: SIM118
                tensors[name] = file.get_tensor(name).float()
    except (SafetensorError, OSError) as error:
        raise InputError(_damaged(path, error)) from error
    # A sum is finite only if every term is: one pass over the memory, no mask beside it.
    sums = torch.stack([tensor.sum(dtype=torch.float64) for tensor in tensors.values()])
    bad = [name for name, fine in zip(tensors, sums.isfinite().tolist(), strict=True) if not fine]
    if bad:
        count = int((~tensors[bad[0]].isfinite()).sum())
        raise InputError(
            f"weights {path}: {bad[0]} holds {count} values that are NaN or infinite "
            f"({len(bad)} of {len(tensors)} tensors do); expected finite numbers: copy or "
            "download the file again, or use an earlier checkpoint"
        )
    return tensors


def model_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Every name and shape of a network's state."""
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def check_names(
    expected: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]], path: Path
) -> None:
    """Raise an InputError that says what is missing, left over or of another shape."""
    missing = [name for name in expected if name not in given]
    left_over = [name for name in given if name not in expected]
    reshaped = [
        f"{name} is {list(given[name])}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in given and given[name] != shape
    ]
    faults = [
        f"{len(items)} {what}: {_listed(items)}"
        for what, items in (
            ("missing", missing),
            ("left over", left_over),
            ("of another shape", reshaped),
        )
        if items
    ]
    if faults:
        raise InputError(
            f"weights {path} do not fit the network ({len(expected)} tensors expected, "
            f"{len(given)} found); {'; '.join(faults)}. Use a file of this network, or give its "
            "config.json"
        )


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = len(names) - _NAMES_IN_MESSAGES
    return ", ".join(names[:_NAMES_IN_MESSAGES]) + (f" and {more} more" if more > 0 else "")


def config_of(header: WeightHeader) -> L4GMConfig | None:
    """The config that a weight file carries, if it does.

    Raises:
        InputError: it carries one that cannot be read.
    """
    text = header.metadata.get(CONFIG_KEY)
    return None if text is None else config_from_text(text, f"the metadata of {header.path}")


def config_from_text(text: str, source: str) -> L4GMConfig:
    """A config from JSON; see `parsed_config`."""
    return parsed_config(text, source, L4GMConfig.from_dict)


def parsed_config(text: str, source: str, from_dict: Callable[[dict[str, Any]], T]) -> T:
    """A network's config from JSON.

    Args:
        text: a JSON object with the config's keys.
        source: where it stands, for errors.
        from_dict: the config's constructor, which raises InputError.

    Raises:
        InputError: naming the source, if it is not that.
    """
    values = parse_json(text, f"model config in {source}")
    if not isinstance(values, dict):
        raise InputError(f"model config in {source} must be a JSON object")
    try:
        return from_dict(values)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error


def inferred_config(names: Iterable[str]) -> L4GMConfig:
    """The released network with these names: L4GM, or LGM where there are no temporal layers."""
    return L4GMConfig.big(temporal_attention=any(".t_attns." in name for name in names))


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
