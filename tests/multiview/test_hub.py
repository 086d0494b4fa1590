"""Finding a repository without and with a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from l4gm.multiview import hub


@pytest.fixture(autouse=True)
def _empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L4GM_WEIGHTS", str(tmp_path / "placed"))


def fake_hub(monkeypatch: pytest.MonkeyPatch, cached: Path | None, online: Path | None) -> None:
    def download(_: str, *, local_files_only: bool = False, **__: Any) -> str:
        found = cached if local_files_only else online
        if found is None:
            raise OSError("nothing\nthere")
        return str(found)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(hub, "hub_answers", lambda: True)


def test_whole_cache_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub(monkeypatch, cached=tmp_path / "cached", online=tmp_path / "online")
    assert hub.find_snapshot("a/b", [], lambda _: True) == tmp_path / "cached"


def test_partial_cache_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub(monkeypatch, cached=tmp_path / "cached", online=tmp_path / "online")
    assert hub.find_snapshot("a/b", [], lambda _: False) == tmp_path / "online"


def test_placed_by_hand_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub(monkeypatch, cached=tmp_path / "cached", online=tmp_path / "online")
    (tmp_path / "placed" / "a--b").mkdir(parents=True)
    assert hub.find_snapshot("a/b", [], lambda _: True) == tmp_path / "placed" / "a--b"


def test_failed_download_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub(monkeypatch, cached=None, online=None)
    with pytest.raises(ConnectionError, match="OSError: nothing there"):
        hub.find_snapshot("a/b", [], lambda _: True)


def test_no_download_is_tried_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_hub(monkeypatch, cached=None, online=tmp_path)
    monkeypatch.setattr(hub, "hub_answers", lambda: False)
    with pytest.raises(ConnectionError, match="cannot be reached"):
        hub.find_snapshot("a/b", [], lambda _: True)


def test_offline_by_the_user_s_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert not hub.hub_answers()
