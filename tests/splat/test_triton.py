"""What the triton backend promises beside the right numbers, in Triton's interpreter.

And that the kernels compile for real GPUs, which need not be there: the interpreter forgives much.
"""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from l4gm.errors import InputError
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras, orbit_cameras
from l4gm.splat.render import available_backends, render

PARAMETERS = ("means", "quats", "scales", "opacities", "colors")
BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "splatting_triton.py"
DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") else "cuda"

pytestmark = [
    pytest.mark.skipif("triton" not in available_backends(), reason="triton is not installed"),
    # The interpreter computes what is masked away, too.
    pytest.mark.filterwarnings("ignore::RuntimeWarning:triton"),
    *([pytest.mark.gpu] if DEVICE == "cuda" else []),
]


def _scene(number: int = 12, size: int = 20) -> tuple[Gaussians, Cameras]:
    """Two frames, two views, two rows and columns of tiles."""
    u = torch.rand(2, number, 14, generator=torch.Generator().manual_seed(0))
    gaussians = Gaussians(
        u[..., :3] - 0.5,
        u[..., 3:7] - 0.5,
        0.02 + 0.1 * u[..., 7:10],
        0.2 + 0.8 * u[..., 10],
        u[..., 11:],
    )
    return gaussians.to(DEVICE), orbit_cameras([20.0, 140.0], 10.0, size=size).to(DEVICE)


def _leaves(gaussians: Gaussians) -> Gaussians:
    return gaussians.map(lambda tensor: tensor.clone().requires_grad_())


def _gradients(loss: torch.Tensor, leaves: Gaussians) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, [getattr(leaves, name) for name in PARAMETERS]))


def test_same_bits_every_time() -> None:
    gaussians, cameras = _scene()
    results = []
    for _ in range(2):
        leaves = _leaves(gaussians)
        out = render(leaves, cameras, 0.5, "triton")
        loss = (out.image.sin() + out.alpha**2).sum()
        results.append([out.image, out.alpha, *_gradients(loss, leaves)])
    assert all(map(torch.equal, *results))


def test_gradients_wait_while_others_render_and_images_change() -> None:
    gaussians, cameras = _scene()
    leaves = _leaves(gaussians)
    weight = torch.rand(2, 2, 3, 20, 20, device=DEVICE)
    expected = _gradients((render(leaves, cameras, 1.0, "triton").image * weight).sum(), leaves)
    image = render(leaves, cameras, 1.0, "triton").image
    render(gaussians.map(torch.neg).map(torch.abs), cameras, 1.0, "triton")
    got = torch.autograd.grad(
        image.mul_(2), [getattr(leaves, name) for name in PARAMETERS], weight / 2
    )
    for want, have in zip(expected, got, strict=True):
        torch.testing.assert_close(want, have)


