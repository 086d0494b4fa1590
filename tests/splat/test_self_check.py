"""A backend is trusted on a device only if it agrees with the reference there."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.splat import self_check
from l4gm.splat.cpu import render_cpu
from l4gm.splat.self_check import Draw, check_once, compare

render_module = sys.modules["l4gm.splat.render"]  # the package has the function under its name

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(self_check.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / self_check.CACHE_NAME


def edited(change: Callable[[Gaussians, Cameras], tuple[Gaussians, Cameras]]) -> Draw:
    """The CPU backend with something wrong before it."""

    def draw(gaussians: Gaussians, cameras: Cameras, background: Tensor) -> tuple[Tensor, Tensor]:
        return render_cpu(*change(gaussians, cameras), background)

    return draw


def no_background(g: Gaussians, c: Cameras, background: Tensor) -> tuple[Tensor, Tensor]:
    return render_cpu(g, c, background * 0)


def no_alpha(g: Gaussians, c: Cameras, background: Tensor) -> tuple[Tensor, Tensor]:
    image, alpha = render_cpu(g, c, background)
    return image, alpha * 0


def nan(g: Gaussians, c: Cameras, background: Tensor) -> tuple[Tensor, Tensor]:
    image, alpha = render_cpu(g, c, background)
    return image * float("nan"), alpha


def fewer_views(g: Gaussians, c: Cameras, background: Tensor) -> tuple[Tensor, Tensor]:
    image, alpha = render_cpu(g, c, background)
    return image[:, :1], alpha[:, :1]


def no_compiler(g: Gaussians, c: Cameras, background: Tensor) -> tuple[Tensor, Tensor]:
    raise OSError("CUDA_HOME is not set:\nno nvcc")


class _HalfGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient * 0.5


WRONG: dict[str, tuple[Draw, str]] = {
    "larger": (edited(lambda g, c: (replace(g, scales=1.1 * g.scales), c)), "pixels differ"),
    "fainter": (edited(lambda g, c: (replace(g, opacities=0.9 * g.opacities), c)), "pixels differ"),
    "quaternions in another order": (
        edited(lambda g, c: (replace(g, quats=g.quats.roll(1, -1)), c)),
        "pixels differ",
    ),
    "half a pixel": (
        edited(lambda g, c: (g, replace(c, intrinsics=c.intrinsics + 0.5 * _CENTER))),
        "pixels differ",
    ),
    "gradients": (
        edited(lambda g, c: (replace(g, means=_HalfGradient.apply(g.means)), c)),
        "gradient of means is off by 50.0 %",
    ),
    "background": (no_background, "pixels differ"),
    "alpha": (no_alpha, "pixels differ"),
    "not finite": (nan, "not finite"),
    "shape": (fewer_views, r"shape \[1, 1, 4, 40, 40\]"),
    "fails": (no_compiler, "OSError: CUDA_HOME is not set: no nvcc"),
}
_CENTER = torch.tensor([[0.0, 0, 1], [0, 0, 1], [0, 0, 0]])


@pytest.mark.parametrize("inference", [False, True])
def test_the_cpu_backend_passes(inference: bool) -> None:
    with torch.inference_mode(inference):  # as where `auto` is asked for most
        assert compare(lambda: render_cpu, CPU).reason is None


@pytest.mark.parametrize(("draw", "reason"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_seen(draw: Draw, reason: str) -> None:
    with torch.inference_mode():
        found = compare(lambda: draw, CPU)
    assert found.lasting
    assert found.reason is not None
    assert re.search(reason, found.reason)
    assert "\n" not in found.reason


def counting(draw: Draw) -> tuple[Callable[[], Draw], list[int]]:
    calls: list[int] = []

    def load() -> Draw:
        calls.append(1)
        return draw

    return load, calls


def test_the_verdict_is_kept_for_this_device_and_these_versions(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, calls = counting(render_cpu)
    for _ in range(3):
        assert check_once("ours", load, CPU) is None
    bad, bad_calls = counting(no_alpha)
    for _ in range(3):
        assert "pixels differ" in str(check_once("theirs", bad, CPU))
    assert (len(calls), len(bad_calls)) == (1, 1)
    assert len(json.loads(cache.read_text())) == 2
    for changed in (("_driver", lambda: "driver 2"), ("_device_name", lambda device: "GPU 2")):
        monkeypatch.setattr(self_check, *changed)
        assert check_once("ours", load, CPU) is None
    monkeypatch.setattr(self_check, "__version__", "999")
    assert check_once("ours", load, CPU) is None
    assert len(calls) == 4


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', "[" * 100_000])
def test_a_damaged_cache_is_checked_anew(cache: Path, content: str) -> None:
    cache.parent.mkdir()
    cache.write_text(content)
    load, calls = counting(render_cpu)
    for _ in range(2):
        assert check_once("ours", load, CPU) is None
    assert len(calls) == 1


def test_no_place_for_a_cache_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(self_check.CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    assert check_once("ours", lambda: render_cpu, CPU) is None


def test_lack_of_memory_is_no_verdict() -> None:
    def out_of_memory(g: Gaussians, c: Cameras, background: Tensor) -> tuple[Tensor, Tensor]:
        raise RuntimeError("CUDA out of memory")

    assert "out of memory" in str(check_once("ours", lambda: out_of_memory, CPU))
    assert check_once("ours", lambda: render_cpu, CPU) is None


def test_what_took_a_process_down_is_not_tried_again(cache: Path) -> None:
    pid = os.fork()
    if pid == 0:

        def crash() -> Draw:
            os._exit(1)

        check_once("ours", crash, CPU)
    os.waitpid(pid, 0)
    load, calls = counting(render_cpu)
    for _ in range(2):
        assert "took down the process" in str(check_once("ours", load, CPU))
    assert not calls
    cache.unlink()  # as the documentation says
    assert check_once("ours", load, CPU) is None


def test_another_process_that_is_at_it_is_no_crash(cache: Path) -> None:
    check_once("ours", lambda: render_cpu, CPU)
    (key,) = json.loads(cache.read_text())
    for entry in ({"pid": os.getppid(), "host": self_check.platform.node()}, {"host": "other"}):
        cache.write_text(json.dumps({key: entry}))
        load, calls = counting(render_cpu)
        assert check_once("ours", load, CPU) is None
        assert len(calls) == 1


@pytest.mark.parametrize(
    ("good", "chosen"),
    [({"gsplat", "triton"}, "gsplat"), ({"triton"}, "triton"), (set(), "cpu")],
)
def test_auto_falls_to_the_next_with_one_warning(
    good: set[str], chosen: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With backends that are the CPU's, right or wrong, under the names of the GPU's."""
    monkeypatch.setattr(render_module, "_is_installed", lambda name: True)
    monkeypatch.setattr(render_module, "_noted", set())
    monkeypatch.setattr(
        render_module, "_load_backend", lambda name: render_cpu if name in good else no_alpha
    )
    monkeypatch.setattr(self_check, "_device_name", lambda device: "a GPU")
    real = self_check.compare
    monkeypatch.setattr(self_check, "compare", lambda load, device: real(load, CPU))
    render_module._is_trusted.cache_clear()
    device = torch.device("cuda", 0)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert render_module._choose_backend("auto", device) == chosen
    render_module._is_trusted.cache_clear()
    left_out = [name for name in ("gsplat", "triton") if name not in good]
    left_out = left_out if chosen == "cpu" else left_out[: ("gsplat", "triton").index(chosen)]
    said = [record.getMessage() for record in caplog.records]
    assert [message for message in said if "left out" in message] == [
        message for name in left_out for message in said if f'"{name}" is left out' in message
    ]
    assert len(said) == len(left_out) + (chosen == "cpu")
