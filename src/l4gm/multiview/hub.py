"""A hub repository's folder on this machine: placed by hand, cached, or downloaded now."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

logger = logging.getLogger(__name__)


def offline_folder(repository: str) -> Path:
    """Where a repository placed by hand is looked for.

    `$L4GM_WEIGHTS/owner--name`, by default under `~/.cache/l4gm/weights`.
    """
    home = os.environ.get("L4GM_WEIGHTS")
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    root = Path(home).expanduser() if home else cache / "l4gm" / "weights"
    return root / repository.replace("/", "--")


def find_snapshot(
    repository: str, patterns: list[str], is_complete: Callable[[Path], bool]
) -> Path:
    """The folder of a repository; the network is asked only if no whole one is on this machine.

    Args:
        repository: `owner/name`.
        patterns: which files are wanted, as for `huggingface_hub.snapshot_download`.
        is_complete: whether a folder holds all that is needed.

    Returns:
        A folder; one just downloaded may still lack something that the repository lacks.

    Raises:
        ConnectionError: it is not on this machine and cannot be downloaded; the message says why.
    """
    by_hand = offline_folder(repository)
    if by_hand.is_dir():
        return by_hand
    import huggingface_hub

    # The hub's client has changed its network library, so what it lets through has no common name.
    failures: tuple[type[Exception], ...] = (OSError, ValueError)
    with contextlib.suppress(ImportError):
        import httpx

        failures = (*failures, httpx.HTTPError)

    with contextlib.suppress(*failures):
        cached = Path(
            huggingface_hub.snapshot_download(
                repository, allow_patterns=patterns, local_files_only=True
            )
        )
        if is_complete(cached):
            return cached
    if not hub_answers():
        raise ConnectionError("it is not on this machine, and the hub cannot be reached")
    logger.info("downloading %s; its page on the hub states the licence", repository)
    try:
        return Path(huggingface_hub.snapshot_download(repository, allow_patterns=patterns))
    except failures as error:
        raise ConnectionError(" ".join(f"{type(error).__name__}: {error}".split())[:160]) from error


def hub_answers() -> bool:
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
