"""Every backend against the float64 reference: image, alpha and all gradients."""

from __future__ import annotations

import os
import sys

import pytest
import torch

from l4gm.errors import InputError
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.splat.render import RenderOutput, available_backends, render

render_module = sys.modules["l4gm.splat.render"]  # the package has the function under its name

PARAMETERS = ("means", "quats", "scales", "opacities", "colors")
BACKGROUND = (0.2, 0.5, 1.0)

# Triton's interpreter computes what is masked away, too.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton")

# (largest difference of a pixel, relative L2 of a gradient, pixels that may flip)
_EXACT = (1e-5, 5e-6, 0.002)
_FLOAT32 = (1e-4, 1e-3, 0.01)  # of a projection in float32
# (backend, device, every how many-th Gaussian of a scene, bounds): the interpreter is slow.
BACKENDS = [
    pytest.param("cpu", "cpu", 1, _EXACT, id="cpu"),
    pytest.param("triton", "cpu", 6, _EXACT, id="triton interpreted"),
    pytest.param("triton", "cuda", 1, _EXACT, id="triton", marks=pytest.mark.gpu),
    pytest.param("gsplat", "cuda", 1, _FLOAT32, id="gsplat", marks=pytest.mark.gpu),
]

# Those that can work on the CPU, for what is not a matter of numbers.
ON_CPU = ["reference", "cpu", "triton"]


def _leaves(
    gaussians: Gaussians, dtype: torch.dtype, device: str
) -> tuple[Gaussians, torch.Tensor]:
    """A copy that collects gradients, and a background that does."""
    copy = gaussians.to(device, dtype).map(lambda t: t.clone().requires_grad_())
    return copy, torch.tensor(BACKGROUND, dtype=dtype, device=device, requires_grad=True)


def _gradients(
    out: RenderOutput, inputs: list[torch.Tensor], weights: tuple[torch.Tensor, torch.Tensor]
) -> list[torch.Tensor]:
    image_weight, alpha_weight = (w.to(out.image.device, out.image.dtype) for w in weights)
    loss = (out.image * image_weight).sum() + (out.alpha * alpha_weight).sum()
    return [g.double().cpu() for g in torch.autograd.grad(loss, inputs)]


def _require(backend: str, device: str) -> None:
    """Skip where a backend cannot work on a device."""
    if backend not in available_backends():
        pytest.skip(f"{backend} is not installed")
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if backend == "triton" and device == "cpu" and not os.environ.get("TRITON_INTERPRET"):
        pytest.skip("the kernels are compiled for the GPU in this process")


@pytest.mark.parametrize(("backend", "device", "stride", "bounds"), BACKENDS)
def test_agrees_with_float64(
    scene: tuple[Gaussians, Cameras],
    backend: str,
    device: str,
    stride: int,
    bounds: tuple[float, float, float],
) -> None:
    _require(backend, device)
    pixel, relative, flips = bounds
    gaussians, cameras = scene
    gaussians = gaussians.map(lambda tensor: tensor[::stride])
    truth, truth_background = _leaves(gaussians, torch.float64, "cpu")
    expected = render(truth, cameras.to(torch.float64), truth_background, "reference")
    tested, background = _leaves(gaussians, torch.float32, device)
    actual = render(tested, cameras.to(device), background, backend)

    assert actual.image.shape == expected.image.shape
    assert actual.alpha.shape == expected.alpha.shape
    assert actual.image.dtype == torch.float32
    error = torch.cat(
        [actual.image.cpu() - expected.image, actual.alpha.cpu() - expected.alpha], -3
    )
    error = error.detach().abs().amax(-3, keepdim=True)
    # A pixel may differ where a Gaussian stands exactly at a threshold; it takes no further part.
    same = error <= pixel
    assert (~same).double().mean() <= flips

    generator = torch.Generator().manual_seed(7)
    weights = tuple(
        torch.randn(view.shape, generator=generator, dtype=torch.float64) * same
        for view in (expected.image, expected.alpha)
    )
    names = (*PARAMETERS, "background")
    expected_grads = _gradients(
        expected, [*(getattr(truth, n) for n in PARAMETERS), truth_background], weights
    )
    actual_grads = _gradients(
        actual, [*(getattr(tested, n) for n in PARAMETERS), background], weights
    )
    for name, want, got in zip(names, expected_grads, actual_grads, strict=True):
        assert (got - want).norm() <= relative * want.norm() + 1e-12, name


@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_names_the_tensor_that_is_not_finite(
    scene_plain: tuple[Gaussians, Cameras], backend: str, name: str, value: float
) -> None:
    _require(backend, "cpu")
    gaussians, cameras = scene_plain
    broken = getattr(gaussians, name).clone()
    broken.view(-1)[5] = value
    values = {n: broken if n == name else getattr(gaussians, n) for n in PARAMETERS}
    with pytest.raises(ValueError, match=rf"^{name} .*not finite"):
        render(Gaussians(**values), cameras, backend=backend)


@pytest.fixture
def scene_plain() -> tuple[Gaussians, Cameras]:
    from l4gm.geometry.cameras import orbit_cameras

    generator = torch.Generator().manual_seed(3)
    u = torch.rand(2, 40, 11, generator=generator)
    gaussians = Gaussians(
        u[..., :3] - 0.5, torch.randn(2, 40, 4, generator=generator), 0.02 + 0.1 * u[..., 3:6],
        u[..., 6], u[..., 7:10],
    )  # fmt: skip
    return gaussians, orbit_cameras([0.0, 90.0, 200.0], 10.0, size=24)


