"""What the page does in a real browser, and that its pictures are our renderer's."""

from __future__ import annotations

import base64
import html
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from l4gm import Gaussians, GaussianSequence, orbit_cameras, render
from l4gm.viewer.player import write_player

Creature = Callable[..., GaussianSequence]


def capture(browser: Any, size: int) -> np.ndarray:
    """[size, size, 3] in 0..1 of the frame and camera as they are."""
    text = browser.run("return await l4gm.capture(arguments[0], arguments[0])", size)
    pixels = np.frombuffer(base64.b64decode(text), np.uint8)
    return pixels.reshape(size, size, 4)[..., :3] / 255


def expected_picture(
    gaussians: Gaussians, pose: dict[str, float], size: int, background: float = 1.0
) -> np.ndarray:
    cameras = orbit_cameras([pose["azimuth"]], pose["elevation"], pose["radius"], size=size)
    with torch.no_grad():
        image = render(gaussians, cameras, background=background).image
    return image[0].permute(1, 2, 0).clamp(0, 1).double().numpy()


def psnr(left: np.ndarray, right: np.ndarray) -> float:
    return float(-10 * np.log10(((left - right) ** 2).mean() + 1e-12))


def set_camera(browser: Any, pose: dict[str, float]) -> None:
    depths = {"near": pose["radius"] / 3, "far": pose["radius"] * 5 / 3}  # as orbit_cameras
    browser.run("await l4gm.setCamera(arguments[0])", pose | depths)


def problems(browser: Any) -> list[str]:
    """Console messages, but for the driver's remark that reading pixels back is slow."""
    return [message for message in browser.problems() if "ReadPixels" not in message]


@pytest.fixture
def opened(
    browser: Any, tmp_path: Path, creature: Creature, tiny_video: Path, hostile_title: str
) -> Any:
    """A browser that shows the creature, beside its input video; checks it for problems after."""
    page = tmp_path / "a.html"
    write_player(page, creature(), title=hostile_title, input_video=tiny_video, autoplay=False)
    browser.open(page)
    assert browser.run("return await l4gm.ready")
    yield browser
    assert problems(browser) == []


POSES = [
    {"azimuth": 0, "elevation": 0, "radius": 1.5},
    {"azimuth": 100, "elevation": 25, "radius": 1.5},
    {"azimuth": -60, "elevation": -40, "radius": 0.9},  # parts of it outside the picture
    {"azimuth": 200, "elevation": 85, "radius": 2.5},
]


def test_pictures_match_the_renderer(opened: Any, creature: Creature) -> None:
    sequence = creature()
    lowest = 100.0
    for frame in (0, 2, 4):
        opened.run("await l4gm.seek(arguments[0])", frame)
        for pose in POSES:
            set_camera(opened, pose)
            expected = expected_picture(sequence.gaussians[frame], pose, 160)
            assert np.abs(expected - 1).max() > 0.5  # there is something to see
            lowest = min(lowest, psnr(capture(opened, 160), expected))
    # 35 dB is the goal; the quantisation alone leaves 47 to 60, the drawing itself 58.
    assert lowest > 44


def test_background(opened: Any, creature: Creature) -> None:
    opened.run("l4gm.setBackground('#000000')")
    set_camera(opened, POSES[1])
    expected = expected_picture(creature().gaussians[0], POSES[1], 128, background=0.0)
    assert psnr(capture(opened, 128), expected) > 45


def test_nothing_is_fetched(
    browser: Any, tmp_path: Path, creature: Creature, tiny_video: Path
) -> None:
    page = tmp_path / "a.html"
    write_player(page, creature(2), title="cat", input_video=tiny_video)
    browser.open(page)
    browser.run("await l4gm.ready; await l4gm.seek(1)")
    schemes = {address.partition(":")[0] for address in browser.requests()}
    assert "file" in schemes
    assert schemes <= {"file", "blob", "data", "chrome"}
    assert problems(browser) == []


def test_hostile_title_is_text(opened: Any, hostile_title: str) -> None:
    assert opened.run("return document.querySelector('h1').textContent") == hostile_title
    assert opened.run("return document.title") == " ".join(hostile_title.split())
    assert opened.run("return typeof window.broken") == "undefined"
    assert opened.run("return document.images.length") == 0


SPACE, LEFT, RIGHT, UP, HOME, SHIFT = " ", "\ue012", "\ue014", "\ue013", "\ue011", "\ue008"


