"""What the page holds."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from l4gm import GaussianSequence
from l4gm.errors import InputError
from l4gm.gaussians.sequence_file import write_sequence
from l4gm.viewer import player
from l4gm.viewer.payload import encode_frames, measure_quantization
from l4gm.viewer.player import write_player

Creature = Callable[..., GaussianSequence]


def header_of(page: Path) -> dict[str, Any]:
    text = page.read_text()
    match = re.search(r'<script type="application/json" id="header">(.*?)</script>', text, re.S)
    assert match
    return json.loads(match[1])


def test_report_and_header(tmp_path: Path, creature: Creature) -> None:
    sequence = creature()
    report = write_player(tmp_path / "a.html", sequence, title="cat")
    assert (report.num_frames, report.frame_step, report.fps) == (5, 1, 8.0)
    assert report.page_bytes == (tmp_path / "a.html").stat().st_size
    assert not report.has_video
    assert report.notes == ()
    header = header_of(tmp_path / "a.html")
    assert (header["frames"], header["gaussians"], header["fps"]) == (5, 800, 8.0)


def test_page_is_one_file_without_addresses(tmp_path: Path, creature: Creature) -> None:
    write_player(tmp_path / "a.html", creature(2), title="cat")
    text = (tmp_path / "a.html").read_text()
    assert "default-src 'none'" in text
    assert not re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", text)
    assert not re.findall(r"<(?:link|script|img)[^>]*(?:src|href)=\"(?!data:)", text)
    assert [p.name for p in tmp_path.iterdir()] == ["a.html"]


def test_names_cannot_break_out(tmp_path: Path, creature: Creature, hostile_title: str) -> None:
    write_player(tmp_path / "plain.html", creature(1), title="cat")
    write_player(tmp_path / "hostile.html", creature(1), title=hostile_title)
    plain, hostile = ((tmp_path / n).read_text() for n in ("plain.html", "hostile.html"))
    assert hostile.count("<script") == plain.count("<script")
    assert hostile.count("</script") == plain.count("</script")
    assert "<img" not in hostile
    assert header_of(tmp_path / "hostile.html")["title"] == hostile_title


def test_file_and_memory_give_the_same_page(tmp_path: Path, creature: Creature) -> None:
    write_sequence(tmp_path / "a.safetensors", creature())
    write_player(tmp_path / "a.html", creature(), title="cat")
    write_player(tmp_path / "b.html", tmp_path / "a.safetensors", title="cat")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


@pytest.mark.parametrize("share", [0.9, 0.4, 0.1, 0.0])
def test_long_sequences_are_thinned_and_say_so(
    tmp_path: Path, share: float, creature: Creature
) -> None:
    sequence = creature(frames=12, count=200)
    whole = write_player(tmp_path / "whole.html", sequence, title="cat")
    frames = re.findall(r'id="frame-\d+">([^<]*)<', (tmp_path / "whole.html").read_text())
    budget = int(share * sum(map(len, frames)))
    report = write_player(tmp_path / "a.html", sequence, title="cat", max_payload_bytes=budget)
    text = (tmp_path / "a.html").read_text()
    kept = re.findall(r'id="frame-\d+">([^<]*)<', text)
    every = [sequence.gaussians[index] for index in range(12)]
    expected = encode_frames(every[:: report.frame_step], measure_quantization(every))
    assert [base64.b64decode(frame) for frame in kept] == list(expected)
    assert sum(map(len, kept)) <= budget or len(kept) == 1
    assert report.frame_step > 1
    assert report.fps == pytest.approx(8.0 / report.frame_step)
    assert report.page_bytes < whole.page_bytes
    assert "of 12 frames" in report.notes[0]
    assert report.notes[0] in text


def test_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, creature: Creature, tiny_video: Path
) -> None:
    page = tmp_path / "a.html"
    assert write_player(page, creature(1), title="cat", input_video=tiny_video).has_video
    assert base64.b64encode(tiny_video.read_bytes()).decode() in page.read_text()
    monkeypatch.setattr(player, "MAX_VIDEO_BYTES", 100)
    report = write_player(page, creature(1), title="cat", input_video=tiny_video)
    assert not report.has_video
    assert "without the input video" in report.notes[0]


def test_bad_input_leaves_nothing(tmp_path: Path, creature: Creature) -> None:
    page = tmp_path / "out" / "a.html"
    with pytest.raises(InputError, match="no such video"):
        write_player(page, creature(1), title="cat", input_video=tmp_path / "none.mp4")
    (tmp_path / "in.avi").write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"\.mp4"):
        write_player(page, creature(1), title="cat", input_video=tmp_path / "in.avi")
    with pytest.raises(InputError, match="no such file"):
        write_player(page, tmp_path / "none.safetensors", title="cat")
    with pytest.raises(ValueError, match="background"):
        write_player(page, creature(1), title="cat", background='#fff"><b')
    bad = creature(1)
    bad.gaussians.means[0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        write_player(page, bad, title="cat")
    assert not page.parent.exists()
