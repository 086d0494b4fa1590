"""Every backend against the float64 reference: image, alpha and all gradients."""

from __future__ import annotations

import sys

import pytest
import torch

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.splat.render import RenderOutput, available_backends, render

PARAMETERS = ("means", "quats", "scales", "opacities", "colors")
BACKGROUND = (0.2, 0.5, 1.0)

# (device, largest difference of a pixel, relative L2 of a gradient, pixels that may flip)
_EXACT = ("cpu", 1e-5, 5e-6, 0.002)
_CUDA = ("cuda", 1e-4, 1e-3, 0.01)
BACKENDS = [
    pytest.param("cpu", *_EXACT, id="cpu"),
    pytest.param("gsplat", *_CUDA, id="gsplat", marks=pytest.mark.gpu),
]


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


@pytest.mark.parametrize(("backend", "device", "pixel", "relative", "flips"), BACKENDS)
def test_agrees_with_float64(
    scene: tuple[Gaussians, Cameras],
    backend: str,
    device: str,
    pixel: float,
    relative: float,
    flips: float,
) -> None:
    if backend not in available_backends() or (device == "cuda" and not torch.cuda.is_available()):
        pytest.skip(f"{backend} on {device} is not available")
    gaussians, cameras = scene
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


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_names_the_tensor_that_is_not_finite(
    scene_plain: tuple[Gaussians, Cameras], backend: str, name: str, value: float
) -> None:
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


@pytest.mark.parametrize("backend", ["reference", "cpu"])
class TestLeadingDimensions:
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


def test_missing_backend_says_how_to_install(
    scene_plain: tuple[Gaussians, Cameras], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The package has the function under the module's name.
    monkeypatch.setattr(sys.modules["l4gm.splat.render"], "_has_gsplat", lambda: False)
    with pytest.raises(ValueError, match=r"pip install"):
        render(*scene_plain, backend="gsplat")