def wait_until(browser: Any, condition: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not browser.run(f"return Boolean({condition})"):
        assert time.monotonic() < deadline, f"never: {condition}"
        time.sleep(0.05)


def test_keyboard(opened: Any) -> None:
    opened.press(RIGHT, RIGHT)
    wait_until(opened, "l4gm.frame === 2")
    wait_until(opened, "document.getElementById('counter').textContent === '3 / 5'")
    opened.press(LEFT)
    wait_until(opened, "l4gm.frame === 1")
    opened.press(LEFT, LEFT)  # loops around
    wait_until(opened, "l4gm.frame === 4")
    opened.press(UP)
    assert opened.run("return l4gm.camera.radius") == pytest.approx(1.5 * 0.9)
    opened.call(
        "POST",
        f"{opened.session}/actions",
        {
            "actions": [
                {
                    "type": "key",
                    "id": "keyboard",
                    "actions": [
                        {"type": "keyDown", "value": SHIFT},
                        {"type": "keyDown", "value": LEFT},
                        {"type": "keyUp", "value": LEFT},
                        {"type": "keyUp", "value": SHIFT},
                    ],
                }
            ]
        },
    )
    assert opened.run("return l4gm.camera.azimuth") == -5
    opened.press(HOME)
    camera = opened.run("return l4gm.camera")
    assert (camera["azimuth"], camera["elevation"], camera["radius"]) == (0, 0, 1.5)
    opened.press(SPACE)
    assert opened.run("return l4gm.playing")
    opened.press(SPACE)
    assert not opened.run("return l4gm.playing")


def test_playing_goes_through_the_frames_and_the_video_follows(opened: Any) -> None:
    wait_until(opened, "document.getElementById('video').readyState >= 2")
    opened.run("await l4gm.seek(3)")
    wait_until(opened, "Math.abs(document.getElementById('video').currentTime - 3.5 / 8) < 0.06")
    seen = opened.run(
        """
        const seen = new Set();
        const end = performance.now() + 20000;
        document.getElementById("play").click();
        while (seen.size < 5 && performance.now() < end) {
          await new Promise(requestAnimationFrame);
          seen.add(l4gm.frame);
        }
        l4gm.pause();
        return [...seen].sort();
        """
    )
    assert seen == [0, 1, 2, 3, 4]


def test_playing_once_stops_at_the_end(opened: Any) -> None:
    opened.run("await l4gm.seek(2); document.getElementById('loop').click(); l4gm.play()")
    wait_until(opened, "!l4gm.playing && l4gm.frame === 4")
    opened.run("document.getElementById('play').click()")  # from the start again
    wait_until(opened, "!l4gm.playing && l4gm.frame === 4")


def test_mouse_and_scrubber(opened: Any) -> None:
    canvas = opened.run(
        "const r = document.getElementById('canvas').getBoundingClientRect();"
        "return [Math.round(r.x + r.width / 2), Math.round(r.y + r.height / 2)]"
    )
    start = {"type": "pointerMove", "x": canvas[0], "y": canvas[1]}
    end = {"type": "pointerMove", "x": canvas[0] + 50, "y": canvas[1] + 25}
    press, release = ({"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp"))
    opened.pointer(start, press, end, release)
    camera = opened.run("return l4gm.camera")
    # Dragging right turns the object to the right, which is the camera going left; dragging down
    # looks from above.
    assert camera["azimuth"] == pytest.approx(-20)
    assert camera["elevation"] == pytest.approx(10)
    right = [{**press, "button": 2}, {**release, "button": 2}]
    opened.pointer(start, right[0], end, right[1])
    panned = opened.run("return l4gm.camera")
    assert panned["azimuth"] == camera["azimuth"]
    assert panned["target"] != [0, 0, 0]
    opened.run(
        "const s = document.getElementById('scrubber'); s.value = 3;"
        "s.dispatchEvent(new Event('input'))"
    )
    wait_until(opened, "l4gm.frame === 3")
    opened.run(
        "document.getElementById('canvas').dispatchEvent("
        "new WheelEvent('wheel', { deltaY: 100, cancelable: true }))"
    )
    assert opened.run("return l4gm.camera.radius") > 1.5


def test_frames_without_and_with_many_gaussians(
    browser: Any, tmp_path: Path, creature: Creature
) -> None:
    """Counts around the batches and texture rows, and frames where all is transparent."""
    for count in (1, 129, 1025):
        sequence = creature(frames=2, count=count)
        sequence.gaussians.opacities[:] = 0.8
        sequence.gaussians.opacities[1] = 0.0
        write_player(tmp_path / "a.html", sequence, title="cat", autoplay=False)
        browser.open(tmp_path / "a.html")
        assert browser.run("return await l4gm.ready")
        expected = expected_picture(sequence.gaussians[0], POSES[0], 64)
        set_camera(browser, POSES[0])
        assert psnr(capture(browser, 64), expected) > 45
        browser.run("await l4gm.seek(1)")
        assert (capture(browser, 64) == 1).all()
    assert problems(browser) == []


def test_large_scene_is_framed(browser: Any, tmp_path: Path, creature: Creature) -> None:
    small = creature(1).gaussians
    large = Gaussians(
        small.means * 40 + 100, small.quats, small.scales * 40, small.opacities, small.colors
    )
    write_player(tmp_path / "a.html", GaussianSequence(large, 1.0), title="hall")
    browser.open(tmp_path / "a.html")
    assert browser.run("return await l4gm.ready")
    picture = capture(browser, 64)
    covered = (np.abs(picture - 1).max(-1) > 0.1).mean()
    assert 0.1 < covered < 0.8
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    assert np.abs(border - 1).mean() < 0.03


def test_without_webgl_the_page_says_so(
    browser_without_webgl: Any, tmp_path: Path, creature: Creature
) -> None:
    write_player(tmp_path / "a.html", creature(1), title="cat")
    browser_without_webgl.open(tmp_path / "a.html")
    assert browser_without_webgl.run("return await l4gm.ready") is False
    message = browser_without_webgl.run("return document.getElementById('message').innerText")
    assert "WebGL 2" in message


def test_damaged_frame_gives_a_message(browser: Any, tmp_path: Path, creature: Creature) -> None:
    page = tmp_path / "a.html"
    write_player(page, creature(1), title="cat")
    page.write_text(re.sub(r'(id="frame-0">)[^<]{20}', r"\1" + "A" * 20, page.read_text()))
    browser.open(page)
    wait_until(browser, "!document.getElementById('message').hidden")
    text = browser.run("return document.getElementById('message').textContent")
    assert "cannot be shown" in text


def test_frames_in_any_order(browser: Any, tmp_path: Path, creature: Creature) -> None:
    """Frames are differences in groups of eight: each is right, wherever one comes from."""
    sequence = creature(frames=19, count=300)
    write_player(tmp_path / "a.html", sequence, title="cat", autoplay=False)
    browser.open(tmp_path / "a.html")
    assert browser.run("return await l4gm.ready")
    set_camera(browser, POSES[0])
    pictures = {}
    for frame in (18, 3, 8, 7, 16, 15, 0, 18):
        browser.run("await l4gm.seek(arguments[0])", frame)
        expected = expected_picture(sequence.gaussians[frame], POSES[0], 64)
        pictures[frame] = capture(browser, 64)
        assert psnr(pictures[frame], expected) > 44
    assert psnr(pictures[7], pictures[8]) < 35  # other frames are other pictures
    assert problems(browser) == []


def test_video_shows_the_very_frame(opened: Any) -> None:
    """Frame k of the tiny video is a grey of 40 k; what is shown beside frame k is no other."""
    wait_until(opened, "document.getElementById('video').readyState >= 2")
    for frame in (3, 0, 4, 1, 2):
        level = opened.run(
            """
            const video = document.getElementById("video");
            await l4gm.seek(arguments[0]);
            const wanted = (arguments[0] + 0.5) / 8;
            while (video.seeking || Math.abs(video.currentTime - wanted) > 0.05) {
              await new Promise(requestAnimationFrame);
            }
            const canvas = new OffscreenCanvas(8, 8);
            const context = canvas.getContext("2d");
            context.drawImage(video, 0, 0, 8, 8);
            return context.getImageData(4, 4, 1, 1).data[1];
            """,
            frame,
        )
        assert level == pytest.approx(40 * frame, abs=8)


def test_more_keys(opened: Any) -> None:
    opened.press(".")
    wait_until(opened, "l4gm.frame === 4")
    opened.press(",")
    wait_until(opened, "l4gm.frame === 0")
    shown = "document.getElementById('video').getBoundingClientRect().width > 0"
    assert opened.run(f"return {shown}")
    opened.press("v")
    assert not opened.run(f"return {shown}")
    opened.press("v")
    assert opened.run(f"return {shown}")
    opened.press("l")
    wait_until(opened, "document.getElementById('loop').getAttribute('aria-pressed') === 'false'")
    opened.press("f")
    wait_until(opened, "document.fullscreenElement")
    opened.press("f")
    wait_until(opened, "!document.fullscreenElement")


def test_speed(opened: Any) -> None:
    """At a tenth of the speed, four frames of an eighth of a second take five seconds."""
    moved = opened.run(
        """
        const select = document.getElementById("speed");
        select.value = "0.1";
        select.dispatchEvent(new Event("change"));
        l4gm.player.clock.playing = true;
        const clock = l4gm.player.clock;
        const before = clock.position;
        clock.advance(1.25);
        const moved = clock.position - before;
        l4gm.pause();
        return moved;
        """
    )
    assert moved == pytest.approx(1.0)


def test_touch(opened: Any) -> None:
    x, y = opened.run(
        "const r = document.getElementById('canvas').getBoundingClientRect();"
        "return [Math.round(r.x + r.width / 2), Math.round(r.y + r.height / 2)]"
    )

    def finger(name: str, *places: tuple[int, int]) -> dict[str, Any]:
        moves = [{"type": "pointerMove", "x": px, "y": py} for px, py in places]
        down, up = {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}
        return {
            "type": "pointer",
            "id": name,
            "parameters": {"pointerType": "touch"},
            "actions": [moves[0], down, *moves[1:], up],
        }

    def touch(*fingers: dict[str, Any]) -> dict[str, Any]:
        opened.call("POST", f"{opened.session}/actions", {"actions": list(fingers)})
        return opened.run("return l4gm.camera")

    turned = touch(finger("one", (x, y), (x + 25, y)))
    assert turned["azimuth"] == pytest.approx(-10)
    assert turned["radius"] == 1.5
    # Two fingers go apart from 20 to 60 pixels: three times as near, and nothing else.
    pinched = touch(
        finger("one", (x - 10, y), (x - 30, y)),
        finger("two", (x + 10, y), (x + 30, y)),
    )
    assert pinched["radius"] == pytest.approx(1.5 / 3, rel=0.1)
    assert pinched["azimuth"] == pytest.approx(-10)
    # Together to the right: the object follows them.
    moved = touch(
        finger("one", (x - 10, y), (x + 10, y)),
        finger("two", (x + 10, y), (x + 30, y)),
    )
    assert moved["radius"] == pytest.approx(pinched["radius"], rel=0.1)
    assert moved["target"][0] < pinched["target"][0] - 0.01
    assert opened.run("return document.querySelector('.stage').classList.contains('touched')")


def test_a_reset_graphics_device_comes_back(opened: Any, creature: Creature) -> None:
    set_camera(opened, POSES[1])
    opened.run(
        """
        const device = l4gm.player.gl.getExtension("WEBGL_lose_context");
        const hidden = () => document.getElementById("message").hidden;
        const until = async (check) => {
          while (!check()) await new Promise(requestAnimationFrame);
        };
        device.loseContext();
        await until(() => !hidden());
        device.restoreContext();
        await until(() => hidden() && l4gm.frame === 0);
        """
    )
    expected = expected_picture(creature().gaussians[0], POSES[1], 128)
    assert psnr(capture(opened, 128), expected) > 45
    told = [message for message in problems(opened) if "CONTEXT_LOST" not in message]
    assert told == []


@pytest.mark.slow
def test_opens_quickly(fresh_browser: Any, tmp_path: Path, creature: Creature) -> None:
    """48 frames of 16,384 Gaussians: less than 3 s of the processor until the page can be used."""
    write_player(tmp_path / "a.html", creature(48, 16384), title="cat", autoplay=False)
    fresh_browser.cdp("Performance.enable", {"timeDomain": "threadTicks"})
    fresh_browser.open(tmp_path / "a.html")
    assert fresh_browser.run("return await l4gm.ready")
    metrics = fresh_browser.cdp("Performance.getMetrics")["metrics"]
    seconds = {metric["name"]: metric["value"] for metric in metrics}
    assert 0 < seconds["ThreadTime"] < 1  # of the thread that answers the visitor
    assert 0 < seconds["ProcessTime"] < 3
    assert problems(fresh_browser) == []


def test_plays_inside_another_page(browser: Any, tmp_path: Path, creature: Creature) -> None:
    """As the app shows it: in a sandboxed frame, which reaches nothing outside itself."""
    sequence = creature(frames=2, count=300)
    write_player(tmp_path / "a.html", sequence, title='"cat" & <dog>', autoplay=False)
    (tmp_path / "outer.html").write_text(
        "<!DOCTYPE html><meta charset=utf-8><h1>App</h1>"
        + '<iframe sandbox="allow-scripts" style="width: 100%; height: 400px" srcdoc="'
        + html.escape((tmp_path / "a.html").read_text())
        + '"></iframe>'
    )
    browser.open(tmp_path / "outer.html")
    browser.call("POST", f"{browser.session}/frame", {"id": 0})
    try:
        assert browser.run("return await l4gm.ready")
        browser.run("await l4gm.seek(1)")
        set_camera(browser, POSES[1])
        expected = expected_picture(sequence.gaussians[1], POSES[1], 64)
        assert psnr(capture(browser, 64), expected) > 44
        assert browser.run("return document.querySelector('h1').textContent") == '"cat" & <dog>'
        reached = "try { return parent.document.title } catch (error) { return error.name }"
        assert browser.run(reached) == "SecurityError"
    finally:
        browser.call("POST", f"{browser.session}/frame", {"id": None})
    assert problems(browser) == []