@pytest.mark.parametrize("backend", ON_CPU)
class TestLeadingDimensions:
    @pytest.fixture
    def scene_plain(
        self, scene_plain: tuple[Gaussians, Cameras], backend: str
    ) -> tuple[Gaussians, Cameras]:
        _require(backend, "cpu")
        gaussians, cameras = scene_plain
        few = 5 if backend == "triton" else gaussians.num_gaussians  # the interpreter is slow
        return gaussians.map(lambda tensor: tensor[:, :few]), cameras

    def test_frames_are_rendered_alone(
        self, scene_plain: tuple[Gaussians, Cameras], backend: str
    ) -> None:
        gaussians, cameras = scene_plain
        out = render(gaussians, cameras, 0.3, backend)
        assert out.image.shape == (2, 3, 3, 24, 24)
        assert out.alpha.shape == (2, 3, 1, 24, 24)
        for frame in range(2):
            alone = render(gaussians[frame], cameras, 0.3, backend)
            torch.testing.assert_close(out.image[frame], alone.image, rtol=0, atol=1e-6)
            torch.testing.assert_close(out.alpha[frame], alone.alpha, rtol=0, atol=1e-6)

    def test_cameras_of_each_frame(
        self, scene_plain: tuple[Gaussians, Cameras], backend: str
    ) -> None:
        gaussians, cameras = scene_plain
        own = Cameras.stack([cameras[:2], cameras[1:]])
        out = render(gaussians, own, backend=backend)
        torch.testing.assert_close(
            out.image[1], render(gaussians[1], cameras[1:], backend=backend).image
        )

    def test_deep_and_empty(self, scene_plain: tuple[Gaussians, Cameras], backend: str) -> None:
        gaussians, cameras = scene_plain
        assert render(gaussians.reshape(2, 1), cameras).image.shape == (2, 1, 3, 3, 24, 24)
        assert render(gaussians[:0], cameras, backend=backend).image.shape == (0, 3, 3, 24, 24)
        assert render(gaussians, cameras[:0], backend=backend).alpha.shape == (2, 0, 1, 24, 24)

    def test_background_of_one_value_or_three(
        self, scene_plain: tuple[Gaussians, Cameras], backend: str
    ) -> None:
        gaussians, cameras = scene_plain
        three = render(gaussians, cameras, torch.tensor([0.25, 0.25, 0.25]), backend)
        one = render(gaussians, cameras, 0.25, backend)
        torch.testing.assert_close(one.image, three.image)


def test_shapes_that_do_not_fit(scene_plain: tuple[Gaussians, Cameras]) -> None:
    gaussians, cameras = scene_plain
    with pytest.raises(ValueError, match=r"cameras must be \[C\] or \[2, 'C'\]"):
        render(gaussians, Cameras.stack([cameras] * 3))
    with pytest.raises(ValueError, match="single camera"):
        render(gaussians, cameras[0])
    with pytest.raises(ValueError, match=r"background must be one value or \[3\]"):
        render(gaussians, cameras, torch.zeros(4))
    with pytest.raises(ValueError, match="background must be finite"):
        render(gaussians, cameras, float("nan"))


def test_unknown_backend_lists_those_there_are(scene_plain: tuple[Gaussians, Cameras]) -> None:
    with pytest.raises(ValueError, match="'vulkan'; there are auto, reference, cpu"):
        render(*scene_plain, backend="vulkan")


@pytest.mark.parametrize("backend", ["triton", "gsplat"])
def test_missing_backend_says_how_to_install(
    scene_plain: tuple[Gaussians, Cameras], backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render_module, "_is_installed", lambda name: name != backend)
    with pytest.raises(InputError, match=rf'"{backend}" is not installed.*pip install'):
        render(*scene_plain, backend=backend)


@pytest.mark.parametrize(
    ("backend", "found", "installed"),
    [("triton", "3.6.0", True), ("triton", "3.5.1", False), ("gsplat", "1.5.3", True),
     ("gsplat", "1.4.0+pt24cu121", False), ("triton", None, True)],
)  # fmt: skip
def test_version_of_a_backend_package(
    backend: str, found: str | None, installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if found is None:  # importable, but under another name, as on Windows
            raise render_module.PackageNotFoundError
        return found

    monkeypatch.setattr(render_module, "find_spec", lambda name: object())
    monkeypatch.setattr(render_module, "version", version)
    render_module._is_installed.cache_clear()
    assert render_module._is_installed(backend) == installed
    render_module._is_installed.cache_clear()


@pytest.mark.parametrize(
    ("device", "installed", "chosen"),
    [
        ("cpu", {"triton", "gsplat"}, "cpu"),
        ("cuda", {"triton", "gsplat"}, "gsplat"),
        ("cuda", {"triton"}, "triton"),
        ("cuda", set(), "cpu"),
        ("mps", {"triton", "gsplat"}, "cpu"),
    ],
)
def test_auto_takes_what_is_there_for_the_device(
    device: str,
    installed: set[str],
    chosen: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(render_module, "_is_installed", lambda name: name in installed)
    monkeypatch.setattr(render_module, "_is_trusted", lambda name, device: True)
    monkeypatch.setattr(render_module, "_noted", set())
    for _ in range(2):
        assert render_module._choose_backend("auto", torch.device(device)) == chosen
    detour = chosen == "cpu" and device != "cpu"
    assert [device in record.message for record in caplog.records] == [True] * detour
