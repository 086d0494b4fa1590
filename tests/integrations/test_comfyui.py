"""The ComfyUI nodes, loaded and called as ComfyUI does it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from l4gm import Gaussians, GaussianSequence, load, orbit_cameras, render

FOLDER = Path(__file__).parents[2] / "integrations" / "comfyui" / "l4gm_nodes"


@pytest.fixture(scope="module")
def nodes() -> ModuleType:
    """A custom node folder is imported as a package under a name of ComfyUI's choice."""
    spec = importlib.util.spec_from_file_location(
        "custom_l4gm", FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["custom_l4gm"] = module
    spec.loader.exec_module(module)
    return module


def call(nodes: ModuleType, node: str, /, **inputs: object) -> tuple[Any, ...]:
    """Check the declaration as ComfyUI reads it, then call the node with its declared inputs."""
    kind = nodes.NODE_CLASS_MAPPINGS[node]
    assert nodes.NODE_DISPLAY_NAME_MAPPINGS[node]
    assert set(inputs) == set(kind.INPUT_TYPES()["required"])
    result = getattr(kind(), kind.FUNCTION)(**inputs)
    assert isinstance(result, tuple)
    assert len(result) == len(kind.RETURN_TYPES)
    return result


@pytest.fixture
def ball() -> GaussianSequence:
    """A red ball that moves right, two frames."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(2, 60, 3, generator=generator) * 0.1
    means[1, :, 0] += 0.2
    gaussians = Gaussians(
        means=means,
        quats=torch.tensor([1.0, 0, 0, 0]).expand(2, 60, 4),
        scales=torch.full((2, 60, 3), 0.05),
        opacities=torch.full((2, 60), 0.9),
        colors=torch.tensor([1.0, 0, 0]).expand(2, 60, 3),
    )
    return GaussianSequence(gaussians, 2.0)


def disc_images(count: int, size: int) -> Tensor:
    """IMAGE [count, size, size, 3]: a disc that moves on white."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    images = torch.ones(count, size, size, 3)
    for index in range(count):
        inside = (rows - size / 2) ** 2 + (columns - size * (0.4 + 0.05 * index)) ** 2 < 150
        images[index, inside] = torch.tensor([0.8, 0.3, 0.1])
    return images


@pytest.mark.parametrize(("prepared", "size"), [(False, 96), (True, 64)])
def test_reconstruct(nodes: ModuleType, video_model: Path, prepared: bool, size: int) -> None:
    (sequence,) = call(
        nodes,
        "L4GMReconstruct",
        images=disc_images(3, size),
        fps=6.0,
        model=str(video_model),
        prepared=prepared,
    )
    assert isinstance(sequence, GaussianSequence)
    assert (len(sequence), sequence.fps) == (7, 18.0)  # two frames between each pair


def test_render(nodes: ModuleType, ball: GaussianSequence) -> None:
    images, masks = call(
        nodes, "L4GMRender", object=ball, azimuth=30.0, elevation=10.0, turns=1.0, size=32
    )
    assert images.shape == (2, 32, 32, 3)
    assert masks.shape == (2, 32, 32)
    truth = render(ball.gaussians[1], orbit_cameras([210.0], 10.0, size=32))
    torch.testing.assert_close(images[1], truth.image[0].clamp(0, 1).permute(1, 2, 0))
    torch.testing.assert_close(masks[1], truth.alpha[0, 0].clamp(0, 1))


@pytest.mark.parametrize(
    ("kind", "name"), [("html", "cat.html"), ("ply", "cat"), ("safetensors", "cat.safetensors")]
)
def test_save(
    nodes: ModuleType,
    ball: GaussianSequence,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    name: str,
) -> None:
    monkeypatch.setitem(
        sys.modules, "folder_paths", SimpleNamespace(get_output_directory=lambda: str(tmp_path))
    )
    (path,) = call(nodes, "L4GMSave", object=ball, name="cat", format=kind)
    assert path == str(tmp_path / name)
    if kind == "html":
        assert "frame-1" in Path(path).read_text()
    else:
        back = load(path)
        assert isinstance(back, GaussianSequence)
        torch.testing.assert_close(back.gaussians.means, ball.gaussians.means)
    for bad in ("../cat", "a/b", "", ".."):
        with pytest.raises(ValueError, match="without folders"):
            call(nodes, "L4GMSave", object=ball, name=bad, format=kind)
    index = {"cat.json"} if kind == "ply" else set()  # beside the folder of frames
    assert {entry.name for entry in tmp_path.iterdir()} == {name} | index