def test_changing_an_input_before_the_backward_is_refused() -> None:
    gaussians, cameras = _scene(4)
    leaves = _leaves(gaussians)
    loss = render(leaves, cameras, backend="triton").image.sum()
    with torch.no_grad():
        leaves.means.add_(0.1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_only_the_background_needs_a_gradient() -> None:
    gaussians, cameras = _scene(6)
    background = torch.tensor([0.1, 0.2, 0.3], device=DEVICE, requires_grad=True)
    out = render(gaussians, cameras, background, "triton")
    out.image.sum().backward()
    expected = (1 - out.alpha).sum().expand(3)
    torch.testing.assert_close(background.grad, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("records", [1, 12, 24, 1000])
def test_bounded_memory_gives_the_same_views(records: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from l4gm.splat import triton_backend

    scene = _scene()
    monkeypatch.setattr(triton_backend, "_PIXELS_PER_RECORD", 10**6)
    with_gradients = render(_leaves(scene[0]), scene[1], backend="triton")  # always in one go
    calls = []
    forward = triton_backend._forward
    monkeypatch.setattr(
        triton_backend, "_forward", lambda scene: calls.append(scene.num_pairs) or forward(scene)
    )
    monkeypatch.setattr(triton_backend, "_GROUP_RECORDS", records)
    parts = render(*scene, backend="triton")
    assert torch.equal(with_gradients.image, parts.image)
    assert torch.equal(with_gradients.alpha, parts.alpha)
    assert calls == {1: [1] * 4, 12: [1] * 4, 24: [2] * 2, 1000: [4]}[records]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes_are_taken_as_float32(dtype: torch.dtype) -> None:
    gaussians, cameras = _scene(6)
    rounded = gaussians.to(dtype)
    leaves = _leaves(rounded)
    out = render(leaves, cameras, backend="triton")
    assert out.image.dtype == torch.float32
    assert torch.equal(out.image, render(rounded.to(torch.float32), cameras, 1.0, "triton").image)
    out.image.sum().backward()
    assert leaves.means.grad.dtype == dtype


def test_absurd_numbers_are_survived() -> None:
    gaussians, cameras = _scene(20)
    absurd = gaussians.map(torch.clone)
    absurd.means[:, ::3] *= 1e30
    absurd.scales[:, ::5] = 1e30
    absurd.scales[:, 1::5] = 0
    absurd.quats[:, ::7] = 0
    leaves = _leaves(absurd)
    out = render(leaves, cameras, backend="triton")
    out.image.sum().backward()
    assert torch.isfinite(out.image).all()
    for name in PARAMETERS:
        assert torch.isfinite(getattr(leaves, name).grad).all()


def test_a_wide_ellipse_in_many_tiles() -> None:
    """A thin one across eleven rows of tiles, slanted either way: no tile of it may be missed."""
    half = math.radians(62) / 2
    gaussians = Gaussians(
        torch.zeros(2, 3),
        torch.tensor([[math.cos(half), 0, 0, sign * math.sin(half)] for sign in (1, -1)]),
        torch.tensor([[0.3, 0.004, 0.004], [0.2, 0.05, 0.004]]),
        torch.tensor([0.9, 0.4]),
        torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]),
    ).to(DEVICE)  # fmt: skip
    cameras = orbit_cameras([5.0], size=176).to(DEVICE)
    out = render(gaussians, cameras, 0.0, "triton")
    truth = render(gaussians.to(torch.float64), cameras.to(torch.float64), 0.0, "reference")
    difference = (out.image.double() - truth.image).abs().amax(-3)
    assert (difference > 1e-5).double().mean() < 1e-3  # at the very edge of alpha >= 1/255
    assert difference.max() <= 1.5 / 255


def test_equal_depths_are_drawn_in_index_order() -> None:
    disc = [0.0, 0, 0, 1, 0, 0, 0, 0.2, 0.2, 0.2, 0.9]
    rows = torch.tensor([[*disc, 1.0, 0, 0], [*disc, 0, 1.0, 0]], device=DEVICE)
    gaussians = Gaussians(rows[:, :3], rows[:, 3:7], rows[:, 7:10], rows[:, 10], rows[:, 11:])
    cameras = orbit_cameras([0.0], size=9).to(DEVICE)
    centre = render(gaussians, cameras, 0.0, "triton").image[0, :, 4, 4].cpu()
    torch.testing.assert_close(centre, torch.tensor([0.9, 0.09, 0.0]))


@pytest.mark.parametrize(("near", "far"), [(0.5, 2.5), (1e-3, math.inf), (1.0, 1.0 + 1e-9)])
def test_depths_as_integers_keep_their_order(near: float, far: float) -> None:
    from l4gm.splat.triton_backend import _depth_code
    from l4gm.splat.triton_kernels.layout import DEPTH_BITS

    def code(depth: float) -> int:
        return (struct.unpack("<q", struct.pack("<d", depth))[0] - origin) >> shift

    origin, shift = _depth_code(near, far)
    last = min(far, 1e300)
    depths = [near * (last / near) ** (k / 100) for k in range(101)]
    codes = [code(depth) for depth in depths]
    assert code(near) == 0
    assert code(far) < 1 << DEPTH_BITS.value
    assert codes == sorted(codes)
    if far == 2.5:  # neighbours of a network's splats: finer than float32
        assert code(1.5 + 1e-11) > code(1.5)


@pytest.mark.skipif(DEVICE == "cuda", reason="the kernels are compiled in this process")
def test_refuses_what_it_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from l4gm.splat import triton_backend

    gaussians, cameras = _scene(2)
    monkeypatch.setattr(triton_backend, "_INTERPRETED", False)
    with pytest.raises(InputError, match="needs Gaussians on a CUDA device, got cpu"):
        render(gaussians, cameras, backend="triton")
    monkeypatch.undo()
    monkeypatch.setattr(triton_backend, "_MAX_RECORDS", 8)
    with pytest.raises(ValueError, match=r"2 frames in 2 views .* have 8 Gaussians.*several calls"):
        render(_leaves(gaussians), cameras, backend="triton")


def _compile(*arguments: str) -> list[dict[str, float]]:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(BENCHMARK), "--json", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90, 120])
def test_kernels_compile_for_gpus_that_are_not_there(capability: int) -> None:
    """Nothing spills, and the loops over pixels leave room for sixteen warps a processor."""
    rows = _compile("--capability", str(capability))
    assert {row["kernel"] for row in rows} == {
        "project", "list_entries", "composite", "differentiate", "add_slots", "project_backward",
    }  # fmt: skip
    for row in rows:
        assert row["spilled_bytes"] == 0, row
        if row["kernel"] in ("composite", "differentiate"):
            assert row["registers"] <= 128, row


@pytest.mark.skipif(DEVICE == "cuda", reason="the kernels are compiled in this process")
def test_signatures_that_are_compiled_are_those_that_are_launched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from l4gm.splat import triton_backend

    types = {torch.float32: "*fp32", torch.float64: "*fp64", torch.int32: "*i32",
             torch.int64: "*i64"}  # fmt: skip
    launched = {}

    def record(kernel: object, num_programs: int, *arguments: object, **options: object) -> None:
        launched[kernel.__name__] = [
            types[a.dtype] if isinstance(a, torch.Tensor) else "i32" if a < 1 << 31 else "i64"
            for a in arguments
        ]
        launch(kernel, num_programs, *arguments, **options)

    launch = triton_backend._launch
    monkeypatch.setattr(triton_backend, "_launch", record)
    gaussians, cameras = _scene(3)
    leaves = _leaves(gaussians)
    render(leaves, cameras, backend="triton").image.sum().backward()
    compiled = json.loads(
        subprocess.run(
            [sys.executable, str(BENCHMARK), "--signatures"], capture_output=True, text=True,
            check=True, timeout=120,
        ).stdout
    )  # fmt: skip
    assert launched == compiled


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_host_waits_once() -> None:
    gaussians, cameras = _scene(64, 32)
    leaves = _leaves(gaussians)
    render(leaves, cameras, 1.0, "triton").image.sum().backward()  # compiled now
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = render(leaves, cameras, 1.0, "triton").image
        torch.autograd.grad(image, leaves.means, torch.ones_like(image))
    torch.cuda.set_sync_debug_mode("default")
    assert len([w for w in caught if "synchroniz" in str(w.message)]) == 1
