"""Where weights come from: bundled with the package, a folder, a file, or the hub."""

from __future__ import annotations

import logging
import os
import re
import socket
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import torch
from torch import nn

from l4gm.errors import InputError
from l4gm.model.weights import (
    PICKLE_SUFFIXES,
    WeightHeader,
    config_from_text,
    load_model,
    read_header,
    refuse_pickle,
)

logger = logging.getLogger(__name__)

Kind = Literal["recon", "interp"]

BUNDLED = ("mini",)
OFFICIAL = "jiawei011/L4GM"
CONFIG_NAME = "config.json"
SOLID_NAME = "solid.safetensors"
# Metadata of a weight file: which network it is of, where that is not L4GM.
NETWORK_KEY = "network"

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Repository:
    """The files of a hub repository that we know."""

    recon: str = "recon.safetensors"
    interp: str | None = "interp.safetensors"
    licence: str | None = None


REPOSITORIES = {
    OFFICIAL: Repository(licence="CC-BY-NC-SA-4.0 (not for commercial use)"),
    # The files without "fixrot" give wrong rotations.
    "ashawkey/LGM": Repository(recon="model_fp16_fixrot.safetensors", interp=None),
}


@dataclass(frozen=True)
class WeightFiles:
    """The files behind a model's name.

    Args:
        name: as asked for.
        recon: the reconstruction network's weights.
        interp: the interpolation network's, or None where there is none.
        config: `config.json` for files that do not carry their config, or None.
    """

    name: str
    recon: Path
    interp: Path | None = None
    config: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """The weight files that there are."""
        return [self.recon] if self.interp is None else [self.recon, self.interp]

    def path(self, kind: Kind) -> Path:
        """The file of one network.

        Raises:
            InputError: there is no interpolation network.
        """
        if kind not in ("recon", "interp"):
            raise ValueError(f'kind must be "recon" or "interp", got {kind!r}')
        path = self.recon if kind == "recon" else self.interp
        if path is None:
            raise InputError(
                f"model {self.name!r} has no interpolation weights (interp.safetensors); "
                "run without interpolation (--no-interpolate), or use a model that has them"
            )
        return path


def load_pretrained(
    name: str | os.PathLike[str], kind: Kind = "recon", device: str | torch.device = "cpu"
) -> nn.Module:
    """A trained network by name: an `L4GM`, or a `SolidModel` where the weights are of one.

    See `resolve_weights` and `weights.load_model`.
    """
    files = resolve_weights(name)
    path = files.path(kind)
    if is_solid(read_header(path)):
        from l4gm.solid.model import SolidModel

        return SolidModel.load(path, device)
    config = None
    if files.config is not None:
        config = config_from_text(files.config.read_text(encoding="utf-8"), str(files.config))
    return load_model(path, config=config, device=device)


def is_solid(header: WeightHeader) -> bool:
    """Whether weights are of a `SolidModel`."""
    return header.metadata.get(NETWORK_KEY) == "solid"


def resolve_weights(name: str | os.PathLike[str], *, download: bool = True) -> WeightFiles:
    """Find the weight files of a model.

    Args:
        name: "mini" (bundled), "official" (the paper's, hub `jiawei011/L4GM`), a folder with
            `recon.safetensors` and optionally `interp.safetensors` and `config.json`, or with
            `solid.safetensors`, one `.safetensors` file (reconstruction only), or a hub name
            `owner/name`.
        download: fetch from the hub what is not on this machine.

    Raises:
        InputError: says what was looked for and how to get it.
    """
    text = os.fspath(name)
    if text in BUNDLED:
        return _folder(bundled_folder(text), text)
    if text == "official":
        return _repository(OFFICIAL, text, download)
    path = Path(text).expanduser()
    if text and path.is_dir():
        return _folder(path, text)
    if path.is_file() or path.suffix in (".safetensors", *PICKLE_SUFFIXES):
        return _file(path, text)
    if _HUB_NAME.fullmatch(text):
        return _repository(text, text, download)
    raise InputError(
        f'no model {text!r}: expected "mini", "official", an existing folder with '
        f"recon.safetensors or {SOLID_NAME}, a .safetensors file, or a hub name like owner/name"
    )


