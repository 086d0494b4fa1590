"""The app: videos through its own server, as a browser sends them; and what it refuses."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from l4gm.cli import app
from l4gm.cli.app_jobs import MAX_KEPT, MAX_WAITING, Job, Jobs, State
from l4gm.cli.app_page import FILE_NAMES, job_options, reconstruct_video
from l4gm.cli.app_server import TOKEN_HEADER, AppServer, Limits
from l4gm.cli.reconstruction import Engine
from l4gm.errors import InputError
from l4gm.files import load
from l4gm.gaussians.types import GaussianSequence

Report = Callable[[str, int, int], None]


@pytest.fixture(scope="module")
def engine(video_model: Path) -> Engine:
    return Engine(job_options(app.Options(model=str(video_model), max_frames=3, device="cpu")))


def test_reconstruct_video(tmp_path: Path, video: Path, engine: Engine) -> None:
    reported: list[tuple[str, int, int]] = []
    results = [
        reconstruct_video(video, tmp_path, engine, lambda *state: reported.append(state))
        for _ in range(2)
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"disc_4d", "disc_4d_2"}
    for outcome in results:
        assert "7 frames" in outcome.summary
        assert tuple(path.name for path in outcome.files) == FILE_NAMES
        by_name = {path.name: path for path in outcome.files}
        sequence = load(by_name["sequence.safetensors"])
        assert isinstance(sequence, GaussianSequence)
        assert len(sequence) == 7  # two between each pair
        with zipfile.ZipFile(by_name["frames_ply.zip"]) as archive:
            assert archive.namelist() == [f"frame_000{i}.ply" for i in range(7)]
    assert {stage for stage, _, _ in reported} >= {"prepare", "reconstruct", "page"}


def test_bad_video_leaves_nothing(tmp_path: Path, engine: Engine) -> None:
    (tmp_path / "in").mkdir()
    bad = tmp_path / "in" / "<img src=x onerror=alert(1)>.mp4"
    bad.write_bytes(b"no video")
    with pytest.raises(InputError):
        reconstruct_video(bad, tmp_path / "out", engine, lambda *state: None)
    assert not (tmp_path / "out").exists()


def test_bad_options(run: Callable) -> None:
    run("app", "--port", "70000").assert_bad_input("--port 70000")
    run("app", "--max-upload-mb", "0").assert_bad_input("--max-upload-mb")


class Visitor:
    """A browser, as far as it matters."""

    def __init__(self, server: AppServer) -> None:
        self.port = server.server_address[1]
        self.token = server.token

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, given)
            response = connection.getresponse()
            return response.status, dict(response.headers), response.read()
        finally:
            connection.close()

    def post(self, path: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
        status, _, content = self.ask("POST", path, body, **{TOKEN_HEADER: self.token})
        return status, json.loads(content)

    def wait_for(self, job_id: str) -> dict[str, Any]:
        """The job's state when it has ended."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            state = json.loads(self.ask("GET", f"/jobs/{job_id}")[2])
            if state["state"] not in ("waiting", "working"):
                return state
            time.sleep(0.02)
        raise AssertionError("the job does not end")


@contextmanager
def serving(
    folder: Path, work: Callable[[Path, Report], tuple[str, dict[str, Path]]], limit: int = 1000
) -> Iterator[Visitor]:
    limits = Limits(upload_bytes=limit, frames=3)
    with (
        Jobs(work, keep_all=False) as jobs,
        AppServer("127.0.0.1", 0, jobs, folder, limits) as server,
    ):
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Visitor(server)
        finally:
            server.shutdown()
            thread.join()


def shout(video: Path, progress: Report) -> tuple[str, dict[str, Path]]:
    """A stand-in for the network: the result is the upload in capitals."""
    progress("reconstruct", 1, 2)
    text = video.read_text()
    if text == "bad":
        raise InputError(f"{video}: no video")
    if text == "bug":
        raise KeyError("secret")
    out = video.parent.parent / f"{video.stem}_{len(text)}_4d"
    out.mkdir()
    (out / "index.html").write_text(text.upper())
    (out / "a.zip").write_text("zip")
    return "made", {path.name: path for path in out.iterdir()}


