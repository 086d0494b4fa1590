"""A real headless Chromium, driven through chromedriver's plain HTTP protocol (W3C WebDriver)."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from l4gm import Gaussians, GaussianSequence

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=560,520",
]

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy


class Browser:
    """One window of Chromium."""

    def __init__(self, address: str, profile: Path, extra_flags: tuple[str, ...] = ()) -> None:
        self.address = address
        options = {
            "binary": shutil.which("chromium"),
            "args": [*FLAGS, *extra_flags, f"--user-data-dir={profile}"],
        }
        capabilities = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "timeouts": {"script": 60_000, "pageLoad": 60_000},
        }
        answer = self.call("POST", "session", {"capabilities": {"alwaysMatch": capabilities}})
        self.session = f"session/{answer['sessionId']}"

    def call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/{path}", data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with _DIRECT.open(request, timeout=120) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None

    def open(self, path: Path) -> None:
        """Open a file, forgetting what was logged before."""
        self.logged("browser")
        self.logged("performance")
        self.call("POST", f"{self.session}/url", {"url": path.resolve().as_uri()})

    def run(self, script: str, *arguments: object) -> Any:
        """The value of an async function's body; `arguments` are its arguments."""
        wrapped = (
            "const done = arguments[arguments.length - 1];"
            f"(async function () {{ {script} }}).apply(null, arguments)"
            ".then((value) => done({ value }), (error) => done({ error: String(error) }));"
        )
        body = {"script": wrapped, "args": list(arguments)}
        answer = self.call("POST", f"{self.session}/execute/async", body)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer.get("value")

    def press(self, *keys: str) -> None:
        """Press keys one after another, as the keyboard does."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        source = {"type": "key", "id": "keyboard", "actions": actions}
        self.call("POST", f"{self.session}/actions", {"actions": [source]})

    def pointer(self, *actions: dict[str, Any], kind: str = "mouse") -> None:
        source = {
            "type": "pointer",
            "id": kind,
            "parameters": {"pointerType": kind},
            "actions": list(actions),
        }
        self.call("POST", f"{self.session}/actions", {"actions": [source]})

    def cdp(self, command: str, parameters: dict[str, Any] | None = None) -> Any:
        """A command of the DevTools protocol."""
        body = {"cmd": command, "params": parameters or {}}
        return self.call("POST", f"{self.session}/goog/cdp/execute", body)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("GET", f"{self.session}/screenshot")))

    def logged(self, kind: str) -> list[dict[str, Any]]:
        return self.call("POST", f"{self.session}/se/log", {"type": kind})

    def problems(self) -> list[str]:
        """What the page wrote to the console."""
        return [entry["message"] for entry in self.logged("browser")]

    def requests(self) -> list[str]:
        """Addresses that the page asked for."""
        events = [json.loads(entry["message"])["message"] for entry in self.logged("performance")]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def quit(self) -> None:
        self.call("DELETE", self.session)


@pytest.fixture(scope="session")
def chromedriver() -> Iterator[str]:
    """The address of a running chromedriver."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("no chromium and chromedriver here (apt-get install chromium chromium-driver)")
    process = subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        deadline = time.monotonic() + 30
        port = None
        while port is None and time.monotonic() < deadline:
            port = re.search(r"started successfully on port (\d+)", process.stdout.readline())
        assert port, "chromedriver did not start"
        yield f"http://127.0.0.1:{port[1]}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def browser(chromedriver: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser window for the whole test run."""
    window = Browser(chromedriver, tmp_path_factory.mktemp("profile"))
    yield window
    window.quit()


@pytest.fixture
def fresh_browser(chromedriver: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A window of its own, whose processes have done nothing yet."""
    window = Browser(chromedriver, tmp_path_factory.mktemp("profile"))
    yield window
    window.quit()


@pytest.fixture
def browser_without_webgl(
    chromedriver: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    """A window that cannot draw in three dimensions."""
    window = Browser(chromedriver, tmp_path_factory.mktemp("profile"), ("--disable-3d-apis",))
    yield window
    window.quit()


def make_creature(frames: int = 5, count: int = 800) -> GaussianSequence:
    """Three moving ellipsoids of random Gaussians: thin and thick, faint and opaque."""
    generator = torch.Generator().manual_seed(4)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    part = torch.randint(0, 3, (count,), generator=generator)
    centres = torch.tensor([[0.0, 0.0, 0.0], [0.3, 0.25, 0.1], [-0.25, -0.2, 0.2]])
    sizes = torch.tensor([[0.3, 0.2, 0.25], [0.15, 0.15, 0.15], [0.1, 0.25, 0.1]])
    paints = torch.tensor([[0.9, 0.5, 0.1], [0.2, 0.4, 0.9], [0.2, 0.7, 0.3]])
    shell = torch.nn.functional.normalize(normal(count, 3), dim=-1)
    fixed = {
        "quats": normal(count, 4),
        "scales": torch.exp(normal(count, 3) * 0.7) * 0.03,
        "opacities": torch.rand(count, generator=generator) ** 2,
        "colors": (paints[part] + 0.15 * normal(count, 3)).clamp(0, 1),
    }
    sets = []
    for frame in range(frames):
        moved = centres + 0.1 * torch.sin(torch.tensor(frame * 1.3) + torch.eye(3) * 2)
        sets.append(Gaussians(means=moved[part] + shell * sizes[part], **fixed))
    return GaussianSequence(Gaussians.stack(sets), 8.0)


@pytest.fixture(scope="session")
def creature() -> Callable[..., GaussianSequence]:
    """Makes an animated object: `creature(frames=5, count=800)`."""
    return make_creature


@pytest.fixture
def tiny_video(tmp_path: Path) -> Path:
    """An H.264 video of 5 frames at 8 fps, each brighter than the one before."""
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for index in range(5):
            picture = np.full((64, 64, 3), 40 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


HOSTILE = 'Tom & "Jerry" </script><script>window.broken = 1</script><!-- $title <img src=x>'


@pytest.fixture
def hostile_title() -> str:
    """A title that would run if it were taken for HTML."""
    return HOSTILE