def bundled_folder(name: str) -> Path:
    """The folder of weights that come with the package."""
    return Path(__file__).parents[1] / "weights" / name


def offline_folder(repository: str) -> Path:
    """Where hand-downloaded files of a hub repository are looked for.

    `$L4GM_WEIGHTS/owner--name`, by default under `~/.cache/l4gm/weights`.
    """
    home = os.environ.get("L4GM_WEIGHTS")
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    root = Path(home).expanduser() if home else cache / "l4gm" / "weights"
    return root / repository.replace("/", "--")


def _folder(folder: Path, name: str, known: Repository | None = None) -> WeightFiles:
    known = known or Repository()
    recon = folder / known.recon
    if not recon.is_file() and (folder / SOLID_NAME).is_file():
        return WeightFiles(name=name, recon=folder / SOLID_NAME)
    if not recon.is_file():
        for pickle in sorted(folder.glob("*")):
            refuse_pickle(pickle)
        if name in BUNDLED:
            raise InputError(
                f"the bundled model {name!r} is not in {folder}: reinstall l4gm, or name other "
                "weights"
            )
        raise InputError(
            f"no {known.recon} or {SOLID_NAME} in the folder {folder}: it must hold the weights"
        )
    interp = folder / known.interp if known.interp else None
    config = folder / CONFIG_NAME
    return WeightFiles(
        name=name,
        recon=recon,
        interp=interp if interp is not None and interp.is_file() else None,
        config=config if config.is_file() else None,
    )


def _file(path: Path, name: str) -> WeightFiles:
    refuse_pickle(path)
    if not path.is_file():
        raise InputError(f"no weight file {path}: expected an existing .safetensors file")
    return WeightFiles(name=name, recon=path)


def _repository(repository: str, name: str, download: bool) -> WeightFiles:
    known = REPOSITORIES.get(repository, Repository())
    if known.licence is not None:
        _state_licence(repository, known.licence)
    by_hand = offline_folder(repository)
    if (by_hand / known.recon).is_file():
        return _folder(by_hand, name, known)
    listed = repository in REPOSITORIES
    recon = _fetch(repository, known.recon, required=True, download=download)
    assert recon is not None
    interp = None
    if known.interp is not None:
        interp = _fetch(repository, known.interp, required=listed, download=download)
    config = None if listed else _fetch(repository, CONFIG_NAME, required=False, download=download)
    return WeightFiles(name=name, recon=recon, interp=interp, config=config)


def _fetch(repository: str, filename: str, *, required: bool, download: bool) -> Path | None:
    """The file from the hub's cache on this machine, else from the hub."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError

    cached = try_to_load_from_cache(repository, filename)
    if isinstance(cached, str):
        return Path(cached)
    reason = "it is not on this machine"
    if download and not _hub_answers():
        reason = "it is not on this machine, and the hub cannot be reached"
    elif download:
        logger.info("downloading %s of %s", filename, repository)
        try:
            return Path(hf_hub_download(repository, filename))
        except (OSError, ValueError, EntryNotFoundError, RuntimeError) as error:
            # Also what other libraries raise without a network; the message stays one line.
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
    if not required:
        return None
    known = REPOSITORIES.get(repository, Repository())
    names = " and ".join(name for name in (known.recon, known.interp) if name)
    raise InputError(
        f"cannot get {filename} of {repository} ({reason}); where there is a network, download "
        f"{names} from https://huggingface.co/{repository}/tree/main, and put them in "
        f"{offline_folder(repository)} or give their folder as the model"
    )


def _hub_answers() -> bool:
    """Whether to try a download: without a network the hub's client retries for half a minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    address = urlsplit(constants.ENDPOINT)
    if address.hostname is None or urllib.request.getproxies().get(address.scheme):
        return True
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname, port), timeout=5).close()
    except OSError:
        return False
    return True


_stated: set[str] = set()


def _state_licence(repository: str, licence: str) -> None:
    """Say once under which terms these weights are."""
    if repository not in _stated:
        _stated.add(repository)
        logger.warning("the weights of %s are under %s", repository, licence)
