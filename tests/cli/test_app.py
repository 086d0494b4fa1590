"""The app: the job behind its button, and, where gradio is installed, the page itself."""

from __future__ import annotations

import html
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from l4gm.cli import app
from l4gm.cli.app_page import embedded, reconstruct_video
from l4gm.errors import InputError
from l4gm.files import load
from l4gm.gaussians.types import GaussianSequence


def options(video_model: Path) -> app.Options:
    return app.Options(model=str(video_model), max_frames=3, device="cpu")


def test_reconstruct_video(tmp_path: Path, video: Path, video_model: Path) -> None:
    told: list[tuple[str, int, int]] = []
    results = [
        reconstruct_video(video, tmp_path, options(video_model), lambda *state: told.append(state))
        for _ in range(2)
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"disc_4d", "disc_4d_2"}
    for outcome in results:
        assert "3 frames" in outcome.summary
        by_name = {Path(file).name: Path(file) for file in outcome.files}
        assert all(path.is_file() for path in by_name.values())
        sequence = load(by_name["sequence.safetensors"])
        assert isinstance(sequence, GaussianSequence)
        assert len(sequence) == 3
        with zipfile.ZipFile(by_name["frames_ply.zip"]) as archive:
            assert archive.namelist() == [f"frame_000{i}.ply" for i in range(3)]
        page = re.search('srcdoc="([^"]*)"', outcome.player)
        assert page
        assert html.unescape(page[1]) == by_name["index.html"].read_text()
    assert {stage for stage, _, _ in told} >= {"prepare", "reconstruct", "page"}


def test_bad_video_leaves_nothing(tmp_path: Path, video_model: Path) -> None:
    (tmp_path / "in").mkdir()
    bad = tmp_path / "in" / "<img src=x onerror=alert(1)>.mp4"
    bad.write_bytes(b"no video")
    with pytest.raises(InputError):
        reconstruct_video(bad, tmp_path / "out", options(video_model), lambda *state: None)
    assert not (tmp_path / "out").exists()


def test_the_page_stays_inside_its_frame() -> None:
    frame = embedded('<p title="a">"</iframe><script>alert(1)</script>')
    assert frame.count("<") == 2  # the frame's own tags
    assert 'sandbox="allow-scripts"' in frame


def test_without_gradio(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "find_spec", lambda name: None)
    run("app").assert_bad_input("gradio", 'pip install "l4gm[app]"')
    run("app", "--port", "70000").assert_bad_input("--port 70000")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("gradio") is None, reason='needs pip install "l4gm[app]"')
def test_served(tmp_path: Path, video: Path) -> None:
    """On this machine alone; a video through Gradio's own client; a bad one is a clear error."""
    from gradio_client import Client, handle_file

    command = [sys.executable, "-m", "l4gm", "app", "--no-browser", "--folder", str(tmp_path)]
    process = subprocess.Popen(
        [*command, "--max-frames", "3"],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
        assert found
        client = Client(found[0], verbose=False)
        player, files, summary = client.predict(handle_file(video), api_name="/reconstruct")
        assert "srcdoc" in str(player)
        assert "3 frames" in summary
        assert {Path(file).name for file in files} >= {"index.html", "sequence.safetensors"}
        bad = tmp_path / "bad.mp4"
        bad.write_bytes(b"no video")
        with pytest.raises(Exception, match=r"bad\.mp4"):
            client.predict(handle_file(bad), api_name="/reconstruct")
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0
