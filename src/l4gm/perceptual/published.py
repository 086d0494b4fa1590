"""The published weight files of the judging networks: which they are, where they lie, reading them.

These files are pickles, as their authors published them. Each is read only if its SHA-256 is the
published one (where there is one), by torch's loader for tensors and plain values alone. Nothing is
ever replaced by other weights: what is missing raises `MissingWeightsError`, whose text says where
to get the file and where to put it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pickle
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from l4gm.errors import InputError

_BLOCK_BYTES = 1 << 20
_NAMES_IN_MESSAGES = 3


class MissingWeightsError(InputError):
    """A weight file is not on this machine; the message says how to get it."""


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """One published file.

    Args:
        name: short, for tables and options.
        filename: as published.
        url: where it is published.
        licence: its terms, as its publisher states them.
        sha256: of the whole file; None where nobody published one.
        num_bytes: roughly how large it is, for people.
        network: what it holds.
        package: of a file that a Python package brings: what pip installs, and below that package's
            folder the file's path; None for a download.
    """

    name: str
    filename: str
    url: str
    licence: str
    sha256: str | None
    num_bytes: int
    network: str
    package: tuple[str, str] | None = None

    @property
    def how_to_get(self) -> str:
        """The command that brings it, or the download for `weight_folder`."""
        if self.package is None:
            command = f"l4gm evaluate weights --fetch {self.name}"
            return f"run {command}, or download {self.url} and put it in {weight_folder()}"
        return (
            f"run pip install {self.package[0]} ({self.url}), or put {self.package[1]} of that "
            f"package in {weight_folder()}"
        )


VGG16 = WeightFile(
    name="vgg16",
    filename="vgg16-397923af.pth",
    url="https://download.pytorch.org/models/vgg16-397923af.pth",
    licence="BSD-3-Clause (torchvision), trained on ImageNet",
    sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    num_bytes=553_433_881,
    network="VGG-16, the features of LPIPS-VGG",
)
ALEXNET = WeightFile(
    name="alexnet",
    filename="alexnet-owt-7be5be79.pth",
    url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    licence="BSD-3-Clause (torchvision), trained on ImageNet",
    sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    num_bytes=244_408_911,
    network="AlexNet, the features of LPIPS-AlexNet",
)
CLIP_B32 = WeightFile(
    name="clip",
    filename="clip-vit-base-patch32.bin",
    url="https://huggingface.co/openai/clip-vit-base-patch32/resolve/main/pytorch_model.bin",
    licence="MIT (OpenAI CLIP)",
    sha256="a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f",
    num_bytes=605_247_071,
    network="CLIP ViT-B/32",
)
I3D_K400 = WeightFile(
    name="i3d",
    filename="i3d_pretrained_400.pt",
    url=(
        "https://huggingface.co/spaces/LanguageBind/Open-Sora-Plan-v1.0.0/resolve/"
        "810fa8c4bdb3a4c8eec9bd57375c29bde6fb46de/opensora/eval/fvd/videogpt/i3d_pretrained_400.pt"
    ),
    licence="Apache-2.0 (kinetics-i3d), trained on Kinetics-400",
    sha256=None,
    num_bytes=50_939_526,
    network="I3D on Kinetics-400, the features of FVD",
)
ST_LPIPS = WeightFile(
    name="st_lpips",
    filename="alex_shift_tolerant.pth",
    url="https://pypi.org/project/stlpips-pytorch",
    licence="BSD-2-Clause",
    sha256="b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
    num_bytes=9_899_296,
    network="ST-LPIPS on AlexNet",
    package=("stlpips-pytorch==0.0.2", "weights/vST0.0/alex_shift_tolerant.pth"),
)
WEIGHT_FILES = (ST_LPIPS, VGG16, ALEXNET, CLIP_B32, I3D_K400)


def weight_folder() -> Path:
    """Where the files are looked for: `$L4GM_WEIGHTS/metrics`, else in `~/.cache/l4gm/weights`."""
    home = os.environ.get("L4GM_WEIGHTS")
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    root = Path(home).expanduser() if home else cache / "l4gm" / "weights"
    return root / "metrics"


def find(file: WeightFile) -> Path:
    """The file on this machine, verified: in `weight_folder`, in torch's own download cache, or
    inside the installed package that brings it.

    Raises:
        MissingWeightsError: it is in none of them.
        InputError: it is there but not the published file.
    """
    folders = (weight_folder(), Path(torch.hub.get_dir()) / "checkpoints")
    for path in (*(folder / file.filename for folder in folders), *_in_package(file)):
        if path.is_file():
            _verify(path, file)
            return path
    raise MissingWeightsError(
        f"weights missing: {file.filename} ({file.network}, {file.num_bytes / 1e6:.0f} MB, "
        f"{file.licence}); {file.how_to_get}"
    )


def _in_package(file: WeightFile) -> list[Path]:
    """Where the file lies if its package is installed; the package itself is not imported."""
    if file.package is None:
        return []
    requirement, path = file.package
    spec = importlib.util.find_spec(requirement.partition("==")[0].replace("-", "_"))
    folders = spec.submodule_search_locations if spec is not None else None
    return [Path(folder) / path for folder in folders or ()]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file; remembered while the file does not change."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


@lru_cache
def _sha256(path: Path, num_bytes: int, changed_ns: int) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _verify(path: Path, file: WeightFile) -> None:
    if file.sha256 is not None and sha256_of(path) != file.sha256:
        raise InputError(
            f"{path}: its SHA-256 is not that of the published file ({file.sha256[:12]}...); it is "
            f"cut off or another file: delete it, then {file.how_to_get}"
        )


def fetch(file: WeightFile, progress: Callable[[int, int], None] | None = None) -> Path:
    """Download a file to `weight_folder`, whole or not at all, and verify it.

    Args:
        file: one that is a download (no `package`).
        progress: called with (bytes so far, bytes in all, or 0 if unknown).

    Raises:
        ConnectionError: it cannot be downloaded.
        InputError: what came is not the published file.
    """
    target = weight_folder() / file.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    try:
        _download(file.url, partial, progress)
        _verify(partial, file)
        os.replace(partial, target)
    except OSError as error:
        raise ConnectionError(f"cannot download {file.url}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return target


def _download(url: str, path: Path, progress: Callable[[int, int], None] | None) -> None:
    with urllib.request.urlopen(url, timeout=30) as answer, path.open("wb") as out:
        total, done = int(answer.headers.get("Content-Length") or 0), 0
        while block := answer.read(_BLOCK_BYTES):
            out.write(block)
            done += len(block)
            if progress is not None:
                progress(done, total)


def read_tensors(
    file: WeightFile, wanted: tuple[str, ...], ignored: Iterable[str] = ()
) -> dict[str, Tensor]:
    """The tensors of a published file whose names start with one of `wanted`, in float32.

    Args:
        wanted: prefixes of the names that are kept.
        ignored: prefixes of the other names that the published file has.

    Raises:
        MissingWeightsError: as `find`.
        InputError: not readable, or with names that the published file has not.
    """
    path = find(file)
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise InputError(
            f"{path}: not a readable file of tensors ({type(error).__name__}); download it again"
        ) from error
    known = (*wanted, *ignored)
    if not isinstance(values, dict) or not all(str(name).startswith(known) for name in values):
        raise InputError(f"{path}: not the tensors of {file.network}; download it again")
    return {
        name: tensor.detach().float() for name, tensor in values.items() if name.startswith(wanted)
    }


def load_frozen(module: nn.Module, tensors: dict[str, Tensor], file: WeightFile) -> None:
    """Load strictly, switch to `eval` and take no gradients for the weights.

    Raises:
        InputError: names or shapes that are not the network's.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if shapes != given:
        faults = sorted(
            name for name in shapes.keys() | given.keys() if _differ(name, shapes, given)
        )
        raise InputError(
            f"{file.filename}: not the weights of {file.network}; missing, left over or of another "
            f"shape: {', '.join(faults[:_NAMES_IN_MESSAGES])}"
            + (f" and {len(faults) - _NAMES_IN_MESSAGES} more" if len(faults) > 3 else "")
        )
    module.load_state_dict(tensors)
    module.requires_grad_(False).eval()


def _differ(
    name: str, shapes: dict[str, tuple[int, ...]], given: dict[str, tuple[int, ...]]
) -> bool:
    return shapes.get(name) != given.get(name)