def test_an_upload_becomes_a_result_and_is_deleted(tmp_path: Path) -> None:
    with serving(tmp_path, shout) as visitor:
        status, headers, page = visitor.ask("GET", "/")
        assert status == 200
        assert visitor.token.encode() in page
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert not re.search(rb"""(src|href|url|import)\W{0,3}["'(]?(https?:)?//""", page)
        status, job = visitor.post("/videos?name=my%20cat.mp4", b"hello")
        assert status == 200
        state = visitor.wait_for(job["id"])
        assert state == {
            **{"id": job["id"], "name": "my cat.mp4", "state": "done", "text": "made"},
            **{"stage": "reconstruct", "done": 1, "total": 2},
            "files": sorted(state["files"], key=state["files"].index),
        }
        assert {path.name for path in tmp_path.iterdir()} == {"my cat_5_4d"}
        status, headers, content = visitor.ask("GET", f"/jobs/{job['id']}/index.html")
        assert (status, content) == (200, b"HELLO")
        assert headers["Content-Security-Policy"].startswith("sandbox allow-scripts")
        status, headers, _ = visitor.ask("GET", f"/jobs/{job['id']}/a.zip")
        assert headers["Content-Disposition"] == "attachment; filename*=UTF-8''a.zip"
        for path in ("../index.html", "..%2Findex.html", "other", "/etc/passwd"):
            assert visitor.ask("GET", f"/jobs/{job['id']}/{path}")[0] == 404
        assert visitor.ask("GET", "/jobs/guess")[0] == 404


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("..%2F..%2Fetc%2Fcron.d%2Fx.mp4", "x.mp4"),
        ("C%3A%5Cvideos%5Ccat.mp4", "cat.mp4"),
        ("%1B%5B31m%0Acat.mp4", "[31mcat.mp4"),
        (".hidden", "hidden"),
        ("", "video"),
        ("%F0%9F%90%88" * 90 + ".mp4", None),
    ],
)
def test_names_of_visitors_stay_names(tmp_path: Path, name: str, stored: str | None) -> None:
    with serving(tmp_path, shout) as visitor:
        _, job = visitor.post(f"/videos?name={name}", b"hi")
        state = visitor.wait_for(job["id"])
        assert state["state"] == "done"
        assert stored in (None, state["name"])
        assert len(state["name"].encode()) <= 100
    assert all(path.parent == tmp_path for path in tmp_path.glob("*_4d"))


def test_failures_are_sentences_without_paths(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(tmp_path, shout) as visitor:
        _, job = visitor.post("/videos?name=cat.mp4", b"bad")
        assert visitor.wait_for(job["id"])["text"] == "cat.mp4: no video"
        _, job = visitor.post("/videos?name=dog.mp4", b"bug")
        state = visitor.wait_for(job["id"])
        assert state["text"] == "dog.mp4: something went wrong; the terminal says what"
        _, job = visitor.post("/videos?name=cow.mp4", b"fine")
        assert visitor.wait_for(job["id"])["state"] == "done"
    assert [record.getMessage() for record in caplog.records] == ["dog.mp4: KeyError: 'secret'"]
    assert "Traceback" not in capsys.readouterr().err
    assert not list(tmp_path.glob("upload-*"))


def test_uploads_are_bounded(tmp_path: Path) -> None:
    with serving(tmp_path, shout, limit=10) as visitor:
        status, answer = visitor.post("/videos?name=a", bytes(11))
        assert status == 413
        assert "at most" in answer["error"]
        assert visitor.post("/videos?name=a", bytes(10))[0] == 200
        connection = HTTPConnection("127.0.0.1", visitor.port, timeout=20)
        connection.putrequest("POST", "/videos")
        connection.putheader(TOKEN_HEADER, visitor.token)
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        assert connection.getresponse().status == 411
        connection.close()


def test_half_an_upload_is_deleted(tmp_path: Path) -> None:
    with serving(tmp_path, shout) as visitor:
        connection = HTTPConnection("127.0.0.1", visitor.port, timeout=20)
        connection.putrequest("POST", "/videos?name=half.mp4")
        connection.putheader(TOKEN_HEADER, visitor.token)
        connection.putheader("Content-Length", "100")
        connection.endheaders(b"half")
        connection.close()
        deadline = time.monotonic() + 20
        while list(tmp_path.glob("upload-*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not list(tmp_path.iterdir())


def test_other_pages_change_nothing(tmp_path: Path) -> None:
    """They cannot send our header without being asked for leave, which is not given."""
    with serving(tmp_path, shout) as visitor:
        for headers in ({}, {TOKEN_HEADER: "guess"}, {TOKEN_HEADER: ""}):
            status, _, content = visitor.ask("POST", "/videos?name=a", b"hi", **headers)
            assert status == 403
            assert "reload" in json.loads(content)["error"]
        status, headers, _ = visitor.ask("OPTIONS", "/videos", Origin="https://evil.example")
        assert status == 501
        assert "Access-Control-Allow-Origin" not in headers
    assert not list(tmp_path.iterdir())


def test_the_queue_is_bounded_and_jobs_can_be_cancelled(tmp_path: Path) -> None:
    may_end = threading.Event()

    def wait(video: Path, progress: Report) -> tuple[str, dict[str, Path]]:
        while not may_end.wait(0.01):
            progress("reconstruct", 0, 1)
        return "made", {}

    with serving(tmp_path, wait) as visitor:
        first = visitor.post("/videos?name=a", b"1")[1]["id"]
        while json.loads(visitor.ask("GET", f"/jobs/{first}")[2])["state"] == "waiting":
            time.sleep(0.01)
        others = [visitor.post("/videos?name=a", b"1") for _ in range(MAX_WAITING + 1)]
        assert [status for status, _ in others] == [200] * MAX_WAITING + [503]
        for job_id in (first, others[0][1]["id"]):
            assert visitor.post(f"/jobs/{job_id}/cancel")[1]["state"] == "cancelled"
        may_end.set()
        assert visitor.wait_for(others[1][1]["id"])["state"] == "done"
        assert visitor.wait_for(others[0][1]["id"])["state"] == "cancelled"


def test_old_results_make_room(tmp_path: Path) -> None:
    with serving(tmp_path, shout) as visitor:
        ids = []
        for index in range(MAX_KEPT + 2):
            ids.append(visitor.post("/videos?name=a", b"x" * (index + 1))[1]["id"])
            assert visitor.wait_for(ids[-1])["state"] == "done"
        visitor.wait_for(visitor.post("/videos?name=b", b"bad")[1]["id"])
        assert visitor.ask("GET", f"/jobs/{ids[0]}")[0] == 404
        assert visitor.ask("GET", f"/jobs/{ids[-1]}")[0] == 200
    assert len(list(tmp_path.iterdir())) <= MAX_KEPT


def test_closing_ends_the_job_at_work(tmp_path: Path) -> None:
    started = threading.Event()

    def forever(video: Path, progress: Report) -> tuple[str, dict[str, Path]]:
        while True:
            progress("reconstruct", 0, 1)
            started.set()
            time.sleep(0.01)

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").touch()
    job = Job(name="a", video=tmp_path / "in" / "a.mp4")
    with Jobs(forever, keep_all=False) as jobs:
        assert jobs.add(job)
        assert started.wait(20)
    assert job.state is State.CANCELLED
    assert not (tmp_path / "in").exists()


_NO_NETWORK = """
import socket, sys
def refuse(self, address):
    raise AssertionError(f"connects to {address}")
socket.socket.connect = refuse
socket.socket.connect_ex = refuse
def look_up(host, *rest, **more):
    if host not in ("127.0.0.1", "localhost", None, ""):
        raise AssertionError(f"looks up {host}")
    return real(host, *rest, **more)
real, socket.getaddrinfo = socket.getaddrinfo, look_up
from l4gm.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_served_without_any_connection_and_leaves_nothing(
    tmp_path: Path, video: Path, video_model: Path, number: signal.Signals
) -> None:
    """The whole app in its own process, with every outgoing connection a fault."""
    command = [sys.executable, "-c", _NO_NETWORK, "app", "--no-browser"]
    process = subprocess.Popen(
        [*command, "--model", str(video_model), "--max-frames", "3", "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"TMPDIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
        assert found
        visitor = Visitor.__new__(Visitor)
        visitor.port = int(found[1])
        page = visitor.ask("GET", "/")[2].decode()
        token = re.search(r'token = "([^"]+)"', page)
        assert token
        visitor.token = token[1]
        (private,) = tmp_path.glob("l4gm-*")
        assert private.stat().st_mode & 0o077 == 0
        status, job = visitor.post("/videos?name=disc.mp4", video.read_bytes())
        assert status == 200
        state = visitor.wait_for(job["id"])
        assert state["state"] == "done", state
        assert "7 frames" in state["text"]
        content = visitor.ask("GET", f"/jobs/{job['id']}/frames_ply.zip")[2]
        with zipfile.ZipFile(BytesIO(content)) as archive:
            assert archive.testzip() is None
        bad = visitor.post("/videos?name=bad.mp4", b"no video")[1]
        assert visitor.wait_for(bad["id"])["text"].startswith("bad.mp4: ")
    finally:
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGINT: 0, signal.SIGTERM: 143}[number]
    assert "Traceback" not in err
    assert not list(tmp_path.glob("l4gm-*"))
